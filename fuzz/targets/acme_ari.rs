//! Whatever a CA says about a renewal, the certificate is renewed while it is valid, and not before.
#![no_main]

use certwright_acme::protocol::RenewalInfo;
use certwright_renewal::{AriWindow, Lifetime, RenewalPolicy, Seed};
use libfuzzer_sys::fuzz_target;
use time::{Duration, OffsetDateTime};

fuzz_target!(|body: &[u8]| {
    let Ok(info) = RenewalInfo::read(body, None) else {
        return;
    };
    let Ok(window) = AriWindow::new(info.start, info.end) else {
        return;
    };
    assert!(info.start < info.end);
    let start = OffsetDateTime::UNIX_EPOCH + Duration::days(365 * 50);
    let life = Lifetime::new(start, start + Duration::days(90)).expect("90 days");
    let seed = Seed::new(body);
    let schedule = RenewalPolicy::default().schedule_with_ari(life, window, seed);
    let due = schedule
        .unwrap_or_else(|renewal_loop| renewal_loop.guarded())
        .due();
    assert!(due > life.not_before() && due < life.not_after(), "{due}");
});
