//! A key has one file, below the directory of values, and the file's path has that one key.
#![no_main]

use std::path::{Component, Path};

use certwright_storage::Key;
use certwright_storage::fuzzing::{key_of, path_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = Key::new(text) {
        let path = path_of(&key);
        assert!(
            path.components()
                .all(|part| matches!(part, Component::Normal(_)))
        );
        assert_eq!(key_of(&path), Some(key));
    }
    if let Some(key) = key_of(Path::new(text)) {
        assert_eq!(path_of(&key), Path::new(text));
    }
});
