//! What was not sealed here does not open; what was opens at its place only, and not with a bit changed.
#![no_main]

use std::sync::LazyLock;

use certwright_storage::key_wrap::{KeyRing, WrappingKey, random_key};
use certwright_storage::{Key, Value};
use libfuzzer_sys::fuzz_target;

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    KeyRing::new(WrappingKey::new("k", &random_key().expect("random")).expect("a name"))
});

fuzz_target!(|input: (u16, &[u8])| {
    let (bit, bytes) = (usize::from(input.0), input.1);
    let (place, other) = (Key::new("a").expect("a key"), Key::new("b").expect("a key"));
    let value = Value::from(bytes);
    assert!(RING.open(&place, &value).is_err());
    let sealed = RING.seal(&place, &value).expect("random");
    assert!(RING.is_current(&sealed) && RING.open(&other, &sealed).is_err());
    assert_eq!(RING.open(&place, &sealed), Ok(value));
    let mut changed = sealed.as_bytes().to_vec();
    let at = bit / 8 % changed.len();
    changed[at] ^= 1 << (bit % 8);
    assert!(RING.open(&place, &Value::from(changed)).is_err());
});
