//! Every public type that holds a private key or a password is shown here, and shows none of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Debug;
use std::sync::Arc;

use certwright::{Documents, Manager};
use certwright_acme::account::{AccountKey, ExternalBinding};
use certwright_acme::config::ExternalAccountBinding;
use certwright_acme::import;
use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding};
use certwright_cert_model::output::KeystorePassword;
use certwright_cert_model::{Defaults, TlsSecret, manifest, pem};
use certwright_issuance::csr::Request;
use certwright_issuance::keystore::{Contents, Jks, KeyEntry, Pkcs12, SecretKeystores};
use certwright_issuance::{CertificateAuthority, CsrPolicy, KeyPair, Profile, self_signed};
use certwright_sni_store::{CertStore, Entry, PairLoader, PemPair};
use certwright_storage::key_wrap::{KeyRing, WrappingKey};
use certwright_storage::{EtcdUser, Txn, Value};
use certwright_transport::servers_transport::CertificateFiles;
use certwright_transport::{Identity, Material, ServersTransport};
use rustls::crypto::aws_lc_rs::default_provider;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

/// A secret and every text in which it could be betrayed.
struct Watch {
    needles: Vec<String>,
    shown: usize,
}

impl Watch {
    fn of(secrets: &[&[u8]]) -> Self {
        let mut needles = Vec::new();
        for secret in secrets {
            // Any four octets in a row, as `Debug` of a slice writes them, or eight in hexadecimal.
            for four in secret.windows(4) {
                let list: Vec<String> = four.iter().map(u8::to_string).collect();
                needles.push(list.join(", "));
            }
            for eight in secret.windows(8) {
                let hex = |upper: bool| -> String {
                    let one = |b: &u8| match upper {
                        true => format!("{b:02X}"),
                        false => format!("{b:02x}"),
                    };
                    eight.iter().map(one).collect()
                };
                needles.extend([hex(false), hex(true)]);
                needles.extend(std::str::from_utf8(eight).map(str::to_owned));
            }
        }
        Self { needles, shown: 0 }
    }

    /// Looks at one value, both ways of `Debug`.
    fn look(&mut self, what: &str, value: &dyn Debug) {
        // One per line, when written over several.
        let alternate = format!("{value:#?}").replace(",\n", ", ");
        let words: Vec<&str> = alternate.split_whitespace().collect();
        for text in [format!("{value:?}"), words.join(" ")] {
            let found = self.needles.iter().find(|needle| text.contains(*needle));
            assert_eq!(found, None, "{what} shows a part of a key");
        }
        println!("{what}: {value:?}");
        self.shown += 1;
    }
}

const PASSWORD: &str = "correct-horse-battery-staple";

