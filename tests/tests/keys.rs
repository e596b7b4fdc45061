//! The types that can hold a private key or a password are shown here, and show none of it; nor do the errors
//! about keys that are wrong or in a wrong place.
//!
//! A type whose `Debug` is written by hand has a reason to hide something: one that is neither shown here nor
//! among the [`EXEMPT`] fails the test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "keys/acme.rs"]
mod acme;
#[path = "keys/storage.rs"]
mod storage;
#[path = "keys/watch.rs"]
mod watch;
#[path = "keys/wrong.rs"]
mod wrong;

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use certwright::plan::Authority;
use certwright::run::{MemoryStore, Runner, SecretStore as _, SharedStore};
use certwright::{Documents, Manager, Observed, ResourceName, SniPublisher, TransportPublisher};
use certwright_cert_model::document::{Format, Strictness, parse};
use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding, RotationPolicy};
use certwright_cert_model::output::KeystorePassword;
use certwright_cert_model::{CertificateSpec, Defaults, Manifest, TlsSecret, manifest, pem};
use certwright_issuance::csr::Request;
use certwright_issuance::keystore::{Contents, Jks, KeyEntry, Pkcs12, SecretKeystores};
use certwright_issuance::rotation::next_key;
use certwright_issuance::{
    Certificate, CertificateAuthority, CsrPolicy, KeyPair, Profile, self_signed,
};
use certwright_sni_store::{
    CertAcceptor, CertDir, CertStore, Challenges, ChangeSet, DefaultEntry, DefaultMaker, Entry,
    PairLoader, PemPair, Query, Resolver, TlsConfig,
};
use certwright_storage::MemoryStorage;
use certwright_transport::servers_transport::CertificateFiles;
use certwright_transport::{
    Connector, Identity, Material, Rotating, ServersTransport, Upstream, UpstreamClient,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use watch::{Watch, by_hand, decimal, hex};

/// Types with a `Debug` of their own that are not shown, and why.
const EXEMPT: &[(&str, &str)] = &[
    ("certwright::BindingKey", "private; a constant"),
    ("certwright::JobKey", "private; in Job"),
    ("certwright::KeySlot", "private; a constant"),
    ("certwright::Seal", "private; a constant"),
    ("certwright::Stored", "private; never outlives a plan"),
    ("certwright_acme::Breaker", "private; in Engine"),
    ("certwright_acme::Client", "private; in AcmeServer"),
    ("certwright_acme::Entry", "private; in NamedProvider"),
    ("certwright_acme::StoredKey", "private; a constant"),
    ("certwright_cert_model::Excerpt", "private; in errors"),
    ("certwright_sni_store::Change", "private; in ChangeSet"),
    ("certwright_sni_store::DirWatch", "a directory"),
    ("certwright_sni_store::Files", "private; in TlsConfig"),
    (
        "certwright_sni_store::Lazy",
        "cannot show its payloads: they need no Debug",
    ),
    ("certwright_sni_store::LazyKey", "private; in CertifiedKey"),
    ("certwright_sni_store::Name", "private; a name"),
    ("certwright_sni_store::Pattern", "a name"),
    (
        "certwright_sni_store::Ready",
        "cannot show its payload: it needs no Debug",
    ),
    ("certwright_sni_store::SchemeMask", "numbers of algorithms"),
    ("certwright_storage::Client", "private; in EtcdStorage"),
    ("certwright_storage::Clock", "a clock"),
    ("certwright_transport::Busy", "private; a number"),
    ("certwright_transport::Crls", "what is public"),
    ("certwright_transport::Peer", "what a peer has shown"),
    (
        "certwright_transport::PeerVerifier",
        "roots, and whom to accept",
    ),
    ("certwright_transport::Redacted", "private; in Material"),
    ("certwright_transport::Roots", "what is public"),
    ("certwright_transport::Stream", "its Peer"),
];

const PASSWORD: &str = "correct-horse-battery-staple";

/// A key, a certificate for it, and where they are kept.
struct Given {
    now: OffsetDateTime,
    key: KeyPair,
    pem: Zeroizing<String>,
    der: Zeroizing<Vec<u8>>,
    chain: String,
    certificates: Vec<Certificate>,
    secret: TlsSecret,
    mac: Vec<u8>,
}

#[tokio::test]
async fn nothing_shows_a_key() {
    let (mut watch, given) = given();
    cert_model(&mut watch, &given);
    issuance(&mut watch, &given);
    sni_store(&mut watch, &given);
    transport(&mut watch, &given);
    storage::look(&mut watch, &given).await;
    acme::look(&mut watch, &given);
    facade(&mut watch, &given).await;
    wrong::read(&mut watch, &given);

    let problems = watch.problems.join("\n");
    assert_eq!(problems, "");
    let exempt: Vec<&str> = EXEMPT.iter().map(|(name, _)| *name).collect();
    let by_hand = by_hand();
    let forgotten =
        |name: &&String| !watch.shown.contains(*name) && !exempt.contains(&name.as_str());
    let forgotten: Vec<_> = by_hand.iter().filter(forgotten).collect();
    assert!(
        forgotten.is_empty(),
        "show them, or say why not: {forgotten:#?}"
    );
    let stale = |name: &&&str| watch.shown.contains(**name) || !by_hand.contains(**name);
    let stale: Vec<_> = exempt.iter().filter(stale).collect();
    assert!(stale.is_empty(), "not exempt any more: {stale:#?}");
    // So that none gets lost.
    assert_eq!(
        (watch.shown.len(), watch.told),
        (113, 55),
        "{:#?}",
        watch.shown
    );
}

fn given() -> (Watch, Given) {
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
    // It would be seen, however it is written.
    for betrayed in [
        decimal(&der),
        hex(&der),
        pem.to_string(),
        Base64::encode_string(&der),
        Base64::encode_string(&der[1..]),
        Base64::encode_string(pem.as_bytes()),
        Base64::encode_string(&pem.as_bytes()[2..]),
    ] {
        assert!(watch.find(&betrayed).is_some(), "{betrayed}");
    }

    let request = Request::new("localhost", &["localhost"]).unwrap();
    let csr = request.sign(&key).unwrap();
    watch.look(&csr);
    let csr = csr.verify(&CsrPolicy::default()).unwrap();
    let usages = ["cert sign", "server auth"].map(|usage| usage.parse().unwrap());
    let profile = Profile::ca(usages.into_iter().collect(), Duration::days(9), None);
    let bundle = self_signed(&csr, &key, &profile, now).unwrap();
    watch.look(&bundle);
    let chain = bundle.chain_pem();
    let secret = TlsSecret::new("ns", "name");
    let secret = bundle.into_secret(secret, &key, KeyEncoding::Pkcs8, &[]);
    let given = Given {
        now,
        certificates: Certificate::read_pem(chain.as_bytes()).unwrap(),
        secret: secret.unwrap(),
        key,
        pem,
        der,
        chain,
        mac,
    };
    (watch, given)
}

/// A Secret, an issuer of its CA, and a certificate with a keystore and its password.
fn stream(given: &Given) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: ca, namespace: ns}}\nstringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n---\n\
         apiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {{name: ca, namespace: ns}}\nspec: {{ca: {{secretName: ca}}}}\n---\n\
         apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {{name: leaf, namespace: ns, annotations: {{kubectl.kubernetes.io/last-applied-configuration: 'password: {PASSWORD}'}}}}\n\
         spec: {{secretName: leaf, dnsNames: [a.test], issuerRef: {{name: ca}}, keystores: {{pkcs12: {{create: true, password: {PASSWORD}}}}}}}\n---\n\
         kind: Other\npassword: {PASSWORD}\n",
        block(&given.chain, 4),
        block(&given.pem, 4),
    )
}

