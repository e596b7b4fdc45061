use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use certwright_cert_model::issuer_ref::IssuerKind;
use certwright_cert_model::status::ConditionStatus;
use serde_json::{Value, json};

use super::certificate::CertificateView;
use super::issuer::{IssuerType, IssuerView};
use super::{status, status_text};

/// Who signs whom: under each issuer the Certificates that it signs, under each CA's Certificate the issuers that use
/// it.
///
/// Whatever is nowhere below another issuer stands at the top: self-signed and ACME issuers, CAs that nobody here
/// makes, issuers that do not exist, and one member of each circle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuerTree {
    /// Every member, each before what is below it.
    pub nodes: Vec<Node>,
}

/// One member of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// How many members are above it.
    pub depth: usize,
    /// What it is.
    pub kind: NodeKind,
    /// Its name, with its namespace before a slash if it has one.
    pub name: String,
    /// Whether it is ready.
    pub ready: ConditionStatus,
}

/// What a member of the tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeKind {
    /// A CA's Certificate.
    Ca,
    /// An issuer that stands further up already: it is signed by itself.
    Circle,
    /// A Certificate that signs nothing.
    EndEntity,
    /// An issuer: its kind, and how it issues, for example `ca`.
    Issuer {
        /// The resource's kind, for example `ClusterIssuer`.
        kind: String,
        /// How it issues, for example `selfSigned`.
        issues: &'static str,
    },
    /// An issuer that does not exist.
    Missing {
        /// The kind that Certificates name.
        kind: String,
    },
}

impl IssuerTree {
    /// The tree of these issuers and Certificates.
    pub fn new(issuers: &[IssuerView], certificates: &[CertificateView]) -> Self {
        let known: BTreeMap<_, _> = issuers.iter().map(|issuer| (key(issuer), issuer)).collect();
        let mut signed: BTreeMap<Key<'_>, Vec<&CertificateView>> = BTreeMap::new();
        let mut made: BTreeMap<(&str, &str), Vec<&IssuerView>> = BTreeMap::new();
        for certificate in certificates {
            let below = signed.entry(issuer_of(certificate)).or_default();
            below.push(certificate);
        }
        for below in signed.values_mut() {
            below.sort_by_key(|certificate| (&certificate.namespace, &certificate.name));
        }
        for issuer in known.values() {
            if let IssuerType::Ca { namespace, secret } = &issuer.issues {
                made.entry((namespace, secret)).or_default().push(issuer);
            }
        }
        let growth = Growth {
            known,
            signed,
            made,
            seen: BTreeSet::new(),
            nodes: Vec::new(),
        };
        Self {
            nodes: growth.grown(certificates),
        }
    }

    /// The tree as JSON: a list of objects with `depth`, `kind`, `name` and `ready`, each before what is below it.
    pub fn to_json(&self) -> Value {
        let object = |node: &Node| {
            json!({
                "depth": node.depth,
                "kind": node.label(),
                "name": node.name,
                "ready": status_text(node.ready),
            })
        };
        self.nodes.iter().map(object).collect()
    }
}

/// An issuer by kind, group, namespace and name.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

/// The tree while it is made, without recursion: manifests may nest CAs as deep as they like.
struct Growth<'a> {
    known: BTreeMap<Key<'a>, &'a IssuerView>,
    signed: BTreeMap<Key<'a>, Vec<&'a CertificateView>>,
    /// By the CA's Secret.
    made: BTreeMap<(&'a str, &'a str), Vec<&'a IssuerView>>,
    seen: BTreeSet<Key<'a>>,
    nodes: Vec<Node>,
}

