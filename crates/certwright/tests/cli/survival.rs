//! A day of `run`, in virtual time: its directories are edited at random, its disk is full now and then, its clock is
//! set, its process dies. Whatever happens, every stored Secret is whole; and once it has been quiet for a while, all
//! that is asked for is there and valid.
//!
//! `CERTWRIGHT_SIM_SEED` says which day.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use certwright::run::{
    DirStore, Event, Keeping, Runner, SecretStore, Seen, Source, StoreError, Unreadable,
};
use certwright::{Outcome, ResourceName, SecretDir};
use certwright_cert_model::{CertificateFacts, TlsSecret};
use certwright_issuance::Certificate;
use time::OffsetDateTime;

use crate::support::{PKI, Random, all_secrets, check_pair};
use crate::world::{NOW, World};

const DAY: u64 = 24 * 3600;
/// What everything that happened needs to be put right.
const SETTLED: Duration = Duration::from_secs(900);

/// A directory on a disk that may be full.
#[derive(Debug)]
struct Disk {
    store: DirStore,
    full: Arc<AtomicBool>,
}

impl SecretStore for Disk {
    fn load(&self) -> Keeping<'_, Vec<Result<TlsSecret, Unreadable>>> {
        self.store.load()
    }

    fn read<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, Seen> {
        self.store.read(secret)
    }

    fn put<'a>(&'a self, secret: &'a TlsSecret) -> Keeping<'a, ()> {
        if self.full.load(Ordering::Relaxed) {
            let error = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
            return Box::pin(core::future::ready(Err(StoreError::failed("write", error))));
        }
        self.store.put(secret)
    }

    fn remove<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, ()> {
        self.store.remove(secret)
    }

    fn changed(&self) -> Keeping<'_, Vec<Seen>> {
        self.store.changed()
    }

    fn lead(&self) -> Keeping<'_, bool> {
        self.store.lead()
    }

    fn resign(&self) -> Keeping<'_, ()> {
        self.store.resign()
    }
}

/// Everything that lives longer than a process.
struct Machine {
    world: World,
    full: Arc<AtomicBool>,
    /// How far the clock is set from where it would be, in seconds.
    set: Arc<AtomicI64>,
    began: tokio::time::Instant,
    issued: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    /// What the manifests ask for, by Certificate.
    wanted: BTreeMap<String, Vec<String>>,
    random: Random,
}

impl Machine {
    fn now(&self) -> OffsetDateTime {
        clock(self.began, &self.set)
    }

