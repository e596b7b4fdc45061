//! `check`: is there anything wrong with these manifests?

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{Read as _, stdin};
use std::path::PathBuf;

use certwright::{Documents, OrderError, Problem, ProblemKind, ResourceName};
use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::issuer::IssuerSpec;
use certwright_cert_model::issuer_ref::IssuerKind;
use certwright_cert_model::manifest::Resource;
use certwright_cert_model::violation::{FieldPath, Violation, ViolationKind};
use certwright_transport::ServersTransport;
use clap::Args;
use serde_json::{Value, json};

use super::excerpt::{Listing, Remark};
use super::output::{Output, Style, count};
use super::place::Reading;
use super::{Answer, Exit};

/// Checks manifests: every mistake with its place and what to change.
///
/// Issuers of kinds that certwright does not know, documents of other kinds, and issuers and Secrets that are not among
/// the manifests are warnings.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Manifests and directories of them; - is standard input.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Takes warnings for mistakes.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    reading: Reading,
}

/// What standard input is called.
const STDIN: &str = "<stdin>";

impl Check {
    pub(crate) fn run(self, output: &mut Output) -> Answer {
        let mut texts = Texts::default();
        let mut documents = self.reading.documents();
        let mut files = 0;
        for path in &self.paths {
            if path.as_os_str() == "-" {
                files += 1;
                let mut bytes = Vec::new();
                stdin().read_to_end(&mut bytes)?;
                let text = String::from_utf8(bytes).map_err(|_| "standard input is not UTF-8")?;
                documents.read(STDIN, &text, Format::Yaml);
                texts.0.insert(STDIN.to_owned(), Some(Listing::of(&text)));
            } else {
                files += documents.read_paths([path]);
            }
        }
        let about = match self.paths.as_slice() {
            [path] if path.as_os_str() == "-" => STDIN.to_owned(),
            [path] => path.display().to_string(),
            _ => "manifests".to_owned(),
        };
        let found = Found::of(&documents, &about);
        let mistakes = found.mistakes.len() + if self.strict { found.warnings.len() } else { 0 };
        let valid = mistakes == 0;
        if output.json {
            output.document(&found.to_json(files, valid))?;
        } else {
            found.write(output, &mut texts)?;
            let inventory = &documents.inventory;
            let (certificates, issuers) =
                (inventory.certificates().len(), inventory.issuer_count());
            let counted = [
                count(files, "file"),
                count(certificates, "Certificate"),
                count(issuers, "issuer"),
                count(found.warnings.len(), "warning"),
                count(found.mistakes.len(), "mistake"),
            ];
            let verdict = match valid {
                true => output.paint(Style::Good, "valid"),
                false => output.paint(Style::Bad, "not valid"),
            };
            output.line(&format!("{verdict}: {}", counted.join(", ")))?;
        }
        Ok(if valid { Exit::Done } else { Exit::Wrong })
    }
}

fn is_empty(documents: &Documents) -> bool {
    let Documents {
        inventory,
        secrets,
        routes,
        others,
        problems,
        ..
    } = documents;
    let resources = inventory.certificates().len() + inventory.issuer_count();
    resources + secrets.len() + routes.len() + others.len() + problems.len() == 0
}

/// The texts that remarks are about, read when they are needed.
#[derive(Default)]
struct Texts(BTreeMap<String, Option<Listing>>);

impl Texts {
    fn get(&mut self, origin: &str) -> Option<&Listing> {
        let text = self.0.entry(origin.to_owned()).or_insert_with(|| {
            let bytes = fs::read(origin).ok()?;
            Some(Listing::of(&String::from_utf8_lossy(&bytes)))
        });
        text.as_ref()
    }
}

/// Everything worth telling, in the order in which it was found.
#[derive(Debug, Default)]
struct Found {
    mistakes: Vec<Remark>,
    warnings: Vec<Remark>,
}

impl Found {
    /// Of what was read at these paths.
    fn of(documents: &Documents, paths: &str) -> Self {
        let mut found = Self::default();
        for problem in &documents.problems {
            let remarks = Remark::of(problem);
            match is_unknown_issuer(problem) {
                true => found.warnings.extend(remarks),
                false => found.mistakes.extend(remarks),
            }
        }
        found
            .warnings
            .extend(documents.warnings.iter().flat_map(Remark::of));
        for (origin, other) in &documents.others {
            found.other(origin, other);
        }
        found.order(documents, paths);
        if is_empty(documents) {
            found.warnings.push(Remark {
                origin: paths.to_owned(),
                span: None,
                field: None,
                message: "there is no document to check".to_owned(),
            });
        }
        found
    }

    /// A document that is not for the manager.
    fn other(&mut self, origin: &str, other: &Resource<()>) {
        let remark = |violation: &Violation| Remark {
            origin: origin.to_owned(),
            span: violation.span,
            field: Some(violation.field.clone()),
            message: violation.message.clone(),
        };
        if other.metadata().kind != "ServersTransport" {
            let field = FieldPath::root("kind");
            self.warnings.push(Remark {
                origin: origin.to_owned(),
                span: Some(other.node().locate(&FieldPath::default(), &field)),
                field: None,
                message: format!("{} is not for certwright", other.metadata()),
            });
            return;
        }
        let decoded = ServersTransport::decode(other.node(), Strictness::Strict);
        match decoded.and_then(ServersTransport::validate) {
            Err(violations) => self.mistakes.extend(violations.iter().map(remark)),
            Ok(valid) => {
                let placed = |warning: &Violation| {
                    let span = other.node().locate(&FieldPath::default(), &warning.field);
                    remark(&warning.clone().at(span))
                };
                let warnings = valid.settings().warnings.iter().map(placed);
                self.warnings.extend(warnings);
            }
        }
    }

