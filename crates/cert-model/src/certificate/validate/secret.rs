use std::collections::HashSet;

use crate::certificate::{OutputFormatSpec, SecretTemplateSpec};
use crate::kubernetes;
use crate::output::{OutputFormat, SecretTemplate};
use crate::report::{Report, spec};
use crate::violation::ViolationKind;

/// The most bytes that the annotations of one object may have together.
const MAX_ANNOTATIONS: usize = 256 * 1024;

pub(super) fn check_name(report: &mut Report, name: &str) {
    if name.is_empty() {
        report.violation(
            spec("secretName"),
            ViolationKind::Required,
            "must name the Secret that holds the certificate",
        );
        return;
    }
    for reason in kubernetes::subdomain(name) {
        report.invalid(spec("secretName"), format!("{name:?}: {reason}"));
    }
}

pub(super) fn template(
    report: &mut Report,
    template: Option<SecretTemplateSpec>,
) -> SecretTemplate {
    let template = template.unwrap_or_default();
    let field = |name: &str| spec("secretTemplate").child(name);
    let mut size = 0;
    for (key, value) in &template.annotations {
        size += key.len() + value.len();
        if key.starts_with("cert-manager.io/") && key != "cert-manager.io/allow-direct-injection" {
            report.invalid(
                field("annotations"),
                format!(
                    "{key:?}: annotations below cert-manager.io/ are written by the issuer itself"
                ),
            );
        }
        // The API server compares keys of annotations without regard to case.
        check_key(report, "annotations", key, &key.to_lowercase());
    }
    if size > MAX_ANNOTATIONS {
        report.violation(
            field("annotations"),
            ViolationKind::TooLong,
            format!("the annotations have {size} bytes, more than {MAX_ANNOTATIONS}"),
        );
    }
    for (key, value) in &template.labels {
        if key.starts_with("controller.cert-manager.io/") {
            report.invalid(
                field("labels"),
                format!("{key:?}: labels below controller.cert-manager.io/ are written by the controller itself"),
            );
        }
        check_key(report, "labels", key, key);
        for reason in kubernetes::label_value(value) {
            report.invalid(field("labels"), format!("{value:?}: {reason}"));
        }
    }
    SecretTemplate {
        annotations: template.annotations,
        labels: template.labels,
    }
}

fn check_key(report: &mut Report, field: &str, key: &str, folded: &str) {
    for reason in kubernetes::qualified_name(folded) {
        let field = spec("secretTemplate").child(field);
        report.invalid(field, format!("{key:?}: {reason}"));
    }
}

pub(super) fn outputs(report: &mut Report, formats: &[OutputFormatSpec]) -> Vec<OutputFormat> {
    let field = || spec("additionalOutputFormats");
    let mut outputs = Vec::new();
    let mut known = HashSet::new();
    for (index, format) in formats.iter().enumerate() {
        let name = format.r#type.as_str();
        if !known.insert(name) {
            report.violation(
                field().key("type"),
                ViolationKind::Duplicate,
                format!("{name:?} is listed twice; remove one of the two"),
            );
            continue;
        }
        match name {
            "CombinedPEM" => outputs.push(OutputFormat::CombinedPem),
            "DER" => outputs.push(OutputFormat::Der),
            _ => report.violation(
                field().index(index).child("type"),
                ViolationKind::NotSupported,
                format!("{name:?} is not supported; write CombinedPEM or DER"),
            ),
        }
    }
    outputs
}
