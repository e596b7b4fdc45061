//! What a manager does about one certificate among others: scopes, issuers of the user's, history, conflicts, ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::{Arc, Mutex};

use certwright::annotation::{ISSUED_AT, STARTED_AT};
use certwright::plan::{Block, KeyReuse};
use certwright::{
    Documents, IssueError, Issuer, IssuerError, Issuing, Manager, Options, Outcome, Reason,
    Request, RequestResult, ResourceName, SecretChange, publish,
};
use certwright_cert_model::TlsSecret;
use certwright_cert_model::document::Format;
use certwright_cert_model::key::KeyEncoding;
use certwright_cert_model::secret::{CA_CRT, KEYSTORE_P12, TLS_CRT, TLS_KEY};
use certwright_issuance::{Certificate, CertificateAuthority, Csr, CsrPolicy, KeyPair, Profile};
use certwright_renewal::Failure;
use certwright_sni_store::{CertStore, PairLoader, SelectionPolicy};
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use self::support::{now_or_never, root_ca};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn named(name: &str) -> ResourceName {
    ResourceName::new("ns", name)
}

fn documents(text: &str) -> Documents {
    let mut documents = Documents::default();
    documents.read("test", text, Format::Yaml);
    assert!(documents.problems.is_empty(), "{:?}", documents.problems);
    documents
}

fn issuer(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {{name: {name}, namespace: ns}}\nspec: {spec}\n"
    )
}

/// A Certificate for `NAME.example` in Secret `NAME`, with more in its spec.
fn certificate(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {{name: {name}, namespace: ns}}\nspec: {{secretName: {name}, dnsNames: [{name}.example], privateKey: {{algorithm: ECDSA}}, {more}}}\n"
    )
}

fn root() -> String {
    issuer("self", "{selfSigned: {}}")
        + "---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: root, namespace: ns}\nspec: {secretName: root, isCA: true, commonName: Root, duration: 87600h, privateKey: {algorithm: ECDSA}, issuerRef: {name: self}}\n"
        + &issuer("root", "{ca: {secretName: root}}")
}

fn outcome<'o>(outcomes: &'o [(ResourceName, Outcome)], name: &str) -> &'o Outcome {
    let found = outcomes.iter().rev().find(|(of, _)| of.name == name);
    &found
        .unwrap_or_else(|| panic!("nothing about {name} in {outcomes:?}"))
        .1
}

fn serial(manager: &Manager, name: &str) -> Vec<u8> {
    let secret = manager.secret(&named(name)).unwrap();
    Certificate::read_pem(secret.get(TLS_CRT).unwrap()).unwrap()[0]
        .serial()
        .to_vec()
}

#[test]
fn one_that_cannot_be_issued_holds_up_no_other() {
    let text = root()
        + &issuer(
            "acme",
            "{acme: {server: 'https://acme.example', privateKeySecretRef: {name: k}}}",
        )
        + &certificate("from-acme", "issuerRef: {name: acme}")
        + &certificate("nameless", "issuerRef: {name: self}")
        + &certificate("nobody", "issuerRef: {name: nobody}")
        + &certificate("theirs", "issuerRef: {name: x, kind: Y, group: z.example}")
        + &certificate("elsewhere", "issuerRef: {name: root, kind: ClusterIssuer}")
        + &certificate("fine", "issuerRef: {name: root}");
    let mut manager = Manager::new(documents(&text).inventory, []);
    let outcomes = manager.reconcile(NOW);
    for (name, message) in [
        (
            "from-acme",
            "nobody signs for issuers of this type here; register AcmeIssuers for those with spec.acme, or use selfSigned or ca",
        ),
        ("nameless", "not signed"),
        ("nobody", "its issuer does not exist"),
        (
            "theirs",
            "no issuer is registered for kind Y of group z.example",
        ),
        ("elsewhere", "its issuer does not exist"),
    ] {
        let Outcome::Failed { error, .. } = outcome(&outcomes, name) else {
            panic!("{name}: {outcomes:?}");
        };
        assert_eq!(error.to_string(), message, "{name}");
        let status = manager.status(&named(name), NOW).unwrap();
        assert!(
            !status.ready && status.message.starts_with(message),
            "{status:?}"
        );
    }
    assert!(matches!(outcome(&outcomes, "fine"), Outcome::Issued { .. }));
    assert!(manager.status(&named("fine"), NOW).unwrap().ready);
}

#[test]
fn a_cluster_issuers_ca_is_in_its_own_namespace() {
    let text = root()
        + "---\napiVersion: cert-manager.io/v1\nkind: ClusterIssuer\nmetadata: {name: all}\nspec: {ca: {secretName: root}}\n"
        + &certificate("web", "issuerRef: {name: all, kind: ClusterIssuer}");
    for (namespace, issued) in [("ns", true), ("cert-manager", false)] {
        let mut documents =
            Documents::new(namespace, certwright_cert_model::Defaults::documented());
        documents.read("test", &text, Format::Yaml);
        let mut manager = Manager::new(documents.inventory, []);
        manager.reconcile(NOW);
        assert_eq!(
            manager.secret(&named("web")).is_some(),
            issued,
            "{namespace}"
        );
        if !issued {
            // It comes from elsewhere later, and is used at once.
            let mut ca = manager.secret(&named("root")).unwrap().clone_with_keys();
            ca.namespace = namespace.to_owned();
            manager.observe(ca);
            let outcomes = manager.reconcile(NOW);
            assert!(matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }));
        }
    }
}

#[test]
fn a_keystores_password_is_read_by_name_and_key() {
    let keystore = "issuerRef: {name: root}, keystores: {pkcs12: {create: true, profile: Modern2023, passwordSecretRef: {name: pass, key: word}}}";
    let mut manager = Manager::new(
        documents(&(root() + &certificate("web", keystore))).inventory,
        [],
    );
    manager.reconcile(NOW);
    let status = manager.status(&named("web"), NOW).unwrap();
    assert_eq!(
        (status.ready, status.reason),
        (false, "KeystorePasswordMissing")
    );
    assert!(status.message.contains("pass"), "{status:?}");
    assert!(manager.secret(&named("web")).is_none());

    let mut password = TlsSecret::new("ns", "pass");
    password.insert("word", "swordfish");
    manager.observe(password);
    let outcomes = manager.reconcile(NOW);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
    let first = manager
        .secret(&named("web"))
        .unwrap()
        .get(KEYSTORE_P12)
        .unwrap()
        .to_vec();
    let before = serial(&manager, "web");

    // Another password makes another keystore, and no other certificate.
    let mut password = TlsSecret::new("ns", "pass");
    password.insert("word", "sesame");
    manager.observe(password);
    let outcomes = manager.reconcile(NOW);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Reapplied { .. }),
        "{outcomes:?}"
    );
    assert_ne!(
        manager
            .secret(&named("web"))
            .unwrap()
            .get(KEYSTORE_P12)
            .unwrap(),
        first
    );
    assert_eq!(serial(&manager, "web"), before);

    manager.forget(&named("pass"));
    manager.reconcile(NOW);
    let status = manager.status(&named("web"), NOW).unwrap();
    assert_eq!(
        (status.ready, status.reason),
        (false, "KeystorePasswordMissing")
    );
}

/// An issuer of the user's that does what it is told.
#[derive(Debug)]
struct Theirs {
    ca: CertificateAuthority,
    reuse: KeyReuse,
    answer: Mutex<Answer>,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Chain,
    Fail(Failure),
    /// A certificate for another name.
    Other,
    /// The right certificate of an hour ago, which is over.
    Expired,
    /// The right one, dated to this instant, for so long.
    Dated(OffsetDateTime, Duration),
}

impl Theirs {
    fn new(reuse: KeyReuse) -> Arc<Self> {
        Arc::new(Self {
            ca: root_ca("Theirs", NOW - Duration::days(10), Duration::days(365)),
            reuse,
            answer: Mutex::new(Answer::Chain),
        })
    }

    fn says(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }
}

impl Issuer for Theirs {
    fn issue<'a>(&'a self, request: &'a Request) -> Issuing<'a> {
        Box::pin(async move {
            let answer = *self.answer.lock().unwrap();
            let csr = request.csr.verify(&CsrPolicy::default());
            let mut csr = csr.map_err(IssuerError::permanent)?;
            let profile = Profile::for_spec(&request.spec);
            let mut now = NOW;
            match answer {
                Answer::Chain | Answer::Dated(..) => {}
                Answer::Fail(failure) => return Err(IssuerError::new(failure, "no")),
                Answer::Expired => now -= Duration::days(9) + profile.duration,
                Answer::Other => {
                    let key = KeyPair::generate(request.spec.key().algorithm);
                    let key = key.map_err(IssuerError::permanent)?;
                    let other =
                        certwright_issuance::csr::Request::new("x", &["x.example"]).unwrap();
                    csr = other
                        .sign(&key)
                        .unwrap()
                        .verify(&CsrPolicy::default())
                        .unwrap();
                }
            }
            if let Answer::Expired = answer {
                let mut early = profile;
                early.duration = Duration::HOUR;
                let bundle = self.ca.sign(&csr, &early, NOW - Duration::days(1));
                return Ok(bundle
                    .map_err(IssuerError::permanent)?
                    .chain_pem()
                    .into_bytes());
            }
            let mut profile = profile;
            if let Answer::Dated(from, length) = answer {
                (now, profile.duration, profile.backdate) = (from, length, Duration::ZERO);
            }
            let bundle = self.ca.sign(&csr, &profile, now);
            Ok(bundle
                .map_err(IssuerError::permanent)?
                .chain_pem()
                .into_bytes())
        })
    }

    fn key_reuse(&self) -> KeyReuse {
        self.reuse
    }
}

