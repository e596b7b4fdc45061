//! Accounts with other keys than our own, and those of Traefik.

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use certwright_acme::account::{AccountKey, Registration};
use certwright_acme::challenge::Solvers;
use certwright_acme::config::{Resolver, StaticConfig, flags};
use certwright_acme::import::Import;
use certwright_acme::protocol::{Protocol, RevocationReason};
use certwright_acme::{
    Demand, Engine, IssuedCertificate, Issuer, Options, Outcome, TokioRuntime, Wanted,
};
use certwright_cert_model::document::Strictness;
use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding, RsaSize};
use certwright_cert_model::pem;
use certwright_issuance::KeyPair;
use certwright_storage::{FileOptions, FileStorage, MemoryStorage, Storage};

use crate::server::{Pebble, Settings};

async fn obtain(pebble: &Pebble, engine: &Engine, name: &str) -> Arc<IssuedCertificate> {
    let address = ([127, 0, 0, 1], pebble.http_port).into();
    let listener = engine.http01().listen(address).await.unwrap();
    let wanted = Wanted::new(vec![name.parse().unwrap()]);
    let outcome = engine.obtain(&wanted, Demand::Missing).await.unwrap();
    listener.close().await;
    let Outcome::Issued(certificate) = outcome else {
        panic!("{outcome:?}");
    };
    certificate
}

fn engine(issuer: Issuer, storage: &MemoryStorage) -> Engine {
    let storage: Arc<dyn Storage> = Arc::new(storage.clone());
    Engine::new(
        storage,
        Arc::new(TokioRuntime),
        vec![issuer],
        Options::default(),
    )
    .unwrap()
}

fn accounts(pebble: &Pebble) -> usize {
    pebble.log().matches("accounts in memory").count()
}

#[tokio::test]
async fn keys_that_instant_acme_does_not_sign_with() {
    let Some(pebble) = Pebble::start(Settings::default()) else {
        return;
    };
    let kinds = [
        KeyAlgorithm::Ecdsa(Curve::P384),
        KeyAlgorithm::Rsa(RsaSize::MIN),
    ];
    for (index, key) in kinds.into_iter().enumerate() {
        let storage = MemoryStorage::default();
        let mut issuer = pebble.issuer(Solvers::http01());
        issuer.account.key = key;
        let first = engine(issuer.clone(), &storage);
        let certificate = obtain(&pebble, &first, "a.example.test").await;
        let reason = Some(RevocationReason::Superseded);
        first.revoke(&certificate, reason).await.unwrap();
        let again = first.revoke(&certificate, reason).await;
        assert!(again.is_err(), "{key}: it was revoked already");
        // The contacts change, the key and the account stay.
        issuer.account.registration.contacts = vec!["mailto:a@example.test".to_owned()];
        issuer.account.key = KeyAlgorithm::Ecdsa(Curve::P256);
        obtain(&pebble, &engine(issuer, &storage), "b.example.test").await;
        assert_eq!(accounts(&pebble), index + 1, "{key}");
    }
}

/// A resolver that finds Traefik's file.
fn resolver(pebble: &Pebble, file: &std::path::Path) -> Resolver {
    let options = [
        "--entryPoints.web.address=:80".to_owned(),
        "--certificatesresolvers.le.acme.email=a@example.test".to_owned(),
        "--certificatesresolvers.le.acme.keytype=EC384".to_owned(),
        "--certificatesresolvers.le.acme.httpchallenge.entrypoint=web".to_owned(),
        format!(
            "--certificatesresolvers.le.acme.caserver={}",
            pebble.directory
        ),
        format!("--certificatesresolvers.le.acme.storage={}", file.display()),
    ];
    let node = flags(&options).unwrap();
    let config = StaticConfig::decode(&node, Strictness::Strict).into_result();
    let mut resolver = config.unwrap().resolver("le").unwrap().clone();
    let root = pem::write("CERTIFICATE", &pebble.root);
    resolver.issuers[0].trust.ca_certificates = vec![root.to_string()];
    resolver
}

