//! How long PEM texts may be: cert-manager's limits, against texts made to keep a parser busy.

/// The most bytes of a private key's PEM text.
pub const PRIVATE_KEY: usize = 13_000;
/// The most bytes of one certificate's or request's PEM text.
pub const CERTIFICATE: usize = 36_500;
/// The most bytes of a certificate chain's PEM text.
pub const CHAIN: usize = 95_000;
/// The most bytes of a trust bundle's PEM text.
pub const BUNDLE: usize = 330_000;

/// A text that is longer than allowed.
pub(crate) struct TooLong {
    pub(crate) found: usize,
    pub(crate) max: usize,
}

pub(crate) fn check(text: &[u8], max: usize) -> Result<(), TooLong> {
    if text.len() > max {
        return Err(TooLong {
            found: text.len(),
            max,
        });
    }
    Ok(())
}