fn with_theirs(more: &str, theirs: &Arc<Theirs>) -> Manager {
    let reference = format!("issuerRef: {{name: x, kind: Theirs, group: z.example}}{more}");
    let text =
        root() + &certificate("web", &reference) + &certificate("fine", "issuerRef: {name: root}");
    let mut manager = Manager::new(documents(&text).inventory, []);
    manager.register("z.example", "Theirs", theirs.clone());
    manager
}

/// A Certificate's keystore with a password in Secret `pass`.
const KEYSTORE: &str = "keystores: {pkcs12: {create: true, profile: Modern2023, passwordSecretRef: {name: pass, key: word}}}";

fn password() -> TlsSecret {
    let mut password = TlsSecret::new("ns", "pass");
    password.insert("word", "swordfish");
    password
}

fn keystore(manager: &Manager, name: &str) -> Option<Vec<u8>> {
    let secret = manager.secret(&named(name)).unwrap();
    secret.get(KEYSTORE_P12).map(<[u8]>::to_vec)
}

#[test]
fn what_was_signed_is_stored_without_keystores_rather_than_ordered_again() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let mut manager = with_theirs(&format!(", {KEYSTORE}"), &theirs);
    manager.observe(password());
    manager.reconcile(NOW);
    manager.forget(&named("pass"));
    let outcomes = work(&mut manager, NOW);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
    assert_eq!(keystore(&manager, "web"), None);
    let before = serial(&manager, "web");

    let outcomes = manager.reconcile(NOW);
    let Outcome::Failed { error, retry } = outcome(&outcomes, "web") else {
        panic!("{outcomes:?}");
    };
    assert!(matches!(error, IssueError::Password(_)), "{error:?}");
    assert_eq!(*retry, NOW + Duration::HOUR);
    let status = manager.status(&named("web"), NOW).unwrap();
    assert_eq!(
        (status.ready, status.reason, status.failures),
        (false, "KeystorePasswordMissing", 0)
    );
    let outcomes = manager.reconcile(*retry);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Failed { .. }),
        "{outcomes:?}"
    );
    assert!(manager.take_jobs().is_empty(), "nothing is ordered again");

    manager.observe(password());
    let outcomes = manager.reconcile(*retry);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Reapplied { .. }),
        "{outcomes:?}"
    );
    assert!(keystore(&manager, "web").is_some());
    assert_eq!(serial(&manager, "web"), before);
    assert!(manager.status(&named("web"), *retry).unwrap().ready);
}

#[test]
fn a_missing_password_keeps_no_certificate_from_being_renewed() {
    let web = format!("issuerRef: {{name: root}}, {KEYSTORE}");
    let text = root() + &certificate("web", &web);
    let mut manager = Manager::new(documents(&text).inventory, [password()]);
    manager.reconcile(NOW);
    let before = serial(&manager, "web");
    let due = manager.schedule(&named("web"), NOW).unwrap().due();

    manager.forget(&named("pass"));
    let late = due - Duration::minutes(1);
    let outcomes = manager.reconcile(late);
    let Outcome::Failed { retry, .. } = outcome(&outcomes, "web") else {
        panic!("{outcomes:?}");
    };
    assert_eq!(*retry, due, "a pause ends with the renewal");
    assert!(keystore(&manager, "web").is_some(), "the old one stays");
    let outcomes = manager.reconcile(due);
    let issued = |(of, outcome): &(ResourceName, Outcome)| {
        of.name == "web" && matches!(outcome, Outcome::Issued { .. })
    };
    assert_eq!(
        outcomes.iter().filter(|one| issued(one)).count(),
        1,
        "{outcomes:?}"
    );
    assert_ne!(serial(&manager, "web"), before);
    assert_eq!(
        keystore(&manager, "web"),
        None,
        "it would hold the old certificate"
    );
    let status = manager.status(&named("web"), due).unwrap();
    assert_eq!(status.reason, "KeystorePasswordMissing");
}

#[test]
fn keystores_that_cannot_be_made_are_told_until_they_can() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let literal = ", keystores: {jks: {create: true, password: swordfish}}";
    let mut manager = with_theirs(literal, &theirs);
    manager.reconcile(NOW);
    work(&mut manager, NOW);
    manager.reconcile(NOW);
    let web = named("web");
    assert!(manager.status(&web, NOW).unwrap().ready);

    let whole = manager.secret(&web).unwrap().clone_with_keys();
    let mut broken = whole.clone_with_keys();
    broken.insert(
        CA_CRT,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    manager.observe(broken);
    let outcomes = manager.reconcile(NOW);
    let Outcome::Failed { error, retry } = outcome(&outcomes, "web") else {
        panic!("{outcomes:?}");
    };
    assert!(matches!(error, IssueError::Keystore(_)), "{error:?}");
    assert_eq!(*retry, NOW + Duration::HOUR);
    let status = manager.status(&web, NOW).unwrap();
    assert_eq!((status.ready, status.reason), (false, "KeystoreFailed"));
    assert_eq!(status.next, Some(*retry));
    manager.observe(whole);
    manager.reconcile(NOW);
    assert!(manager.status(&web, NOW).unwrap().ready);
    assert!(manager.take_jobs().is_empty());
}

/// Has every job done, one after the other.
fn work(manager: &mut Manager, now: OffsetDateTime) -> Vec<(ResourceName, Outcome)> {
    let jobs = manager.take_jobs();
    let done = jobs.into_iter().map(|job| now_or_never(job.run(now)));
    let done: Vec<_> = done.collect();
    done.into_iter()
        .flat_map(|done| manager.finish(done, now))
        .collect()
}

#[test]
fn what_an_issuer_sends_is_held_against_what_was_asked_for() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let mut manager = with_theirs("", &theirs);
    let outcomes = manager.reconcile(NOW);
    assert!(matches!(
        outcome(&outcomes, "web"),
        Outcome::Ordered {
            reason: Reason::DoesNotExist
        }
    ));
    assert!(
        matches!(outcome(&outcomes, "fine"), Outcome::Issued { .. }),
        "nobody waits"
    );
    let web = named("web");
    let mut now = NOW;
    for (answer, message, pause) in [
        (
            Answer::Other,
            "its key is not the request's",
            Duration::HOUR,
        ),
        (Answer::Expired, "it expired", Duration::hours(2)),
        (Answer::Fail(Failure::Permanent), "no", Duration::hours(32)),
    ] {
        theirs.says(answer);
        let outcomes = work(&mut manager, now);
        let Outcome::Failed { retry, .. } = outcome(&outcomes, "web") else {
            panic!("{outcomes:?}");
        };
        assert_eq!(*retry, now + pause);
        let status = manager.status(&web, now).unwrap();
        assert!(status.message.contains(message), "{status:?}");
        assert!(manager.secret(&web).is_none(), "nothing of it is stored");
        now = *retry;
        assert!(matches!(
            outcome(&manager.reconcile(now), "web"),
            Outcome::Ordered { .. }
        ));
    }
    assert_eq!(manager.status(&web, now).unwrap().failures, 3);
    theirs.says(Answer::Chain);
    let outcomes = work(&mut manager, now);
    assert!(matches!(
        outcome(&outcomes, "web"),
        Outcome::Issued { revision: 1, .. }
    ));
    assert_eq!(manager.status(&web, now).unwrap().failures, 0);
    let requests: Vec<_> = manager.requests(&web).collect();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(
        (requests[0].name.as_str(), &requests[0].result),
        ("web-1", &RequestResult::Issued)
    );
}

#[test]
fn an_issuer_of_the_users_orders_from_acme_servers() {
    /// Remembers which server it was to ask.
    #[derive(Debug)]
    struct Acme(Arc<Theirs>, Mutex<Option<String>>);
    impl Issuer for Acme {
        fn issue<'a>(&'a self, request: &'a Request) -> Issuing<'a> {
            let server = request.acme.as_ref().map(|acme| acme.server.clone());
            *self.1.lock().unwrap() = server;
            self.0.issue(request)
        }

        fn source(&self) -> certwright_sni_store::Source {
            certwright_sni_store::Source::Acme
        }
    }
    let server = "https://acme.example/directory";
    let acme = format!("{{acme: {{server: '{server}', privateKeySecretRef: {{name: k}}}}}}");
    let text = issuer("acme", &acme) + &certificate("web", "issuerRef: {name: acme}");
    let mut manager = Manager::new(documents(&text).inventory, []);
    let outcomes = manager.reconcile(NOW);
    assert!(matches!(outcome(&outcomes, "web"), Outcome::Failed { .. }));
    let issuer = Arc::new(Acme(Theirs::new(KeyReuse::Allowed), Mutex::default()));
    manager.register(certwright::ACME_GROUP, "Issuer", issuer.clone());
    manager.reconcile(NOW);
    let outcomes = work(&mut manager, NOW);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
    assert_eq!(issuer.1.lock().unwrap().as_deref(), Some(server));

    // In the order of fallbacks an ACME certificate, also one that is over, comes before a given one.
    let loader = PairLoader::new(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let store = CertStore::new(SelectionPolicy::Traefik);
    publish(&store, &loader, manager.secrets());
    let entry = store.entry("ns/web").unwrap();
    assert_eq!(entry.source(), certwright_sni_store::Source::Acme);
    let report = publish(&store, &loader, manager.secrets());
    assert_eq!((report.unchanged, report.changed()), (1, false));
}

#[test]
fn no_log_shows_the_key_of_an_account_binding() {
    let acme = "{acme: {server: 'https://acme.example/', privateKeySecretRef: {name: k}, externalAccountBinding: {keyID: id, keySecretRef: {name: pass, key: word}}}}";
    let text = issuer("acme", acme) + &certificate("web", "issuerRef: {name: acme}");
    let mut manager = Manager::new(documents(&text).inventory, [password()]);
    let theirs = Theirs::new(KeyReuse::Allowed);
    manager.register(certwright::ACME_GROUP, "Issuer", theirs);
    manager.reconcile(NOW);
    let shown = format!("{:?}", manager.take_jobs());
    assert!(shown.contains("BindingKey(..)"), "{shown}");
    let key = format!("{:?}", b"swordfish");
    assert!(!shown.contains(&key), "{shown}");
}

#[test]
fn what_comes_of_a_job_that_was_given_up_is_dropped() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let mut manager = with_theirs("", &theirs);
    manager.reconcile(NOW);
    let first = manager.take_jobs();
    manager.abandon_jobs();
    manager.reconcile(NOW);
    for job in first {
        let done = now_or_never(job.run(NOW));
        assert!(manager.finish(done, NOW).is_empty());
    }
    assert!(manager.secret(&named("web")).is_none());
    let outcomes = work(&mut manager, NOW);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
}

