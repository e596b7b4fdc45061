//! Checks manifests: every violation with its line and a caret, warnings apart.
//!
//! ```text
//! cargo run -p certwright-cert-model --features documents,windows --example validate -- [--json] [--lenient] PATH...
//! ```
//!
//! A path is a file, or a folder whose `.yaml`, `.yml`, `.json` and `.toml` files are read. Documents
//! of other kinds than Certificate, CertificateRequest, Issuer and ClusterIssuer are named and not
//! checked. The exit code is 0 if there are at most warnings, 2 otherwise.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use certwright_cert_model::document::{Entry, Format, Kind, Node, Strictness};
use certwright_cert_model::manifest::{self, ManifestError, Resource, Valid};
use certwright_cert_model::{Defaults, Manifest, RawIssuerSpec, Span, Violation, Violations};

fn main() -> ExitCode {
    let (mut json, mut strictness, mut paths) = (false, Strictness::Strict, Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => json = true,
            "--lenient" => strictness = Strictness::Lenient,
            option if option.starts_with("--") => return usage(),
            path => paths.push(PathBuf::from(path)),
        }
    }
    if paths.is_empty() {
        return usage();
    }
    let mut findings = Vec::new();
    for path in &paths {
        if let Err(error) = check_path(path, true, strictness, &mut findings) {
            findings.push(Finding::file(path, error.to_string()));
        }
    }
    let errors = findings.iter().filter(|finding| !finding.warning).count();
    if json {
        println!("{}", list(findings.iter().map(Finding::to_node)).to_json());
    } else {
        for finding in &findings {
            print!("{finding}");
        }
        let count =
            |number: usize, what| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let warnings = findings.len() - errors;
        println!(
            "{}, {}",
            count(errors, "violation"),
            count(warnings, "warning")
        );
    }
    ExitCode::from(if errors > 0 { 2 } else { 0 })
}

fn usage() -> ExitCode {
    eprintln!("usage: validate [--json] [--lenient] PATH...");
    ExitCode::from(2)
}

/// One thing to say about a place in a file.
struct Finding {
    file: String,
    resource: String,
    warning: bool,
    span: Option<Span>,
    field: String,
    message: String,
    line: String,
}

fn check_path(
    path: &Path,
    named: bool,
    strictness: Strictness,
    findings: &mut Vec<Finding>,
) -> io::Result<()> {
    if path.is_dir() {
        let mut entries: Vec<_> = std::fs::read_dir(path)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            check_path(&entry.path(), false, strictness, findings)?;
        }
        return Ok(());
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    let Some(format) = extension.and_then(Format::from_extension) else {
        if named {
            std::fs::metadata(path)?;
            return Err(io::Error::other("not a .yaml, .yml, .json or .toml file"));
        }
        return Ok(());
    };
    check_text(
        path,
        &std::fs::read_to_string(path)?,
        format,
        strictness,
        findings,
    );
    Ok(())
}

fn check_text(
    path: &Path,
    text: &str,
    format: Format,
    strictness: Strictness,
    findings: &mut Vec<Finding>,
) {
    let defaults = Defaults::documented();
    for document in manifest::read(text, format, strictness) {
        let (resource, violations, warnings) = match document {
            Ok(Manifest::Certificate(found)) => judge(*found, |found| found.validate(&defaults)),
            Ok(Manifest::CertificateRequest(found)) => {
                judge(*found, |found| found.validate(&defaults))
            }
            Ok(Manifest::Issuer(found) | Manifest::ClusterIssuer(found)) => {
                judge(found, Resource::<RawIssuerSpec>::validate)
            }
            Ok(other) => {
                let what = match other {
                    Manifest::Other(other) => other.metadata().to_string(),
                    Manifest::Secret(secret) => {
                        format!("Secret {}/{}", secret.namespace, secret.name)
                    }
                    _ => "a document of another kind".to_owned(),
                };
                let message = format!("{what} is not checked here");
                findings.push(Finding {
                    warning: true,
                    ..Finding::file(path, message)
                });
                continue;
            }
            Err(ManifestError::Violations(found)) => (String::new(), found.into_vec(), Vec::new()),
            Err(ManifestError::Syntax(error)) => {
                let message = error.kind.to_string();
                findings.push(Finding::at(path, text, Some(error.span), &message));
                continue;
            }
            Err(error) => {
                findings.push(Finding::file(path, error.to_string()));
                continue;
            }
        };
        for (found, warning) in [(violations, false), (warnings, true)] {
            findings.extend(found.iter().map(|violation| Finding {
                resource: resource.clone(),
                warning,
                field: violation.field.to_string(),
                ..Finding::at(path, text, violation.span, &violation.message)
            }));
        }
    }
}