/// What Traefik leaves: an RSA-4096 account and a certificate.
async fn traefiks_file(pebble: &Pebble) -> (String, String, Arc<IssuedCertificate>) {
    let key = KeyPair::generate(KeyAlgorithm::Rsa(RsaSize::from_bits(4096).unwrap())).unwrap();
    let server = pebble.server();
    let mut registration = Registration::default();
    registration.contacts = vec!["mailto:a@example.test".to_owned()];
    let signer = AccountKey::new(&key).unwrap();
    let url = server.register(&signer, &registration).await.unwrap();
    let storage = MemoryStorage::default();
    let issuer = pebble.issuer(Solvers::http01());
    let contacts = &registration.contacts;
    let adopted = issuer.account.adopt(&storage, &key, &url, contacts).await;
    assert!(adopted.unwrap());
    let mut spec = issuer.clone();
    spec.account.registration = registration.clone();
    let certificate = obtain(pebble, &engine(spec, &storage), "a.example.test").await;
    let account = Base64::encode_string(&key.to_der(KeyEncoding::Pkcs1).unwrap());
    let text = serde_json::json!({ "le": {
        "Account": {
            "Email": "a@example.test",
            "Registration": { "body": { "status": "valid" }, "uri": url },
            "PrivateKey": account, "KeyType": "4096",
        },
        "Certificates": [{
            "domain": { "main": "a.example.test" },
            "certificate": Base64::encode_string(certificate.chain_pem().as_bytes()),
            "key": Base64::encode_string(certificate.key_pem().as_bytes()),
            "Store": "default",
        }],
    } });
    (text.to_string(), url, certificate)
}

#[tokio::test]
async fn what_traefik_left_is_used_on() {
    let Some(pebble) = Pebble::start(Settings::default()) else {
        return;
    };
    let (text, url, left) = traefiks_file(&pebble).await;
    let file = pebble.dir.path().join("acme.json");
    std::fs::write(&file, &text).unwrap();
    let resolver = resolver(&pebble, &file);
    let orders = || pebble.log().matches("Added order").count();
    let before = orders();
    for start in 0..2 {
        let data = resolver.data_directory();
        let storage = FileStorage::open(&data, FileOptions::default()).unwrap();
        let options = resolver.engine_options();
        let started = resolver.engine(None, Arc::new(storage), Arc::new(TokioRuntime), options);
        let (engine, imported) = started.await.unwrap();
        let report = match (start, imported) {
            (0, Import::Now(report)) | (1, Import::Earlier(report)) => report,
            (_, other) => panic!("start {start}: {other:?}"),
        };
        assert_eq!(report.account.as_ref(), Some(&url));
        assert_eq!(report.certificates, ["a.example.test"]);
        assert_eq!(report.left_out, [] as [String; 0]);
        let names = ["a.example.test".to_owned()];
        let names = certwright_acme::domains::OrderNames::new(&names, Default::default()).unwrap();
        let wanted = resolver.wanted(&names).unwrap();
        // Served and left alone until it is due, for the same names and whatever kind of key.
        let (outcome, next) = engine
            .tend(&wanted, &resolver.renewal_policy())
            .await
            .unwrap();
        let Outcome::Current(current) = outcome else {
            panic!("start {start}: {outcome:?}");
        };
        assert!(next.is_some());
        if start == 0 {
            assert_eq!(current.chain_pem(), left.chain_pem());
            assert_eq!(orders(), before);
            // And renewed by Traefik's account.
            let address = ([127, 0, 0, 1], pebble.http_port).into();
            let listener = engine.http01().listen(address).await.unwrap();
            let due = Demand::Renew { after: 1 };
            let renewed = engine.obtain(&wanted, due).await.unwrap();
            listener.close().await;
            assert!(matches!(renewed, Outcome::Issued(_)), "{renewed:?}");
            assert_eq!(orders(), before + 1);
        } else {
            assert_eq!(current.generation(), 2);
        }
        assert_eq!(accounts(&pebble), 1, "start {start}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}
