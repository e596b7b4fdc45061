//! One copy of each intermediate certificate, however many chains end in it.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashSet;
use rustls_pki_types::CertificateDer;

/// Makes the certificate borrow from the copy all chains share, while there is room for one.
///
/// Sharing takes a `'static` borrow, hence the copies are never freed: a fleet has tens of
/// intermediates, and [`LIMIT`] bounds the rest.
pub(crate) fn intermediate(certificate: &mut CertificateDer<'static>) {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = pool.get_or_insert_with(HashSet::new);
    let shared = match pool.get(certificate.as_ref()) {
        Some(shared) => *shared,
        None if pool.len() >= LIMIT => return,
        None => {
            let shared: &'static [u8] = Box::leak(Box::from(certificate.as_ref()));
            pool.insert(shared);
            shared
        }
    };
    *certificate = CertificateDer::from(shared);
}

/// How many certificates are shared, process-wide.
pub(crate) fn shared() -> usize {
    let pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    pool.as_ref().map_or(0, HashSet::len)
}

/// Beyond it, chains keep copies of their own.
const LIMIT: usize = 4096;

static POOL: Mutex<Option<HashSet<&'static [u8]>>> = Mutex::new(None);
