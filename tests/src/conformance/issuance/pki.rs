//! The certificates that cases of chains speak of by name, made by rcgen.

use std::collections::HashMap;

use certwright_issuance::{Certificate, KeyPair};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose};
use serde_json::Value;

/// A certificate with its key, able to issue others.
struct Member {
    certificate: Certificate,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

/// Certificates by name, each made when it is first asked for.
#[derive(Default)]
pub(super) struct Pki {
    parents: HashMap<String, Option<String>>,
    members: HashMap<String, Member>,
}

impl Pki {
    /// Certificates whose issuers a map names; `null` is self-signed. Other names are as in [`usual`].
    pub(super) fn of(parents: &Value) -> Self {
        let parents = parents.as_object().into_iter().flatten();
        Self {
            parents: parents
                .map(|(name, parent)| (name.clone(), parent.as_str().map(str::to_owned)))
                .collect(),
            members: HashMap::new(),
        }
    }

    /// A root, a line of intermediates and a leaf, root first.
    pub(super) fn line(&mut self, intermediates: u64) -> Option<Vec<Certificate>> {
        let mut names = vec!["root".to_owned()];
        names.extend((0..intermediates).map(|number| format!("int-{number}")));
        names.push("leaf".to_owned());
        for (index, name) in names.iter().enumerate() {
            let parent = index.checked_sub(1).map(|above| names[above].clone());
            self.parents.insert(name.clone(), parent);
        }
        names.iter().map(|name| self.certificate(name)).collect()
    }

    /// Whether a name is one of the map's; without a map every name is.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.parents.is_empty() || self.parents.contains_key(name)
    }

    pub(super) fn certificate(&mut self, name: &str) -> Option<Certificate> {
        Some(self.member(name)?.certificate.clone())
    }

    pub(super) fn certificates(&mut self, names: &[&str]) -> Option<Vec<Certificate>> {
        names.iter().map(|name| self.certificate(name)).collect()
    }

    pub(super) fn key(&mut self, name: &str) -> Option<KeyPair> {
        let key = self.member(name)?.issuer.key().serialize_pem();
        KeyPair::from_pem(key.as_bytes()).ok()
    }

    /// The names of certificates; one that is none of ours has none.
    pub(super) fn names<'a>(
        &self,
        certificates: impl IntoIterator<Item = &'a Certificate>,
    ) -> Vec<Option<&str>> {
        let name = |certificate: &Certificate| {
            let mut members = self.members.iter();
            members
                .find(|(_, member)| member.certificate == *certificate)
                .map(|(name, _)| name.as_str())
        };
        certificates.into_iter().map(name).collect()
    }

    fn member(&mut self, name: &str) -> Option<&Member> {
        if !self.members.contains_key(name) {
            let parent = match self.parents.get(name) {
                Some(parent) => parent.clone(),
                None => usual(name),
            };
            // Made from the top, so that nothing recurses however long a line is; a circle ends at its start.
            let mut missing = vec![(name.to_owned(), parent)];
            while let Some((_, Some(above))) = missing.last() {
                let above = above.clone();
                if self.members.contains_key(&above) || missing.iter().any(|(n, _)| *n == above) {
                    break;
                }
                let parent = match self.parents.get(&above) {
                    Some(parent) => parent.clone(),
                    None => usual(&above),
                };
                missing.push((above, parent));
            }
            for (name, parent) in missing.into_iter().rev() {
                let parent = parent.as_deref();
                let parent = parent.and_then(|name| Some((name, self.members.get(name)?)));
                let member = make(&name, parent)?;
                self.members.insert(name, member);
            }
        }
        self.members.get(name)
    }
}

/// Who issues whom in upstream's tests: `root` signs `intA1`, which signs `intA2` and `leafA1`, and so on;
/// `leaf` is signed by `intA2`, `leafInterCN` by `intA1`.
fn usual(name: &str) -> Option<String> {
    match name {
        "leaf" => return Some("intA2".to_owned()),
        "leafInterCN" => return Some("intA1".to_owned()),
        _ => {}
    }
    let (line, above) = match name.strip_prefix("int") {
        Some(rest) => (rest, 1),
        None => (name.strip_prefix("leaf")?, 0),
    };
    let letter = line.trim_end_matches(|c: char| c.is_ascii_digit());
    let depth = line[letter.len()..]
        .parse::<u32>()
        .ok()?
        .checked_sub(above)?;
    Some(match depth {
        0 => "root".to_owned(),
        depth => format!("int{letter}{depth}"),
    })
}

fn make(name: &str, parent: Option<(&str, &Member)>) -> Option<Member> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let subject = match parent {
        // A leaf whose subject is its issuer's is not self-signed for that.
        Some((parent, _)) if name.ends_with("InterCN") => parent,
        _ => name,
    };
    params.distinguished_name.push(DnType::CommonName, subject);
    if !name.starts_with("leaf") {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    }
    let key = rcgen::KeyPair::generate().ok()?;
    let made = match parent {
        Some((_, parent)) => params.signed_by(&key, &parent.issuer),
        None => params.self_signed(&key),
    };
    Some(Member {
        certificate: Certificate::from_der(made.ok()?.der().clone()).ok()?,
        issuer: Issuer::new(params, key),
    })
}
