//! Manifests from files and directories: what certwright reads, and the transports.

use std::path::PathBuf;

use certwright::{Documents, ResourceName};
use certwright_cert_model::document::Strictness;
use certwright_cert_model::manifest::Resource;
use certwright_cert_model::violation::{FieldPath, Violation};
use certwright_transport::ServersTransport;

/// Everything the manifests ask for.
pub(crate) struct Input {
    pub(crate) files: usize,
    pub(crate) documents: Documents,
    pub(crate) transports: Vec<(ResourceName, ServersTransport)>,
    pub(crate) ignored: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) problems: Vec<String>,
}

/// Reads manifests from files, and from all files below directories that have a format's extension.
pub(crate) fn read(paths: &[PathBuf]) -> Input {
    let mut documents = Documents::default();
    let files = documents.read_paths(paths);
    let others = core::mem::take(&mut documents.others);
    let mut input = Input {
        files,
        transports: Vec::new(),
        ignored: Vec::new(),
        warnings: documents.warnings.iter().map(ToString::to_string).collect(),
        problems: documents.problems.iter().map(ToString::to_string).collect(),
        documents,
    };
    for (file, other) in &others {
        input.add(file, other);
    }
    if input.problems.is_empty() && input.documents.inventory.certificates().len() == 0 {
        let nothing = "there is no Certificate in the manifests, so there is nothing to do";
        input.problems.push(nothing.to_owned());
    }
    input
}

impl Input {
    fn add(&mut self, file: &str, other: &Resource<()>) {
        let metadata = other.metadata();
        if metadata.kind != "ServersTransport" {
            self.ignored.push(format!("{file}: {metadata}"));
            return;
        }
        let decoded = ServersTransport::decode(other.node(), Strictness::Strict);
        let checked = decoded.and_then(|transport| Ok((transport.clone(), transport.validate()?)));
        match checked {
            Err(violations) => {
                let lines = violations.iter().map(|v| format!("{file}:{v}"));
                self.problems.extend(lines);
            }
            Ok((transport, valid)) => {
                let placed = |w: &Violation| {
                    let place = other.node().locate(&FieldPath::default(), &w.field);
                    format!("{file}:{}", w.clone().at(place))
                };
                let warnings = &valid.settings().warnings;
                self.warnings.extend(warnings.iter().map(placed));
                let namespace = match metadata.namespace.as_str() {
                    "" => "default",
                    namespace => namespace,
                };
                let name = ResourceName::new(namespace, &metadata.name);
                if self.transports.iter().any(|(other, _)| *other == name) {
                    let repeated = "is defined twice; remove one";
                    self.problems
                        .push(format!("{file}: ServersTransport {name} {repeated}"));
                }
                self.transports.push((name, transport));
            }
        }
    }
}
