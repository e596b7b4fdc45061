//! Without a store, a request's path is answered for its own token, letter by letter, and anything else not at all; what
//! is asked of a store is one part of a key.
#![no_main]

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use certwright_acme::challenge::http01::{Http01, PATH, token_of};
use certwright_storage::{Key, MemoryStorage};
use libfuzzer_sys::fuzz_target;

static ANSWERS: LazyLock<Http01> =
    LazyLock::new(|| Http01::new(Arc::new(MemoryStorage::default())).stateless("thumbprint"));

fuzz_target!(|path: &str| {
    let token = token_of(path);
    let Poll::Ready(answer) =
        pin!(ANSWERS.answer(path)).poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("no store is asked, and it waits");
    };
    let answer = answer.expect("no store is asked");
    assert_eq!(answer, token.map(|token| format!("{token}.thumbprint")));
    if let Some(token) = token {
        assert_eq!(path.strip_prefix(PATH), Some(token));
        // What is asked for as a token is one part of a key.
        let key = Key::new(&format!("/acme/v1/challenges/http/{token}")).expect("a key");
        assert_eq!(key.as_str().rsplit('/').next(), Some(token));
    }
});