#[test]
fn who_is_below_a_ca_that_is_being_issued_waits_for_it() {
    let below = "---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: middle, namespace: ns}\nspec: {secretName: middle, isCA: true, commonName: Middle, duration: 8760h, privateKey: {algorithm: ECDSA}, issuerRef: {name: root}}\n";
    let text = root()
        + below
        + &issuer("middle", "{ca: {secretName: middle}}")
        + &certificate("web", "issuerRef: {name: middle}");
    let mut manager = Manager::new(documents(&text).inventory, []);
    for name in ["root", "middle", "web"] {
        let outcomes = manager.begin(NOW);
        // What was done about the others is no failure, and nothing to tell.
        assert!(
            outcomes.iter().all(|(of, _)| of.name != "web"),
            "{outcomes:?}"
        );
        let waiting = manager.status(&named("web"), NOW).unwrap();
        assert_eq!(waiting.failures, 0, "{name}");
        let jobs = manager.take_jobs();
        let [job] = &jobs[..] else {
            panic!("{jobs:?}");
        };
        assert_eq!(job.certificate().name, name);
        // A look in between finds nothing to do.
        assert!(manager.begin(NOW).is_empty());
        assert!(manager.take_jobs().is_empty());
        for job in jobs {
            let outcomes = manager.finish(now_or_never(job.run(NOW)), NOW);
            assert!(
                matches!(outcome(&outcomes, name), Outcome::Issued { .. }),
                "{outcomes:?}"
            );
        }
    }
    assert!(manager.status(&named("web"), NOW).unwrap().ready);
}

#[test]
fn who_waited_for_a_ca_that_was_not_issued_is_told_of() {
    let text = root() + &certificate("web", "issuerRef: {name: root}");
    let mut manager = Manager::new(documents(&text).inventory, []);
    assert!(manager.begin(NOW).is_empty());
    // By the end of the job the CA would have expired already.
    let late = NOW + Duration::days(36_500);
    for job in manager.take_jobs() {
        let outcomes = manager.finish(now_or_never(job.run(NOW)), late);
        assert!(
            matches!(outcome(&outcomes, "root"), Outcome::Failed { .. }),
            "{outcomes:?}"
        );
    }
    let outcomes = manager.begin(late);
    assert!(
        matches!(
            outcome(&outcomes, "web"),
            Outcome::Failed {
                error: IssueError::NoCaSecret { .. },
                ..
            }
        ),
        "{outcomes:?}"
    );
}

