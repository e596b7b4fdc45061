//! Kinds about verifying peers: X509-SVIDs, peer names, bundles, Traefik's ServersTransport.

mod bundle;
mod document;
mod go;
mod handshake;
mod peer;
mod pki;
mod svid;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use serde_json::Value;

use super::{Case, Verdict};

pub(super) fn judge(case: &Case) -> Verdict {
    let verdict = match case.kind.as_str() {
        "authorize" => svid::authorize(case),
        "bundle-parse" => bundle::parse(case),
        "peer-cert-uri" => peer::traefik(case),
        "peer-uri" => peer::uri(case),
        "servers-transport-parse" => document::parse(case),
        "spiffe" => svid::traefik(case),
        "svid-verify" => svid::verify(case),
        _ => return Verdict::Unsupported,
    };
    verdict.unwrap_or_else(|| Verdict::Failed("the case's input cannot be read".to_owned()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A list of texts; none is an empty list.
fn texts(list: &Value) -> Option<Vec<String>> {
    match list {
        Value::Null => Some(Vec::new()),
        list => list
            .as_array()?
            .iter()
            .map(|text| text.as_str().map(str::to_owned))
            .collect(),
    }
}
