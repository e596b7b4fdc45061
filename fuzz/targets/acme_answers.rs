//! Whoever asks for a token or a server name gets what is shown under it, and nothing else of the store.
#![no_main]

use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use certwright_acme::challenge::http01::{Http01, PATH};
use certwright_acme::challenge::tls_alpn01::TlsAlpn01;
use certwright_acme::{Runtime, Task};
use certwright_cert_model::key::KeyAlgorithm;
use certwright_issuance::{KeyError, KeyPair};
use certwright_storage::{Key, MemoryStorage, Storage, Txn};
use libfuzzer_sys::fuzz_target;
use time::OffsetDateTime;

const TOKEN: &str = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";

/// A second later each time, so that no look waits for the one before.
#[derive(Debug)]
struct Later(Mutex<Instant>);

impl Runtime for Later {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH
    }
    fn instant(&self) -> Instant {
        let mut at = self.0.lock().expect("nobody panicked");
        *at += Duration::from_secs(1);
        *at
    }
    fn sleep(&self, _: Duration) -> Task<'_, ()> {
        Box::pin(pending())
    }
    fn new_key(&self, algorithm: KeyAlgorithm) -> Task<'_, Result<KeyPair, KeyError>> {
        Box::pin(async move { KeyPair::generate(algorithm) })
    }
}

static ANSWERS: LazyLock<(Http01, TlsAlpn01)> = LazyLock::new(|| {
    let storage = MemoryStorage::default();
    for (key, value) in [
        (format!("/acme/v1/challenges/http/{TOKEN}"), "an answer"),
        ("/acme/v1/challenges/alpn/a.test".to_owned(), "an answer"),
        (
            "/acme/v1/challenges/alpn/4.3.2.1.in-addr.arpa".to_owned(),
            "an answer",
        ),
        ("/acme/v1/accounts/0123456789abcdef".to_owned(), "a secret"),
    ] {
        let key = Key::new(&key).expect("a key");
        now(storage.txn(Txn::new().put(key, value))).expect("stored");
    }
    let (storage, runtime) = (
        Arc::new(storage),
        Arc::new(Later(Mutex::new(Instant::now()))),
    );
    let http = Http01::with_runtime(storage.clone(), runtime.clone());
    (http, TlsAlpn01::new(storage, runtime))
});

/// The store in memory makes nobody wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

fuzz_target!(|text: &str| {
    let (http, alpn) = &*ANSWERS;
    let answer = now(http.answer(text)).expect("the store is there");
    let own = text.strip_prefix(PATH) == Some(TOKEN);
    assert_eq!(answer.as_deref(), own.then_some("an answer"), "{text}");
    if now(alpn.answer(text))
        .expect("the store is there")
        .is_some()
    {
        let names = ["a.test", "4.3.2.1.in-addr.arpa"];
        assert!(
            names.iter().any(|name| text.eq_ignore_ascii_case(name)),
            "{text}"
        );
    }
});
