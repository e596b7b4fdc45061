//! Answers to TLS-ALPN-01 on their way to handshakes.

use certwright_acme::challenge::tls_alpn01::{AlpnSink, ChallengeCertificate};
use certwright_sni_store::Challenges;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;

/// Puts the answers to TLS-ALPN-01 challenges of an engine into the map that a
/// [`Resolver`](certwright_sni_store::Resolver) answers `acme-tls/1` from.
#[derive(Clone, Debug)]
pub struct ChallengeSink(pub Challenges<CertifiedKey>);

impl AlpnSink for ChallengeSink {
    fn answer(&self, name: &str, made: ChallengeCertificate) {
        let answer = aws_lc_rs::sign::any_supported_type(&made.key)
            .map(|key| CertifiedKey::new(vec![made.certificate], key))
            .map_err(|error| error.to_string())
            .and_then(|answer| {
                let inserted = self.0.insert(name, answer);
                inserted.map_err(|error| error.to_string())
            });
        if let Err(error) = answer {
            tracing::warn!(name, error, "a challenge cannot be answered");
        }
    }

    fn forget(&self, name: &str) {
        self.0.remove(name);
    }
}
