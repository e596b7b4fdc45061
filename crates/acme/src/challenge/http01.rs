//! HTTP-01 (RFC 8555 section 8.3): the answers, for whoever listens on port 80.

#[cfg(feature = "http-server")]
mod places;
#[cfg(feature = "http-server")]
mod server;

use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use certwright_storage::{Storage, StorageError};

use super::others::Others;
use crate::layout::HTTP_TOKENS;
use crate::runtime::{Runtime, TokioRuntime};

#[cfg(feature = "http-server")]
pub use server::Http01Listener;

/// What the path of every challenge starts with.
pub const PATH: &str = "/.well-known/acme-challenge/";

/// The answers to HTTP-01 challenges of every replica on one store.
///
/// Answers of this replica come from memory, those of others from the store: what one
/// replica has promised to the CA, all can answer. Anybody can ask for tokens that are
/// none: all who wait share one look at the store, and between two looks there is a
/// pause, so a flood of them costs ten reads a second, and nobody who asks for a real one
/// waits for more than two of them. A clone is another handle.
#[derive(Clone)]
pub struct Http01 {
    local: Arc<RwLock<HashMap<String, String>>>,
    others: Arc<Others>,
    thumbprint: Option<Arc<str>>,
}

impl Http01 {
    /// Answers of the replicas on this store.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self::with_runtime(storage, Arc::new(TokioRuntime))
    }

    /// Answers of the replicas on this store, by another clock.
    pub fn with_runtime(storage: Arc<dyn Storage>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            local: Arc::default(),
            others: Arc::new(Others::new(storage, runtime, HTTP_TOKENS, LIMIT)),
            thumbprint: None,
        }
    }

    /// Answers every well-formed token with the thumbprint of this account
    /// ([`AccountKey::thumbprint`](crate::account::AccountKey::thumbprint)), without
    /// asking the store: for replicas that cannot reach it, or must not.
    ///
    /// The risk: whoever can place orders with this account (its key is needed for that)
    /// gets certificates for every name that leads here, whether an engine of ours
    /// ordered or not; and everybody can see which account it is. It works for one
    /// account at a time: tokens of others are answered wrongly.
    #[must_use]
    pub fn stateless(mut self, thumbprint: &str) -> Self {
        self.thumbprint = Some(thumbprint.into());
        self
    }

    /// The body for a request's path (without query), to be sent with status 200 and
    /// type `application/octet-stream`; `None` if the path is not that of a challenge
    /// we know: go on with 404 or the next handler.
    ///
    /// Whoever listens on port 80 may redirect to HTTPS or to another port; the CA
    /// follows, and the path is all that counts here. Paths are untrusted: the store is
    /// looked at for well-formed tokens only.
    ///
    /// # Errors
    /// The store cannot be read: answer with 503, the CA will ask again.
    pub async fn answer(&self, path: &str) -> Result<Option<String>, StorageError> {
        let Some(token) = token_of(path) else {
            return Ok(None);
        };
        if let Some(answer) = self.known(token) {
            return Ok(Some(answer));
        }
        match &self.thumbprint {
            Some(thumbprint) => Ok(Some(format!("{token}.{thumbprint}"))),
            None => self.others.find(token).await,
        }
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

/// The token in a request's path, if it is that of a challenge: nothing is decoded or
/// normalized on the way.
pub fn token_of(path: &str) -> Option<&str> {
    path.strip_prefix(PATH).filter(|token| is_token(token))
}

/// Whether the text may be a token: base64url of 128 bits or more (section 8.1), and no
/// longer than any CA makes one.
pub fn is_token(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (TOKEN_MIN..=TOKEN_MAX).contains(&text.len()) && text.bytes().all(letter)
}

/// For one look at the store: two of them are less than the ten seconds a CA waits.
const LIMIT: Duration = Duration::from_secs(4);
/// 128 bits in base64url.
const TOKEN_MIN: usize = 22;
const TOKEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use certwright_storage::{MemoryStorage, Txn};
    use proptest::prelude::*;

    use super::*;
    use crate::layout;

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

    #[tokio::test]
    async fn without_state_every_token_is_answered_and_nothing_else() {
        let answers = Http01::new(Arc::new(MemoryStorage::default()));
        let ours = "a".repeat(22);
        answers.show(&ours, "ours");
        let stateless = answers.clone().stateless("thumb");
        let token = "b".repeat(43);
        for (path, expected) in [
            (format!("{PATH}{ours}"), Some("ours".to_owned())),
            (format!("{PATH}{token}"), Some(format!("{token}.thumb"))),
            (format!("{PATH}short"), None),
            (format!("{PATH}{token}/x"), None),
            (format!("/x{PATH}{token}"), None),
        ] {
            assert_eq!(stateless.answer(&path).await.unwrap(), expected, "{path}");
        }
        let unknown = answers.answer(&format!("{PATH}{token}")).await.unwrap();
        assert_eq!(unknown, None, "it is an opt-in");
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

    proptest! {
        #[test]
        fn paths_of_tokens_and_no_others(path in "(/\\.well-known/acme-challenge/)?[a-zA-Z0-9_./%-]{0,140}") {
            match token_of(&path) {
                Some(token) => {
                    prop_assert!(is_token(token));
                    prop_assert_eq!(path.clone(), format!("{PATH}{token}"));
                    prop_assert!(!token.contains(['/', '.', '%']));
                }
                None => prop_assert!(path.strip_prefix(PATH).is_none_or(|rest| !is_token(rest))),
            }
        }
    }
}
