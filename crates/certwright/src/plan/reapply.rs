use core::str;

use certwright_cert_model::key::KeyEncoding;
use certwright_cert_model::output::OutputFormat;
use certwright_cert_model::secret::{CA_CRT, KEY_DER, TLS_COMBINED, TLS_CRT, TLS_KEY};
use certwright_cert_model::{TlsSecret, ValidatedSpec, pem};
use certwright_issuance::bundle::combined_pem;
use certwright_issuance::certificate::CertificateError;
use certwright_issuance::chain::{AssembleError, assemble};
use certwright_issuance::{Certificate, KeyError, KeyPair, SignedBundle};

use super::drift::Drift;
use super::observed::{Authority, Observed};
use crate::annotation::{self, Metadata};

/// Rewrites a Secret as its specification says, around the certificate and the key it has: what
/// [`Plan::Reapply`](super::Plan::Reapply) asks for, except for keystores, whose passwords are not known here: write
/// those afterwards, of the key and the chain that the Secret has then.
///
/// Give the same `seen` that the plan was made from. What others put on the Secret stays.
///
/// # Errors
///
/// [`ReapplyError`] if the Secret has no such key or certificate, which no plan asks to rewrite, or if the CA's
/// certificates are not above the stored one.
pub fn reapply(
    mut secret: TlsSecret,
    spec: &ValidatedSpec,
    seen: &Observed<'_>,
    what: &[Drift],
) -> Result<TlsSecret, ReapplyError> {
    let leaf = annotation::leaf(&secret).map(|leaf| annotation::digest(&leaf));
    Metadata::of(spec, spec.fingerprint(), seen.certificate, leaf).apply(&mut secret);
    if what.contains(&Drift::Chain) {
        match seen.authority {
            Authority::Chain(above) => rewrite_chain(&mut secret, above)?,
            Authority::OwnKey => rewrite_chain(&mut secret, &[])?,
            Authority::Unknown => {}
        }
    }
    if what
        .iter()
        .any(|drift| matches!(drift, Drift::KeyEncoding { .. }))
    {
        rewrite_key(&mut secret, spec.key().encoding)?;
    }
    rewrite_outputs(&mut secret, spec.outputs())?;
    Ok(secret)
}

fn rewrite_chain(secret: &mut TlsSecret, above: &[Certificate]) -> Result<(), ReapplyError> {
    let stored = secret.get(TLS_CRT).unwrap_or_default();
    let mut chain = Certificate::read_pem(stored).map_err(ReapplyError::Certificate)?;
    chain.truncate(1);
    chain.extend_from_slice(above);
    let chain = assemble(chain).map_err(ReapplyError::Chain)?;
    let bundle = SignedBundle::from_chain(&chain).ok_or(ReapplyError::NotText(TLS_CRT))?;
    secret.insert(TLS_CRT, bundle.chain_pem());
    match bundle.authority_pem() {
        Some(authority) => secret.insert(CA_CRT, authority),
        None => drop(secret.remove(CA_CRT)),
    }
    Ok(())
}

fn rewrite_key(secret: &mut TlsSecret, encoding: KeyEncoding) -> Result<(), ReapplyError> {
    let key = KeyPair::from_pem(secret.get(TLS_KEY).unwrap_or_default());
    let text = key.and_then(|key| key.to_pem(encoding));
    let text = text.map_err(ReapplyError::Key)?;
    secret.insert(TLS_KEY, text.as_bytes());
    Ok(())
}

fn rewrite_outputs(secret: &mut TlsSecret, outputs: &[OutputFormat]) -> Result<(), ReapplyError> {
    for (key, format) in [
        (TLS_COMBINED, OutputFormat::CombinedPem),
        (KEY_DER, OutputFormat::Der),
    ] {
        if !outputs.contains(&format) {
            secret.remove(key);
            continue;
        }
        match format {
            OutputFormat::CombinedPem => {
                let combined = combined_pem(text(secret, TLS_KEY)?, text(secret, TLS_CRT)?);
                secret.insert(key, combined.as_bytes());
            }
            OutputFormat::Der => {
                let blocks = pem::read(text(secret, TLS_KEY)?.as_bytes());
                let blocks = blocks.map_err(|_| ReapplyError::NotText(TLS_KEY))?;
                let block = blocks.first().ok_or(ReapplyError::NotText(TLS_KEY))?;
                let der = block.der().to_vec();
                secret.insert(key, der);
            }
        }
    }
    Ok(())
}

fn text<'s>(secret: &'s TlsSecret, key: &'static str) -> Result<&'s str, ReapplyError> {
    let bytes = secret.get(key).ok_or(ReapplyError::NotText(key))?;
    str::from_utf8(bytes).map_err(|_| ReapplyError::NotText(key))
}

/// Why a Secret cannot be rewritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReapplyError {
    /// The stored certificate cannot be read.
    #[error("the stored certificate cannot be read")]
    Certificate(#[source] CertificateError),
    /// The CA's certificates are not above the stored one.
    #[error("the CA's certificates and the stored one are no chain")]
    Chain(#[source] AssembleError),
    /// The stored key cannot be read or written.
    #[error("the stored key cannot be written in another encoding")]
    Key(#[source] KeyError),
    /// The Secret has no PEM text under this key.
    #[error("the Secret has no PEM text under {0}")]
    NotText(&'static str),
}