/// A resource's name, its violations and its warnings.
fn judge<S, T>(
    found: Resource<S>,
    validate: impl FnOnce(Resource<S>) -> Result<Valid<T>, Violations>,
) -> (String, Vec<Violation>, Vec<Violation>) {
    let name = found.metadata().to_string();
    let early = found.warnings().to_vec();
    match validate(found) {
        Ok(valid) => (name, Vec::new(), valid.warnings),
        Err(violations) => (name, violations.into_vec(), early),
    }
}

impl Finding {
    fn at(path: &Path, text: &str, span: Option<Span>, message: &str) -> Self {
        let line = span.and_then(|span| text.lines().nth(span.line.saturating_sub(1)));
        Self {
            span,
            line: line.unwrap_or_default().to_owned(),
            ..Self::file(path, message.to_owned())
        }
    }

    fn file(path: &Path, message: String) -> Self {
        Self {
            file: path.display().to_string(),
            resource: String::new(),
            warning: false,
            span: None,
            field: String::new(),
            message,
            line: String::new(),
        }
    }

    fn severity(&self) -> &'static str {
        if self.warning { "warning" } else { "error" }
    }

    fn to_node(&self) -> Node {
        let text = |text: &str| node(Kind::Text(text.to_owned()));
        let number = |number: Option<usize>| {
            let number = number.and_then(|number| i64::try_from(number).ok());
            node(number.map_or(Kind::Null, Kind::Int))
        };
        let entries = [
            ("file", text(&self.file)),
            ("line", number(self.span.map(|span| span.line))),
            ("column", number(self.span.map(|span| span.column))),
            ("severity", text(self.severity())),
            ("resource", text(self.resource.trim())),
            ("field", text(&self.field)),
            ("message", text(&self.message)),
        ];
        let entries = entries.into_iter();
        node(Kind::Map(
            entries
                .map(|(key, value)| Entry::new(key, NOWHERE, value))
                .collect(),
        ))
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let separator = if self.field.is_empty() { "" } else { ": " };
        writeln!(
            f,
            "{}: {}{separator}{}",
            self.severity(),
            self.field,
            self.message
        )?;
        let Some(span) = self.span else {
            return writeln!(f, "  --> {}\n", self.file);
        };
        let resource = self.resource.trim();
        let resource = if resource.is_empty() {
            String::new()
        } else {
            format!(" ({resource})")
        };
        writeln!(f, "  --> {}:{span}{resource}", self.file)?;
        let number = span.line.to_string();
        let margin = number.len();
        // A tab is one column here and several on the screen: keep it in front of the caret.
        let indent = self.line.chars().take(span.column - 1);
        let indent: String = indent.map(|c| if c == '\t' { c } else { ' ' }).collect();
        writeln!(
            f,
            "{:margin$} |\n{number} | {}\n{:margin$} | {indent}^\n",
            "", self.line, ""
        )
    }
}

const NOWHERE: Span = Span { line: 1, column: 1 };

fn node(kind: Kind) -> Node {
    Node::new(kind, NOWHERE)
}

fn list(elements: impl Iterator<Item = Node>) -> Node {
    node(Kind::List(elements.collect()))
}