/// The lines of a literal block, the first of which is indented already.
fn block(text: &str, indent: usize) -> String {
    text.replace('\n', &format!("\n{:indent$}", ""))
}

fn loader() -> PairLoader {
    PairLoader::new(Arc::new(default_provider()))
}

fn clock() -> Arc<dyn TimeProvider> {
    Arc::new(DefaultTimeProvider)
}

fn cert_model(watch: &mut Watch, given: &Given) {
    watch.look(&pem::read(given.pem.as_bytes()).unwrap()[0]);
    watch.look(&given.secret);
    let password = Zeroizing::new(PASSWORD.to_owned());
    watch.look(&KeystorePassword::Literal(password));
    for document in parse(&stream(given), Format::Yaml) {
        let document = document.unwrap();
        watch.look(&document);
        watch.look(&document.root);
        watch.look(&document.root.kind);
        watch.look(&document.root.entries()[0]);
        if let Some(spec) = document.root.get("spec") {
            let decoded = CertificateSpec::decode(spec, Strictness::Lenient);
            watch.look(&decoded);
            if let Ok(spec) = decoded.into_result() {
                watch.look(&spec);
                if let Some(keystore) = spec.keystores.as_ref().and_then(|all| all.pkcs12.as_ref())
                {
                    watch.look(keystore);
                }
            }
        }
    }
    let secret = given.secret.to_manifest();
    watch.look(&parse(&secret, Format::Yaml).remove(0).unwrap());
    for document in manifest::read(&stream(given), Format::Yaml, Strictness::Strict) {
        let document = document.unwrap();
        watch.look(&document);
        match document {
            Manifest::Certificate(found) => {
                watch.look(&*found);
                watch.look(found.metadata());
                let valid = found.validate(&Defaults::documented()).unwrap();
                watch.look(&valid);
                watch.look(&valid.spec);
                watch.look(valid.spec.keystores());
            }
            Manifest::Other(found) => watch.look(&found),
            _ => {}
        }
    }
}

