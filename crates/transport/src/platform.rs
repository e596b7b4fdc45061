//! The roots of the machine, for transports that name none.

use crate::roots::{Roots, RootsError};

/// What the machine trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlatformRoots {
    /// The roots that can be used: give them to [`Material::system_roots`](crate::Material::system_roots).
    pub roots: Roots,
    /// What was found but cannot be used, each with why.
    pub skipped: Vec<String>,
}

/// Reads the machine's store of roots, or the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
///
/// # Errors
///
/// There is none that can be used.
pub fn roots() -> Result<PlatformRoots, RootsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut skipped: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    let mut usable = Vec::with_capacity(found.certs.len());
    for certificate in found.certs {
        match Roots::from_der([certificate.clone()]) {
            Ok(_) => usable.push(certificate),
            Err(error) => skipped.push(error.to_string()),
        }
    }
    let roots = Roots::from_der(usable)?;
    Ok(PlatformRoots { roots, skipped })
}
