//! Ten virtual years of a PKI with three levels of CAs: renewals, CA rotations, failing issuers, edits by others, and
//! crashes between any two writes, held against a model that knows nothing of the manager.
//!
//! `CERTWRIGHT_SIM_LEAVES`, `CERTWRIGHT_SIM_YEARS` and `CERTWRIGHT_SIM_SEED` make it larger, longer and another one: the
//! size it is made for is 1000 leaves, in the release profile.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use certwright::{
    Documents, Inventory, Issuer, IssuerError, Issuing, Manager, Options, Outcome, Request,
    ResourceName, SecretChange, TRUST_BUNDLE,
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
/// How long an issuer that is open again may not have been asked: the longest pause after failures, and its spread.
const PAUSE: Duration = Duration::hours(39);

#[test]
fn ten_years_go_by() {
    let leaves = setting("CERTWRIGHT_SIM_LEAVES", 9);
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
    assert!(counts.swapped > 0 && counts.rekeyed > 0, "{counts:?}");
}

/// What is done before everything stops at every step of what follows.
type Scenario = (&'static str, fn(&mut World));

const SCENARIOS: [Scenario; 8] = [
    ("the first certificates", |world| {
        for name in world.names() {
            world.delete(&name);
        }
    }),
    ("a renewal", |world| {
        let due = world.facts.values().map(|facts| facts.due).min();
        world.now = due.unwrap();
    }),
    ("a renewal of all", |world| world.now += Duration::days(60)),
    ("a root with another key", |world| {
        world.rekey(&named("root"));
    }),
    ("an issuing CA with another key", |world| {
        world.request(&named("issuing"));
    }),
    ("a CA without its key", |world| {
        world.edit(&named("middle"), |secret| assert!(secret.remove(TLS_KEY)));
    }),
    ("a swapped pair", |world| world.swap(1, 2)),
    ("another name", |world| world.rename(1)),
];

#[test]
fn every_step_may_be_the_last() {
    for (what, scenario) in SCENARIOS {
        let mut steps = 0;
        for first in 0.. {
            let mut world = World::new(3, 1);
            world.random_crashes = false;
            world.settle();
            scenario(&mut world);
            let (done, of) = world.crash_after(first);
            steps = of;
            // And again while it recovers.
            for second in 0.. {
                let mut again = world.restarted();
                let (done, _) = again.crash_after(second);
                again.settle();
                assert!(
                    again.must_issue().is_empty(),
                    "{what}, {first} and {second}"
                );
                let writes = again.counts.writes;
                again.restart();
                again.reconcile();
                assert_eq!(again.counts.writes, writes, "{what}: it is settled");
                if done {
                    break;
                }
            }
            if done {
                break;
            }
        }
        println!("{what}: {steps} steps");
        assert!(steps > 0, "{what}");
    }
}

fn named(name: &str) -> ResourceName {
    ResourceName::new("ns", name)
}

/// The documents: a root of ten years, an intermediate of two, an issuing CA of one whose key changes with every
/// certificate, and leaves with one name or two, every fifth of them from an issuer that is not ours and fails now and
/// then.
fn documents(leaves: u64, more: bool) -> Inventory {
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
        let issuer = match is_theirs(leaf) {
            true => "{name: ours, kind: Theirs, group: issuers.example}",
            false => "{name: issuing}",
        };
        let rotation = if leaf % 7 == 0 { "Always" } else { "Never" };
        let more = match more {
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
    documents.inventory
}

fn is_theirs(leaf: u64) -> bool {
    leaf.is_multiple_of(5)
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
    swapped: usize,
    rekeyed: usize,
    crashes: usize,
    writes: usize,
}

/// A Certificate, as the model knows it.
#[derive(Clone, Debug)]
struct Known {
    name: ResourceName,
    /// Whose CA signs it.
    signer: Option<ResourceName>,
    leaf: Option<u64>,
}

struct World {
    manager: Manager,
    /// What is stored, and would be served.
    disk: BTreeMap<ResourceName, TlsSecret>,
    /// The same, read.
    facts: BTreeMap<ResourceName, Facts>,
    /// How many below our root have which anchor.
    anchors: BTreeMap<Vec<u8>, usize>,
    /// When a new one came.
    anchored: OffsetDateTime,
    /// What others damaged and nobody repaired yet.
    damaged: BTreeSet<ResourceName>,
    /// What somebody asked for and was not done yet; whether with a new key.
    requested: BTreeMap<ResourceName, bool>,
    /// The leaves with another name.
    extra: BTreeSet<u64>,
    known: Arc<Vec<Known>>,
    /// With one name each, and with two.
    inventories: Arc<[Inventory; 2]>,
    theirs: Arc<Mutex<(OffsetDateTime, OffsetDateTime)>>,
    issuer: Arc<Theirs>,
    random: Random,
    random_crashes: bool,
    now: OffsetDateTime,
    counts: Counts,
}

/// What a stored Secret says.
#[derive(Clone)]
struct Facts {
    not_after: OffsetDateTime,
    /// Two thirds of its time, on a whole second.
    due: OffsetDateTime,
    leaf: Vec<u8>,
    /// The certificates above, `ca.crt` included.
    above: Vec<Vec<u8>>,
    /// How many DNS names it has.
    names: usize,
    anchor: Vec<u8>,
}

impl World {
    fn new(leaves: u64, seed: u64) -> Self {
        let theirs = Arc::new(Mutex::new((START, START - Duration::days(30))));
        let issuer = Arc::new(Theirs {
            ca: root_ca("Theirs", START, Duration::days(365 * 40)),
            state: theirs.clone(),
        });
        let ca = |name, signer: Option<&str>| Known {
            name: named(name),
            signer: signer.map(named),
            leaf: None,
        };
        let cas = [
            ca("root", None),
            ca("middle", Some("root")),
            ca("issuing", Some("middle")),
        ];
        let leaf = |leaf| Known {
            name: named(&format!("leaf{leaf}")),
            signer: (!is_theirs(leaf)).then(|| named("issuing")),
            leaf: Some(leaf),
        };
        let inventories = Arc::new([documents(leaves, false), documents(leaves, true)]);
        let mut world = Self {
            manager: Manager::new(Inventory::default(), []),
            disk: BTreeMap::new(),
            facts: BTreeMap::new(),
            anchors: BTreeMap::new(),
            anchored: START - Duration::DAY,
            damaged: BTreeSet::new(),
            requested: BTreeMap::new(),
            extra: BTreeSet::new(),
            known: Arc::new(cas.into_iter().chain((0..leaves).map(leaf)).collect()),
            inventories,
            theirs,
            issuer,
            random: Random::new(seed),
            random_crashes: true,
            now: START,
            counts: Counts::default(),
        };
        world.restart();
        world
    }

    /// The same disk under a new process; what is not written is lost.
    fn restarted(&self) -> Self {
        let secret =
            |(name, secret): (&ResourceName, &TlsSecret)| (name.clone(), secret.clone_with_keys());
        let mut world = Self {
            manager: Manager::new(Inventory::default(), []),
            disk: self.disk.iter().map(secret).collect(),
            facts: self.facts.clone(),
            anchors: self.anchors.clone(),
            anchored: self.anchored,
            damaged: self.damaged.clone(),
            requested: self.requested.clone(),
            extra: self.extra.clone(),
            known: self.known.clone(),
            inventories: self.inventories.clone(),
            theirs: self.theirs.clone(),
            issuer: self.issuer.clone(),
            random: Random::new(1),
            random_crashes: self.random_crashes,
            now: self.now,
            counts: Counts::default(),
        };
        world.restart();
        world
    }

    fn names(&self) -> Vec<ResourceName> {
        self.known.iter().map(|known| known.name.clone()).collect()
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
            if self.now >= event {
                self.something_happens();
                // About every day.
                event = self.now + Duration::hours(self.random.between(2, 40));
            }
            self.reconcile();
        }
    }

    /// Goes on until everybody has read the new anchors and nothing is left to do.
    fn settle(&mut self) {
        let end = self.now + Duration::hours(2);
        while let Some(wake) = self.manager.next_wake().or(Some(self.now)) {
            self.now = wake.max(self.now);
            if self.now > end {
                self.now = end;
                return;
            }
            self.reconcile();
        }
    }

    fn reconcile(&mut self) {
        let crash = self.random_crashes && self.random.chance(20);
        let survive = crash.then(|| self.random.next());
        self.turn(survive.map(|number| {
            move |steps: usize| {
                usize::try_from(number % (u64::try_from(steps).unwrap() + 1)).unwrap()
            }
        }));
    }

    /// Ends the process after so many writes of one turn; whether there were not more, and how many there were.
    fn crash_after(&mut self, writes: usize) -> (bool, usize) {
        let mut all = 0;
        self.turn(Some(|steps| {
            all = steps;
            writes.min(steps)
        }));
        (writes >= all, all)
    }

    /// Looks at everything once; after as many writes as `crash` says, of how many there are, the process ends.
    fn turn(&mut self, crash: Option<impl FnOnce(usize) -> usize>) {
        self.theirs.lock().unwrap().0 = self.now;
        let mut outcomes = self.manager.reconcile(self.now);
        for job in self.manager.take_jobs() {
            let done = now_or_never(job.run(self.now));
            outcomes.extend(self.manager.finish(done, self.now));
        }
        // A model of what is stored once everything is written.
        let before = self.must_issue();
        let mut issued = BTreeSet::new();
        for (name, outcome) in &outcomes {
            match outcome {
                Outcome::Issued { .. } => {
                    self.counts.issued += 1;
                    assert!(issued.insert(name.clone()), "{name} twice at {}", self.now);
                }
                Outcome::Reapplied { .. } => self.counts.reapplied += 1,
                Outcome::Failed { error, .. } => {
                    self.counts.failed += 1;
                    assert!(self.is_closed(), "{name}: {error:?}");
                    assert!(self.signer(name).is_none(), "{name}: {error:?}");
                }
                Outcome::Blocked(block) => panic!("{name}: {block}"),
                _ => {}
            }
        }
        let changes = self.manager.take_changes();
        let survive = crash.map(|crash| crash(changes.len()));
        for change in changes.into_iter().take(survive.unwrap_or(usize::MAX)) {
            let name = change.name();
            match change {
                SecretChange::Put(secret) if self.is_record(&name) => {
                    self.disk.insert(name, *secret);
                }
                SecretChange::Put(secret) => self.write(name, *secret),
                SecretChange::Remove(name) => {
                    assert!(self.is_record(&name), "{name} is removed");
                    assert!(self.disk.remove(&name).is_some(), "{name}");
                }
            }
        }
        // Whatever was issued had a reason; what its CA's new certificate requires is a reason too.
        for name in &issued {
            let below = self.signer(name).is_some_and(|ca| issued.contains(ca));
            assert!(before.contains(name) || below, "{name} at {}", self.now);
        }
        if survive.is_some() {
            self.counts.crashes += 1;
            self.restart();
            return;
        }
        for name in self.must_issue() {
            let sound = self.facts.contains_key(&name) && !self.damaged.contains(&name);
            let excused = match self.signer(&name) {
                // As long as it takes everybody to read a new anchor.
                Some(_) => sound && self.now < self.anchored + Options::default().anchor_lead,
                None if name.name == "root" => false,
                None => self.is_closed(),
            };
            assert!(excused, "{name} is missing at {}", self.now);
        }
        self.check_served();
    }

    /// Whether the issuer that is not ours is closed, or was until now.
    fn is_closed(&self) -> bool {
        self.now < self.theirs.lock().unwrap().1 + PAUSE
    }

    fn is_record(&self, name: &ResourceName) -> bool {
        self.manager.inventory().owner(name, None).is_none()
    }

    /// The reference: who must have another certificate now, from what is stored alone.
    fn must_issue(&self) -> BTreeSet<ResourceName> {
        let known = self.known.iter().filter(|known| {
            let name = &known.name;
            let Some(facts) = self
                .facts
                .get(name)
                .filter(|_| !self.damaged.contains(name))
            else {
                return true;
            };
            let signed = match &known.signer {
                None => true,
                Some(ca) => self
                    .facts
                    .get(ca)
                    .is_some_and(|ca| facts.above.contains(&ca.leaf)),
            };
            let names = known
                .leaf
                .map_or(0, |leaf| 1 + usize::from(self.extra.contains(&leaf)));
            let asked = self.requested.contains_key(name);
            self.now >= facts.due || !signed || facts.names != names || asked
        });
        known.map(|known| known.name.clone()).collect()
    }

    /// The Certificate whose CA signs for another.
    fn signer(&self, name: &ResourceName) -> Option<&ResourceName> {
        let known = self.known.iter().find(|known| known.name == *name);
        known.and_then(|known| known.signer.as_ref())
    }

    /// Whether it trusts what our root does.
    fn is_ours(&self, name: &ResourceName) -> bool {
        name.name == "root" || self.signer(name).is_some()
    }

    /// A write reaches the disk: whoever looks between this one and the next must find everything in order.
    fn write(&mut self, name: ResourceName, secret: TlsSecret) {
        self.counts.writes += 1;
        let key = KeyPair::from_pem(secret.get(TLS_KEY).unwrap_or_default());
        let chain = Certificate::read_pem(secret.get(TLS_CRT).unwrap_or_default());
        let (Ok(key), Ok(chain)) = (key, chain) else {
            // Nobody repaired it yet, and its bundle was written.
            assert!(self.damaged.contains(&name), "{name}");
            self.disk.insert(name, secret);
            return;
        };
        let leaf = &chain[0];
        assert_eq!(leaf.spki_der(), key.public_key().spki_der(), "{name}");
        let same = self
            .disk
            .get(&name)
            .is_some_and(|before| before.get(TLS_CRT) == secret.get(TLS_CRT));
        if same && self.damaged.contains(&name) {
            // The same of one that fits, but is another one's.
            self.disk.insert(name, secret);
            return;
        }
        let before = self.facts.get(&name).map(|facts| &facts.leaf);
        if before.is_none_or(|before| *before != leaf.der().as_ref()) {
            self.damaged.remove(&name);
            self.requested.remove(&name);
        }
        assert!(leaf.not_before() <= self.now && self.now < leaf.not_after());
        let is_dns = |name: &GeneralName<'_>| matches!(name, GeneralName::Dns(_));
        let own = |found: GeneralName<'_>| match found {
            GeneralName::Dns(found) => {
                found.ends_with(&format!("{}.example", name.name.trim_start_matches("leaf")))
            }
            _ => false,
        };
        assert!(
            leaf.names().filter(is_dns).all(own),
            "{name} has another one's names"
        );
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
        let life: Duration = leaf.not_after() - leaf.not_before();
        let due: OffsetDateTime = leaf.not_after() - life / 3;
        let facts = Facts {
            not_after: leaf.not_after(),
            due: OffsetDateTime::from_unix_timestamp(due.unix_timestamp()).unwrap(),
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
        self.check_trust(&name, before.map(|before| before.anchor));
    }

    /// Everybody below our root verifies everybody else, at every moment.
    fn check_trust(&mut self, written: &ResourceName, before: Option<Vec<u8>>) {
        if !self.is_ours(written) {
            return;
        }
        let anchor = self.facts[written].anchor.clone();
        let users = self.anchors.entry(anchor).or_default();
        *users += 1;
        let new = *users == 1;
        if let Some(before) = before {
            self.left(&before);
        }
        if new {
            self.anchored = self.now;
        }
        // What others have is what it was, and was looked at then.
        let others = self.facts.keys().filter(|name| new || *name == written);
        for other in others.filter(|name| self.is_ours(name) && !self.damaged.contains(name)) {
            let bundle = self.disk[other].get(TRUST_BUNDLE).unwrap();
            let bundle = core::str::from_utf8(bundle).unwrap();
            for anchor in self.anchors.keys() {
                let now = self.now;
                let anchor = core::str::from_utf8(anchor).unwrap();
                assert!(
                    bundle.contains(anchor),
                    "{other} cannot verify all, after {written} at {now}"
                );
            }
        }
    }

    /// Nobody shows this anchor in that place any more.
    fn left(&mut self, anchor: &Vec<u8>) {
        let users = self.anchors.get_mut(anchor).unwrap();
        *users -= 1;
        if *users == 0 {
            self.anchors.remove(anchor);
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

    fn inventory(&self) -> Inventory {
        let [plain, more] = &*self.inventories;
        if self.extra.is_empty() {
            return plain.clone();
        }
        let mut inventory = Inventory::default();
        for (_, reference, spec) in plain.issuers() {
            let name = named(&reference.name);
            inventory.add_issuer(name, spec.clone()).unwrap();
        }
        for known in self.known.iter() {
            let extra = known.leaf.is_some_and(|leaf| self.extra.contains(&leaf));
            let spec = if extra { more } else { plain }.certificate(&known.name);
            let spec = spec.unwrap().clone();
            inventory.add_certificate(known.name.clone(), spec).unwrap();
        }
        inventory
    }

    /// The process ends and starts again; what was not written is lost.
    fn restart(&mut self) {
        let stored: Vec<_> = self.disk.values().map(TlsSecret::clone_with_keys).collect();
        self.manager = Manager::new(self.inventory(), stored);
        self.manager
            .register("issuers.example", "Theirs", self.issuer.clone());
        // Who asked sees that nothing came of it, unless it was written down.
        for (name, rekey) in self.requested.clone() {
            self.ask(&name, rekey);
        }
    }

    fn something_happens(&mut self) {
        let leaves = self.known.len() - 3;
        let leaf = u64::try_from(self.random.index(leaves)).unwrap();
        let other = u64::try_from(self.random.index(leaves)).unwrap();
        let name = named(&format!("leaf{leaf}"));
        let ca = named(["root", "middle", "issuing"][self.random.index(3)]);
        match self.random.below(50) {
            // Somebody else's issuer is closed for up to three weeks, and then open for ten days.
            0..3 if self.now > self.theirs.lock().unwrap().1 + Duration::days(10) => {
                let until = self.now + Duration::hours(self.random.between(1, 504));
                self.theirs.lock().unwrap().1 = until;
                self.request(&named("leaf0"));
            }
            0..9 => self.request(&name),
            9..11 => self.rekey(&name),
            // A CA is rotated by hand.
            11 if self.random.chance(2) => self.request(&ca),
            11 => self.rekey(&ca),
            12 => self.edit(&ca, |secret| assert!(secret.remove(TLS_KEY))),
            13..19 => self.rename(leaf),
            19..24 => self.edit(&name, |secret| assert!(secret.remove(TLS_CRT))),
            24..29 => self.edit(&name, |secret| secret.insert(TLS_KEY, "nonsense")),
            29..35 if leaf != other && !is_theirs(leaf) && !is_theirs(other) => {
                self.swap(leaf, other);
            }
            35..39 => self.delete(&name),
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

    /// A leaf gets another name, or loses it.
    fn rename(&mut self, leaf: u64) {
        if !self.extra.remove(&leaf) {
            self.extra.insert(leaf);
        }
        let inventory = self.inventory();
        self.manager.replace_inventory(inventory);
    }

    /// Somebody puts another leaf's key and certificate into a leaf's Secret.
    fn swap(&mut self, leaf: u64, other: u64) {
        let other = self.disk.get(&named(&format!("leaf{other}")));
        let pair =
            other.map(|other| [TLS_CRT, TLS_KEY].map(|key| other.get(key).map(<[u8]>::to_vec)));
        let Some([Some(chain), Some(key)]) = pair else {
            return;
        };
        self.counts.swapped += 1;
        self.edit(&named(&format!("leaf{leaf}")), |secret| {
            secret.insert(TLS_CRT, chain);
            secret.insert(TLS_KEY, key);
        });
    }

    fn delete(&mut self, name: &ResourceName) {
        if self.disk.remove(name).is_none() {
            return;
        }
        self.counts.edits += 1;
        self.damaged.remove(name);
        if let Some(facts) = self.facts.remove(name)
            && self.is_ours(name)
        {
            self.left(&facts.anchor);
        }
        self.manager.forget(name);
    }

    fn request(&mut self, name: &ResourceName) {
        if self.disk.contains_key(name) {
            self.requested.entry(name.clone()).or_default();
            self.ask(name, false);
        }
    }

    fn rekey(&mut self, name: &ResourceName) {
        if self.disk.contains_key(name) {
            self.counts.rekeyed += 1;
            self.requested.insert(name.clone(), true);
            self.ask(name, true);
        }
    }

    fn ask(&mut self, name: &ResourceName, rekey: bool) {
        if rekey {
            self.manager.rekey(name, self.now);
        } else {
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
