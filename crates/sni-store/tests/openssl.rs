//! `openssl s_client` as a stranger: what it is shown is what the store says.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use certwright_sni_store::{EntryId, PairLoader, Resolver};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::crypto::aws_lc_rs;
use rustls::{ServerConfig, ServerConnection};

/// Serves as many connections as there are questions.
fn serve(resolver: Resolver, connections: usize) -> SocketAddr {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            let mut tls = ServerConnection::new(config.clone()).unwrap();
            while tls.is_handshaking() {
                if tls.complete_io(&mut stream).is_err() {
                    break;
                }
            }
            tls.send_close_notify();
            // A client that was refused is gone already.
            let _gone = tls.complete_io(&mut stream);
        }
    });
    address
}

#[test]
fn s_client_is_shown_what_it_can_use() {
    if Command::new("openssl").arg("version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
        eprintln!("SKIPPED: openssl is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let make = |id: &str, name: &str, algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let leaf = params.self_signed(&key).unwrap().pem();
        let file = |extension: &str| directory.path().join(format!("{id}.{extension}"));
        if id == "combined" {
            fs::write(file("pem"), format!("{leaf}{}", key.serialize_pem())).unwrap();
        } else {
            fs::write(file("crt"), &leaf).unwrap();
            fs::write(file("key"), key.serialize_pem()).unwrap();
        }
        leaf.split_whitespace().collect::<String>()
    };
    let ecdsa = make("ecdsa", "a.test", &PKCS_ECDSA_P256_SHA256);
    let rsa = make("rsa", "a.test", &PKCS_RSA_SHA256);
    let wildcard = make("combined", "*.b.test", &PKCS_ECDSA_P256_SHA256);
    fs::create_dir(directory.path().join("mounted")).unwrap();
    fs::copy(
        directory.path().join("ecdsa.crt"),
        directory.path().join("mounted/tls.crt"),
    )
    .unwrap();
    fs::write(directory.path().join("broken.crt"), "no certificate").unwrap();
    // A second pair of that name, broken, must not take the first one down.
    fs::write(directory.path().join("rsa.pem"), "no certificate").unwrap();
    fs::write(directory.path().join(".hidden.crt"), "passed over").unwrap();

    let provider = Arc::new(aws_lc_rs::default_provider());
    let (resolver, report) = Resolver::from_dir(directory.path(), provider.clone()).unwrap();
    let ids: Vec<_> = report.added.iter().map(EntryId::as_str).collect();
    assert_eq!(ids, ["combined", "ecdsa", "rsa"]);
    let rejected: Vec<_> = report.rejected.iter().map(ToString::to_string).collect();
    assert_eq!(
        rejected,
        [
            "entry broken rejected",
            "entry mounted rejected",
            "entry rsa.pem rejected"
        ]
    );
    let reason = report.rejected[2].error.to_string();
    assert!(reason.ends_with("rsa.crt has the same name; rename or remove one"));
    let again = PairLoader::new(provider).load_dir(resolver.store(), directory.path());
    let again = resolver.store().replace_all(again.unwrap());
    assert_eq!((again.unchanged, again.generation), (3, 1));

    let rsa_schemes = "rsa_pss_rsae_sha256:rsa_pkcs1_sha256";
    let table: [(&[&str], Option<&str>); 8] = [
        (
            &["-servername", "a.test", "-sigalgs", rsa_schemes],
            Some(&rsa),
        ),
        (
            &[
                "-servername",
                "a.test",
                "-sigalgs",
                "ecdsa_secp256r1_sha256",
            ],
            Some(&ecdsa),
        ),
        (
            &[
                "-servername",
                "a.test",
                "-tls1_2",
                "-cipher",
                "ECDHE-RSA-AES128-GCM-SHA256",
            ],
            Some(&rsa),
        ),
        (
            &[
                "-servername",
                "a.test",
                "-tls1_2",
                "-cipher",
                "ECDHE-ECDSA-AES128-GCM-SHA256",
            ],
            Some(&ecdsa),
        ),
        (&["-servername", "www.b.test"], Some(&wildcard)),
        (&["-servername", "b.test"], None),
        (&["-noservername"], None),
        (&["-servername", "www.example"], None),
    ];
    let address = serve(resolver, table.len());
    for (arguments, expected) in table {
        let output = Command::new("openssl")
            .args(["s_client", "-showcerts", "-connect", &address.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text: String = String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .collect();
        match expected {
            Some(leaf) => assert!(text.contains(leaf), "{arguments:?}: {output:?}"),
            None => assert!(
                !text.contains("BEGINCERTIFICATE"),
                "{arguments:?}: {output:?}"
            ),
        }
    }
}
