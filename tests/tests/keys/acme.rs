//! Accounts, bindings, orders and what was imported.

use std::sync::Arc;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use certwright::acme::AcmeIssuers;
use certwright_acme::account::{Account, AccountKey, AccountSpec, ExternalBinding, Registration};
use certwright_acme::challenge::Solvers;
use certwright_acme::challenge::dns01::Propagation;
use certwright_acme::challenge::dns01::providers::NamedProvider;
use certwright_acme::challenge::http01::Http01;
use certwright_acme::challenge::tls_alpn01::{ChallengeCertificate, TlsAlpn01};
use certwright_acme::config::{ExternalAccountBinding, StaticConfig};
use certwright_acme::http::HttpOptions;
use certwright_acme::{
    AcmeServer, Engine, IssuedCertificate, Issuer, Options, OwnRequest, TokioRuntime, import,
};
use certwright_cert_model::document::{Format, Strictness, parse};
use certwright_cert_model::pem;
use certwright_issuance::csr::Request;
use certwright_storage::{MemoryStorage, Record};
use serde_json::json;

use super::watch::Watch;
use super::{Given, PASSWORD};

pub(crate) fn look(watch: &mut Watch, given: &Given) {
    let key = AccountKey::new(&given.key).unwrap();
    watch.look(&key);
    let binding = ExternalBinding::from_bytes("kid", given.mac.clone().into());
    watch.look(&binding);
    let mut registration = Registration::default();
    registration.binding = Some(binding);
    watch.look(&registration);
    let mut account = AccountSpec::new("https://ca.test/directory");
    account.registration = registration;
    watch.look(&account);
    let url = "https://ca.test/1".to_owned();
    watch.look(&Account {
        url,
        key: Arc::new(key),
    });

    let server =
        AcmeServer::new("https://ca.test/directory", HttpOptions::new(Vec::new())).unwrap();
    watch.look(&server);
    let issuer = Issuer::new("ca", account, Arc::new(server), Solvers::default());
    watch.look(&issuer);
    let storage = Arc::new(MemoryStorage::default());
    let runtime = Arc::new(TokioRuntime);
    watch.look(&Http01::new(storage.clone()));
    watch.look(&TlsAlpn01::new(storage.clone(), runtime.clone()));
    watch.look(&AcmeIssuers::new(storage.clone()));
    let engine = Engine::new(storage, runtime, vec![issuer], Options::default());
    watch.look(&engine.unwrap());
    let csr = Request::new("localhost", &["localhost"]).unwrap();
    let csr = csr.sign(&given.key).unwrap();
    watch.look(&OwnRequest {
        csr: &csr,
        key: &given.key,
    });
    watch.look(&ChallengeCertificate {
        certificate: given.certificates[0].der().to_vec().into(),
        key: rustls_pki_types::PrivatePkcs8KeyDer::from(given.der.to_vec()).into(),
    });

    let issued = json!({
        "identifiers": ["localhost"], "generation": 1, "issuer": "ca",
        "chain": given.chain, "key": *given.pem, "obtained": "2026-01-01T00:00:00Z",
        "not_before": "2026-01-01T00:00:00Z", "not_after": "2026-04-01T00:00:00Z",
    });
    let record = Record::new("acme-certificate", 1, &issued).unwrap();
    watch.look(&record);
    watch.look(&IssuedCertificate::decode(record.encode().as_bytes()).unwrap());
    // The key and a number, each in the other's place.
    let mut swapped = issued;
    swapped["generation"] = json!(*given.pem);
    swapped["key"] = json!(1);
    let swapped = Record::new("acme-certificate", 1, &swapped).unwrap();
    watch.refused(IssuedCertificate::decode(swapped.encode().as_bytes()));

    config(watch, given);
    providers(watch);
    imported(watch, given);
}

fn config(watch: &mut Watch, given: &Given) {
    watch.look(&ExternalAccountBinding::new("kid", given.mac.clone()));
    let config = |hmac: &str| {
        format!(
            "entryPoints: {{web: {{address: ':80'}}}}\ncertificatesResolvers:\n  le:\n    acme:\n      email: a@example.com\n      httpChallenge: {{entryPoint: web}}\n      eab: {{kid: kid, hmacEncoded: {hmac}}}\n"
        )
    };
    let mac = Base64UrlUnpadded::encode_string(&given.mac);
    let root = parse(&config(&mac), Format::Yaml).remove(0).unwrap().root;
    let decoded = StaticConfig::decode(&root, Strictness::Strict);
    watch.look(&decoded);
    let config_of = decoded.into_result().unwrap();
    watch.look(&config_of);
    watch.look(&config_of.resolvers[0]);
    watch.look(&config_of.resolvers[0].issuers[0]);
    for wrong in [format!("'{mac}+?'"), format!("[{mac}]")] {
        let root = parse(&config(&wrong), Format::Yaml).remove(0).unwrap().root;
        let decoded = StaticConfig::decode(&root, Strictness::Strict);
        watch.refused(decoded.into_result());
    }
    watch.refused(ExternalBinding::new("kid", &format!("{mac}+")));
    watch.refused(ExternalBinding::new("kid", &format!("{mac}?")));
}

fn providers(watch: &mut Watch) {
    let secret = Base64::encode_string(PASSWORD.as_bytes());
    for (secret, usable) in [(secret.as_str(), true), (PASSWORD, false)] {
        let get = |name: &str| match name {
            "RFC2136_NAMESERVER" => Some("127.0.0.1:53".to_owned()),
            "RFC2136_TSIG_KEY" => Some("key.".to_owned()),
            "RFC2136_TSIG_SECRET" => Some(secret.to_owned()),
            _ => None,
        };
        match NamedProvider::from_environment("rfc2136", get, Propagation::new(Vec::new())) {
            Ok(provider) if usable => watch.look(&provider),
            Err(error) if !usable => watch.read(&error),
            other => panic!("{other:?}"),
        }
    }
}

fn imported(watch: &mut Watch, given: &Given) {
    let one = |text: &str| Base64::encode_string(text.as_bytes());
    let der = pem::read(given.pem.as_bytes())
        .unwrap()
        .remove(0)
        .into_der();
    let file = |der: &str, key: &str| {
        let text = json!({"le": {
            "Account": {
                "Email": "a@example.com",
                "Registration": {"uri": "https://ca.test/acct/1", "body": {"status": "valid"}},
                "PrivateKey": der,
                "KeyType": "EC256",
            },
            "Certificates": [{"domain": {"main": "localhost"}, "certificate": one(&given.chain), "key": key, "Store": "default"}],
        }});
        text.to_string()
    };
    let text = file(&Base64::encode_string(&der), &one(&given.pem));
    let imported = import::read(text.as_bytes()).unwrap();
    watch.look(&imported);
    watch.look(&imported.accounts[0]);
    watch.look(&imported.certificates[0]);
    assert_eq!(imported.left_out, []);
    // Neither in base64; a key that is none; a text that ends too early.
    watch.refused(import::read(file("-", &given.pem).as_bytes()));
    let half = &given.pem[..given.pem.len() / 2];
    let left_out = import::read(file(&one(&given.pem), &one(half)).as_bytes()).unwrap();
    assert_eq!(left_out.left_out.len(), 2);
    watch.look(&left_out.left_out[0]);
    watch.look(&left_out.left_out[1]);
    let (cut, _) = text.rsplit_once("Store").unwrap();
    watch.refused(import::read(cut.as_bytes()));
}
