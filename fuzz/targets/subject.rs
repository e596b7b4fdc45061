//! A literal subject that is read writes itself back, and the same name comes out.
#![no_main]

use certwright_cert_model::subject::LiteralSubject;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(subject) = text.parse::<LiteralSubject>() else {
        return;
    };
    let again: LiteralSubject = subject.to_string().parse().expect("its own text");
    assert_eq!(again.to_subject(), subject.to_subject());
});
