//! Any body of any status is a short problem in one line with a remedy; Retry-After stays in its bounds.
#![no_main]

use certwright_acme::problem::{Bounds, Problem, RetryAfter};
use libfuzzer_sys::fuzz_target;
use time::OffsetDateTime;

fuzz_target!(|input: (u16, &[u8])| {
    let (status, body) = input;
    let problem = Problem::read(status, body);
    assert!(!problem.class().remedies().is_empty());
    let _ = (problem.challenge_class(), problem.rate_limit_scope());
    assert!(!problem.to_string().contains(char::is_control));
    if let Some(error) = Problem::read_error(body) {
        assert_eq!((error.kind, error.detail), (problem.kind, problem.detail));
    }
    let now = OffsetDateTime::UNIX_EPOCH;
    if let Some(value) = core::str::from_utf8(body).ok().and_then(RetryAfter::parse) {
        let until = value.until(now, Bounds::FREEZE);
        assert!(until > now && until <= now + Bounds::FREEZE.most);
    }
});