#[test]
fn an_issuer_may_forbid_to_use_a_key_twice() {
    let theirs = Theirs::new(KeyReuse::Forbidden);
    for (rotation, allowed) in [("Never", false), ("Always", true)] {
        let key = format!(", privateKey: {{algorithm: ECDSA, rotationPolicy: {rotation}}}");
        let reference = format!("issuerRef: {{name: x, kind: Theirs, group: z.example}}{key}");
        let text = certificate("web", &reference).replace(" privateKey: {algorithm: ECDSA},", "");
        let mut manager = Manager::new(documents(&text).inventory, []);
        manager.register("z.example", "Theirs", theirs.clone());
        let outcomes = manager.reconcile(NOW);
        match outcome(&outcomes, "web") {
            Outcome::Blocked(Block::KeyReuse) => assert!(!allowed),
            Outcome::Ordered { .. } => assert!(allowed),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_temporary_certificate_stands_in_until_the_real_one_is_there() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let reference = "issuerRef: {name: x, kind: Theirs, group: z.example}";
    let text = certificate("web", reference).replace(
        "namespace: ns}",
        "namespace: ns, annotations: {cert-manager.io/issue-temporary-certificate: 'true'}}",
    );
    let mut manager = Manager::new(documents(&text).inventory, []);
    manager.register("z.example", "Theirs", theirs.clone());
    manager.reconcile(NOW);
    let web = named("web");
    let temporary = manager.secret(&web).unwrap();
    let subject = |secret: &TlsSecret| {
        Certificate::read_pem(secret.get(TLS_CRT).unwrap()).unwrap()[0]
            .issuer_der()
            .to_vec()
    };
    assert!(String::from_utf8_lossy(&subject(temporary)).contains("cert-manager.local"));
    assert!(temporary.get("ca.crt").is_none());
    assert!(!manager.status(&web, NOW).unwrap().ready);
    let stored = temporary.clone_with_keys();
    assert_eq!(manager.take_changes().len(), 1);

    // A restart does not take it for the real one.
    let mut again = Manager::new(documents(&text).inventory, [stored]);
    again.register("z.example", "Theirs", theirs.clone());
    let outcomes = again.reconcile(NOW);
    assert!(matches!(
        outcome(&outcomes, "web"),
        Outcome::Ordered {
            reason: Reason::Temporary
        }
    ));

    work(&mut manager, NOW);
    assert!(manager.status(&web, NOW).unwrap().ready);
    let real = manager.secret(&web).unwrap();
    assert!(String::from_utf8_lossy(&subject(real)).contains("Theirs"));
}

#[test]
fn of_two_certificates_for_one_secret_one_waits() {
    let second =
        certificate("b", "issuerRef: {name: root}").replace("secretName: b", "secretName: a");
    let first = certificate("a", "issuerRef: {name: root}");
    let mut manager = Manager::new(documents(&(root() + &second + &first)).inventory, []);
    let outcomes = manager.reconcile(NOW);
    assert!(matches!(outcome(&outcomes, "a"), Outcome::Issued { .. }));
    let Outcome::Blocked(block) = outcome(&outcomes, "b") else {
        panic!("{outcomes:?}");
    };
    assert_eq!(
        *block,
        Block::SecretOwned {
            owner: "a".to_owned()
        }
    );
    assert!(manager.reconcile(NOW).is_empty(), "no storm");
    // Who had it keeps it; who is left gets it.
    let outcomes = manager.replace_inventory(documents(&(root() + &second)).inventory);
    assert!(outcomes.is_empty());
    let outcomes = manager.reconcile(NOW);
    assert!(
        matches!(outcome(&outcomes, "b"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
}

#[test]
fn of_two_certificates_for_one_secret_the_older_one_has_it() {
    let made = |text: String, at: &str| {
        let made = format!("namespace: ns, creationTimestamp: '{at}'}}");
        text.replace("namespace: ns}", &made)
    };
    let younger = certificate("a", "issuerRef: {name: root}");
    let older =
        certificate("b", "issuerRef: {name: root}").replace("secretName: b", "secretName: a");
    let text =
        root() + &made(younger, "2026-02-01T12:00:00Z") + &made(older, "2026-01-01T12:00:00Z");
    let mut manager = Manager::new(documents(&text).inventory, []);
    let outcomes = manager.reconcile(NOW);
    assert!(matches!(outcome(&outcomes, "a"), Outcome::Blocked(_)));
    assert!(matches!(outcome(&outcomes, "b"), Outcome::Issued { .. }));
}

#[test]
fn who_waits_for_a_secret_puts_nothing_into_it_and_gets_it_when_it_is_left() {
    // The first by name came second, cannot be issued, and wants something to serve.
    let owner = certificate("z", "issuerRef: {name: root}");
    let mut manager = Manager::new(documents(&(root() + &owner)).inventory, []);
    manager.reconcile(NOW);
    let before = serial(&manager, "z");
    manager.take_changes();
    let waiting = certificate("a", "issuerRef: {name: nobody}")
        .replace("secretName: a", "secretName: z")
        .replace(
            "namespace: ns}",
            "namespace: ns, annotations: {cert-manager.io/issue-temporary-certificate: 'true'}}",
        );
    manager.replace_inventory(documents(&(root() + &owner + &waiting)).inventory);
    manager.reconcile(NOW);
    assert!(manager.take_changes().is_empty());
    assert_eq!(serial(&manager, "z"), before);

    // Able to be issued it still waits, until the owner is gone.
    let waiting = waiting.replace("nobody", "root");
    manager.replace_inventory(documents(&(root() + &owner + &waiting)).inventory);
    let outcomes = manager.reconcile(NOW);
    assert!(
        matches!(outcome(&outcomes, "a"), Outcome::Blocked(_)),
        "{outcomes:?}"
    );
    manager.replace_inventory(documents(&(root() + &waiting)).inventory);
    let outcomes = manager.reconcile(NOW);
    assert!(
        matches!(outcome(&outcomes, "a"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
}

#[test]
fn a_secret_that_is_given_to_another_certificate_is_issued_by_it() {
    let first = certificate("a", "issuerRef: {name: root}");
    let second =
        certificate("b", "issuerRef: {name: root}").replace("secretName: b", "secretName: a");
    let mut manager = Manager::new(documents(&(root() + &first + &second)).inventory, []);
    manager.reconcile(NOW);
    let mut secret = manager.secret(&named("a")).unwrap().clone_with_keys();
    let annotation = "cert-manager.io/certificate-name".to_owned();
    assert_eq!(
        secret.annotations.insert(annotation, "b".to_owned()),
        Some("a".to_owned())
    );
    manager.observe(secret);
    let outcomes = manager.reconcile(NOW);
    assert!(
        matches!(outcome(&outcomes, "a"), Outcome::Blocked(_)),
        "{outcomes:?}"
    );
    assert!(
        matches!(outcome(&outcomes, "b"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
}

#[test]
fn a_secret_stays_when_its_certificate_goes_unless_it_is_owned() {
    let both = root() + &certificate("web", "issuerRef: {name: root}");
    for owned in [false, true] {
        let mut options = Options::default();
        options.owner_references = owned;
        let mut manager = Manager::with_options(documents(&both).inventory, [], options);
        manager.reconcile(NOW);
        manager.take_changes();
        let outcomes = manager.replace_inventory(documents(&root()).inventory);
        assert_eq!(outcomes.len(), 1);
        let web = named("web");
        assert_eq!(manager.secret(&web).is_none(), owned);
        assert_eq!(manager.orphans().count(), usize::from(!owned));
        match (&outcomes[0].1, manager.take_changes().as_slice()) {
            (Outcome::Removed { secret }, [SecretChange::Remove(name)]) => {
                assert!(owned && *secret == web && *name == web);
            }
            (Outcome::Orphaned { secret }, []) => assert!(!owned && *secret == web),
            other => panic!("{other:?}"),
        }
        assert!(manager.reconcile(NOW).is_empty());
        assert!(
            manager.next_wake().is_some_and(|wake| wake > NOW),
            "the root's renewal"
        );
    }
}

#[test]
fn what_is_asked_for_by_hand_is_done_once() {
    let mut manager = Manager::new(documents(&root()).inventory, []);
    manager.reconcile(NOW);
    let root = named("root");
    let key = |manager: &Manager| {
        manager
            .secret(&root)
            .unwrap()
            .get(TLS_KEY)
            .unwrap()
            .to_vec()
    };
    let (before, same) = (serial(&manager, "root"), key(&manager));
    let later = NOW + Duration::DAY;
    assert!(manager.renew(&root, later));
    assert!(!manager.renew(&named("nobody"), later));
    let outcomes = manager.reconcile(later);
    let issued = outcome(&outcomes, "root");
    assert!(
        matches!(issued, Outcome::Issued { reason: Reason::Requested(at), revision: 2, .. } if *at == later)
    );
    assert_ne!(serial(&manager, "root"), before);
    assert_eq!(key(&manager), same, "the policy is to keep it");
    assert!(
        manager
            .reconcile(later + Duration::HOUR)
            .iter()
            .all(|(_, o)| !matches!(o, Outcome::Issued { .. }))
    );
}

/// What was asked for before somebody asked again may be what is wrong: an order under way is no answer.
#[test]
fn what_is_asked_for_while_a_certificate_is_under_way_is_done_after_it() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let mut manager = with_theirs("", &theirs);
    let web = named("web");
    manager.reconcile(NOW);
    let first = manager.take_jobs();
    let asked = NOW + Duration::MINUTE;
    assert!(manager.renew(&web, asked));
    manager.reconcile(asked);
    assert!(manager.take_jobs().is_empty(), "it is under way");
    let now = asked + Duration::MINUTE;
    for job in first {
        let done = now_or_never(job.run(now));
        let outcomes = manager.finish(done, now);
        assert!(matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }));
    }
    let before = serial(&manager, "web");
    let wake = manager.next_wake().unwrap();
    assert!(wake <= now + Duration::SECOND, "{wake}");
    let later = now + Duration::SECOND;
    let outcomes = turn(&mut manager, later);
    let issued = outcome(&outcomes, "web");
    assert!(
        matches!(
            issued,
            Outcome::Issued {
                reason: Reason::Requested(_),
                revision: 2,
                ..
            }
        ),
        "{outcomes:?}"
    );
    assert_ne!(serial(&manager, "web"), before);
    let outcomes = turn(&mut manager, later + Duration::HOUR);
    let issued = |(_, outcome): &(_, Outcome)| matches!(outcome, Outcome::Issued { .. });
    assert!(!outcomes.iter().any(issued), "once: {outcomes:?}");
}

/// An instant that a Secret's annotation tells.
fn told(manager: &Manager, name: &str, annotation: &str) -> Option<OffsetDateTime> {
    let secret = manager.secret(&named(name))?;
    OffsetDateTime::parse(secret.annotations.get(annotation)?, &Rfc3339).ok()
}

/// By the end of the work nobody knows whether it is what was asked for meanwhile.
#[test]
fn a_secret_tells_when_the_work_on_its_certificate_began() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let mut manager = with_theirs("", &theirs);
    manager.reconcile(NOW);
    let first = manager.take_jobs();
    let asked = NOW + Duration::MINUTE;
    assert!(manager.renew(&named("web"), asked));
    let now = asked + Duration::MINUTE;
    for job in first {
        let done = now_or_never(job.run(now));
        manager.finish(done, now);
    }
    let instants = |manager: &Manager| {
        [STARTED_AT, ISSUED_AT].map(|annotation| told(manager, "web", annotation).unwrap())
    };
    assert_eq!(instants(&manager), [NOW, now]);
    let before = serial(&manager, "web");
    let later = now + Duration::SECOND;
    let outcomes = turn(&mut manager, later);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
    assert_ne!(serial(&manager, "web"), before);
    assert_eq!(instants(&manager), [later, later]);
    // What is written around a certificate is no work on it.
    let mut edited = manager.secret(&named("web")).unwrap().clone_with_keys();
    edited.annotations.remove("cert-manager.io/alt-names");
    manager.observe(edited);
    let outcomes = turn(&mut manager, later + Duration::HOUR);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Reapplied { .. }),
        "{outcomes:?}"
    );
    assert_eq!(instants(&manager), [later, later]);
}

/// Of two machines, or of one whose clock was corrected: what was issued a little later by the wrong clock does not hide
/// that somebody asks now.
#[test]
fn what_is_asked_for_by_a_clock_that_is_behind_is_done_when_it_has_caught_up() {
    let mut manager = Manager::new(documents(&root()).inventory, []);
    let ahead = NOW + Duration::minutes(5);
    manager.reconcile(ahead);
    let before = serial(&manager, "root");
    assert!(manager.renew(&named("root"), NOW));
    manager.reconcile(NOW);
    let wake = manager.next_wake().unwrap();
    assert!(
        ahead < wake && wake <= ahead + Duration::SECOND,
        "{wake}: it is not forgotten"
    );
    manager.reconcile(wake);
    assert_ne!(serial(&manager, "root"), before);
    assert_eq!(told(&manager, "root", STARTED_AT), Some(wake));
}

#[test]
fn what_is_asked_for_after_the_clock_was_set_back_is_done_too() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let mut manager = with_theirs("", &theirs);
    let web = named("web");
    turn(&mut manager, NOW);
    let ahead = NOW + Duration::HOUR;
    assert!(manager.renew(&web, ahead));
    manager.reconcile(ahead);
    // The job began when the clock was ahead.
    let now = ahead - Duration::MINUTE;
    assert!(manager.renew(&web, now));
    let outcomes = work(&mut manager, now);
    let is_revision = |outcome: &Outcome, wanted| matches!(outcome, Outcome::Issued { revision, .. } if *revision == wanted);
    assert!(is_revision(outcome(&outcomes, "web"), 2), "{outcomes:?}");
    let outcomes = turn(&mut manager, now + Duration::SECOND);
    assert!(is_revision(outcome(&outcomes, "web"), 3), "{outcomes:?}");
}

#[test]
fn the_old_anchor_stays_until_nobody_shows_it() {
    let text = root().replace(
        "algorithm: ECDSA}",
        "algorithm: ECDSA, rotationPolicy: Always}",
    ) + &certificate("web", "issuerRef: {name: root}");
    let mut options = Options::default();
    (options.anchor_lead, options.anchor_grace) = (Duration::minutes(5), Duration::HOUR);
    let mut manager = Manager::with_options(documents(&text).inventory, [], options);
    manager.reconcile(NOW);
    let anchors = |manager: &Manager, name: &str| {
        let bundle = manager
            .secret(&named(name))
            .unwrap()
            .get(certwright::TRUST_BUNDLE);
        Certificate::read_pem(bundle.unwrap()).unwrap().len()
    };
    assert_eq!(anchors(&manager, "web"), 1);
    let before = serial(&manager, "web");
    let later = NOW + Duration::DAY;
    manager.renew(&named("root"), later);
    let outcomes = manager.reconcile(later);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Waiting { until } if *until == later + Duration::minutes(5))
    );
    assert_eq!(
        (anchors(&manager, "web"), anchors(&manager, "root")),
        (2, 2)
    );
    assert_eq!(
        serial(&manager, "web"),
        before,
        "the new anchor spreads first"
    );

    // A restart in between forgets nothing.
    let stored: Vec<_> = manager.secrets().map(TlsSecret::clone_with_keys).collect();
    let mut options = Options::default();
    (options.anchor_lead, options.anchor_grace) = (Duration::minutes(5), Duration::HOUR);
    let mut manager = Manager::with_options(documents(&text).inventory, stored, options);
    let spread = later + Duration::minutes(5);
    manager.reconcile(spread);
    assert_ne!(serial(&manager, "web"), before);
    assert_eq!(
        anchors(&manager, "web"),
        2,
        "somebody may still show the old one"
    );
    let dropped = manager.next_wake().unwrap();
    assert_eq!(dropped, spread + Duration::HOUR);
    let outcomes = manager.reconcile(dropped);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Reapplied { .. }),
        "{outcomes:?}"
    );
    assert_eq!(
        (anchors(&manager, "web"), anchors(&manager, "root")),
        (1, 1)
    );
}