#[test]
fn nothing_shows_a_key() {
    let now = OffsetDateTime::now_utc();
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
    let pem = key.to_pem(KeyEncoding::Pkcs8).unwrap();
    let der = key.to_der(KeyEncoding::Pkcs8).unwrap();
    // The private number; what follows in the structure is the public key.
    let scalar = &der[36..68];
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let mac = [7, 99, 23, 201, 44, 18, 250, 3].repeat(4);
    let secrets = [scalar, &body.as_bytes()[48..92], PASSWORD.as_bytes(), &mac];
    let mut watch = Watch::of(&secrets);
    let betrayed = format!("{:?}", der.as_slice());
    assert!(watch.needles.iter().any(|needle| betrayed.contains(needle)));

    let request = Request::new("localhost", &["localhost"]).unwrap();
    let csr = request.sign(&key).unwrap();
    watch.look("Csr", &csr);
    let csr = csr.verify(&CsrPolicy::default()).unwrap();
    let usages = ["cert sign", "server auth"].map(|usage| usage.parse().unwrap());
    let profile = Profile::ca(usages.into_iter().collect(), Duration::days(9), None);
    let bundle = self_signed(&csr, &key, &profile, now).unwrap();
    watch.look("SignedBundle", &bundle);
    let chain = bundle.chain_pem();
    let secret = TlsSecret::new("ns", "name");
    let secret = bundle
        .into_secret(secret, &key, KeyEncoding::Pkcs8, &[])
        .unwrap();
    let certificates = certwright_issuance::Certificate::read_pem(chain.as_bytes()).unwrap();

    watch.look("KeyPair", &key);
    watch.look("pem::Block", &pem::read(pem.as_bytes()).unwrap());
    watch.look("TlsSecret", &secret);
    let ca = CertificateAuthority::from_pem(chain.as_bytes(), pem.as_bytes(), now).unwrap();
    watch.look("CertificateAuthority", &ca);
    let password = Zeroizing::new(PASSWORD.to_owned());
    watch.look(
        "KeystorePassword",
        &KeystorePassword::Literal(password.clone()),
    );
    let contents = Contents::Key(KeyEntry {
        alias: None,
        key: &key,
        chain: &certificates,
        authorities: &[],
    });
    let profile = certwright_cert_model::output::Pkcs12Profile::Modern2023;
    watch.look(
        "Pkcs12",
        &Pkcs12 {
            profile,
            password: PASSWORD,
            contents,
        },
    );
    watch.look(
        "Jks",
        &Jks {
            password: PASSWORD,
            contents,
        },
    );

    manifests(&mut watch, &pem, &chain);

    let loader = PairLoader::new(Arc::new(default_provider()));
    let pair = PemPair {
        chain: chain.as_bytes(),
        key: pem.as_bytes(),
    };
    watch.look("PemPair", &pair);
    watch.look("PairLoader", &loader);
    let payload = loader.certified_key(pair).unwrap();
    let entry = Entry::new("one", ["localhost"], Arc::new(payload));
    watch.look("Entry", &entry);
    let store = CertStore::default();
    store.apply(entry);
    watch.look("CertStore", &store);
    watch.look("Current", &store.current());

    let identity = Identity::from_secret(&secret, &default_provider()).unwrap();
    let mut material = Material::default();
    material.insert_file("/tls.key", pem.as_bytes());
    material.insert_secret(secret.clone_with_keys());
    watch.look("Identity", &identity);
    material.identities = vec![identity];
    watch.look("Material", &material);
    let mut files = CertificateFiles::default();
    (files.cert_file, files.key_file) = (chain.clone(), pem.to_string());
    watch.look("CertificateFiles", &files);
    let mut transport = ServersTransport::default();
    transport.certificates = vec![files];
    watch.look("ServersTransport", &transport);

    let value = Value::from(pem.as_bytes());
    watch.look("Value", &value);
    let place = certwright_storage::Key::new("/a").unwrap();
    watch.look("Txn", &Txn::new().put(place, value));
    let mut wrapping = Zeroizing::new([0; 32]);
    wrapping.copy_from_slice(&mac);
    let wrapping = WrappingKey::new("one", &wrapping).unwrap();
    watch.look("WrappingKey", &wrapping);
    watch.look("KeyRing", &KeyRing::new(wrapping));
    watch.look(
        "EtcdUser",
        &EtcdUser {
            name: "root".to_owned(),
            password,
        },
    );

    watch.look("AccountKey", &AccountKey::new(&key).unwrap());
    watch.look(
        "ExternalBinding",
        &ExternalBinding::from_bytes("kid", mac.clone().into()),
    );
    watch.look(
        "ExternalAccountBinding",
        &ExternalAccountBinding::new("kid", mac.clone()),
    );
    imported(&mut watch, &pem, &chain);
    assert!(watch.shown > 25);
}

fn manifests(watch: &mut Watch, pem: &str, chain: &str) {
    let block = |text: &str| text.replace('\n', "\n    ");
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: ca, namespace: ns}}\nstringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n---\n\
         apiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {{name: ca, namespace: ns}}\nspec: {{ca: {{secretName: ca}}}}\n---\n\
         apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {{name: leaf, namespace: ns}}\n\
         spec: {{secretName: leaf, dnsNames: [a.test], issuerRef: {{name: ca}}, keystores: {{pkcs12: {{create: true, password: {PASSWORD}}}}}}}\n",
        block(chain),
        block(pem),
    );
    for document in manifest::read(&text, Format::Yaml, Strictness::Strict) {
        watch.look("Manifest", &document.unwrap());
    }
    let mut documents = Documents::new("ns", Defaults::documented());
    documents.read("text", &text, Format::Yaml);
    assert!(documents.problems.is_empty(), "{:?}", documents.problems);
    watch.look("Documents", &documents);
    let (_, spec) = documents.inventory.certificates().next().unwrap();
    let keystores = SecretKeystores::resolve(spec.keystores(), |_, _| None).unwrap();
    watch.look("SecretKeystores", &keystores);
    let mut manager = Manager::new(documents.inventory, documents.secrets);
    manager.begin(OffsetDateTime::now_utc());
    watch.look("Manager", &manager);
    watch.look("Job", &manager.take_jobs());
    manager.reconcile(OffsetDateTime::now_utc());
    watch.look("SecretChange", &manager.take_changes());
}

fn imported(watch: &mut Watch, pem: &str, chain: &str) {
    use base64ct::{Base64, Encoding};
    let one = |text: &str| Base64::encode_string(text.as_bytes());
    let der = pem::read(pem.as_bytes()).unwrap().remove(0).into_der();
    let text = serde_json::json!({"le": {
        "Account": {
            "Email": "a@example.com",
            "Registration": {"uri": "https://ca.test/acct/1", "body": {"status": "valid"}},
            "PrivateKey": Base64::encode_string(&der),
            "KeyType": "EC256",
        },
        "Certificates": [{"domain": {"main": "localhost"}, "certificate": one(chain), "key": one(pem), "Store": "default"}],
    }});
    let imported = import::read(text.to_string().as_bytes()).unwrap();
    watch.look("Imported", &imported);
    assert_eq!(imported.certificates.len(), 1, "{:?}", imported.left_out);
}
