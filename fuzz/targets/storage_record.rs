//! A record that is read can be written and read again, unknown fields included.
#![no_main]

use std::collections::BTreeMap;

use certwright_storage::Record;
use libfuzzer_sys::fuzz_target;

type Fields = BTreeMap<String, String>;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut record) = Record::decode(bytes, "k", 1) else {
        return;
    };
    let again = Record::decode(record.encode().as_bytes(), "k", 1);
    assert_eq!(again.as_ref(), Ok(&record));
    let before = record.clone();
    if record.update(|_: &mut Fields| {}).is_ok() {
        assert_eq!(record, before);
    }
});
