//! Manifests: streams of Kubernetes documents, each read as what its `kind` says.
//!
//! ```
//! use certwright_cert_model::document::{Format, Strictness};
//! use certwright_cert_model::{Defaults, Manifest, manifest};
//!
//! let text = "\
//! apiVersion: cert-manager.io/v1
//! kind: Certificate
//! metadata: {name: web, namespace: default}
//! spec:
//!   secretName: web-tls
//!   issuerRef: {name: ca}
//!   dnsNames: [web.example.com, '*.com']
//! ";
//! let manifest = manifest::read(text, Format::Yaml, Strictness::Strict).remove(0)?;
//! let Manifest::Certificate(certificate) = manifest else { panic!() };
//! assert_eq!(certificate.metadata().name, "web");
//! let violations = certificate.validate(&Defaults::documented()).unwrap_err();
//! assert_eq!(
//!     violations.to_string(),
//!     "7:31: spec.dnsNames[1]: \"*.com\": a wildcard needs at least two labels behind it, like *.example.com"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod secret;

use core::{fmt, mem};
use std::collections::BTreeMap;

use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::certificate::CertificateSpec;
use crate::defaults::Defaults;
use crate::document::{
    Decoded, Document, Fields, Format, Kind, Node, Strictness, SyntaxError, Value, decode, parse,
};
use crate::issuer::{IssuerSpec, RawIssuerSpec};
use crate::kubernetes;
use crate::request::{CertificateRequest, CertificateRequestSpec};
use crate::secret::TlsSecret;
use crate::validated::ValidatedSpec;
use crate::violation::{FieldPath, Violation, ViolationKind, Violations};

/// One document of a manifest, by its `apiVersion` and `kind`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Manifest {
    /// A `cert-manager.io/v1` Certificate.
    Certificate(Box<Resource<CertificateSpec>>),
    /// A `cert-manager.io/v1` CertificateRequest.
    CertificateRequest(Box<Resource<CertificateRequestSpec>>),
    /// A `cert-manager.io/v1` ClusterIssuer.
    ClusterIssuer(Resource<RawIssuerSpec>),
    /// A `cert-manager.io/v1` Issuer.
    Issuer(Resource<RawIssuerSpec>),
    /// A document of any other kind, as it was parsed.
    Other(Resource<()>),
    /// A `v1` Secret of any type.
    Secret(TlsSecret),
}

