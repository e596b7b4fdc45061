//! Issuers with `spec.acme` against a CA on loopback: from a document to what is served, and what is told when the CA
//! does not want to.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![cfg(feature = "acme")]

#[allow(dead_code, reason = "it is shared with the tests of the ACME crate")]
#[path = "../../acme/tests/fake/server.rs"]
mod server;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certwright::acme::AcmeIssuers;
use certwright::run::{Event, MemoryStore, Runner};
use certwright::{ACME_GROUP, Documents, Manager, Outcome, Reason, ResourceName, SniPublisher};
use certwright_acme::{Runtime, Task, TokioRuntime};
use certwright_cert_model::TlsSecret;
use certwright_cert_model::document::Format;
use certwright_cert_model::key::KeyAlgorithm;
use certwright_cert_model::secret::{CA_CRT, TLS_CRT, TLS_KEY};
use certwright_cert_model::status::ConditionStatus;
use certwright_issuance::{Certificate, KeyError, KeyPair};
use certwright_renewal::Basis;
use certwright_sni_store::{CertStore, PairLoader, Query, SelectionPolicy};
use certwright_storage::{MemoryStorage, Storage};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::server::{FakeServer, Fault};

const NAME: &str = "a.example.test";

/// An issuer with these fields of `spec.acme`, and a Certificate of it with these of its `spec`.
fn documents(server: &str, acme: &str, certificate: &str) -> Documents {
    let text = format!(
        "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {{name: ca, namespace: ns}}
spec: {{acme: {{server: '{server}', privateKeySecretRef: {{name: account}}, {acme}}}}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: web, namespace: ns}}
spec: {{secretName: web-tls, issuerRef: {{name: ca}}, privateKey: {{algorithm: ECDSA}}, {certificate}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: eab, namespace: ns}}
stringData: {{key: AAECAwQFBgcICQoLDA0ODw, bad: '!'}}
"
    );
    let mut documents = Documents::default();
    documents.read("test", &text, Format::Yaml);
    assert!(documents.problems.is_empty(), "{:?}", documents.problems);
    documents
}

const HTTP01: &str = "solvers: [{http01: {ingress: {class: x}}}]";

fn web() -> ResourceName {
    ResourceName::new("ns", "web")
}

fn secret() -> ResourceName {
    ResourceName::new("ns", "web-tls")
}

/// A clock that is ahead as far as a test wants.
#[derive(Clone, Debug, Default)]
struct Ahead(Arc<Mutex<time::Duration>>);

impl Ahead {
    fn advance(&self, by: time::Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Runtime for Ahead {
    fn now(&self) -> OffsetDateTime {
        TokioRuntime.now() + *self.0.lock().unwrap()
    }

    fn instant(&self) -> Instant {
        TokioRuntime.instant()
    }

    fn sleep(&self, pause: Duration) -> Task<'_, ()> {
        TokioRuntime.sleep(pause)
    }

    fn aside(&self, work: Task<'static, ()>) {
        TokioRuntime.aside(work);
    }

    fn new_key(&self, algorithm: KeyAlgorithm) -> Task<'_, Result<KeyPair, KeyError>> {
        TokioRuntime.new_key(algorithm)
    }
}

/// A manager whose ACME issuer asks a CA on loopback.
struct Setting {
    server: FakeServer,
    storage: Arc<dyn Storage>,
    clock: Ahead,
    manager: Manager,
}

impl Setting {
    async fn new(acme: &str, certificate: &str) -> Self {
        let server = FakeServer::start().await;
        let documents = documents(&server.directory(), acme, certificate);
        let storage = Arc::new(MemoryStorage::default());
        let clock = Ahead::default();
        let manager = Manager::new(documents.inventory, documents.secrets);
        let mut setting = Self {
            server,
            storage,
            clock,
            manager,
        };
        setting.register();
        setting
    }

    fn issuers(&self) -> AcmeIssuers {
        AcmeIssuers::new(self.storage.clone())
            .with_roots(Vec::new())
            .with_runtime(Arc::new(self.clock.clone()))
    }

    fn register(&mut self) {
        let issuers = Arc::new(self.issuers());
        self.manager.register(ACME_GROUP, "Issuer", issuers);
    }

    /// The same after a crash: nothing is left but the storage, and the Secrets if they were stored.
    fn restart(&mut self, stored: bool) {
        let secrets = self
            .manager
            .secrets()
            .filter(|one| stored || one.name == "eab");
        let secrets: Vec<_> = secrets.map(TlsSecret::clone_with_keys).collect();
        self.manager = Manager::new(self.manager.inventory().clone(), secrets);
        self.register();
    }

