//! No answer of etcd's gateway makes the reader panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| certwright_storage::fuzzing::etcd(bytes));
