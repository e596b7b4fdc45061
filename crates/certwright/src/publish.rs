//! From stored Secrets to what handshakes read.

use certwright_cert_model::TlsSecret;
use certwright_sni_store::{CertStore, PairLoader, PemPair, Report};
use rustls::sign::CertifiedKey;

use crate::inventory::ResourceName;

/// Replaces what `store` serves by these Secrets, as one new generation.
///
/// An entry's id is `namespace/secret`. A Secret that cannot be served is in the report, and what was served under
/// its id stays; an unchanged one is not read again.
pub fn publish<'a>(
    store: &CertStore<CertifiedKey>,
    loader: &PairLoader,
    secrets: impl IntoIterator<Item = &'a TlsSecret>,
) -> Report {
    let pairs = secrets.into_iter().map(|secret| {
        let id = ResourceName::new(&secret.namespace, &secret.name).to_string();
        (id, PemPair::of_secret(secret))
    });
    store.replace_all(loader.load_all(store, pairs))
}