fn issuance(watch: &mut Watch, given: &Given) {
    watch.look(&given.key);
    watch.look(&given.key.public_key());
    watch.look(&given.certificates[0]);
    let ca =
        CertificateAuthority::from_pem(given.chain.as_bytes(), given.pem.as_bytes(), given.now);
    watch.look(&ca.unwrap());
    let algorithm = KeyAlgorithm::Ecdsa(Curve::P256);
    let next = next_key(algorithm, RotationPolicy::Never, Some(given.pem.as_bytes()));
    watch.look(&next.unwrap());
    let entry = KeyEntry {
        alias: None,
        key: &given.key,
        chain: &given.certificates,
        authorities: &[],
    };
    watch.look(&entry);
    let contents = Contents::Key(entry);
    watch.look(&contents);
    let profile = certwright_cert_model::output::Pkcs12Profile::Modern2023;
    let password = PASSWORD;
    watch.look(&Pkcs12 {
        profile,
        password,
        contents,
    });
    watch.look(&Jks { password, contents });
}

fn sni_store(watch: &mut Watch, given: &Given) {
    let loader = loader();
    watch.look(&loader);
    watch.look(&CertDir::new("/certificates", loader.clone()));
    let pair = PemPair::of_secret(&given.secret);
    watch.look(&pair);
    let payload = Arc::new(loader.certified_key(pair).unwrap());
    let entry = Entry::new("one", ["localhost"], payload.clone());
    watch.look(&entry);
    watch.look(entry.id());
    let mut change = ChangeSet::from(entry);
    change.default_entry(DefaultEntry::Given(payload.clone()));
    watch.look(&change);
    watch.look(&DefaultEntry::Given(payload.clone()));
    watch.look(&DefaultMaker::new({
        let payload = payload.clone();
        move || Ok::<_, std::fmt::Error>(payload.clone())
    }));
    let store = CertStore::default();
    watch.look(&store.apply(change));
    watch.look(&store);
    let current = store.current();
    watch.look(&current);
    watch.look(&*current);
    watch.look(&current.select(&Query::new("localhost", given.now)).unwrap());

    let challenges = Challenges::new();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(given.der.to_vec());
    let certificate = given.certificates[0].der().to_vec().into();
    let answered = challenges.answer("localhost", certificate, key.into(), &default_provider());
    answered.unwrap();
    watch.look(&challenges);
    let resolver = Resolver::new(store, clock()).with_challenges(challenges);
    watch.look(&resolver);
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver.clone()));
    watch.look(&CertAcceptor::new(Arc::new(config), resolver));

    let text = serde_json::json!({"tls": {"certificates": [{"certFile": given.chain, "keyFile": *given.pem}]}});
    let config = TlsConfig::parse(&text.to_string(), Format::Json, Strictness::Strict).unwrap();
    watch.look(&config);
    watch.look(&config.load(&loader, &CertStore::default(), "/"));
}

