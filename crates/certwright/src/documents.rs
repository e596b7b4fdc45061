//! Manifests from texts, files and directories into an [`Inventory`]; what is wrong with one document keeps no other.

mod problem;
mod route;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::manifest::{self, ManifestError, Metadata, Resource};
use certwright_cert_model::violation::{FieldPath, Violation, ViolationKind, Violations};
use certwright_cert_model::{Defaults, Manifest, TlsSecret};

pub use self::problem::{Problem, ProblemKind};
pub use self::route::{Route, RouteTls};
use crate::inventory::{Inventory, InventoryError, Object, ResourceName};

/// Everything that documents ask for, and what is wrong with them.
///
/// ```
/// use certwright::Documents;
/// use certwright_cert_model::document::Format;
///
/// let mut documents = Documents::default();
/// documents.read("ca.yaml", "
/// apiVersion: cert-manager.io/v1
/// kind: Issuer
/// metadata: {name: self}
/// spec: {selfSigned: {}}
/// ---
/// a: [
/// ", Format::Yaml);
/// assert_eq!(documents.inventory.issuer_count(), 1);
/// assert!(documents.problems[0].to_string().starts_with("ca.yaml:"));
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Documents {
    /// The Certificates and issuers in which nothing is wrong, those of annotated Ingresses among them.
    pub inventory: Inventory,
    /// The Secrets, such as CAs made elsewhere and passwords of keystores.
    pub secrets: Vec<TlsSecret>,
    /// The Ingresses and Traefik's IngressRoutes.
    pub routes: Vec<Route>,
    /// Documents of other kinds, with their origin.
    pub others: Vec<(String, Resource<()>)>,
    /// What is worth a look but not wrong.
    pub warnings: Vec<Problem>,
    /// What is wrong; the documents it is about are not among the others.
    pub problems: Vec<Problem>,
    /// What absent fields mean.
    pub defaults: Defaults,
}

impl Documents {
    /// Nothing yet; see [`Inventory::new`] about the namespace.
    pub fn new(cluster_namespace: impl Into<String>, defaults: Defaults) -> Self {
        Self {
            inventory: Inventory::new(cluster_namespace),
            defaults,
            ..Self::default()
        }
    }

    /// Reads files, and all files below directories that have a format's extension, in the order of their names. A
    /// named file without one is YAML. How many files there were.
    pub fn read_paths<P: AsRef<Path>>(&mut self, paths: impl IntoIterator<Item = P>) -> usize {
        let files = Files::below(paths, &mut self.problems);
        for (file, format) in &files {
            self.read_file(file, *format);
        }
        files.len()
    }

    pub(crate) fn read_file(&mut self, file: &Path, format: Format) {
        let origin = file.display().to_string();
        match fs::read(file) {
            Ok(bytes) => self.read_bytes(&origin, &bytes, format),
            Err(error) => self.problem(&origin, ProblemKind::Io(error)),
        }
    }

    pub(crate) fn read_bytes(&mut self, origin: &str, bytes: &[u8], format: Format) {
        match core::str::from_utf8(bytes) {
            Ok(text) => self.read(origin, text, format),
            Err(error) => {
                let valid = &bytes[..error.valid_up_to()];
                let line = valid.split(|byte| *byte == b'\n').count();
                self.problem(origin, ProblemKind::NotUtf8 { line });
            }
        }
    }

    /// Reads the documents of a text; `origin` stands before everything that is told about them.
    pub fn read(&mut self, origin: &str, text: &str, format: Format) {
        for manifest in manifest::read(text, format, Strictness::Strict) {
            self.add(origin, manifest);
        }
    }

    /// The Secrets that Ingresses and IngressRoutes serve, each once.
    pub fn served(&self) -> Vec<ResourceName> {
        let routes = self.routes.iter().flat_map(|route| &route.tls);
        let mut served: Vec<_> = routes.filter_map(|tls| tls.secret.clone()).collect();
        served.sort_unstable();
        served.dedup();
        served
    }

    fn add(&mut self, origin: &str, manifest: Result<Manifest, ManifestError>) {
        match manifest {
            Err(ManifestError::Violations(violations)) => self.violations(origin, &violations),
            Err(error) => self.problem(origin, ProblemKind::Manifest(error)),
            Ok(Manifest::Certificate(certificate)) => match certificate.validate(&self.defaults) {
                Err(violations) => self.violations(origin, &violations),
                Ok(valid) => {
                    self.warn(origin, &valid.warnings);
                    let name = name(&valid.metadata);
                    if wants_temporary(&valid.metadata) {
                        self.inventory.issue_temporary(name.clone());
                    }
                    self.made(Object::Certificate(name.clone()), &valid.metadata);
                    let added = self.inventory.add_certificate(name, valid.spec);
                    self.added(origin, added);
                }
            },
            Ok(Manifest::Issuer(issuer)) => match issuer.validate() {
                Err(violations) => self.violations(origin, &violations),
                Ok(valid) => {
                    let name = name(&valid.metadata);
                    self.made(Object::Issuer(name.clone()), &valid.metadata);
                    let added = self.inventory.add_issuer(name, valid.spec);
                    self.added(origin, added);
                }
            },
            Ok(Manifest::ClusterIssuer(issuer)) => match issuer.validate() {
                Err(violations) => self.violations(origin, &violations),
                Ok(valid) => {
                    let name = valid.metadata.name.clone();
                    self.made(Object::ClusterIssuer(name.clone()), &valid.metadata);
                    let added = self.inventory.add_cluster_issuer(name, valid.spec);
                    self.added(origin, added);
                }
            },
            Ok(Manifest::Secret(mut secret)) => {
                secret.namespace = namespace(&secret.namespace);
                let same = |other: &TlsSecret| {
                    (&other.namespace, &other.name) == (&secret.namespace, &secret.name)
                };
                if self.secrets.iter().any(same) {
                    let name = ResourceName::new(&secret.namespace, &secret.name).to_string();
                    let kind = "Secret";
                    self.added(origin, Err(InventoryError::Repeated { kind, name }));
                } else {
                    self.secrets.push(secret);
                }
            }
            Ok(Manifest::Other(other)) => self.other(origin, other),
            // A request is made, not given.
            Ok(_) => {}
        }
    }