    /// Does what there is to do now; what came of the Certificate.
    async fn work(&mut self) -> Vec<Outcome> {
        let mut outcomes = self.manager.reconcile(self.clock.now());
        for job in self.manager.take_jobs() {
            let done = job.run(self.clock.now()).await;
            outcomes.extend(self.manager.finish(done, self.clock.now()));
        }
        outcomes.retain(|(name, _)| *name == web());
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// Works until it comes to this, with what happens in the background in between.
    async fn work_until<T>(&mut self, mut done: impl FnMut(&Self, &[Outcome]) -> Option<T>) -> T {
        for turn in 1..20_000 {
            let outcomes = self.work().await;
            if let Some(done) = done(self, &outcomes) {
                return done;
            }
            // What happens in the background takes real time: the clock is not to run away from it.
            if turn % 10 == 0
                && let Some(wake) = self.manager.next_wake()
            {
                let ahead = wake - self.clock.now();
                if ahead < time::Duration::minutes(10) {
                    self.clock.advance(ahead.max(time::Duration::ZERO));
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("it does not come");
    }

    fn leaf(&self) -> Certificate {
        let stored = self.manager.secret(&secret()).unwrap();
        let chain = Certificate::read_pem(stored.get(TLS_CRT).unwrap()).unwrap();
        let key = KeyPair::from_pem(stored.get(TLS_KEY).unwrap()).unwrap();
        assert_eq!(chain[0].spki_der(), key.public_key().spki_der());
        chain[0].clone()
    }

    fn asked(&self, path: &str) -> usize {
        let state = self.server.state();
        state
            .paths
            .iter()
            .filter(|one| one.starts_with(path))
            .count()
    }

    /// The CA suggests this window from now on.
    fn suggest(&self, start: OffsetDateTime, end: OffsetDateTime) {
        let text = |at: OffsetDateTime| at.format(&Rfc3339).unwrap();
        let window = json!({ "suggestedWindow": { "start": text(start), "end": text(end) } });
        self.server.state().renewal = Some((window, Some("21600".to_owned())));
    }
}

fn is_issued(outcomes: &[Outcome]) -> Option<&Reason> {
    outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Issued { reason, .. } => Some(reason),
        _ => None,
    })
}

#[tokio::test]
async fn a_document_becomes_a_stored_and_served_certificate() {
    let server = FakeServer::start().await;
    let acme = format!("email: me@example.test, profile: shortlived, {HTTP01}");
    let spec = format!("commonName: {NAME}, dnsNames: [b.example.test, {NAME}]");
    let documents = documents(&server.directory(), &acme, &spec);
    let store = MemoryStore::default();
    let issuers = AcmeIssuers::new(Arc::new(MemoryStorage::default())).with_roots(Vec::new());
    let mut runner = Runner::new(store.clone(), OffsetDateTime::now_utc);
    runner.inventory = documents.inventory;
    runner.register(ACME_GROUP, "Issuer", Arc::new(issuers));
    let served = CertStore::new(SelectionPolicy::Best);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let loader = PairLoader::new(Arc::new(provider));
    runner.publish_to(SniPublisher::new(served.clone(), loader));
    let (issued, stop) = tokio::sync::oneshot::channel();
    let mut issued = Some(issued);
    runner.on_event(move |event| {
        if let Event::Certificate {
            outcome: Outcome::Issued { .. },
            ..
        } = event
            && let Some(issued) = issued.take()
        {
            issued.send(()).unwrap();
        }
    });
    runner
        .run(async {
            let waited = tokio::time::timeout(Duration::from_secs(180), stop).await;
            waited.expect("a certificate").unwrap();
        })
        .await;

    let stored = store.get(&secret()).unwrap();
    let chain = Certificate::read_pem(stored.get(TLS_CRT).unwrap()).unwrap();
    let key = KeyPair::from_pem(stored.get(TLS_KEY).unwrap()).unwrap();
    assert_eq!(chain[0].spki_der(), key.public_key().spki_der());
    // Public CAs are in everybody's stores.
    assert_eq!(stored.get(CA_CRT), None);
    let now = OffsetDateTime::now_utc();
    for name in [NAME, "b.example.test"] {
        let selected = served.select(&Query::new(name, now)).unwrap();
        assert_eq!(selected.cert[0], *chain[0].der());
    }
    let state = server.state();
    assert_eq!((state.accounts, state.issued), (1, 1));
    let order = &state.orders[0];
    assert_eq!(order["profile"], json!("shortlived"));
    assert_eq!(
        order["identifiers"],
        json!([{"type": "dns", "value": NAME}, {"type": "dns", "value": "b.example.test"}])
    );
}

#[tokio::test]
async fn an_order_that_fails_tells_why_and_when_it_is_tried_again() {
    let mut setting = Setting::new(HTTP01, &format!("dnsNames: [{NAME}]")).await;
    let problem =
        r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many for example.test"}"#;
    let refused = Fault::Answer(429, Some("3600".to_owned()), problem);
    setting.server.fault("/order", refused);
    let outcomes = setting.work().await;
    let [Outcome::Ordered { .. }, Outcome::Failed { retry, .. }] = outcomes.as_slice() else {
        panic!("{outcomes:?}");
    };
    let now = setting.clock.now();
    let pause = *retry - now;
    assert!((55..70).contains(&pause.whole_minutes()), "{pause}");
    let status = setting.manager.status(&web(), now).unwrap();
    assert_eq!((status.ready, status.reason), (false, "Failed"));
    for part in [
        "rate limited",
        "too many for example.test",
        "tried again from",
    ] {
        assert!(status.message.contains(part), "{}", status.message);
    }
    let view = setting.manager.certificate_view(&web(), now).unwrap();
    assert_eq!(view.next_attempt, Some(*retry));
    // Nobody asks the CA before, however often it is looked, and by whom.
    for _ in 0..10 {
        setting.clock.advance(time::Duration::minutes(4));
        setting.work().await;
        setting.restart(true);
        setting.work().await;
    }
    assert_eq!(setting.asked("/order"), 1);
    setting.clock.advance(time::Duration::minutes(30));
    let issued = |_: &Setting, outcomes: &[Outcome]| is_issued(outcomes).cloned();
    setting.work_until(issued).await;
    assert_eq!(setting.server.state().orders.len(), 1);
}

#[tokio::test]
async fn a_moved_window_renews_and_says_what_is_replaced() {
    let mut setting = Setting::new(HTTP01, &format!("dnsNames: [{NAME}]")).await;
    let day = time::Duration::DAY;
    let first = setting.clock.now() + day * 10;
    setting.suggest(first, first + day);
    let issued = |_: &Setting, outcomes: &[Outcome]| is_issued(outcomes).cloned();
    let reason = setting.work_until(issued).await;
    assert_eq!(reason, Reason::DoesNotExist);
    let due = |setting: &Setting, _: &[Outcome]| {
        let schedule = setting.manager.schedule(&web(), setting.clock.now())?;
        matches!(schedule.basis(), Basis::Ari(_)).then(|| schedule.due())
    };
    let due = setting.work_until(due).await;
    assert!((first..=first + day).contains(&due), "{due}");
    let view = setting
        .manager
        .certificate_view(&web(), setting.clock.now());
    let ari = view.unwrap().status.acme.and_then(|acme| acme.ari).unwrap();
    let window = ari.suggested_window.unwrap();
    assert_eq!(
        window.start.map(OffsetDateTime::unix_timestamp),
        Some(first.unix_timestamp())
    );
    assert_eq!(setting.asked("/ari/"), 1);
    // The manager wakes to ask again, when the CA said it may.
    let again = setting.manager.next_wake().unwrap() - setting.clock.now();
    assert!((5..7).contains(&again.whole_hours()), "{again}");

    // It takes its certificates back.
    let old = setting.leaf();
    let ari_id = setting
        .server
        .state()
        .paths
        .iter()
        .find_map(|path| path.strip_prefix("/ari/").map(str::to_owned))
        .unwrap();
    let now = setting.clock.now();
    let hour = time::Duration::HOUR;
    setting.suggest(now + hour, now + hour * 2);
    setting.clock.advance(again + time::Duration::MINUTE);
    let reason = setting.work_until(issued).await;
    assert!(matches!(reason, Reason::Suggested { .. }), "{reason:?}");
    assert!(
        reason
            .to_string()
            .starts_with("its CA asks for a renewal between")
    );
    assert_ne!(setting.leaf().der(), old.der());
    // Keys are kept by default, whoever signs.
    assert_eq!(setting.leaf().spki_der(), old.spki_der());
    let state = setting.server.state();
    assert_eq!((state.orders.len(), state.issued), (2, 2));
    assert_eq!(state.orders[1]["replaces"], json!(ari_id));
}

#[tokio::test]
async fn a_certificate_is_in_its_secret_once_and_no_more() {
    let mut setting = Setting::new(HTTP01, &format!("dnsNames: [{NAME}]")).await;
    let issued = |_: &Setting, outcomes: &[Outcome]| is_issued(outcomes).cloned();
    setting.work_until(issued).await;
    let first = setting.leaf();
    // Nothing was stored when the process died.
    setting.restart(false);
    setting.work_until(issued).await;
    assert_eq!(setting.leaf().der(), first.der());
    assert_eq!(setting.server.state().orders.len(), 1);
    // It was, and is seen there.
    setting.restart(true);
    let storage = setting.storage.clone();
    for _ in 0..20_000 {
        setting.work().await;
        if !storage
            .list("/certwright/v1/kept/")
            .await
            .unwrap()
            .entries
            .is_empty()
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    setting.manager.forget(&secret());
    setting.work_until(issued).await;
    assert_ne!(setting.leaf().spki_der(), first.spki_der());
    assert_eq!(setting.server.state().orders.len(), 2);
}

#[tokio::test]
async fn somebody_asks_for_another_one() {
    let mut setting = Setting::new(HTTP01, &format!("dnsNames: [{NAME}]")).await;
    let issued = |_: &Setting, outcomes: &[Outcome]| is_issued(outcomes).cloned();
    setting.work_until(issued).await;
    let first = setting.leaf();
    setting.clock.advance(time::Duration::HOUR);
    assert!(setting.manager.renew(&web(), setting.clock.now()));
    let reason = setting.work_until(issued).await;
    assert!(matches!(reason, Reason::Requested(_)), "{reason:?}");
    assert_ne!(setting.leaf().der(), first.der());
    assert_eq!(setting.server.state().orders.len(), 2);
}

/// One that names nobody who could go on with it, and one that asks for something else.
#[tokio::test]
async fn an_order_that_nobody_wants_any_more_is_given_up() {
    for instead in ["", "dnsNames: [b.example.test]"] {
        let mut setting = Setting::new(HTTP01, &format!("dnsNames: [{NAME}]")).await;
        // Longer than this test waits for anything.
        setting.server.fault("/authorization/", Fault::Hang);
        setting.manager.reconcile(setting.clock.now());
        let job = setting.manager.take_jobs().pop().unwrap();
        let ordering = tokio::spawn(job.run(setting.clock.now()));
        // The same once more, for which there is no worker yet.
        setting.manager.abandon_jobs();
        setting.manager.reconcile(setting.clock.now());
        let late = setting.manager.take_jobs().pop().unwrap();
        let under_way = |setting: &Setting| {
            let storage = setting.storage.clone();
            async move {
                storage
                    .list("/acme/v1/orders/")
                    .await
                    .unwrap()
                    .entries
                    .len()
            }
        };
        while setting.asked("/authorization/") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(under_way(&setting).await, 1);
        let inventory = match instead {
            "" => certwright::Inventory::default(),
            spec => documents(&setting.server.directory(), HTTP01, spec).inventory,
        };
        setting.manager.replace_inventory(inventory);
        let given_up = async {
            while under_way(&setting).await > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            ordering.await.unwrap()
        };
        let patience = Duration::from_secs(50);
        let done = tokio::time::timeout(patience, given_up).await;
        assert!(
            setting
                .manager
                .finish(done.expect("given up"), setting.clock.now())
                .is_empty()
        );
        // Once for the answer that did not come, to see that it is pending, and to give it up.
        assert_eq!(setting.asked("/authorization/"), 3, "{instead}");
        late.run(setting.clock.now()).await;
        assert_eq!(setting.server.state().orders.len(), 1, "{instead}");
    }
}

#[tokio::test]
async fn a_good_certificate_needs_no_issuer_that_works() {
    let names = format!("dnsNames: [{NAME}]");
    let mut setting = Setting::new(HTTP01, &names).await;
    let issued = |_: &Setting, outcomes: &[Outcome]| is_issued(outcomes).cloned();
    setting.work_until(issued).await;
    let broken = format!("{HTTP01}, enableDurationFeature: true");
    let broken = documents(&setting.server.directory(), &broken, &names);
    setting.manager.replace_inventory(broken.inventory);
    let outcomes = setting.work().await;
    assert!(
        matches!(outcomes.as_slice(), [Outcome::Kept(Some(_))]),
        "{outcomes:?}"
    );
    let now = setting.clock.now();
    let status = setting.manager.status(&web(), now).unwrap();
    assert_eq!((status.ready, status.failures), (true, 0));
    let wake = setting.manager.next_wake().unwrap();
    assert!(wake > now, "it is not looked at without end: {wake}");
    let views = setting.manager.issuer_views(now);
    assert_eq!(views[0].status.conditions[0].status, ConditionStatus::False);
    // Once it is due, that is told.
    setting.clock.advance(time::Duration::days(80));
    let outcomes = setting.work().await;
    assert!(
        matches!(outcomes.as_slice(), [Outcome::Failed { .. }]),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn a_certificate_that_does_not_do_is_not_taken_for_a_new_one() {
    let mut setting = Setting::new(HTTP01, &format!("dnsNames: [{NAME}]")).await;
    // The manager's clock is far behind, and what is valid in two days only is no answer.
    let mut now = setting.clock.now() - time::Duration::days(2);
    for orders in 1..=3 {
        let outcomes = setting.manager.reconcile(now);
        let job = setting.manager.take_jobs().pop();
        let job = job.unwrap_or_else(|| panic!("{orders}: {outcomes:?}"));
        let done = job.run(now).await;
        let outcomes = setting.manager.finish(done, now);
        let [(_, Outcome::Failed { error, retry })] = outcomes.as_slice() else {
            panic!("{outcomes:?}");
        };
        assert!(
            matches!(error, certwright::IssueError::Unfit { .. }),
            "{error:?}"
        );
        assert_eq!(setting.server.state().orders.len(), orders);
        now = *retry + time::Duration::SECOND;
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named_before_anybody_is_asked() {
    let names = format!("dnsNames: [{NAME}]");
    let wildcard = "dnsNames: ['*.example.test']";
    for (acme, spec, message) in [
        (
            "solvers: [{dns01: {cloudflare: {email: x}}}]",
            names.as_str(),
            "spec.acme.solvers[0].dns01: this program was given no DNS provider \"cloudflare\"",
        ),
        (
            "solvers: [{http01: {}, selector: {matchLabels: {a: b}}}]",
            &names,
            "spec.acme.solvers[0].selector.matchLabels: solvers are not selected by labels",
        ),
        (
            "enableDurationFeature: true",
            &names,
            "spec.acme.enableDurationFeature: orders ask for no duration",
        ),
        (
            "disableAccountKeyGeneration: true",
            &names,
            "spec.acme.disableAccountKeyGeneration: the account's key is made here",
        ),
        ("caBundle: '!'", &names, "spec.acme.caBundle: is not base64"),
        (
            "externalAccountBinding: {keyID: k, keySecretRef: {name: eab, key: bad}}",
            &names,
            "spec.acme.externalAccountBinding.keySecretRef: the MAC key is not base64url",
        ),
        (
            "externalAccountBinding: {keyID: k, keySecretRef: {name: eab, key: nothing}}",
            &names,
            "Secret ns/eab of its issuer has no \"nothing\"",
        ),
        (
            "externalAccountBinding: {keyID: k, keySecretRef: {name: none, key: key}}",
            &names,
            "Secret ns/none of its issuer does not exist",
        ),
        // What the issuer cannot know.
        (
            "",
            &names,
            "spec.acme.solvers: none can prove control over a.example.test",
        ),
        (
            HTTP01,
            wildcard,
            "spec.acme.solvers: none can prove control over *.example.test",
        ),
        (
            "solvers: [{http01: {}, selector: {dnsZones: [other.test]}}]",
            &names,
            "spec.acme.solvers: none can prove control over a.example.test",
        ),
        (
            HTTP01,
            "uris: ['spiffe://a/b']",
            "spec.uris: ACME CAs sign for DNS names and IP addresses only",
        ),
        (
            HTTP01,
            "commonName: c.example.test, dnsNames: [a.example.test]",
            "spec.commonName: must be one of",
        ),
    ] {
        let mut setting = Setting::new(acme, spec).await;
        setting.work().await;
        let now = setting.clock.now();
        let status = setting.manager.status(&web(), now).unwrap();
        assert!(
            status.message.contains(message),
            "{acme} {spec}: {}",
            status.message
        );
        assert!(setting.server.state().paths.is_empty(), "{acme} {spec}");
        let views = setting.manager.issuer_views(now);
        let ready = &views[0].status.conditions[0];
        let usable = acme.is_empty() || acme.contains("http01") && !acme.contains("Labels");
        assert_eq!(
            ready.status == ConditionStatus::True,
            usable,
            "{acme}: {ready:?}"
        );
    }
}

#[tokio::test]
async fn accounts_are_bound_with_the_key_of_a_secret() {
    let eab = "externalAccountBinding: {keyID: k, keySecretRef: {name: eab, key: key}}";
    let mut setting =
        Setting::new(&format!("{HTTP01}, {eab}"), &format!("dnsNames: [{NAME}]")).await;
    let issued = |_: &Setting, outcomes: &[Outcome]| is_issued(outcomes).cloned();
    setting.work_until(issued).await;
    assert_eq!(setting.server.state().accounts, 1);
}
