//! Manifests from files and directories into an inventory, with every mistake placed.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use certwright::{Inventory, ResourceName};
use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::manifest::{self, ManifestError, Metadata};
use certwright_cert_model::violation::{FieldPath, Violation, Violations};
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
pub(crate) fn read(paths: &[PathBuf]) -> io::Result<Input> {
    let mut input = Input {
        inventory: Inventory::new("cert-manager"),
        ..Input::default()
    };
    let mut files = Vec::new();
    for path in paths {
        collect(path, true, &mut files)?;
    }
    for (file, format) in files {
        let text = fs::read_to_string(&file)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", file.display())))?;
        input.files += 1;
        for manifest in manifest::read(&text, format, Strictness::Strict) {
            input.add(&file, manifest);
        }
    }
    Ok(input)
}

fn collect(path: &Path, named: bool, files: &mut Vec<(PathBuf, Format)>) -> io::Result<()> {
    let placed = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
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
            Ok(Manifest::Secret(secret)) => self.secrets.push(secret),
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
                        self.transports.push((name(other.metadata()), transport));
                    }
                }
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
    let namespace = match metadata.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    };
    ResourceName::new(namespace, &metadata.name)
}