    fn runner(&self) -> Runner {
        let poll = Duration::from_secs(20);
        let disk = Disk {
            store: DirStore::new(self.world.secrets(), poll),
            full: self.full.clone(),
        };
        let (began, set) = (self.began, self.set.clone());
        let mut runner = Runner::new(disk, move || clock(began, &set));
        let paths = vec![self.world.path("manifests")];
        runner.source = Some(Source::Paths { paths, poll });
        let (issued, failed) = (self.issued.clone(), self.failed.clone());
        runner.on_event(move |event| match event {
            Event::Certificate {
                outcome: Outcome::Issued { .. },
                ..
            } => drop(issued.fetch_add(1, Ordering::Relaxed)),
            Event::NotStored { .. } | Event::Store(_) => {
                failed.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        });
        runner
    }

    fn file(&self, name: &str) -> PathBuf {
        self.world.path(&format!("manifests/{name}.yaml"))
    }

    fn ask_for(&mut self, name: String) {
        let names: Vec<_> = (0..=self.random.below(3))
            .map(|n| format!("{name}-{n}.example"))
            .collect();
        let text = format!(
            "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {{name: {name}, namespace: ns}}\nspec:\n  \
             {{secretName: {name}, duration: 1h, renewBefore: 20m, privateKey: {{algorithm: ECDSA}}, dnsNames: [{}], \
             issuerRef: {{name: root}}}}\n",
            names.join(", ")
        );
        fs::write(self.file(&name), text).unwrap();
        self.wanted.insert(name, names);
    }

    /// One of those there are.
    fn any(&mut self) -> Option<String> {
        let count = u64::try_from(self.wanted.len()).unwrap();
        let index = usize::try_from(self.random.below(count.max(1))).unwrap();
        self.wanted.keys().nth(index).cloned()
    }

    /// Does something to it; whether its process is to die.
    fn harm(&mut self) -> bool {
        let name = self.any();
        match (self.random.below(11), name) {
            (0 | 1, _) | (_, None) => {
                let name = format!("web{}", self.random.below(12));
                self.ask_for(name);
            }
            (2, Some(name)) => self.ask_for(name),
            (3, Some(name)) => {
                fs::remove_file(self.file(&name)).unwrap();
                self.wanted.remove(&name);
            }
            // Somebody saves a file, and it is read half-way.
            (4, Some(name)) => {
                let text = fs::read(self.file(&name)).unwrap();
                fs::write(self.file(&name), &text[..text.len() / 2]).unwrap();
                self.wanted.remove(&name);
            }
            (5, _) => fs::write(
                self.file("broken"),
                "a: [\n---\nkind: Certificate\nspec: 7\n",
            )
            .unwrap(),
            (6, Some(name)) => drop(self.world.secrets().remove("ns", &name)),
            // A key without its certificate: by hand, and not as one would.
            (7, Some(name)) => {
                let dir = self.world.secrets();
                if let Ok(Some(mut secret)) = dir.read("ns", &name) {
                    secret.insert("tls.crt", "");
                    let _ = dir.write(&secret);
                }
            }
            (8, _) => self
                .full
                .store(!self.full.load(Ordering::Relaxed), Ordering::Relaxed),
            (9, _) => {
                let by = i64::try_from(self.random.below(4 * 3600)).unwrap() - 2 * 3600;
                self.set.fetch_add(by, Ordering::Relaxed);
            }
            _ => return true,
        }
        false
    }

    /// That all that is asked for is there, once it was quiet.
    fn check(&self, when: &str) {
        let now = self.now();
        check_whole(self);
        for (name, names) in &self.wanted {
            let secret = SecretDir::new(self.world.path("secrets"))
                .read("ns", name)
                .unwrap();
            let secret = secret.unwrap_or_else(|| panic!("{when}: {name} is not there"));
            let chain = Certificate::read_pem(secret.get("tls.crt").unwrap()).unwrap();
            let (from, until) = (chain[0].not_before(), chain[0].not_after());
            // A clock that was set back by less than an hour is waited for.
            let from = from - time::Duration::HOUR;
            assert!(
                from <= now && now < until,
                "{when}: {name} is valid from {from} to {until}, not at {now}"
            );
            let facts = CertificateFacts::from_der(chain[0].der()).unwrap();
            let mut found = facts.names.dns;
            found.sort();
            assert_eq!(&found, names, "{when}: {name}");
        }
    }
}

fn clock(began: tokio::time::Instant, set: &AtomicI64) -> OffsetDateTime {
    let passed = time::Duration::try_from(began.elapsed()).unwrap();
    NOW + passed + time::Duration::seconds(set.load(Ordering::Relaxed))
}

#[test]
fn a_day_of_edits_full_disks_set_clocks_and_deaths() {
    let seed = std::env::var("CERTWRIGHT_SIM_SEED").map_or(1, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::empty();
        let (pki, _) = PKI.rsplit_once("---").unwrap();
        world.write("manifests/pki.yaml", pki);
        let mut machine = Machine {
            world,
            full: Arc::default(),
            set: Arc::default(),
            began: tokio::time::Instant::now(),
            issued: Arc::default(),
            failed: Arc::default(),
            wanted: BTreeMap::new(),
            random: Random::new(seed),
        };
        machine.ask_for("web0".to_owned());
        let (mut harms, mut deaths, mut checks) = (0, 0, 0);
        let day = machine.began + Duration::from_secs(DAY);
        let mut next_check = machine.began + Duration::from_secs(3 * 3600);
        while tokio::time::Instant::now() < day {
            let life = machine.runner().run(core::future::pending());
            tokio::pin!(life);
            // Until it dies: the future is dropped wherever it is.
            loop {
                let pause = Duration::from_secs(20 + machine.random.below(600));
                tokio::select! {
                    _ = &mut life => panic!("it ended by itself"),
                    () = tokio::time::sleep(pause) => {}
                }
                check_whole(&machine);
                if tokio::time::Instant::now() > next_check {
                    machine.full.store(false, Ordering::Relaxed);
                    tokio::select! {
                        _ = &mut life => panic!("it ended by itself"),
                        () = tokio::time::sleep(SETTLED) => {}
                    }
                    checks += 1;
                    machine.check(&format!("check {checks}, seed {seed}"));
                    next_check = tokio::time::Instant::now() + Duration::from_secs(3 * 3600);
                }
                harms += 1;
                if machine.harm() {
                    deaths += 1;
                    break;
                }
            }
        }
        machine.full.store(false, Ordering::Relaxed);
        let life = machine.runner().run(tokio::time::sleep(SETTLED));
        life.await;
        machine.check(&format!("the end, seed {seed}"));
        assert!(
            harms > 100 && deaths > 2 && checks > 5,
            "{harms} {deaths} {checks}"
        );
        assert!(
            machine.failed.load(Ordering::Relaxed) > 0,
            "the disk was never full"
        );
        // An hour's certificate is renewed every 40 minutes, 36 times a day; a dozen of them, and every harm costs a few.
        let issued = machine.issued.load(Ordering::Relaxed);
        assert!(
            (50..12 * 36 + harms * 13).contains(&issued),
            "{issued} certificates for {harms} harms"
        );
    });
}

/// Every Secret is whole, but for those whose certificate somebody emptied.
fn check_whole(machine: &Machine) {
    let is_empty = |secret: &TlsSecret| secret.get("tls.crt").is_some_and(<[u8]>::is_empty);
    let all = all_secrets(&machine.world.secrets());
    all.iter()
        .filter(|secret| !is_empty(secret))
        .for_each(|secret| drop(check_pair(secret)));
}