#[test]
fn a_certificate_that_ends_waits_for_no_anchor() {
    let mut options = Options::default();
    options.anchor_lead = Duration::days(365);
    let text = root().replace(
        "algorithm: ECDSA}",
        "algorithm: ECDSA, rotationPolicy: Always}",
    ) + &certificate("web", "issuerRef: {name: root}");
    let mut manager = Manager::with_options(documents(&text).inventory, [], options);
    manager.reconcile(NOW);
    let status = manager.status(&named("web"), NOW).unwrap();
    let (from, end) = (status.not_before.unwrap(), status.not_after.unwrap());
    let life: Duration = end - from;
    let last: OffsetDateTime = end - life / 10;
    let later = NOW + Duration::DAY;
    assert!(manager.renew(&named("root"), later));
    let outcomes = manager.reconcile(later);
    let Outcome::Waiting { until } = outcome(&outcomes, "web") else {
        panic!("{outcomes:?}");
    };
    assert_eq!(*until, last);
    let outcomes = manager.reconcile(last);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
}

#[test]
fn one_secret_below_a_ca_makes_nobody_trusted() {
    let text = root()
        + &certificate("web", "issuerRef: {name: root}")
        + &certificate("api", "issuerRef: {name: root}");
    let mut manager = Manager::new(documents(&text).inventory, []);
    manager.reconcile(NOW);
    let stranger = root_ca("Stranger", NOW, Duration::days(365))
        .chain()
        .certificate()
        .to_pem();
    let mut stored: Vec<_> = manager.secrets().map(TlsSecret::clone_with_keys).collect();
    for secret in stored.iter_mut().filter(|secret| secret.name == "web") {
        secret.insert("ca.crt", stranger.clone());
        secret.insert("trust-bundle.pem", stranger.clone());
    }
    let mut manager = Manager::new(documents(&text).inventory, stored);
    manager.reconcile(NOW);
    for name in ["root", "web", "api"] {
        let bundle = manager
            .secret(&named(name))
            .unwrap()
            .get("trust-bundle.pem")
            .unwrap();
        assert_eq!(Certificate::read_pem(bundle).unwrap().len(), 1, "{name}");
        assert!(
            !bundle
                .windows(stranger.len())
                .any(|part| part == stranger.as_bytes()),
            "{name}"
        );
    }
}

#[test]
fn revisions_are_kept_as_far_as_the_limit_and_over_restarts() {
    let text = root() + &certificate("web", "issuerRef: {name: root}, revisionHistoryLimit: 2");
    let mut manager = Manager::new(documents(&text).inventory, []);
    let web = named("web");
    for day in 0..4 {
        let now = NOW + Duration::days(day);
        manager.renew(&web, now);
        manager.reconcile(now);
    }
    let revisions: Vec<_> = manager
        .requests(&web)
        .map(|request| request.revision)
        .collect();
    assert_eq!(revisions, [3, 4]);
    assert!(manager.requests(&web).all(|request| request.csr.is_some()));
    let stored: Vec<_> = manager.secrets().map(TlsSecret::clone_with_keys).collect();
    let mut manager = Manager::new(documents(&text).inventory, stored);
    manager.reconcile(NOW + Duration::days(4));
    assert_eq!(manager.status(&web, NOW).unwrap().revision, Some(4));
}

#[test]
fn a_pending_one_is_told_from_a_failed_one() {
    for (error, pending) in [
        (IssueError::NoIssuer, true),
        (IssueError::NoCaSecret { secret: named("x") }, true),
        (IssueError::UnsupportedIssuer, false),
    ] {
        assert_eq!(error.is_pending(), pending, "{error}");
    }
}

/// Looks at everything and has every job done.
fn turn(manager: &mut Manager, now: OffsetDateTime) -> Vec<(ResourceName, Outcome)> {
    let mut outcomes = manager.reconcile(now);
    outcomes.extend(work(manager, now));
    outcomes
}

#[test]
fn what_is_due_at_once_is_stored_if_it_lasts_longer_than_what_is_served() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let mut manager = with_theirs(", renewBefore: 720h", &theirs);
    theirs.says(Answer::Dated(NOW, Duration::days(60)));
    turn(&mut manager, NOW);
    let end = |manager: &Manager| manager.status(&named("web"), NOW).unwrap().not_after;
    assert_eq!(end(&manager), Some(NOW + Duration::days(60)));
    // It is renewed a month before it ends; what comes then ends later, but less than a month after that.
    let due = manager.next_wake().unwrap();
    theirs.says(Answer::Dated(NOW, Duration::days(61)));
    let later = due + Duration::days(5);
    let outcomes = turn(&mut manager, later);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
    assert_eq!(end(&manager), Some(NOW + Duration::days(61)));
    // The next one is asked for after pauses, and one that lasts no longer is refused.
    let status = manager.status(&named("web"), later).unwrap();
    assert!(status.ready && status.failures == 1, "{status:?}");
    assert_eq!(status.next, Some(later + Duration::HOUR));
    assert!(turn(&mut manager, later + Duration::MINUTE).is_empty());
    let outcomes = turn(&mut manager, later + Duration::HOUR);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Failed { .. }),
        "{outcomes:?}"
    );
    let status = manager
        .status(&named("web"), later + Duration::HOUR)
        .unwrap();
    assert_eq!(
        (status.failures, status.next),
        (2, Some(later + Duration::hours(3)))
    );
}

#[test]
fn what_is_not_valid_yet_waits_while_a_good_one_is_served() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let mut manager = with_theirs("", &theirs);
    let ahead = NOW + Duration::minutes(50);
    let web = named("web");
    // Better than nothing.
    theirs.says(Answer::Dated(ahead, Duration::days(60)));
    turn(&mut manager, NOW);
    assert_eq!(manager.status(&web, NOW).unwrap().not_before, Some(ahead));

    let later = NOW + Duration::DAY;
    let ahead = later + Duration::minutes(50);
    theirs.says(Answer::Dated(ahead, Duration::days(60)));
    let before = serial(&manager, "web");
    manager.take_changes();
    assert!(manager.renew(&web, later));
    let outcomes = turn(&mut manager, later);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Waiting { until } if *until == ahead),
        "{outcomes:?}"
    );
    assert_eq!(serial(&manager, "web"), before);
    assert_eq!(manager.next_wake(), Some(ahead));
    assert!(manager.reconcile(later + Duration::minutes(5)).is_empty());
    assert!(manager.take_jobs().is_empty(), "it is not asked for again");
    let outcomes = manager.reconcile(ahead);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
    assert_ne!(serial(&manager, "web"), before);
}

#[test]
fn a_secret_that_somebody_keeps_editing_is_not_rewritten_for_ever() {
    let text = root()
        + &certificate(
            "web",
            "issuerRef: {name: root}, secretTemplate: {labels: {app: web}}",
        );
    for label in [true, false] {
        let mut manager = Manager::new(documents(&text).inventory, []);
        let web = named("web");
        let mut now = NOW;
        manager.reconcile(now);
        let mut rewritten = 0;
        while now < NOW + Duration::days(10) {
            let mut secret = manager.secret(&web).unwrap().clone_with_keys();
            if label {
                secret.labels.insert("app".into(), "theirs".into());
            } else {
                secret.insert("trust-bundle.pem", "theirs");
            }
            manager.observe(secret);
            let outcomes = manager.reconcile(now);
            rewritten += usize::from(
                outcomes
                    .iter()
                    .any(|(of, o)| *of == web && matches!(o, Outcome::Reapplied { .. })),
            );
            now += Duration::minutes(10);
        }
        // Five times for free, then after 1, 2, 4, 8, 16, 32, 32, ... hours.
        assert!((10..=16).contains(&rewritten), "{rewritten}");
        let view = manager.certificate_view(&web, now).unwrap();
        let contested = view
            .status
            .conditions
            .iter()
            .find(|c| c.kind == "SecretContested")
            .unwrap();
        let what = if label {
            "label app is"
        } else {
            "trust-bundle.pem"
        };
        let message = contested.message.as_deref().unwrap_or_default();
        assert!(message.contains(what), "{contested:?}");
        assert!(view.next_attempt.is_some());
        let status = manager.status(&web, now).unwrap();
        assert!(status.ready && status.message.contains(what), "{status:?}");
    }
}

#[test]
fn a_new_key_by_hand_and_no_trust_in_the_old_one() {
    let text = root().replace(
        "algorithm: ECDSA}",
        "algorithm: ECDSA, rotationPolicy: Never}",
    ) + &certificate("web", "issuerRef: {name: root}");
    let mut manager = Manager::new(documents(&text).inventory, []);
    manager.reconcile(NOW);
    let key = |manager: &Manager, name: &str| {
        let secret = manager.secret(&named(name)).unwrap();
        secret.get(TLS_KEY).unwrap().to_vec()
    };
    let anchors = |manager: &Manager, name: &str| {
        let secret = manager.secret(&named(name)).unwrap();
        Certificate::read_pem(secret.get("trust-bundle.pem").unwrap()).unwrap()
    };
    let backup = manager.secret(&named("root")).unwrap().clone_with_keys();
    let (root, web) = (key(&manager, "root"), serial(&manager, "web"));
    let old = anchors(&manager, "web")[0].clone();
    assert!(
        manager.drop_old_anchors(&named("root")).is_empty(),
        "there is only one"
    );
    assert!(!manager.rekey(&named("nobody"), NOW));

    // Also of what was issued at the same instant.
    assert!(manager.rekey(&named("root"), NOW));
    manager.reconcile(NOW);
    assert_eq!(key(&manager, "root"), root);
    let now = manager.next_wake().unwrap();
    assert!(NOW < now && now <= NOW + Duration::SECOND, "{now}");
    manager.reconcile(now);
    assert_ne!(key(&manager, "root"), root);
    assert_eq!(anchors(&manager, "web").len(), 2);
    assert_eq!(serial(&manager, "web"), web, "the new anchor spreads first");
    manager.take_changes();
    let outcomes = manager.drop_old_anchors(&named("root"));
    assert_eq!(outcomes.len(), 2, "{outcomes:?}");
    for name in ["root", "web"] {
        let anchors = anchors(&manager, name);
        assert!(anchors.len() == 1 && anchors[0] != old, "{name}");
    }
    // Nothing waits for an anchor that nobody trusts, and nothing brings it back.
    let outcomes = manager.reconcile(now);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
    assert_eq!(anchors(&manager, "web").len(), 1);
    let key_before = key(&manager, "root");
    manager.renew(&named("root"), NOW + Duration::DAY);
    manager.reconcile(NOW + Duration::DAY);
    assert_eq!(key(&manager, "root"), key_before, "asked for once");

    // Unless somebody gives the CA the old one back: nobody would trust what it signs.
    manager.observe(backup);
    manager.reconcile(NOW + Duration::DAY);
    for name in ["root", "web"] {
        assert!(anchors(&manager, name).contains(&old), "{name}");
    }
}

