//! Ten virtual years of a PKI with three levels of CAs: renewals, CA rotations, failing issuers, edits by others, and
//! crashes between any two writes, held against a model that knows nothing of the manager.
//!
//! `CERTWRIGHT_SIM_LEAVES`, `CERTWRIGHT_SIM_YEARS` and `CERTWRIGHT_SIM_SEED` make it larger, longer and another one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use certwright::{
    Documents, Issuer, IssuerError, Issuing, Manager, Options, Outcome, Request, ResourceName,
    SecretChange, TRUST_BUNDLE,
};
use certwright_cert_model::TlsSecret;
use certwright_cert_model::document::Format;
use certwright_cert_model::secret::{CA_CRT, TLS_CRT, TLS_KEY};
use certwright_issuance::general_name::GeneralName;
use certwright_issuance::{Certificate, CsrPolicy, KeyPair, Profile};
use certwright_renewal::Failure;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use self::support::{Random, now_or_never, root_ca, setting};

const START: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

#[test]
fn ten_years_go_by() {
    let leaves = setting("CERTWRIGHT_SIM_LEAVES", 10);
    let years = setting("CERTWRIGHT_SIM_YEARS", 10);
    let seed = setting("CERTWRIGHT_SIM_SEED", 1);
    let mut world = World::new(leaves, seed);
    let end = START + Duration::days(365 * i64::try_from(years).unwrap());
    world.live_until(end);
    println!("{:?}", world.counts);
    let counts = &world.counts;
    // A leaf of 90 days is renewed after 60.
    let least = leaves * years * 365 / 62;
    assert!(counts.issued as u64 >= least, "{counts:?}");
    assert!(counts.crashes > 0 && counts.edits > 0 && counts.failed > 0 && counts.reapplied > 0);
}