enum Member<'a> {
    Certificate(&'a CertificateView),
    Issuer(Key<'a>),
}

impl<'a> Growth<'a> {
    fn grown(mut self, certificates: &'a [CertificateView]) -> Vec<Node> {
        let makes: BTreeSet<_> = certificates
            .iter()
            .filter(|certificate| certificate.is_ca)
            .map(|ca| (ca.namespace.as_str(), ca.secret.as_str()))
            .collect();
        let is_top = |issuer: &IssuerView| match &issuer.issues {
            IssuerType::Ca { namespace, secret } => {
                !makes.contains(&(namespace.as_str(), secret.as_str()))
            }
            _ => true,
        };
        let named = self
            .known
            .iter()
            .map(|(key, issuer)| (*key, is_top(issuer)));
        let missing = self
            .signed
            .keys()
            .filter(|key| !self.known.contains_key(*key));
        let mut tops: Vec<_> = named.chain(missing.map(|key| (*key, true))).collect();
        // Circles are left when everything else is in its place.
        tops.sort_by_key(|((kind, group, namespace, name), top)| {
            (!top, *namespace, *name, *kind, *group)
        });
        for (key, _) in tops {
            if !self.seen.contains(&key) {
                self.grow(key);
            }
        }
        self.nodes
    }

    fn grow(&mut self, top: Key<'a>) {
        let mut open = vec![(0, Member::Issuer(top))];
        while let Some((depth, member)) = open.pop() {
            let below: Vec<_> = match member {
                Member::Certificate(certificate) => self.certificate(depth, certificate),
                Member::Issuer(key) => self.issuer(depth, key),
            };
            open.extend(below.into_iter().rev().map(|member| (depth + 1, member)));
        }
    }

    /// Adds an issuer; what is below it.
    fn issuer(&mut self, depth: usize, key: Key<'a>) -> Vec<Member<'a>> {
        let (kind, _, namespace, name) = key;
        let known = self.known.get(&key);
        let ready = known.map(|issuer| status(&issuer.status.conditions, "Ready"));
        let first = self.seen.insert(key);
        let node = match known {
            _ if !first => NodeKind::Circle,
            Some(issuer) => NodeKind::Issuer {
                kind: kind.to_owned(),
                issues: issuer.issues.name(),
            },
            None => NodeKind::Missing {
                kind: kind.to_owned(),
            },
        };
        self.nodes.push(Node {
            depth,
            kind: node,
            name: full_name(namespace, name),
            ready: ready.unwrap_or(ConditionStatus::False),
        });
        let signed = self.signed.get(&key).filter(|_| first);
        let signed = signed.into_iter().flatten().copied();
        signed.map(Member::Certificate).collect()
    }

    /// Adds a Certificate; what is below it.
    fn certificate(&mut self, depth: usize, certificate: &'a CertificateView) -> Vec<Member<'a>> {
        self.nodes.push(Node {
            depth,
            kind: match certificate.is_ca {
                true => NodeKind::Ca,
                false => NodeKind::EndEntity,
            },
            name: full_name(&certificate.namespace, &certificate.name),
            ready: status(&certificate.status.conditions, "Ready"),
        });
        let secret = (certificate.namespace.as_str(), certificate.secret.as_str());
        let users = self.made.get(&secret).filter(|_| certificate.is_ca);
        let users = users.into_iter().flatten().copied();
        users.map(|issuer| Member::Issuer(key(issuer))).collect()
    }
}

fn key(issuer: &IssuerView) -> Key<'_> {
    let group = match &issuer.kind {
        IssuerKind::External { group, .. } => group,
        _ => "",
    };
    (issuer.kind_text(), group, &issuer.namespace, &issuer.name)
}

/// The issuer a Certificate names: a ClusterIssuer is in no namespace, others are in the Certificate's.
fn issuer_of(certificate: &CertificateView) -> Key<'_> {
    let issuer = &certificate.issuer;
    let (group, namespace) = match &issuer.kind {
        IssuerKind::ClusterIssuer => ("", ""),
        IssuerKind::External { group, .. } => (group.as_str(), certificate.namespace.as_str()),
        IssuerKind::Issuer => ("", certificate.namespace.as_str()),
    };
    (issuer.kind(), group, namespace, &issuer.name)
}

fn full_name(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

impl Node {
    fn label(&self) -> String {
        match &self.kind {
            NodeKind::Ca => "Certificate, CA".to_owned(),
            NodeKind::Circle => "signed by itself, see above".to_owned(),
            NodeKind::EndEntity => "Certificate".to_owned(),
            NodeKind::Issuer { kind, issues } => format!("{kind}, {issues}"),
            NodeKind::Missing { kind } => format!("{kind}, does not exist"),
        }
    }
}

impl fmt::Display for Node {
    /// Writes the member alone: `ns/ca (Issuer, ca)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name.escape_debug(), self.label())?;
        if self.ready == ConditionStatus::False {
            f.write_str(" not ready")?;
        }
        Ok(())
    }
}

impl fmt::Display for IssuerTree {
    /// Writes a line per member, with branches.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // From the end: whether a later member stands at a depth before that branch ends.
        let mut open: Vec<bool> = Vec::new();
        let mut lines = Vec::with_capacity(self.nodes.len());
        for node in self.nodes.iter().rev() {
            open.resize(node.depth + 1, false);
            let mut line = String::new();
            for more in open.iter().take(node.depth).skip(1) {
                line.push_str(if *more { "│  " } else { "   " });
            }
            if node.depth > 0 {
                line.push_str(if open[node.depth] {
                    "├─ "
                } else {
                    "└─ "
                });
            }
            open[node.depth] = true;
            lines.push(format!("{line}{node}"));
        }
        lines
            .iter()
            .rev()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}