/// A CA in a Secret `corp` that no Certificate keeps, as somebody makes it elsewhere.
fn given_ca(name: &str, with_authority: bool) -> TlsSecret {
    let mut maker = Manager::new(documents(&root()).inventory, []);
    maker.reconcile(NOW);
    let made = maker.secret(&named("root")).unwrap();
    let mut given = TlsSecret::new("ns", name);
    for key in [TLS_CRT, TLS_KEY, CA_CRT] {
        if with_authority || key != CA_CRT {
            given.insert(key, made.get(key).unwrap());
        }
    }
    given
}

#[test]
fn a_ca_that_somebody_else_replaces_is_trusted_like_one_of_ours() {
    let text = issuer("corp", "{ca: {secretName: corp}}")
        + &certificate("api", "issuerRef: {name: corp}")
        + &certificate("web", "issuerRef: {name: corp}");
    let inventory = documents(&text).inventory;
    let trusted = |manager: &Manager| {
        ["api", "web"].map(|name| {
            let secret = manager.secret(&named(name)).unwrap();
            let bundle = secret.get("trust-bundle.pem").unwrap();
            Certificate::read_pem(bundle).unwrap()
        })
    };
    let root_of = |ca: &TlsSecret| Certificate::read_pem(ca.get(TLS_CRT).unwrap()).unwrap();
    for (old_has, new_has) in [(true, true), (false, false), (true, false), (false, true)] {
        let (old, new) = (given_ca("corp", old_has), given_ca("corp", new_has));
        let (old_root, new_root) = (root_of(&old), root_of(&new));
        let both = [new_root.clone(), old_root.clone()].concat();
        let mut manager = Manager::new(inventory.clone(), [old.clone_with_keys()]);
        manager.reconcile(NOW);
        assert_eq!(trusted(&manager), [(); 2].map(|()| old_root.clone()));
        let before = serial(&manager, "web");
        let stored: Vec<_> = manager.secrets().map(TlsSecret::clone_with_keys).collect();

        let later = NOW + Duration::DAY;
        let begin = |manager: &mut Manager| {
            manager.reconcile(later);
            manager.observe(new.clone_with_keys());
            assert_eq!(trusted(manager), [(); 2].map(|()| both.clone()));
        };
        begin(&mut manager);
        manager.take_changes();
        let outcomes = manager.reconcile(later);
        let reapplied = |(_, outcome): &&_| matches!(outcome, Outcome::Reapplied { .. });
        assert_eq!(outcomes.iter().filter(reapplied).count(), 2, "{outcomes:?}");
        let lead = later + Duration::MINUTE;
        assert!(
            matches!(outcome(&outcomes, "web"), Outcome::Waiting { until } if *until == lead),
            "{outcomes:?}"
        );
        assert_eq!(serial(&manager, "web"), before);
        manager.reconcile(lead);
        assert_ne!(serial(&manager, "web"), before);
        assert_eq!(manager.next_wake(), Some(lead + Duration::HOUR));
        manager.reconcile(lead + Duration::HOUR);
        assert_eq!(trusted(&manager), [(); 2].map(|()| new_root.clone()));

        // Or nobody waits for the last old leaf, and others hear of it.
        let start = || {
            let stored = stored.iter().map(TlsSecret::clone_with_keys);
            let mut manager = Manager::new(inventory.clone(), stored);
            begin(&mut manager);
            manager
        };
        // A step that tells of a bundle leaves the look itself for the next one.
        let mut stepped = start();
        let mut step = || stepped.step(&named("web"), later);
        let (first, second) = (step(), step());
        assert!(
            matches!(first, Some(Outcome::Reapplied { .. })),
            "{first:?}"
        );
        assert!(
            matches!(second, Some(Outcome::Waiting { until }) if until == lead),
            "{second:?}"
        );
        let (mut manager, mut other) = (start(), start());
        manager.take_changes();
        assert_eq!(manager.drop_old_anchors(&named("web")).len(), 2);
        assert_eq!(trusted(&manager), [(); 2].map(|()| new_root.clone()));
        let record = |change| match change {
            SecretChange::Put(secret) if secret.name.starts_with("certwright-record-") => {
                Some(*secret)
            }
            _ => None,
        };
        let records: Vec<_> = manager
            .take_changes()
            .into_iter()
            .filter_map(record)
            .collect();
        assert_eq!(records.len(), 1, "{records:?}");
        let outcomes = manager.reconcile(later);
        assert!(
            matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }),
            "{outcomes:?}"
        );
        assert_eq!(trusted(&manager), [(); 2].map(|()| new_root.clone()));
        for record in records {
            other.observe(record);
        }
        other.reconcile(later);
        assert_eq!(trusted(&other), [(); 2].map(|()| new_root.clone()));
    }
}

/// `ca.crt` was forgotten when the rest was replaced by hand.
#[test]
fn an_anchor_that_leads_nowhere_is_not_the_cas() {
    let text =
        issuer("corp", "{ca: {secretName: corp}}") + &certificate("web", "issuerRef: {name: corp}");
    let (old, mut new) = (given_ca("corp", true), given_ca("corp", true));
    let new_root = new.get(CA_CRT).unwrap().to_vec();
    new.insert(CA_CRT, old.get(CA_CRT).unwrap());
    let mut manager = Manager::new(documents(&text).inventory, [old]);
    manager.reconcile(NOW);
    manager.observe(new);
    assert_eq!(manager.drop_old_anchors(&named("web")).len(), 1);
    let bundle = manager.secret(&named("web")).unwrap();
    assert_eq!(bundle.get("trust-bundle.pem").unwrap(), new_root);
}

#[test]
fn the_ca_of_other_documents_is_the_one_that_stays_trusted() {
    let of = |secret: &str| {
        let text = issuer("corp", &format!("{{ca: {{secretName: {secret}}}}}"))
            + &certificate("web", "issuerRef: {name: corp}");
        documents(&text).inventory
    };
    let (one, other, next) = (
        given_ca("one", true),
        given_ca("other", true),
        given_ca("other", true),
    );
    let root = next.get(CA_CRT).unwrap().to_vec();
    let mut manager = Manager::new(of("one"), [one, other]);
    manager.reconcile(NOW);
    manager.replace_inventory(of("other"));
    manager.reconcile(NOW);
    manager.observe(next);
    manager.drop_old_anchors(&named("web"));
    let bundle = manager.secret(&named("web")).unwrap();
    assert_eq!(bundle.get("trust-bundle.pem").unwrap(), root);
}

#[test]
fn beginning_anew_brings_no_dropped_anchor_back() {
    let text = root() + &certificate("web", "issuerRef: {name: root}");
    let mut manager = Manager::new(documents(&text).inventory, []);
    manager.reconcile(NOW);
    let now = NOW + Duration::HOUR;
    manager.rekey(&named("root"), now);
    manager.reconcile(now);
    // What is stored still trusts both.
    let stored: Vec<_> = manager.secrets().map(TlsSecret::clone_with_keys).collect();
    assert_eq!(manager.drop_old_anchors(&named("root")).len(), 2);
    manager.reload(stored);
    manager.reconcile(now);
    for name in ["root", "web"] {
        let bundle = manager.secret(&named(name)).unwrap();
        let bundle = Certificate::read_pem(bundle.get("trust-bundle.pem").unwrap());
        assert_eq!(bundle.unwrap().len(), 1, "{name}");
    }
}

/// What was dropped is dropped for the next process, and for those that only hear of it.
#[test]
fn a_dropped_anchor_is_dropped_for_everybody() {
    let text = root() + &certificate("web", "issuerRef: {name: root}");
    let inventory = documents(&text).inventory;
    let mut manager = Manager::new(inventory.clone(), []);
    manager.reconcile(NOW);
    let now = NOW + Duration::HOUR;
    manager.rekey(&named("root"), now);
    manager.reconcile(now);
    let copy = |manager: &Manager| -> Vec<_> {
        manager.secrets().map(TlsSecret::clone_with_keys).collect()
    };
    // The process ends when the first of these is stored.
    let trusting_both = copy(&manager);
    manager.take_changes();
    manager.drop_old_anchors(&named("root"));
    let Some(SecretChange::Put(record)) = manager.take_changes().into_iter().next() else {
        panic!("what is to go is written down first");
    };
    assert_eq!(record.name, "certwright-record-root");
    let record = *record;
    let trusted = |manager: &Manager, name: &str| {
        let bundle = manager.secret(&named(name)).unwrap();
        let bundle = bundle.get("trust-bundle.pem").unwrap();
        Certificate::read_pem(bundle).unwrap().len()
    };

    let mut other = Manager::new(inventory.clone(), copy_of(&trusting_both));
    other.reconcile(now);
    assert_eq!((trusted(&other, "root"), trusted(&other, "web")), (2, 2));
    other.observe(record.clone_with_keys());
    other.reconcile(now);
    assert_eq!((trusted(&other, "root"), trusted(&other, "web")), (1, 1));

    let stored = copy_of(&trusting_both).into_iter().chain([record]);
    let mut next = Manager::new(inventory, stored);
    next.reconcile(now + Duration::SECOND);
    next.reconcile(now + Duration::HOUR);
    assert_eq!((trusted(&next, "root"), trusted(&next, "web")), (1, 1));
    let removed = |change: &SecretChange| matches!(change, SecretChange::Remove(_));
    assert!(
        !next.take_changes().iter().any(removed),
        "still to be known"
    );
    // Nobody believes it any more, and nobody needs to know.
    let mut end = now;
    while end < NOW + Duration::days(3700) {
        end += Duration::days(100);
        next.reconcile(end);
    }
    assert!(next.take_changes().iter().any(removed));
}

