//! Prints the CustomResourceDefinitions of the kinds named as arguments, or of all.
//!
//! ```text
//! cargo run -p certwright-cert-model --features schema --example schema -- Certificate
//! ```

use std::process::ExitCode;

use certwright_cert_model::document::Node;
use certwright_cert_model::schema;

const KINDS: [&str; 4] = [
    "Certificate",
    "CertificateRequest",
    "ClusterIssuer",
    "Issuer",
];

fn main() -> ExitCode {
    let mut kinds: Vec<String> = std::env::args().skip(1).collect();
    if kinds.is_empty() {
        kinds = KINDS.map(str::to_owned).to_vec();
    }
    for kind in kinds {
        let Some(crd) = definition(&kind) else {
            eprintln!("{kind}: no such kind; the kinds are {}", KINDS.join(", "));
            return ExitCode::from(2);
        };
        print!("---\n{}", crd.to_yaml());
    }
    ExitCode::SUCCESS
}

fn definition(kind: &str) -> Option<Node> {
    Some(match kind {
        "Certificate" => schema::certificate(),
        "CertificateRequest" => schema::certificate_request(),
        "ClusterIssuer" => schema::cluster_issuer(),
        "Issuer" => schema::issuer(),
        _ => return None,
    })
}