    /// What only shows when all documents are seen together.
    fn order(&mut self, documents: &Documents, paths: &str) {
        let remark = |message: String| Remark {
            origin: paths.to_owned(),
            span: None,
            field: None,
            message,
        };
        let given = |name: &ResourceName| {
            let mut secrets = documents.secrets.iter();
            secrets.any(|s| s.namespace == name.namespace && s.name == name.name)
        };
        for error in documents.inventory.order(given).err().into_iter().flatten() {
            let mistake = matches!(error, OrderError::Cycle { .. } | OrderError::NotCa { .. });
            match mistake {
                true => self.mistakes.push(remark(error.to_string())),
                false => self.warnings.push(remark(error.to_string())),
            }
        }
        let issuers: BTreeMap<_, _> = documents
            .inventory
            .issuers()
            .map(|(namespace, reference, spec)| ((namespace, reference.name), spec))
            .collect();
        for (name, spec) in documents.inventory.certificates() {
            let reference = spec.issuer_ref();
            let namespace = match reference.kind {
                IssuerKind::ClusterIssuer => Some(None),
                IssuerKind::Issuer => Some(Some(name.namespace.as_str())),
                IssuerKind::External { .. } => None,
            };
            let issuer = namespace.and_then(|place| issuers.get(&(place, reference.name.clone())));
            let nameless = spec.common_name().is_none() && spec.subject().is_empty();
            if let Some(IssuerSpec::SelfSigned(_)) = issuer
                && nameless
            {
                self.warnings.push(remark(format!(
                    "Certificate {name} is to sign itself and has no subject to be its own issuer; set commonName"
                )));
            }
            let Some(target) = documents.inventory.target(name) else {
                continue;
            };
            let owner = documents.inventory.owner(&target, None);
            if let Some(owner) = owner.filter(|owner| *owner != name) {
                self.warnings.push(remark(format!(
                    "Certificate {name} and {owner} keep their results in one Secret, {target}; give each its own \
                     spec.secretName"
                )));
            }
        }
    }

    fn write(&self, output: &mut Output, texts: &mut Texts) -> Result<(), Box<dyn Error>> {
        let mistakes = self.mistakes.iter().map(|remark| (remark, false));
        let warnings = self.warnings.iter().map(|remark| (remark, true));
        let mut all: Vec<_> = mistakes.chain(warnings).collect();
        // Each file's remarks from its top to its end; files stay in the order in which they were read.
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (remark, _) in &all {
            let next = places.len();
            places.entry(&remark.origin).or_insert(next);
        }
        all.sort_by_key(|(remark, _)| (places[remark.origin.as_str()], remark.span));
        for (remark, is_warning) in all {
            let place = match remark.span {
                Some(span) => format!("{}:{span}", remark.origin),
                None => remark.origin.clone(),
            };
            let kind = match is_warning {
                true => output.paint(Style::Worth, "warning"),
                false => output.paint(Style::Bad, "error"),
            };
            let place = output.paint(Style::Strong, &super::one_line(&place));
            output.line(&format!("{place}: {kind}: {}", remark.text()))?;
            let text = texts.get(&remark.origin);
            let excerpt = remark
                .span
                .zip(text)
                .and_then(|(span, text)| text.excerpt(span));
            if let Some(excerpt) = excerpt {
                let number = excerpt.number.to_string();
                let margin = " ".repeat(number.len());
                let caret = format!("{}^", " ".repeat(excerpt.indent));
                let caret = output.paint(Style::Good, &caret);
                output.line(&format!(" {number} | {}", excerpt.line))?;
                output.line(&format!(" {margin} | {caret}"))?;
            }
        }
        Ok(())
    }

    fn to_json(&self, files: usize, valid: bool) -> Value {
        let object = |remark: &Remark| {
            json!({
                "file": remark.origin,
                "line": remark.span.map(|span| span.line),
                "column": remark.span.map(|span| span.column),
                "field": remark.field.as_ref().map(ToString::to_string),
                "message": remark.message,
            })
        };
        let list = |remarks: &[Remark]| remarks.iter().map(object).collect::<Value>();
        json!({
            "kind": "CheckResult",
            "valid": valid,
            "files": files,
            "errors": list(&self.mistakes),
            "warnings": list(&self.warnings),
        })
    }
}

/// Issuers that others can use and this does not know are none of its business.
fn is_unknown_issuer(problem: &Problem) -> bool {
    let ProblemKind::Violation(violation) = &problem.kind else {
        return false;
    };
    let spec = FieldPath::root("spec");
    violation.kind == ViolationKind::NotSupported
        && [spec.child("vault"), spec.child("venafi")].contains(&violation.field)
}