fn copy_of(secrets: &[TlsSecret]) -> Vec<TlsSecret> {
    secrets.iter().map(TlsSecret::clone_with_keys).collect()
}

/// An issuer that has something to say about renewals in ten minutes.
#[derive(Debug)]
struct Suggests(Arc<Theirs>);

impl Issuer for Suggests {
    fn issue<'a>(&'a self, request: &'a Request) -> Issuing<'a> {
        self.0.issue(request)
    }

    fn suggestion(&self, _: &certwright::Held<'_>, now: OffsetDateTime) -> certwright::Suggestion {
        certwright::Suggestion::new(None, Some(now + Duration::minutes(10)))
    }
}

#[test]
fn whoever_lacks_keystores_still_asks_when_the_ca_may_have_news() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let mut manager = with_theirs(&format!(", {KEYSTORE}"), &theirs);
    manager.register("z.example", "Theirs", Arc::new(Suggests(theirs)));
    manager.observe(password());
    turn(&mut manager, NOW);
    manager.forget(&named("pass"));
    let outcomes = turn(&mut manager, NOW);
    let Outcome::Failed { retry, .. } = outcome(&outcomes, "web") else {
        panic!("{outcomes:?}");
    };
    assert_eq!(*retry, NOW + Duration::HOUR);
    assert_eq!(manager.next_wake(), Some(NOW + Duration::minutes(10)));
}

#[test]
fn a_temporary_certificate_has_no_keystore_of_another_beside_it() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let mut manager = with_theirs(&format!(", {KEYSTORE}"), &theirs);
    manager.observe(password());
    turn(&mut manager, NOW);
    let mut stored = manager.secret(&named("web")).unwrap().clone_with_keys();
    assert!(stored.get(KEYSTORE_P12).is_some());
    // Somebody damages it, and nobody signs another one.
    stored.insert(TLS_KEY, "x");
    stored.insert("password", "mine");
    theirs.says(Answer::Fail(Failure::Transient));
    let text = "issuerRef: {name: x, kind: Theirs, group: z.example}";
    let temporary = certificate("web", &format!("{text}, {KEYSTORE}")).replace(
        "namespace: ns}",
        "namespace: ns, annotations: {cert-manager.io/issue-temporary-certificate: 'true'}}",
    );
    let mut manager = Manager::new(documents(&temporary).inventory, [stored, password()]);
    manager.register("z.example", "Theirs", theirs);
    turn(&mut manager, NOW);
    let placed = manager.secret(&named("web")).unwrap();
    assert_ne!(placed.get(TLS_KEY), Some(&b"x"[..]));
    assert_eq!(
        (placed.get(KEYSTORE_P12), placed.get("password")),
        (None, Some(&b"mine"[..]))
    );
}

#[test]
fn a_password_that_cannot_be_read_is_not_told_as_missing() {
    let text = root() + &certificate("web", &format!("issuerRef: {{name: root}}, {KEYSTORE}"));
    let mut manager = Manager::new(documents(&text).inventory, []);
    manager.unreadable(&named("pass"), "no permission");
    manager.reconcile(NOW);
    let status = manager.status(&named("web"), NOW).unwrap();
    let expected = "Secret ns/pass cannot be read: no permission";
    assert_eq!((status.ready, &*status.message), (false, expected));
    manager.observe(password());
    manager.reconcile(NOW);
    assert!(manager.status(&named("web"), NOW).unwrap().ready);
}

#[test]
fn a_record_that_somebody_removes_is_forgotten() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    theirs.says(Answer::Fail(Failure::Validation));
    let reference = "issuerRef: {name: x, kind: Theirs, group: z.example}";
    let text = certificate("web", reference);
    let mut manager = Manager::new(documents(&text).inventory, []);
    manager.register("z.example", "Theirs", theirs.clone());
    turn(&mut manager, NOW);
    let changes = manager.take_changes();
    let record = named("certwright-record-web");
    assert!(changes.iter().any(|change| change.name() == record));
    assert_eq!(manager.status(&named("web"), NOW).unwrap().failures, 1);
    theirs.says(Answer::Chain);
    manager.forget(&record);
    assert_eq!(manager.status(&named("web"), NOW).unwrap().failures, 0);
    turn(&mut manager, NOW + Duration::SECOND);
    assert!(manager.secret(&named("web")).is_some(), "no pause");
}

#[test]
fn what_is_signed_for_the_old_key_meanwhile_is_not_the_new_one() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    let reference = "issuerRef: {name: x, kind: Theirs, group: z.example}";
    let never = "algorithm: ECDSA, rotationPolicy: Never}";
    let text = certificate("web", reference).replace("algorithm: ECDSA}", never);
    assert!(text.contains(never), "{text}");
    let mut manager = Manager::new(documents(&text).inventory, []);
    manager.register("z.example", "Theirs", theirs);
    turn(&mut manager, NOW);
    let web = named("web");
    let key = |manager: &Manager| {
        let secret = manager.secret(&web).unwrap();
        secret.get(TLS_KEY).unwrap().to_vec()
    };
    let old = key(&manager);

    // While one with the old key is on its way, the key becomes known to others.
    let now = NOW + Duration::HOUR;
    manager.renew(&web, now);
    manager.reconcile(now);
    let on_its_way = manager.take_jobs();
    assert_eq!(on_its_way.len(), 1);
    assert!(manager.rekey(&web, now + Duration::SECOND));
    let now = now + Duration::MINUTE;
    for job in on_its_way {
        let done = now_or_never(job.run(now));
        assert!(manager.finish(done, now).is_empty(), "it is given up");
    }
    assert_eq!(key(&manager), old);
    turn(&mut manager, now);
    assert_ne!(key(&manager), old);
}

#[test]
fn a_new_key_is_owed_although_something_else_is_issued_before_a_clock_that_was_ahead_is_reached() {
    let never = |names: &str| {
        let text = certificate("web", "issuerRef: {name: root}");
        let key = "algorithm: ECDSA, rotationPolicy: Never}";
        let text = text.replace("algorithm: ECDSA}", key);
        let changed = text.replace("dnsNames: [web.example]", names);
        assert!(
            changed.contains(key) && changed.contains(names),
            "{changed}"
        );
        root() + &changed
    };
    let inventory = |names: &str| documents(&never(names)).inventory;
    let mut manager = Manager::new(documents(&root()).inventory, []);
    manager.reconcile(NOW - Duration::HOUR);
    manager.replace_inventory(inventory("dnsNames: [web.example]"));
    manager.reconcile(NOW + Duration::minutes(30));
    let web = named("web");
    let key = |manager: &Manager| manager.secret(&web).unwrap().get(TLS_KEY).unwrap().to_vec();
    let old = key(&manager);

    // This machine's clock is half an hour behind the one that issued it.
    assert!(manager.rekey(&web, NOW));
    manager.replace_inventory(inventory("dnsNames: [web.example, other.example]"));
    let outcomes = manager.reconcile(NOW + Duration::MINUTE);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
    assert_eq!(key(&manager), old);
    let due = manager.next_wake().unwrap();
    assert!(
        (NOW + Duration::minutes(30)..NOW + Duration::minutes(31)).contains(&due),
        "{due}"
    );
    manager.reconcile(due);
    assert_ne!(key(&manager), old);
    let new = key(&manager);
    manager.renew(&web, NOW + Duration::HOUR);
    manager.reconcile(NOW + Duration::HOUR);
    assert_eq!(key(&manager), new, "asked for once");
}

/// Signs for the key that it saw first, whatever is asked for.
#[derive(Debug)]
struct Remembers {
    theirs: Arc<Theirs>,
    first: Mutex<Option<Vec<u8>>>,
}

impl Issuer for Remembers {
    fn issue<'a>(&'a self, request: &'a Request) -> Issuing<'a> {
        Box::pin(async move {
            let asked_for = request.key().to_pem(KeyEncoding::Pkcs8).unwrap();
            let mut first = self.first.lock().unwrap();
            let first = first.get_or_insert_with(|| asked_for.as_bytes().to_vec());
            let key = KeyPair::from_pem(first).unwrap();
            let csr = Csr::for_spec(&request.spec, &key).unwrap();
            let csr = csr.verify(&CsrPolicy::default()).unwrap();
            request.answer_is_for(key);
            let profile = Profile::for_spec(&request.spec);
            let bundle = self.theirs.ca.sign(&csr, &profile, NOW).unwrap();
            Ok(bundle.chain_pem().into_bytes())
        })
    }
}

#[test]
fn an_answer_for_the_key_that_is_to_be_replaced_is_none() {
    let reference = "issuerRef: {name: x, kind: Theirs, group: z.example}";
    let text = certificate("web", reference);
    let mut manager = Manager::new(documents(&text).inventory, []);
    let issuer = Remembers {
        theirs: Theirs::new(KeyReuse::Allowed),
        first: Mutex::default(),
    };
    manager.register("z.example", "Theirs", Arc::new(issuer));
    let outcomes = turn(&mut manager, NOW);
    assert!(matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }));
    manager.rekey(&named("web"), NOW + Duration::HOUR);
    let outcomes = turn(&mut manager, NOW + Duration::HOUR);
    let Outcome::Failed { error, .. } = outcome(&outcomes, "web") else {
        panic!("{outcomes:?}");
    };
    assert!(error.to_string().contains("to be replaced"), "{error}");
}

