//! Routers of a dynamic configuration and of IngressRoutes are read or refused; each order has a name.
#![no_main]

use certwright_acme::domains::OrderRules;
use certwright_acme::router::Router;
use certwright_cert_model::document::{Format, Strictness, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for document in parse(text, Format::Yaml).into_iter().flatten() {
        let strict = Router::decode_dynamic(&document.root, Strictness::Strict).into_result();
        let lenient = Router::decode_dynamic(&document.root, Strictness::Lenient).into_result();
        assert!(strict.is_err() || lenient.is_ok());
        let routes = Router::decode(&document.root, Strictness::Lenient).into_result();
        for router in lenient.iter().chain(&routes).flatten() {
            let orders = router.orders(&OrderRules::default()).into_iter().flatten();
            assert!(orders.into_iter().all(|order| !order.names().is_empty()));
        }
    }
});