fn transport(watch: &mut Watch, given: &Given) {
    let identity = Identity::from_secret(&given.secret, &default_provider()).unwrap();
    watch.look(&identity);
    let mut material = Material::default();
    material.insert_file("/tls.key", given.pem.as_bytes());
    material.insert_secret(given.secret.clone_with_keys());
    material.identities = vec![identity];
    watch.look(&material);
    let mut files = CertificateFiles::default();
    (files.cert_file, files.key_file) = (given.chain.clone(), given.pem.to_string());
    watch.look(&files);
    // Both in one, which then stands in both fields.
    let mut one = CertificateFiles::default();
    one.cert_file = format!("{}{}", given.chain, *given.pem);
    one.key_file.clone_from(&one.cert_file);
    watch.look(&one);
    let mut transport = ServersTransport::default();
    transport.root_cas = vec![{
        let mut root = certwright_transport::servers_transport::RootCa::default();
        root.file = Some(given.chain.clone());
        root
    }];
    transport.certificates = vec![files, one];
    watch.look(&transport);
    let upstream = transport.validate().unwrap();
    watch.look(&upstream);
    let Upstream::Verified(upstream) = upstream else {
        panic!("not verified");
    };
    watch.look(&upstream);
    for source in upstream.sources() {
        watch.look(source);
    }
    let provider = Arc::new(default_provider());
    let rotating = Arc::new(Rotating::new(upstream, provider, clock(), &material).unwrap());
    watch.look(&*rotating);
    watch.look(&*rotating.current());
    let connector = Connector::new(rotating.clone());
    watch.look(&connector);
    watch.look(&UpstreamClient::<String, _>::new(connector));
    watch.look(&TransportPublisher::new(rotating, material, |_, _| {}));
}

async fn facade(watch: &mut Watch, given: &Given) {
    let mut documents = Documents::new("ns", Defaults::documented());
    let text = stream(given).replace("---\nkind: Other", "---\napiVersion: v1\nkind: Other");
    documents.read("text", &text, Format::Yaml);
    watch.look(&documents);
    let (_, spec) = documents.inventory.certificates().next().unwrap();
    let keystores = SecretKeystores::resolve(spec.keystores(), |_, _| None).unwrap();
    watch.look(&keystores);
    watch.look(&Observed::new(Some(&given.secret), Authority::OwnKey));

    let store = MemoryStore::default();
    store.put(&given.secret).await.unwrap();
    watch.look(&store);
    let name = ResourceName::new("ns", "name");
    watch.look(&store.read(&name).await.unwrap());
    let storage = Arc::new(MemoryStorage::default());
    let minute = std::time::Duration::from_secs(60);
    let shared = SharedStore::new(storage, "/v1/certwright", "one", minute);
    assert!(shared.lead().await.unwrap());
    shared.put(&given.secret).await.unwrap();
    watch.look(&shared);
    watch.look(&Runner::new(store, OffsetDateTime::now_utc));
    watch.look(&SniPublisher::new(CertStore::default(), loader()));

    let mut manager = Manager::new(documents.inventory, documents.secrets);
    manager.begin(given.now);
    watch.look(&manager);
    for job in manager.take_jobs() {
        watch.look(&job);
        let done = job.run(given.now).await;
        watch.look(&done);
        watch.look(&manager.finish(done, given.now)[0].1);
    }
    let changes = manager.take_changes();
    watch.look(&changes[0]);
    watch.look(&manager);
}
