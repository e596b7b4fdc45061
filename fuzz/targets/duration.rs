//! A duration that parses, days and weeks too, writes itself back.
#![no_main]

use certwright_cert_model::GoDuration;
use certwright_cert_model::duration::DurationDialect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(duration) = text.parse::<GoDuration>() {
        assert_eq!(duration.to_string().parse(), Ok(duration));
        let extended = GoDuration::parse(text, DurationDialect::Extended);
        assert_eq!(extended, Ok(duration), "the other dialect has more units");
    }
    if let Ok(duration) = GoDuration::parse(text, DurationDialect::Extended) {
        assert_eq!(duration.to_string().parse(), Ok(duration));
    }
});
