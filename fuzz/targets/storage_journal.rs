//! A journal that is read is written the same, so that replaying it twice is replaying it once; and a
//! file's first line promises what follows.
#![no_main]

use certwright_storage::fuzzing::{frame, journal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(written) = journal(bytes) {
        assert_eq!(journal(&written).as_ref(), Some(&written));
    }
    if let Some((_, start)) = frame(bytes) {
        assert!(start <= bytes.len());
    }
});
