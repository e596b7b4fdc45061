//! A cron text that parses writes itself back, and what fires next is later than now.
#![no_main]

use certwright_renewal::window::{Cron, Zone};
use libfuzzer_sys::fuzz_target;
use time::OffsetDateTime;

fuzz_target!(|text: &str| {
    let Ok(cron) = text.parse::<Cron>() else {
        return;
    };
    assert_eq!(
        cron.to_string().parse::<Cron>().map(|c| c.to_string()),
        Ok(cron.to_string())
    );
    let now = OffsetDateTime::UNIX_EPOCH;
    assert!(
        cron.next(now, &Zone::default())
            .is_none_or(|next| next > now)
    );
});