    fn other(&mut self, origin: &str, other: Resource<()>) {
        if other.metadata().kind.is_empty() {
            let field = FieldPath::root("kind");
            let place = other.node().locate(&FieldPath::default(), &field);
            let message = "must be set; without apiVersion and kind this is no manifest";
            let missing = Violation::new(field, ViolationKind::Required, message).at(place);
            self.problem(origin, ProblemKind::Violation(missing));
            return;
        }
        match route::read(&other) {
            None => self.others.push((origin.to_owned(), other)),
            Some(Err(violations)) => self.violations(origin, &violations),
            Some(Ok(route)) => {
                for certificate in route::certificates(&route, other.metadata()) {
                    match certificate.spec.validate(&self.defaults) {
                        Err(violations) => self.violations(origin, &violations),
                        // One that is written out has the last word.
                        Ok(spec) if self.inventory.certificate(&certificate.name).is_none() => {
                            if wants_temporary(other.metadata()) {
                                self.inventory.issue_temporary(certificate.name.clone());
                            }
                            let added = self.inventory.add_certificate(certificate.name, spec);
                            self.added(origin, added);
                        }
                        Ok(_) => {}
                    }
                }
                self.routes.push(route);
            }
        }
    }

    fn made(&mut self, object: Object, metadata: &Metadata) {
        if let Some(at) = metadata.created {
            self.inventory.made(object, at);
        }
    }

    fn added(&mut self, origin: &str, result: Result<(), InventoryError>) {
        if let Err(error) = result {
            self.problem(origin, ProblemKind::Inventory(error));
        }
    }

    fn violations(&mut self, origin: &str, violations: &Violations) {
        for violation in violations {
            self.problem(origin, ProblemKind::Violation(violation.clone()));
        }
    }

    fn problem(&mut self, origin: &str, kind: ProblemKind) {
        self.problems.push(Problem::new(origin, kind));
    }

    fn warn(&mut self, origin: &str, warnings: &[Violation]) {
        let warnings = warnings.iter().cloned().map(ProblemKind::Violation);
        self.warnings
            .extend(warnings.map(|warning| Problem::new(origin, warning)));
    }
}

/// Whether a resource's annotations ask for a temporary certificate: on a Certificate, or on an Ingress for
/// cert-manager's Ingress shim.
fn wants_temporary(metadata: &Metadata) -> bool {
    [
        "cert-manager.io/issue-temporary-certificate",
        "acme.cert-manager.io/http01-edit-in-place",
    ]
    .iter()
    .any(|key| {
        metadata
            .annotations
            .get(*key)
            .is_some_and(|value| value == "true")
    })
}

/// The files that [`Documents::read_paths`] reads.
pub(crate) struct Files<'p> {
    files: Vec<(PathBuf, Format)>,
    /// Where links led: a directory that leads back to itself is read once.
    seen: BTreeSet<PathBuf>,
    problems: &'p mut Vec<Problem>,
}

impl Files<'_> {
    /// The files below these paths, each once by whatever links it is reached, with their formats. What cannot be
    /// looked at, such as a link that leads nowhere, hides nothing beside it.
    pub(crate) fn below<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
        problems: &mut Vec<Problem>,
    ) -> Vec<(PathBuf, Format)> {
        let mut found = Files {
            files: Vec::new(),
            seen: BTreeSet::new(),
            problems,
        };
        for path in paths {
            found.collect(path.as_ref(), true);
        }
        found.files
    }

    fn collect(&mut self, path: &Path, named: bool) {
        if let Err(error) = self.try_collect(path, named) {
            let origin = path.display().to_string();
            self.problems
                .push(Problem::new(&origin, ProblemKind::Io(error)));
        }
    }

    fn try_collect(&mut self, path: &Path, named: bool) -> io::Result<()> {
        let format = if fs::metadata(path)?.is_dir() {
            None
        } else {
            let extension = path.extension().and_then(|e| e.to_str());
            let format = Format::from_extension(extension.unwrap_or_default());
            let format = format.or(named.then_some(Format::Yaml));
            if format.is_none() {
                return Ok(());
            }
            format
        };
        if !self.seen.insert(fs::canonicalize(path)?) {
            return Ok(());
        }
        if let Some(format) = format {
            self.files.push((path.to_owned(), format));
            return Ok(());
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // A kubelet keeps the versions of a mounted ConfigMap there; the links to them are read.
            if !entry.file_name().to_string_lossy().starts_with("..") {
                paths.push(entry.path());
            }
        }
        paths.sort();
        for path in paths {
            self.collect(&path, false);
        }
        Ok(())
    }
}

fn name(metadata: &Metadata) -> ResourceName {
    ResourceName::new(namespace(&metadata.namespace), &metadata.name)
}

/// The namespace a resource is in: `default` if it names none.
fn namespace(written: &str) -> String {
    match written {
        "" => "default".to_owned(),
        namespace => namespace.to_owned(),
    }
}
