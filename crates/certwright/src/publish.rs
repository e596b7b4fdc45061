//! From stored Secrets to what handshakes read.

use certwright_cert_model::TlsSecret;
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
use certwright_sni_store::{CertStore, ChangeSet, PairLoader, PemPair, Report};
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
    let mut change = ChangeSet::new();
    for secret in secrets {
        let id = ResourceName::new(&secret.namespace, &secret.name).to_string();
        let chain = secret.get(TLS_CRT).unwrap_or_default();
        let key = secret.get(TLS_KEY).unwrap_or_default();
        let pair = PemPair { chain, key };
        let served = store.entry(&id);
        let fingerprint = loader.fingerprint(pair);
        if fingerprint.is_some()
            && served.is_some_and(|entry| entry.fingerprint() == fingerprint.as_ref())
        {
            change.keep(id);
            continue;
        }
        match loader.load(id.clone(), pair) {
            Ok(entry) => change.put(entry),
            Err(error) => change.reject(id, error),
        };
    }
    store.replace_all(change)
}
