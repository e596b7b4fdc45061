//! A rule is read or refused; put in parentheses it names the same hosts, negated none, twice negated the same.
#![no_main]

use certwright_acme::domains::{Domain, OrderRules, orders};
use certwright_acme::rule::hosts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|rule: &str| {
    let Ok(found) = hosts(rule) else {
        return;
    };
    for again in [format!("({rule})"), format!("!(!({rule}))")] {
        // What is added may be too deep.
        if let Ok(again) = hosts(&again) {
            assert_eq!(again, found);
        }
    }
    let Some(domain) = Domain::of_names(found) else {
        return;
    };
    if let Ok(found) = orders(&[domain], &OrderRules::default()) {
        let again: Vec<Domain> = found
            .iter()
            .filter_map(|order| Domain::of_names(order.names().to_vec()))
            .collect();
        assert_eq!(orders(&again, &OrderRules::default()), Ok(found));
    }
});