#[test]
fn a_temporary_certificate_leaves_what_others_keep_there_and_is_wanted_at_any_time() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    theirs.says(Answer::Fail(Failure::Validation));
    let reference = "issuerRef: {name: x, kind: Theirs, group: z.example}";
    let plain = certificate("web", reference);
    let wanting = plain.replace(
        "namespace: ns}",
        "namespace: ns, annotations: {cert-manager.io/issue-temporary-certificate: 'true'}}",
    );
    let mut secret = TlsSecret::new("ns", "web");
    secret.insert("theirs", "1");
    secret.labels.insert("theirs".into(), "1".into());
    let mut manager = Manager::new(documents(&plain).inventory, [secret]);
    manager.register("z.example", "Theirs", theirs.clone());
    turn(&mut manager, NOW);
    let web = named("web");
    assert!(manager.secret(&web).unwrap().get(TLS_CRT).is_none());
    // It failed and waits; somebody wants a temporary certificate meanwhile.
    manager.replace_inventory(documents(&wanting).inventory);
    let later = NOW + Duration::MINUTE;
    assert!(manager.next_wake().unwrap() <= later);
    manager.reconcile(later);
    assert!(
        manager.take_jobs().is_empty(),
        "the issuer is not asked sooner for that"
    );
    let secret = manager.secret(&web).unwrap();
    assert!(secret.get(TLS_CRT).is_some() && secret.annotations["certwright/temporary"] == "true");
    assert_eq!(secret.get("theirs"), Some(b"1".as_slice()));
    assert_eq!(secret.labels["theirs"], "1");
    assert_eq!(manager.status(&web, later).unwrap().failures, 1);
}

#[test]
fn a_temporary_certificate_takes_no_place_of_what_cannot_be_read() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    theirs.says(Answer::Fail(Failure::Validation));
    let plain = certificate(
        "web",
        "issuerRef: {name: x, kind: Theirs, group: z.example}",
    );
    let wanting = plain.replace(
        "namespace: ns}",
        "namespace: ns, annotations: {cert-manager.io/issue-temporary-certificate: 'true'}}",
    );
    let mut manager = Manager::new(documents(&plain).inventory, []);
    manager.register("z.example", "Theirs", theirs);
    turn(&mut manager, NOW);
    let web = named("web");
    assert_eq!(manager.status(&web, NOW).unwrap().failures, 1);
    manager.unreadable(&web, "no permission");
    manager.replace_inventory(documents(&wanting).inventory);
    manager.take_changes();
    turn(&mut manager, NOW + Duration::MINUTE);
    assert!(manager.secret(&web).is_none());
    let changed = manager.take_changes();
    assert!(
        changed.iter().all(|change| change.name() != web),
        "{changed:?}"
    );
}

#[test]
fn failures_and_requests_outlive_a_restart() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    theirs.says(Answer::Fail(Failure::Validation));
    let mut disk = std::collections::BTreeMap::new();
    let mut keep = |manager: &mut Manager| {
        for change in manager.take_changes() {
            match change {
                SecretChange::Put(secret) => drop(disk.insert(secret.name.clone(), *secret)),
                SecretChange::Remove(name) => assert!(disk.remove(&name.name).is_some()),
            }
        }
        let stored: Vec<_> = disk.values().map(TlsSecret::clone_with_keys).collect();
        stored
    };
    let again = |stored: Vec<TlsSecret>| {
        let inventory = with_theirs("", &theirs).inventory().clone();
        let mut manager = Manager::new(inventory, stored);
        manager.register("z.example", "Theirs", theirs.clone());
        manager
    };
    let web = named("web");
    let mut manager = with_theirs("", &theirs);
    let mut now = NOW;
    let mut retry = NOW;
    // A process that ends after every failure asks no more often than one that goes on.
    for failures in 1..=4 {
        let outcomes = turn(&mut manager, now);
        let Outcome::Failed { retry: at, .. } = outcome(&outcomes, "web") else {
            panic!("{outcomes:?}");
        };
        retry = *at;
        manager = again(keep(&mut manager));
        let soon = now + Duration::SECOND;
        let outcomes = turn(&mut manager, soon);
        assert!(
            matches!(outcome(&outcomes, "web"), Outcome::Waiting { until } if *until == retry),
            "{outcomes:?}"
        );
        let status = manager.status(&web, soon).unwrap();
        assert_eq!(
            (status.failures, status.last_failure),
            (failures, Some(now))
        );
        assert!(status.message.contains("not signed"), "{status:?}");
        assert_eq!(
            manager.secrets().count(),
            2,
            "records are no Secrets of anybody"
        );
        now = retry;
    }
    // Who repairs the specification does not wait.
    let mut stored = keep(&mut manager);
    let text = root()
        + &certificate(
            "web",
            "issuerRef: {name: x, kind: Theirs, group: z.example}, duration: 1000h",
        );
    let mut repaired = Manager::new(documents(&text).inventory, stored);
    repaired.register("z.example", "Theirs", theirs.clone());
    repaired.reconcile(now - Duration::MINUTE);
    assert_eq!(repaired.take_jobs().len(), 1);

    theirs.says(Answer::Chain);
    let outcomes = turn(&mut manager, retry);
    assert!(
        matches!(outcome(&outcomes, "web"), Outcome::Issued { .. }),
        "{outcomes:?}"
    );
    stored = keep(&mut manager);
    assert_eq!(stored.len(), 3, "nothing is left to remember");
    manager = again(stored);
    assert!(manager.rekey(&web, retry + Duration::HOUR));
    manager = again(keep(&mut manager));
    manager.reconcile(retry + Duration::HOUR);
    let jobs = manager.take_jobs();
    let asked = jobs.first().map(|job| job.reason().clone());
    assert_eq!(asked, Some(Reason::Requested(retry + Duration::HOUR)));
}

/// Its Certificate was deleted while no process was there to see it.
#[test]
fn the_record_of_nobody_is_removed_once_nothing_in_it_counts() {
    let theirs = Theirs::new(KeyReuse::Allowed);
    theirs.says(Answer::Fail(Failure::Validation));
    let mut manager = with_theirs("", &theirs);
    turn(&mut manager, NOW);
    let is_record = |change: SecretChange| match change {
        SecretChange::Put(secret) if secret.name == "certwright-record-web" => Some(*secret),
        _ => None,
    };
    let record = manager.take_changes().into_iter().find_map(is_record);
    let mut manager = Manager::new(documents(&root()).inventory, record);
    for (days, removed) in [(1, 0), (29, 0), (32, 1), (33, 0)] {
        turn(&mut manager, NOW + Duration::days(days));
        let changes = manager.take_changes();
        let gone = changes.iter().filter(|change| matches!(change, SecretChange::Remove(name) if name.name == "certwright-record-web"));
        assert_eq!(gone.count(), removed, "{days} days: {changes:?}");
    }
}

#[test]
fn a_forged_mark_saves_no_signature_from_being_verified() {
    let text = root()
        + &certificate("web", "issuerRef: {name: root}")
        + &certificate("api", "issuerRef: {name: root}");
    let mut manager = Manager::new(documents(&text).inventory, []);
    manager.reconcile(NOW);
    let stored = || {
        manager
            .secrets()
            .map(TlsSecret::clone_with_keys)
            .collect::<Vec<_>>()
    };
    let seal = |name: &str| {
        manager.secret(&named(name)).unwrap().annotations[certwright::annotation::SEAL].clone()
    };
    assert_ne!(seal("web"), seal("api"));
    // The marks alone change nothing: without them the signatures are verified.
    for (mark, kept) in [
        (None, true),
        (Some(seal("web")), true),
        (Some(seal("api")), true),
    ] {
        let mut secrets = stored();
        let web = secrets
            .iter_mut()
            .find(|secret| secret.name == "web")
            .unwrap();
        web.annotations.remove(certwright::annotation::SEAL);
        web.annotations
            .extend(mark.map(|mark| (certwright::annotation::SEAL.to_owned(), mark)));
        let mut manager = Manager::new(documents(&text).inventory, secrets);
        let outcomes = manager.reconcile(NOW);
        assert_eq!(
            matches!(outcome(&outcomes, "web"), Outcome::Kept(_)),
            kept,
            "{outcomes:?}"
        );
    }
    // A certificate whose signature was broken, with everything about it that can be computed without the CA's key.
    let mut secrets = stored();
    let web = secrets
        .iter_mut()
        .find(|secret| secret.name == "web")
        .unwrap();
    let leaf = Certificate::read_pem(web.get(TLS_CRT).unwrap()).unwrap()[0].clone();
    let mut der = leaf.der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    web.insert(
        TLS_CRT,
        certwright_cert_model::pem::write("CERTIFICATE", &der).as_bytes(),
    );
    let mut bound = TlsSecret::new("ns", "web");
    bound.insert(TLS_CRT, web.get(TLS_CRT).unwrap());
    let spec = documents(&text)
        .inventory
        .certificate(&named("web"))
        .unwrap()
        .clone();
    certwright::annotation::record(&mut bound, "web", &spec, NOW);
    let key = certwright::annotation::CERTIFICATE;
    web.annotations
        .insert(key.to_owned(), bound.annotations[key].clone());
    let mut manager = Manager::new(documents(&text).inventory, secrets);
    let outcomes = manager.reconcile(NOW);
    assert!(
        matches!(
            outcome(&outcomes, "web"),
            Outcome::Issued {
                reason: Reason::InvalidCertificate(_),
                ..
            }
        ),
        "{outcomes:?}"
    );
}
