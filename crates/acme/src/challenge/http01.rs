//! HTTP-01 (RFC 8555 section 8.3): the answers, for whoever listens on port 80.

#[cfg(feature = "http-server")]
mod server;

use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use certwright_storage::{Storage, StorageError};

use crate::layout;

#[cfg(feature = "http-server")]
pub use server::Http01Listener;

/// What the path of every challenge starts with.
pub const PATH: &str = "/.well-known/acme-challenge/";

/// The answers to HTTP-01 challenges of every replica on one store.
///
/// Answers of this replica come from memory, those of others from the store: what one
/// replica has promised to the CA, all can answer. A clone is another handle.
#[derive(Clone)]
pub struct Http01 {
    local: Arc<RwLock<HashMap<String, String>>>,
    storage: Arc<dyn Storage>,
}

impl Http01 {
    /// Answers of the replicas on this store.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        let local = Arc::default();
        Self { local, storage }
    }

    /// The body for a request's path (without query), to be sent with status 200 and
    /// type `application/octet-stream`; `None` if the path is not that of a challenge
    /// we know: go on with 404 or the next handler.
    ///
    /// A load balancer in front may redirect to HTTPS or to another port; the CA
    /// follows. Paths are untrusted: the store is asked for well-formed tokens only.
    ///
    /// # Errors
    /// The store cannot be read: answer with 503, the CA will ask again.
    pub async fn answer(&self, path: &str) -> Result<Option<String>, StorageError> {
        let Some(token) = path.strip_prefix(PATH).filter(|token| is_token(token)) else {
            return Ok(None);
        };
        if let Some(answer) = self.known(token) {
            return Ok(Some(answer));
        }
        let key = layout::http_token(token);
        let entry = self.storage.get(&key).await?;
        let read = |entry: certwright_storage::Entry| {
            String::from_utf8(entry.value.as_bytes().to_vec()).ok()
        };
        Ok(entry.and_then(read))
    }

    fn known(&self, token: &str) -> Option<String> {
        let local = self.local.read().unwrap_or_else(PoisonError::into_inner);
        local.get(token).cloned()
    }

    pub(crate) fn show(&self, token: &str, authorization: &str) {
        let mut local = self.local.write().unwrap_or_else(PoisonError::into_inner);
        local.insert(token.to_owned(), authorization.to_owned());
    }

    pub(crate) fn hide(&self, token: &str) {
        let mut local = self.local.write().unwrap_or_else(PoisonError::into_inner);
        local.remove(token);
    }
}

impl fmt::Debug for Http01 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http01")
    }
}

/// Whether the text may be a token: base64url of 128 bits or more (section 8.1), and no
/// longer than any CA makes one.
pub fn is_token(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (TOKEN_MIN..=TOKEN_MAX).contains(&text.len()) && text.bytes().all(letter)
}

/// 128 bits in base64url.
const TOKEN_MIN: usize = 22;
const TOKEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use certwright_storage::{MemoryStorage, Txn};

    use super::*;

    #[tokio::test]
    async fn answers_of_all_replicas() {
        let storage = MemoryStorage::default();
        let answers = Http01::new(Arc::new(storage.clone()));
        let (ours, theirs) = ("a".repeat(22), "b".repeat(43));
        answers.show(&ours, "ours");
        let put = Txn::new().put(layout::http_token(&theirs), "theirs");
        storage.txn(put).await.unwrap();
        for (path, expected) in [
            (format!("{PATH}{ours}"), Some("ours")),
            (format!("{PATH}{theirs}"), Some("theirs")),
            (format!("{PATH}{}", "c".repeat(43)), None),
            (format!("{PATH}{ours}/"), None),
            (format!("{PATH}../{ours}"), None),
            (PATH.to_owned(), None),
            (format!("/x{PATH}{ours}"), None),
            ("/".to_owned(), None),
        ] {
            let answer = answers.answer(&path).await.unwrap();
            assert_eq!(answer.as_deref(), expected, "{path}");
        }
        answers.hide(&ours);
        assert_eq!(
            answers.answer(&format!("{PATH}{ours}")).await.unwrap(),
            None
        );
    }

    #[test]
    fn tokens() {
        for (text, expected) in [
            ("x".repeat(21), false),
            ("x".repeat(22), true),
            ("-_aZ09".repeat(4), true),
            ("x".repeat(128), true),
            ("x".repeat(129), false),
            (format!("{}%", "x".repeat(22)), false),
            (format!("{}/", "x".repeat(22)), false),
            ("ü".repeat(22), false),
        ] {
            assert_eq!(is_token(&text), expected, "{text}");
        }
    }
}
