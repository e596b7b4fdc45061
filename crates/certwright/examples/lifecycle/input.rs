//! Manifests from files and directories into an inventory, with every mistake placed.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use certwright::{Inventory, ResourceName};
use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::manifest::{self, ManifestError, Metadata};
use certwright_cert_model::violation::{FieldPath, Violation, ViolationKind, Violations};
use certwright_cert_model::{Defaults, Manifest, TlsSecret};
use certwright_transport::ServersTransport;

/// Everything the manifests ask for.
#[derive(Default)]
pub(crate) struct Input {
    pub(crate) files: usize,
    pub(crate) inventory: Inventory,
    pub(crate) secrets: Vec<TlsSecret>,
    pub(crate) transports: Vec<(ResourceName, ServersTransport)>,
    pub(crate) ignored: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) problems: Vec<String>,
}

/// Reads manifests from files, and from all files below directories that have a format's extension.
pub(crate) fn read(paths: &[PathBuf]) -> Input {
    let mut input = Input {
        inventory: Inventory::new("cert-manager"),
        ..Input::default()
    };
    let mut files = Vec::new();
    for path in paths {
        if let Err(problem) = collect(path, true, &mut files) {
            input.problems.push(problem);
        }
    }
    for (file, format) in files {
        input.files += 1;
        match text(&file) {
            Err(problem) => input.problems.push(problem),
            Ok(text) => {
                for manifest in manifest::read(&text, format, Strictness::Strict) {
                    input.add(&file, manifest);
                }
            }
        }
    }
    if input.problems.is_empty() && input.inventory.certificates().len() == 0 {
        let nothing = "there is no Certificate in the manifests, so there is nothing to do";
        input.problems.push(nothing.to_owned());
    }
    input
}

/// The text of a file, or what is wrong with it.
fn text(file: &Path) -> Result<String, String> {
    let bytes = fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        format!("{}:{line}: is not UTF-8; save it as UTF-8", file.display())
    })
}

fn collect(path: &Path, named: bool, files: &mut Vec<(PathBuf, Format)>) -> Result<(), String> {
    let placed = |e: io::Error| format!("{}: {e}", path.display());
    if fs::metadata(path).map_err(placed)?.is_dir() {
        let entries: io::Result<Vec<_>> = fs::read_dir(path).map_err(placed)?.collect();
        let mut entries: Vec<_> = entries
            .map_err(placed)?
            .iter()
            .map(fs::DirEntry::path)
            .collect();
        entries.sort();
        for entry in entries {
            collect(&entry, false, files)?;
        }
        return Ok(());
    }
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    match Format::from_extension(extension) {
        Some(format) => files.push((path.to_owned(), format)),
        None if named => files.push((path.to_owned(), Format::Yaml)),
        None => {}
    }
    Ok(())
}

impl Input {
    fn add(&mut self, file: &Path, manifest: Result<Manifest, ManifestError>) {
        match manifest {
            Err(ManifestError::Violations(violations)) => self.violations(file, &violations),
            Err(error) => self.problems.push(format!("{}:{error}", file.display())),
            Ok(Manifest::Certificate(certificate)) => {
                match certificate.validate(&Defaults::documented()) {
                    Err(violations) => self.violations(file, &violations),
                    Ok(valid) => {
                        self.warn(file, &valid.warnings);
                        let added = self
                            .inventory
                            .add_certificate(name(&valid.metadata), valid.spec);
                        self.added(file, added);
                    }
                }
            }
            Ok(Manifest::Issuer(issuer)) => match issuer.validate() {
                Err(violations) => self.violations(file, &violations),
                Ok(valid) => {
                    let added = self.inventory.add_issuer(name(&valid.metadata), valid.spec);
                    self.added(file, added);
                }
            },
            Ok(Manifest::ClusterIssuer(issuer)) => match issuer.validate() {
                Err(violations) => self.violations(file, &violations),
                Ok(valid) => {
                    let added = self
                        .inventory
                        .add_cluster_issuer(valid.metadata.name, valid.spec);
                    self.added(file, added);
                }
            },
            Ok(Manifest::Secret(mut secret)) => {
                secret.namespace = namespace(&secret.namespace);
                let same = |other: &TlsSecret| {
                    (&other.namespace, &other.name) == (&secret.namespace, &secret.name)
                };
                if self.secrets.iter().any(same) {
                    let name = ResourceName::new(&secret.namespace, &secret.name);
                    self.repeated(file, "Secret", &name);
                }
                self.secrets.push(secret);
            }
            Ok(Manifest::Other(other)) if other.metadata().kind == "ServersTransport" => {
                let decoded = ServersTransport::decode(other.node(), Strictness::Strict);
                let checked =
                    decoded.and_then(|transport| Ok((transport.clone(), transport.validate()?)));
                match checked {
                    Err(violations) => self.violations(file, &violations),
                    Ok((transport, valid)) => {
                        let place = |w: &Violation| {
                            w.clone()
                                .at(other.node().locate(&FieldPath::default(), &w.field))
                        };
                        let placed: Vec<_> = valid.settings().warnings.iter().map(place).collect();
                        self.warn(file, &placed);
                        let name = name(other.metadata());
                        if self.transports.iter().any(|(other, _)| *other == name) {
                            self.repeated(file, "ServersTransport", &name);
                        }
                        self.transports.push((name, transport));
                    }
                }
            }
            Ok(Manifest::Other(other)) if other.metadata().kind.is_empty() => {
                let field = FieldPath::root("kind");
                let place = other.node().locate(&FieldPath::default(), &field);
                let message = "must be set; without apiVersion and kind this is no manifest";
                let missing = Violation::new(field, ViolationKind::Required, message).at(place);
                self.problems.push(format!("{}:{missing}", file.display()));
            }
            Ok(Manifest::Other(other)) => {
                let document = other.metadata();
                self.ignored.push(format!("{}: {document}", file.display()));
            }
            Ok(_) => {
                let unknown = format!("{}: a kind this program does not know", file.display());
                self.ignored.push(unknown);
            }
        }
    }

    fn added(&mut self, file: &Path, result: Result<(), impl fmt::Display>) {
        if let Err(error) = result {
            self.problems.push(format!("{}: {error}", file.display()));
        }
    }

    fn repeated(&mut self, file: &Path, kind: &str, name: &ResourceName) {
        let file = file.display();
        self.problems.push(format!(
            "{file}: {kind} {name} is defined twice; remove one"
        ));
    }

    fn violations(&mut self, file: &Path, violations: &Violations) {
        let lines = violations.iter().map(|v| format!("{}:{v}", file.display()));
        self.problems.extend(lines);
    }

    fn warn(&mut self, file: &Path, warnings: &[Violation]) {
        let lines = warnings.iter().map(|v| format!("{}:{v}", file.display()));
        self.warnings.extend(lines);
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