/// What every Kubernetes object says about itself.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// `apiVersion`, for example `cert-manager.io/v1`; empty if there is none.
    pub api_version: String,
    /// `kind`, for example `Certificate`; empty if there is none.
    pub kind: String,
    /// `metadata.name`; never empty in a [`Valid`] resource.
    pub name: String,
    /// `metadata.namespace`; empty if there is none.
    pub namespace: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.creationTimestamp`, which the API server writes; nothing if it is no instant.
    pub created: Option<OffsetDateTime>,
}

/// A document whose `spec` is of type `S`, perhaps with violations; nothing of the spec can be had
/// without asking about them.
pub struct Resource<S> {
    metadata: Metadata,
    /// A keystore's password may stand in it, or a whole key.
    node: Zeroizing<Node>,
    spec: S,
    violations: Vec<Violation>,
    warnings: Vec<Violation>,
}

/// A resource in which nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Valid<S> {
    /// What the object says about itself.
    pub metadata: Metadata,
    /// The checked specification.
    pub spec: S,
    /// What is worth a look but not wrong, in document order.
    pub warnings: Vec<Violation>,
}

/// Reads every document of a text; what is wrong with one does not hide the others.
///
/// A `v1` List stands for its items.
pub fn read(
    text: &str,
    format: Format,
    strictness: Strictness,
) -> Vec<Result<Manifest, ManifestError>> {
    let mut manifests = Vec::new();
    for document in parse(text, format) {
        match document {
            Ok(Document { root, .. }) => {
                classify(Zeroizing::new(root), strictness, &mut manifests);
            }
            Err(error) => manifests.push(Err(error.into())),
        }
    }
    manifests
}

fn classify(
    mut node: Zeroizing<Node>,
    strictness: Strictness,
    manifests: &mut Vec<Result<Manifest, ManifestError>>,
) {
    let field = |name: &str| node.get(name).and_then(Node::as_text).unwrap_or_default();
    let (api_version, kind) = (field("apiVersion"), field("kind"));
    if api_version == "v1" && kind == "List" {
        match items(&mut node) {
            Ok(items) => {
                for item in items {
                    classify(Zeroizing::new(item), strictness, manifests);
                }
            }
            Err(violation) => manifests.push(Err(Violations(vec![violation]).into())),
        }
        return;
    }
    let manifest = match (api_version.split('/').next(), kind) {
        (Some("cert-manager.io" | ""), "Certificate") => Ok(Manifest::Certificate(Box::new(
            Resource::read(node, strictness, CertificateSpec::read),
        ))),
        (Some("cert-manager.io" | ""), "CertificateRequest") => {
            let read = CertificateRequestSpec::read;
            let request = Resource::read(node, strictness, read);
            Ok(Manifest::CertificateRequest(Box::new(request)))
        }
        (Some("cert-manager.io" | ""), "ClusterIssuer") => Ok(Manifest::ClusterIssuer(
            Resource::read(node, strictness, RawIssuerSpec::read),
        )),
        (Some("cert-manager.io" | ""), "Issuer") => Ok(Manifest::Issuer(Resource::read(
            node,
            strictness,
            RawIssuerSpec::read,
        ))),
        (Some("v1"), "Secret") => secret::read(&node, strictness)
            .map(Manifest::Secret)
            .map_err(ManifestError::from),
        _ => Ok(Manifest::Other(Resource::other(node))),
    };
    manifests.push(manifest);
}

/// Takes the elements of a List out of it: copies would leave the keys of Secrets behind.
fn items(list: &mut Node) -> Result<Vec<Node>, Violation> {
    let items = match &mut list.kind {
        Kind::Map(fields) => fields.iter_mut().find(|field| field.key == "items"),
        _ => None,
    };
    let (kind, message, place) = match items.map(|field| &mut field.value) {
        None => (ViolationKind::Required, "must be set".to_owned(), list.span),
        Some(items) => match &mut items.kind {
            Kind::List(items) => return Ok(mem::take(items)),
            // Go writes an empty list so.
            Kind::Null => return Ok(Vec::new()),
            found => {
                let message = format!("expected a list, found {}", found.name());
                (ViolationKind::TypeInvalid, message, items.span)
            }
        },
    };
    Err(Violation::new(FieldPath::root("items"), kind, message).at(place))
}

impl<S: fmt::Debug> fmt::Debug for Resource<S> {
    /// Leaves out the document: it may hold passwords and keys, as text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("metadata", &self.metadata)
            .field("spec", &self.spec)
            .field("violations", &self.violations)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl<S> Resource<S> {
    fn read(node: Zeroizing<Node>, strictness: Strictness, spec: fn(Value<'_>) -> S) -> Self
    where
        S: Default,
    {
        let decoded = decode(&node, FieldPath::default(), strictness, |root| {
            root.object(|fields| {
                let metadata = Metadata::fields(fields, "cert-manager.io/v1");
                let spec = fields.require("spec").map(spec).unwrap_or_default();
                fields.get("status");
                (metadata, spec)
            })
            .unwrap_or_default()
        });
        let ((metadata, spec), violations, warnings) = decoded.into_parts();
        Self {
            metadata,
            node,
            spec,
            violations,
            warnings,
        }
    }

    /// What the object says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The whole document, as it was parsed.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// What is worth a look but not wrong, in document order.
    pub fn warnings(&self) -> &[Violation] {
        &self.warnings
    }

    /// The specification as it is written.
    ///
    /// # Errors
    ///
    /// What could not be decoded, in document order.
    pub fn into_spec(self) -> Result<S, Violations> {
        match Violations::from_vec(self.violations) {
            None => Ok(self.spec),
            Some(violations) => Err(violations),
        }
    }

    fn check<U>(
        self,
        check: impl FnOnce(S) -> Result<(U, Vec<Violation>), Violations>,
    ) -> Result<Valid<U>, Violations> {
        let mut violations = self.violations;
        if self.metadata.name.is_empty() {
            violations.push(unnamed(&self.node));
        }
        // Stores have a directory or a key for each, and tables show both.
        let Metadata {
            name, namespace, ..
        } = &self.metadata;
        let given = [("name", name), ("namespace", namespace)];
        for (field, text) in given.into_iter().filter(|(_, text)| !text.is_empty()) {
            let field = FieldPath::root("metadata").child(field);
            let place = self.node.locate(&FieldPath::default(), &field);
            for reason in kubernetes::subdomain(text) {
                let invalid = Violation::new(field.clone(), ViolationKind::Invalid, reason);
                violations.push(invalid.at(place));
            }
        }
        let decoded = Decoded::from_parts(self.spec, violations, &self.node);
        let (spec, found) = decoded.and_then(check)?;
        let mut warnings = self.warnings;
        warnings.extend(found.into_iter().map(|warning| {
            let place = self.node.locate(&FieldPath::default(), &warning.field);
            warning.at(place)
        }));
        warnings.sort_by_key(|warning| warning.span);
        Ok(Valid {
            metadata: self.metadata,
            spec,
            warnings,
        })
    }
}

/// That a document has no name; snippets without one can still be read.
fn unnamed(root: &Node) -> Violation {
    let field = FieldPath::root("metadata").child("name");
    let place = root.locate(&FieldPath::default(), &field);
    Violation::new(field, ViolationKind::Required, "must be set").at(place)
}

impl Resource<()> {
    fn other(node: Zeroizing<Node>) -> Self {
        let metadata = decode(&node, FieldPath::default(), Strictness::Lenient, |root| {
            root.object(|fields| Metadata::fields(fields, ""))
        });
        // Whatever is wrong here is not ours to judge.
        let (metadata, ..) = metadata.into_parts();
        Self {
            metadata: metadata.unwrap_or_default(),
            node,
            spec: (),
            violations: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl Resource<CertificateSpec> {
    /// Checks the specification; see [`CertificateSpec::validate`].
    ///
    /// # Errors
    ///
    /// Every violation of decoding and of the rules, with its place, in document order.
    pub fn validate(self, defaults: &Defaults) -> Result<Valid<ValidatedSpec>, Violations> {
        self.check(|spec| {
            let spec = spec.validate(defaults)?;
            let warnings = spec.warnings().to_vec();
            Ok((spec, warnings))
        })
    }
}

impl Resource<CertificateRequestSpec> {
    /// Checks the specification; see [`CertificateRequestSpec::validate`].
    ///
    /// # Errors
    ///
    /// Every violation of decoding and of the rules, with its place, in document order.
    pub fn validate(self, defaults: &Defaults) -> Result<Valid<CertificateRequest>, Violations> {
        self.check(|spec| Ok((spec.validate(defaults)?, Vec::new())))
    }
}

impl Resource<RawIssuerSpec> {
    /// Checks the specification; see [`RawIssuerSpec::validate`].
    ///
    /// # Errors
    ///
    /// Every violation of decoding and of the rules, with its place, in document order.
    pub fn validate(self) -> Result<Valid<IssuerSpec>, Violations> {
        self.check(|spec| Ok((spec.validate()?, Vec::new())))
    }
}

impl Metadata {
    /// Reads `apiVersion`, `kind` and `metadata`; another version than `supported` is a violation.
    fn fields(fields: &mut Fields<'_>, supported: &str) -> Self {
        let api_version = fields.text("apiVersion").unwrap_or_default();
        if !supported.is_empty() && api_version != supported {
            fields.report_strict(
                "apiVersion",
                ViolationKind::NotSupported,
                format!("{api_version:?} is not supported; write {supported}"),
            );
        }
        let kind = fields.text("kind").unwrap_or_default();
        let metadata = fields.object("metadata", |metadata| {
            let read = Self {
                name: metadata.text("name").unwrap_or_default(),
                namespace: metadata.text("namespace").unwrap_or_default(),
                labels: metadata.text_map("labels"),
                annotations: metadata.text_map("annotations"),
                created: metadata
                    .text("creationTimestamp")
                    .and_then(|text| crate::instant::parse(&text)),
                ..Self::default()
            };
            // What the API server writes, such as uid, is none of our business.
            metadata.ignore_rest();
            read
        });
        let metadata = metadata.unwrap_or_default();
        Self {
            api_version,
            kind,
            ..metadata
        }
    }
}

/// Why a document could not be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is not a document.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// It is a Secret or a List with something wrong in it.
    #[error(transparent)]
    Violations(#[from] Violations),
}

impl fmt::Debug for Metadata {
    /// Of annotations their sizes only: `kubectl apply` keeps the whole object in one, passwords included.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |(key, value): (&String, &String)| format!("{key}: {} bytes", value.len());
        let annotations: Vec<String> = self.annotations.iter().map(size).collect();
        f.debug_struct("Metadata")
            .field("api_version", &self.api_version)
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .field("labels", &self.labels)
            .field("annotations", &annotations)
            .field("created", &self.created)
            .finish()
    }
}

impl fmt::Display for Metadata {
    /// Writes `Kind namespace/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.namespace.is_empty() || !self.name.is_empty() {
            f.write_str(" ")?;
        }
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, strictness: Strictness) -> Vec<String> {
        let show = |manifest: Result<_, ManifestError>| match manifest {
            Ok(Manifest::Certificate(found)) => {
                let name = found.metadata().to_string();
                match found.validate(&Defaults::documented()) {
                    Ok(valid) => format!("{name}: {} warnings", valid.warnings.len()),
                    Err(violations) => format!("{name}: {violations}"),
                }
            }
            Ok(Manifest::Issuer(found) | Manifest::ClusterIssuer(found)) => {
                let name = found.metadata().to_string();
                match found.validate() {
                    Ok(valid) => format!("{name}: {:?}", valid.spec),
                    Err(violations) => format!("{name}: {violations}"),
                }
            }
            Ok(Manifest::CertificateRequest(found)) => found.metadata().to_string(),
            Ok(Manifest::Secret(secret)) => format!("{secret:?}"),
            Ok(Manifest::Other(other)) => other.metadata().to_string(),
            Err(error) => error.to_string(),
        };
        let manifests = read(text, Format::Yaml, strictness);
        manifests.into_iter().map(show).collect()
    }

    #[test]
    fn a_known_kind_without_its_version_is_not_passed_over() {
        let text = "kind: Certificate\nmetadata: {name: a}\nspec: {}\n";
        let strict = lines(text, Strictness::Strict).remove(0);
        assert!(
            strict.contains("apiVersion: \"\" is not supported; write cert-manager.io/v1"),
            "{strict}"
        );
        let lenient = lines(text, Strictness::Lenient).remove(0);
        assert!(!lenient.contains("apiVersion"), "{lenient}");
    }

    #[test]
    fn names_and_namespaces_are_what_kubernetes_allows() {
        for (text, is_one) in [("a", true), ("a-1", true), ("a/b", false), ("..", false)] {
            for (name, namespace) in [("x", text), (text, "x")] {
                let text = format!(
                    "apiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {{name: '{name}', namespace: '{namespace}'}}\nspec: {{selfSigned: {{}}}}\n"
                );
                let read = read(&text, Format::Yaml, Strictness::Strict).remove(0);
                let Ok(Manifest::Issuer(issuer)) = read else {
                    panic!("{text}: {read:?}");
                };
                assert_eq!(issuer.validate().is_ok(), is_one, "{text}");
            }
        }
    }

    #[test]
    fn a_stream_of_many_kinds() {
        let text = "\
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: root, namespace: pki}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: none}
spec: {}
---
kind: [
---
apiVersion: v1
kind: List
items:
- apiVersion: cert-manager.io/v1
  kind: Certificate
  metadata: {namespace: a}
  spec:
    secretName: x
    duration: 90d
    dnsNames: a.example.com
    jks: {}
- apiVersion: v1
  kind: Service
  metadata: {name: web}
";
        assert_eq!(
            lines(text, Strictness::Strict),
            [
                "Issuer pki/root: SelfSigned(SelfSignedIssuer { crl_distribution_points: [] })",
                "ClusterIssuer none: 9:7: spec: has no configuration; write acme, ca or selfSigned",
                "11:8: while parsing a node, did not find expected node content",
                "Certificate a/: 18:13: metadata.name: must be set\n\
                 20:5: spec.issuerRef.name: must name the issuer that signs\n\
                 20:5: spec: names nothing; set at least one of commonName, dnsNames, uris, emailAddresses, ipAddresses and otherNames\n\
                 21:15: spec.duration: \"90d\": unit \"d\" at byte 2 is not one of h, m, s, ms, us, ns; write 2160h\n\
                 22:15: spec.dnsNames: expected a list, found the text \"a.example.com\"\n\
                 23:5: spec.jks: unknown field; remove it or correct its name",
                "Service web",
            ]
        );
    }

    /// As an older page of cert-manager's documentation spells it: a CA without the constraint its author believes in.
    #[test]
    fn a_misspelt_constraint_is_no_constraint_left_out() {
        let text = "\
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: ca}
spec:
  isCA: true
  secretName: ca-tls
  commonName: ca
  issuerRef: {name: self}
  nameConstraints:
    critical: true
    permitted:
      dnsDomains: [example.com]
      emailAddress: [example.com]
";
        let expected = "Certificate ca: 13:7: spec.nameConstraints.permitted.emailAddress: unknown field; did you mean emailAddresses?";
        assert_eq!(lines(text, Strictness::Strict), [expected]);
    }

    #[test]
    fn the_readme_shows_what_is_said() {
        let text = "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: web}\nspec:\n  secretName: web-tls\n  issuerRef: {name: ca}\n  duration: 90d\n  dnsNames: [web.example.com, b\u{fc}cher.example]\n";
        let said = lines(text, Strictness::Strict).remove(0);
        let said = said.strip_prefix("Certificate web: ").unwrap();
        assert!(include_str!("../README.md").contains(said), "{said}");
    }

    #[test]
    fn old_versions_and_unknown_fields_are_warnings_when_lenient() {
        let text = "\
apiVersion: cert-manager.io/v1alpha2
kind: Certificate
metadata: {name: x, uid: 1}
spec: {secretName: x, issuerRef: {name: i}, dnsNames: [a.example.com], extra: 1}
";
        assert_eq!(
            lines(text, Strictness::Lenient),
            ["Certificate x: 2 warnings"]
        );
        assert_eq!(
            lines(text, Strictness::Strict)[0].lines().next().unwrap(),
            "Certificate x: 1:13: apiVersion: \"cert-manager.io/v1alpha2\" is not supported; write cert-manager.io/v1"
        );
    }

    #[test]
    fn no_password_and_no_key_is_told() {
        let certificate = |keystore: &str| {
            format!(
                "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {{name: a}}\nspec: {{secretName: a, issuerRef: {{name: ca}}, dnsNames: [a.b], keystores: {{jks: {{create: true, {keystore}}}}}}}\n"
            )
        };
        for text in [
            certificate("password: '31337'"),
            certificate("password: 31337"),
            certificate("pasword: 31337"),
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: '31337'\n".to_owned(),
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: 31337\n".to_owned(),
            "kind: Secret\nstringData: {a: '31337'}\n".to_owned(),
            "kind: Other\nmetadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: '31337'}}\n".to_owned(),
        ] {
            for manifest in read(&text, Format::Yaml, Strictness::Strict) {
                let mut told = format!("{manifest:?}");
                if let Ok(Manifest::Certificate(found)) = manifest {
                    told += &format!("{:?}", found.validate(&Defaults::documented()));
                }
                assert!(!told.contains("31337"), "{text}: {told}");
            }
        }
    }

    #[test]
    fn the_items_of_a_list_are_not_copied() {
        let text = "kind: List\nitems: [{stringData: {tls.key: hunter2}}]\nrest: 1\n";
        let mut root = parse(text, Format::Yaml).remove(0).unwrap().root;
        let place = |node: &Node| {
            let data = node.get("stringData").unwrap();
            data.get("tls.key").unwrap().as_text().unwrap().as_ptr()
        };
        let before = place(&root.get("items").unwrap().elements()[0]);
        assert_eq!(place(&items(&mut root).unwrap()[0]), before);
        assert_eq!(root.get("items").unwrap().elements(), []);
    }

    #[test]
    fn a_list_must_list() {
        for (items, errors) in [
            ("items: 3", "3:8: items: expected a list, found an integer"),
            ("item: []", "1:1: items: must be set"),
            ("items: []", ""),
            ("items: null", ""),
        ] {
            let text = format!("apiVersion: v1\nkind: List\n{items}\n");
            let found = lines(&text, Strictness::Strict).join("\n");
            assert_eq!(found, errors, "{items}");
        }
    }

    #[test]
    fn secrets_hold_base64_or_text() {
        let text = "\
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: n}
type: kubernetes.io/tls
data:
  tls.crt: |
    aGVs
    bG8=
  tls.key: aGVsbG8=
stringData:
  tls.key: text wins
---
apiVersion: v1
kind: Secret
metadata: {}
data: {tls.crt: 'aG!s', tls.key: 123456, short: aGVsb}
stringData: {pin: 123456}
";
        assert_eq!(
            lines(text, Strictness::Strict),
            [
                "TlsSecret { namespace: \"n\", name: \"s\", tls.crt: 5 bytes, tls.key: 9 bytes, .. }",
                "15:11: metadata.name: must be set\n\
                 16:17: data[tls.crt]: is not base64: unexpected character at byte 2\n\
                 16:34: data[tls.key]: expected base64 text, found an integer\n\
                 16:49: data[short]: is not base64: its 5 characters do not form whole groups of four with '=' only at the end\n\
                 17:19: stringData[pin]: expected a text, found an integer",
            ]
        );
    }
}
