//! Ten thousand configurations under open connections leave nothing behind. Alone in its process, because it looks at
//! the memory of the whole process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use certwright_sni_store::{CertStore, ChangeSet, Entry, Resolver, SelectionPolicy};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

const NAME: &str = "www.example.com";

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A configuration of 40 certificates, one of which is the one that clients ask for; `number` makes it another one.
fn configuration(key: &Arc<CertifiedKey>, number: u8) -> ChangeSet<CertifiedKey> {
    let mut change = ChangeSet::new();
    for id in 0..40_u8 {
        let name = if id == 0 {
            NAME.to_owned()
        } else {
            format!("host-{id}.example.com")
        };
        let entry = Entry::new(format!("{id:03}"), [name], key.clone());
        change.put(entry.with_fingerprint([number ^ id; 32]));
    }
    change
}

/// Exchanges bytes until both sides have nothing more to say.
fn handshake(client: &mut ClientConnection, server: &mut ServerConnection) {
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets().unwrap();
    }
}

#[test]
fn ten_thousand_configurations_leave_memory_as_it_was() {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let der = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let signer = provider.key_provider.load_private_key(der).unwrap();
    let key = Arc::new(CertifiedKey::new(vec![made.cert.der().clone()], signer));
    let store = CertStore::new(SelectionPolicy::Best);
    store.replace_all(configuration(&key, 0));

    let resolver = Resolver::new(store.clone(), Arc::new(DefaultTimeProvider));
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    let server = Arc::new(server);
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Arc::new(client);
    let connect = || {
        let mut client =
            ClientConnection::new(client.clone(), ServerName::try_from(NAME).unwrap()).unwrap();
        let mut server = ServerConnection::new(server.clone()).unwrap();
        handshake(&mut client, &mut server);
        (client, server)
    };

    let mut open = Vec::new();
    let mut start = 0;
    for number in 0..10_000_u32 {
        let report =
            store.replace_all(configuration(&key, u8::try_from(number % 255 + 1).unwrap()));
        assert_eq!(report.replaced.len(), 40);
        if number < 500 && number % 10 == 0 {
            open.push(connect());
        }
        // By now the allocator has what the connections and a change of configuration need.
        if number == 1_000 {
            start = resident();
        }
    }
    let end = resident();
    assert_eq!(open.len(), 50);
    assert!(
        end <= start + start / 20,
        "{start} KiB at first, {end} KiB at last"
    );
    assert!(connect().0.peer_certificates().is_some());
}
