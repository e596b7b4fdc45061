//! A request's path gets the answer to its own token, and nothing else of the store, whose keys are not far.
#![no_main]

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use certwright_acme::challenge::http01::{Http01, PATH, is_token};
use certwright_storage::{Key, MemoryStorage, Storage, Txn};
use libfuzzer_sys::fuzz_target;

const TOKEN: &str = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";

static ANSWERS: LazyLock<Http01> = LazyLock::new(|| {
    let storage = MemoryStorage::default();
    for (key, value) in [
        (format!("/acme/v1/challenges/http/{TOKEN}"), "an answer"),
        ("/acme/v1/accounts/0123456789abcdef".to_owned(), "a secret"),
    ] {
        let key = Key::new(&key).expect("a key");
        now(storage.txn(Txn::new().put(key, value))).expect("stored");
    }
    Http01::new(Arc::new(storage))
});

/// The store in memory makes nobody wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

fuzz_target!(|path: &str| {
    let answer = now(ANSWERS.answer(path)).expect("the store is there");
    let own = path.strip_prefix(PATH) == Some(TOKEN);
    assert_eq!(answer.as_deref(), own.then_some("an answer"), "{path}");
    // What is asked for as a token is one part of a key.
    if is_token(path) {
        assert!(Key::new(&format!("/acme/v1/challenges/http/{path}")).is_ok());
    }
});
