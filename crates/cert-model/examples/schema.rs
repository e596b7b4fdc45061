//! Prints the CustomResourceDefinitions of the kinds named as arguments, or of all.
//!
//! ```text
//! cargo run -p certwright-cert-model --features schema --example schema -- Certificate
//! ```

use std::process::ExitCode;

use certwright_cert_model::document::Node;
use certwright_cert_model::schema;

const KINDS: [(&str, fn() -> Node); 4] = [
    ("Certificate", schema::certificate),
    ("CertificateRequest", schema::certificate_request),
    ("ClusterIssuer", schema::cluster_issuer),
    ("Issuer", schema::issuer),
];

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    for name in &asked {
        if !KINDS.iter().any(|(kind, _)| kind == name) {
            let known = KINDS.map(|(kind, _)| kind).join(", ");
            eprintln!("{name}: no such kind; the kinds are {known}");
            return ExitCode::from(2);
        }
    }
    for (kind, make) in KINDS {
        if asked.is_empty() || asked.iter().any(|name| name == kind) {
            print!("---\n{}", make().to_yaml());
        }
    }
    ExitCode::SUCCESS
}
