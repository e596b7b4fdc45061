//! Whatever a CA says of an order or an authorization, tokens are parts of paths and names read again the same.
#![no_main]

use certwright_acme::challenge::http01::is_token;
use certwright_acme::protocol::{AuthorizationState, OrderState};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = OrderState::read(body, None);
    let Ok(found) = AuthorizationState::read(body) else {
        return;
    };
    assert_eq!(
        found.identifier.value().parse(),
        Ok(found.identifier.clone())
    );
    assert!(found.challenges.iter().all(|one| is_token(&one.token)));
});