/// The documents: a root of ten years, an intermediate of two, an issuing CA of one whose key changes with every
/// certificate, and leaves, every fifth of them from an issuer that is not ours and fails now and then.
fn documents(leaves: u64, extra: &BTreeSet<u64>) -> Documents {
    let mut text = String::from(
        "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self, namespace: ns}
spec: {selfSigned: {}}
",
    );
    for (name, issuer, hours, rotation) in [
        ("root", "self", 87600, "Always"),
        ("middle", "root", 17520, "Never"),
        ("issuing", "middle", 8760, "Always"),
    ] {
        text += &format!(
            "---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: {name}, namespace: ns}}
spec: {{secretName: {name}, issuerRef: {{name: {issuer}}}, isCA: true, commonName: {name}, duration: {hours}h,
  privateKey: {{algorithm: ECDSA, rotationPolicy: {rotation}}}}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {{name: {name}, namespace: ns}}
spec: {{ca: {{secretName: {name}}}}}
"
        );
    }
    for leaf in 0..leaves {
        let issuer = match leaf % 5 {
            0 => "{name: ours, kind: Theirs, group: issuers.example}",
            _ => "{name: issuing}",
        };
        let rotation = if leaf % 7 == 0 { "Always" } else { "Never" };
        let more = match extra.contains(&leaf) {
            true => format!(", more{leaf}.example"),
            false => String::new(),
        };
        text += &format!(
            "---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: leaf{leaf}, namespace: ns}}
spec: {{secretName: leaf{leaf}, issuerRef: {issuer}, dnsNames: [leaf{leaf}.example{more}],
  secretTemplate: {{labels: {{app: leaf}}}}, privateKey: {{algorithm: ECDSA, rotationPolicy: {rotation}}}}}
"
        );
    }
    let mut documents = Documents::default();
    documents.read("simulation", &text, Format::Yaml);
    assert!(documents.problems.is_empty(), "{:?}", documents.problems);
    documents
}

/// An issuer that is not ours: it has a CA of its own, and fails until an instant.
#[derive(Debug)]
struct Theirs {
    ca: certwright_issuance::CertificateAuthority,
    state: Arc<Mutex<(OffsetDateTime, OffsetDateTime)>>,
}

impl Issuer for Theirs {
    fn issue<'a>(&'a self, request: &'a Request) -> Issuing<'a> {
        Box::pin(async move {
            let (now, fails_until) = *self.state.lock().unwrap();
            if now < fails_until {
                return Err(IssuerError::new(Failure::Validation, "closed"));
            }
            let csr = request.csr.verify(&CsrPolicy::default());
            let csr = csr.map_err(IssuerError::permanent)?;
            let profile = Profile::for_spec(&request.spec);
            let bundle = self.ca.sign(&csr, &profile, now);
            let bundle = bundle.map_err(IssuerError::permanent)?;
            let root = bundle.authority_pem().unwrap_or_default();
            Ok((bundle.chain_pem() + &root).into_bytes())
        })
    }
}

#[derive(Debug, Default)]
struct Counts {
    wakes: usize,
    issued: usize,
    reapplied: usize,
    failed: usize,
    edits: usize,
    crashes: usize,
    writes: usize,
}

struct World {
    manager: Manager,
    /// What is stored, and would be served.
    disk: BTreeMap<ResourceName, TlsSecret>,
    /// The same, read.
    facts: BTreeMap<ResourceName, Facts>,
    /// What others damaged and nobody repaired yet.
    damaged: BTreeSet<ResourceName>,
    /// What somebody asked for and was not done yet.
    requested: BTreeSet<ResourceName>,
    extra: BTreeSet<u64>,
    leaves: u64,
    theirs: Arc<Mutex<(OffsetDateTime, OffsetDateTime)>>,
    issuer: Arc<Theirs>,
    random: Random,
    now: OffsetDateTime,
    counts: Counts,
}

/// What a stored Secret says.
struct Facts {
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    leaf: Vec<u8>,
    /// The certificates above, `ca.crt` included.
    above: Vec<Vec<u8>>,
    /// How many DNS names it has.
    names: usize,
    anchor: Vec<u8>,
}

impl World {
    fn new(leaves: u64, seed: u64) -> Self {
        let theirs = Arc::new(Mutex::new((START, START)));
        let issuer = Arc::new(Theirs {
            ca: root_ca("Theirs", START, Duration::days(365 * 40)),
            state: theirs.clone(),
        });
        let mut world = Self {
            manager: Manager::new(certwright::Inventory::default(), []),
            disk: BTreeMap::new(),
            facts: BTreeMap::new(),
            damaged: BTreeSet::new(),
            requested: BTreeSet::new(),
            extra: BTreeSet::new(),
            leaves,
            theirs,
            issuer,
            random: Random::new(seed),
            now: START,
            counts: Counts::default(),
        };
        world.restart();
        world
    }

    fn live_until(&mut self, end: OffsetDateTime) {
        let mut event = self.now;
        loop {
            let wake = self.manager.next_wake().unwrap_or(self.now);
            self.now = wake.min(event).max(self.now);
            if self.now >= end {
                return;
            }
            self.counts.wakes += 1;
            self.theirs.lock().unwrap().0 = self.now;
            if self.now >= event {
                self.something_happens();
                // A few times a month.
                event = self.now + Duration::hours(self.random.between(24, 400));
            }
            self.reconcile();
        }
    }

    fn reconcile(&mut self) {
        let mut outcomes = self.manager.reconcile(self.now);
        for job in self.manager.take_jobs() {
            let done = now_or_never(job.run(self.now));
            outcomes.extend(self.manager.finish(done, self.now));
        }
        // A model of what is stored once everything is written.
        let before: BTreeSet<_> = self.must_issue();
        let mut issued = BTreeSet::new();
        let mut excused = BTreeSet::new();
        for (name, outcome) in &outcomes {
            match outcome {
                Outcome::Issued { .. } => {
                    self.counts.issued += 1;
                    assert!(issued.insert(name.clone()), "{name} twice at {}", self.now);
                }
                Outcome::Reapplied { .. } => self.counts.reapplied += 1,
                Outcome::Failed { error, .. } => {
                    self.counts.failed += 1;
                    assert!(self.is_theirs(name), "{name}: {error:?}");
                    excused.insert(name.clone());
                }
                Outcome::Blocked(block) => panic!("{name}: {block}"),
                _ => {}
            }
        }
        let changes = self.manager.take_changes();
        let crash = self.random.chance(40);
        let survive = match crash {
            true => self.random.index(changes.len() + 1),
            false => changes.len(),
        };
        for change in changes.into_iter().take(survive) {
            let name = change.name();
            let SecretChange::Put(secret) = change else {
                panic!("nothing is removed");
            };
            self.write(name, *secret);
        }
        // Whatever was issued had a reason; what its CA's new certificate requires is a reason too.
        let followed: BTreeSet<_> = issued.iter().filter(|n| self.is_ca(n)).cloned().collect();
        for name in &issued {
            let below = self.signer(name).is_some_and(|ca| followed.contains(&ca));
            assert!(before.contains(name) || below, "{name} at {}", self.now);
        }
        if crash {
            self.counts.crashes += 1;
            self.restart();
            return;
        }
        let missing = self.must_issue();
        for name in missing {
            let waits = self.manager.status(&name, self.now).unwrap().failures > 0;
            assert!(
                waits && self.is_theirs(&name),
                "{name} is missing at {}",
                self.now
            );
        }
        self.check_served();
    }

    /// The reference: who must have another certificate now, from what is stored alone.
    fn must_issue(&self) -> BTreeSet<ResourceName> {
        let names = self.manager.inventory().certificates();
        let names = names.filter(|(name, spec)| {
            let Some(facts) = self
                .facts
                .get(name)
                .filter(|_| !self.damaged.contains(name))
            else {
                return true;
            };
            let life: Duration = facts.not_after - facts.not_before;
            // Two thirds of its time, on a whole second.
            let due: OffsetDateTime = facts.not_after - life / 3;
            let due = OffsetDateTime::from_unix_timestamp(due.unix_timestamp()).unwrap();
            let signed = match self.signer(name) {
                None => true,
                Some(ca) => self
                    .facts
                    .get(&ca)
                    .is_some_and(|ca| facts.above.contains(&ca.leaf)),
            };
            let named = facts.names == spec.names().dns.len();
            self.now >= due || !signed || !named || self.requested.contains(name)
        });
        names.map(|(name, _)| name.clone()).collect()
    }

    /// The Certificate whose CA signs for another.
    fn signer(&self, name: &ResourceName) -> Option<ResourceName> {
        let issuer = self.manager.inventory().certificate(name)?.issuer_ref();
        let ca = ResourceName::new("ns", &issuer.name);
        self.manager.inventory().certificate(&ca).map(|_| ca)
    }

    fn is_ca(&self, name: &ResourceName) -> bool {
        self.manager.inventory().certificate(name).unwrap().is_ca()
    }

    fn is_theirs(&self, name: &ResourceName) -> bool {
        let spec = self.manager.inventory().certificate(name).unwrap();
        spec.issuer_ref().kind() == "Theirs"
    }

    /// A write reaches the disk: whoever looks between this one and the next must find everything in order.
    fn write(&mut self, name: ResourceName, secret: TlsSecret) {
        self.counts.writes += 1;
        let key = KeyPair::from_pem(secret.get(TLS_KEY).unwrap_or_default());
        let chain = Certificate::read_pem(secret.get(TLS_CRT).unwrap_or_default());
        let (Ok(key), Some(leaf)) = (key, chain.as_ref().ok().and_then(|chain| chain.first()))
        else {
            // Nobody repaired it yet, and its bundle was written.
            assert!(self.damaged.contains(&name), "{name}");
            self.disk.insert(name, secret);
            return;
        };
        let chain = chain.as_ref().unwrap();
        assert_eq!(leaf.spki_der(), key.public_key().spki_der(), "{name}");
        let before = self.facts.get(&name).map(|facts| &facts.leaf);
        if before.is_none_or(|before| *before != leaf.der().as_ref()) {
            self.damaged.remove(&name);
            self.requested.remove(&name);
        }
        assert!(leaf.not_before() <= self.now && self.now < leaf.not_after());
        let anchor = secret.get(CA_CRT).unwrap().to_vec();
        let above = Certificate::read_pem(&anchor).unwrap();
        for (below, above) in chain.iter().zip(chain[1..].iter().chain(&above)) {
            below
                .verify_signature(&above.public_key().unwrap())
                .unwrap();
            assert!(
                below.not_after() <= above.not_after(),
                "{name} outlives its chain"
            );
        }
        let is_dns = |name: &GeneralName<'_>| matches!(name, GeneralName::Dns(_));
        let facts = Facts {
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
            leaf: leaf.der().to_vec(),
            above: chain[1..]
                .iter()
                .chain(&above)
                .map(|one| one.der().to_vec())
                .collect(),
            names: leaf.names().filter(is_dns).count(),
            anchor,
        };
        let before = self.facts.insert(name.clone(), facts);
        self.disk.insert(name.clone(), secret);
        self.check_trust(&name, before.as_ref().map(|before| &before.anchor));
    }

    /// Everybody below our root verifies everybody else, at every moment.
    fn check_trust(&self, written: &ResourceName, before: Option<&Vec<u8>>) {
        if self.is_theirs(written) {
            return;
        }
        let ours = || self.facts.iter().filter(|(n, _)| !self.is_theirs(n));
        let new = before != Some(&self.facts[written].anchor);
        let anchors: BTreeSet<_> = ours().map(|(_, facts)| &facts.anchor).collect();
        // What others have is what it was, and was looked at then.
        let others = ours()
            .map(|(name, _)| name)
            .filter(|name| new || *name == written);
        for other in others.filter(|name| !self.damaged.contains(name)) {
            let bundle = self.disk[other].get(TRUST_BUNDLE).unwrap();
            let bundle = core::str::from_utf8(bundle).unwrap();
            for anchor in &anchors {
                let anchor = core::str::from_utf8(anchor).unwrap();
                let now = self.now;
                assert!(
                    bundle.contains(anchor),
                    "{other} cannot verify all, after {written} at {now}"
                );
            }
        }
    }

    /// What is served is neither expired nor without its key.
    fn check_served(&self) {
        for (name, facts) in &self.facts {
            if !self.damaged.contains(name) {
                assert!(self.now < facts.not_after, "{name} expired at {}", self.now);
            }
        }
    }

    /// The process ends and starts again; what was not written is lost.
    fn restart(&mut self) {
        let mut options = Options::default();
        // So that the model needs no clock of its own.
        options.anchor_lead = Duration::ZERO;
        let inventory = documents(self.leaves, &self.extra).inventory;
        let stored: Vec<_> = self.disk.values().map(TlsSecret::clone_with_keys).collect();
        self.manager = Manager::with_options(inventory, stored, options);
        self.manager
            .register("issuers.example", "Theirs", self.issuer.clone());
        for name in self.requested.clone() {
            self.manager.renew(&name, self.now);
        }
    }

    fn something_happens(&mut self) {
        let leaf = self.random.below(self.leaves);
        let name = ResourceName::new("ns", format!("leaf{leaf}"));
        let ca = ["root", "middle", "issuing"][self.random.index(3)];
        let ca = ResourceName::new("ns", ca);
        match self.random.below(10) {
            // Somebody else's issuer is closed for up to three days.
            0 => {
                let until = self.now + Duration::hours(self.random.between(1, 72));
                self.theirs.lock().unwrap().1 = until;
                let name = ResourceName::new("ns", "leaf0");
                self.request(&name);
            }
            1 => self.request(&name),
            // A CA is rotated by hand.
            2 => self.request(&ca),
            3 => {
                if !self.extra.remove(&leaf) {
                    self.extra.insert(leaf);
                }
                let inventory = documents(self.leaves, &self.extra).inventory;
                self.manager.replace_inventory(inventory);
            }
            4 => self.edit(&name, |secret| assert!(secret.remove(TLS_CRT))),
            5 => self.edit(&name, |secret| secret.insert(TLS_KEY, "nonsense")),
            6 => self.edit(&ca, |secret| assert!(secret.remove(TLS_KEY))),
            7 if self.disk.contains_key(&name) => {
                self.counts.edits += 1;
                self.disk.remove(&name);
                self.facts.remove(&name);
                self.manager.forget(&name);
            }
            // What concerns no certificate issues none.
            _ => {
                if let Some(secret) = self.disk.get_mut(&name) {
                    self.counts.edits += 1;
                    secret.labels.insert("app".to_owned(), "other".to_owned());
                    self.manager.observe(secret.clone_with_keys());
                }
            }
        }
    }

    fn request(&mut self, name: &ResourceName) {
        if self.disk.contains_key(name) {
            self.requested.insert(name.clone());
            self.manager.renew(name, self.now);
        }
    }

    fn edit(&mut self, name: &ResourceName, edit: impl FnOnce(&mut TlsSecret)) {
        let Some(secret) = self
            .disk
            .get_mut(name)
            .filter(|_| !self.damaged.contains(name))
        else {
            return;
        };
        self.counts.edits += 1;
        edit(secret);
        self.damaged.insert(name.clone());
        self.manager.observe(secret.clone_with_keys());
    }
}
