//! A Service leads to a transport of its own namespace or to none.
#![no_main]

use certwright_cert_model::document::{self, Format, Node, Strictness};
use certwright_transport::ServersTransport;
use certwright_transport::service::{Namespaces, Service};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let documents = document::parse(text, Format::Yaml).into_iter().flatten();
    let nodes: Vec<Node> = documents.map(|document| document.root).collect();
    let read = |node| {
        ServersTransport::decode(node, Strictness::Lenient)
            .into_result()
            .ok()
    };
    let transports: Vec<ServersTransport> = nodes.iter().filter_map(read).collect();
    for node in &nodes {
        let Ok(service) = Service::decode(node, Strictness::Lenient).into_result() else {
            continue;
        };
        if let Ok(Some(found)) = service.transport(&transports, Namespaces::Same) {
            assert_eq!(found.namespace.as_deref(), Some(service.namespace.as_str()));
        }
        for port in &service.ports {
            let _ = service.speaks_tls(port);
        }
    }
});
