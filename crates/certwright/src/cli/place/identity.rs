//! As whom etcd is asked: a client certificate in two files, which somebody renews.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::read;

/// Reads both files for every new connection: those are few. While the files do not go together, what they held last
/// counts.
#[derive(Debug)]
pub(super) struct Identity {
    chain: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    last: Mutex<Arc<CertifiedKey>>,
}

impl Identity {
    pub(super) fn new(
        chain: &Path,
        key: &Path,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Box<dyn Error>> {
        let last = Mutex::new(Arc::new(load(chain, key, &provider)?));
        let (chain, key) = (chain.to_owned(), key.to_owned());
        Ok(Self {
            chain,
            key,
            provider,
            last,
        })
    }
}

fn load(
    chain: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Box<dyn Error>> {
    let wrong = |path: &Path, error: &dyn Error| format!("{}: {error}", path.display());
    let certificates = CertificateDer::pem_slice_iter(read(chain)?.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(chain, &error))?;
    let text = Zeroizing::new(read(key)?);
    let private = PrivateKeyDer::from_pem_slice(text.as_bytes());
    let private = private.map_err(|error| wrong(key, &error))?;
    let certified = CertifiedKey::from_der(certificates, private, provider);
    Ok(certified.map_err(|error| wrong(chain, &error))?)
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let now = load(&self.chain, &self.key, &self.provider);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match now {
            Ok(now) => *last = Arc::new(now),
            Err(error) => tracing::warn!(%error, "client certificate for etcd not read again"),
        }
        last.key.choose_scheme(schemes)?;
        Some(Arc::clone(&last))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use certwright::{Documents, Manager, ResourceName};
    use certwright_cert_model::document::Format;
    use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
    use time::macros::datetime;

    use super::*;

    const MANIFESTS: &str = "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self, namespace: ns}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: ns}
spec: {secretName: web, commonName: web, privateKey: {algorithm: ECDSA}, issuerRef: {name: self}}
";

    /// Chain and key.
    fn pair() -> [Vec<u8>; 2] {
        let mut documents = Documents::default();
        documents.read("test", MANIFESTS, Format::Yaml);
        let mut manager = Manager::new(documents.inventory, []);
        manager.reconcile(datetime!(2026-03-01 12:00 UTC));
        let secret = manager.secret(&ResourceName::new("ns", "web")).unwrap();
        [TLS_CRT, TLS_KEY].map(|key| secret.get(key).unwrap().to_vec())
    }

    #[test]
    fn a_certificate_that_is_renewed_is_shown_to_the_next_connection() {
        let home = tempfile::tempdir().unwrap();
        let (chain, key) = (home.path().join("crt"), home.path().join("key"));
        let ([old, old_key], [new, new_key]) = (pair(), pair());
        let write = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).unwrap();
        write(&chain, &old);
        write(&key, &old_key);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let identity = Identity::new(&chain, &key, provider).unwrap();
        let shown = || {
            let shown = identity.resolve(&[], &[SignatureScheme::ECDSA_NISTP256_SHA256]);
            shown.unwrap().cert[0].clone()
        };
        let der = |pem: &[u8]| CertificateDer::from_pem_slice(pem).unwrap();
        assert_eq!(shown(), der(&old));
        write(&chain, &new);
        assert_eq!(shown(), der(&old), "the key is the old one still");
        write(&key, &new_key);
        assert_eq!(shown(), der(&new));
        std::fs::remove_file(&key).unwrap();
        assert_eq!(shown(), der(&new));
        assert!(identity.resolve(&[], &[SignatureScheme::ED25519]).is_none());
    }
}
