//! What every world sees: a first certificate among faults, peace, a renewal among
//! faults, and peace again.

use core::fmt;
use core::hash::{Hash, Hasher};
use std::collections::hash_map::DefaultHasher;
use std::time::Duration;

use certwright_acme::challenge::http01::PATH;
use certwright_acme::layout::CHALLENGES;
use certwright_acme::{CertId, Wanted};
use certwright_storage::{Storage, StorageError};

use crate::authority::{Look, place};
use crate::replica::Replica;
use crate::store::{Planted, done};
use crate::world::{Inner, MILLISECOND, Micros, Next, SECOND, World, start};

/// How long after the faults a certificate may be on its way: the longest pause of a
/// keeper whose store was away (300 s), a lease, a slow CA, clocks that differ.
const SETTLING: Micros = 600 * SECOND + 300 * SECOND + 15 * SECOND + 200 * SECOND;
/// Certificates of the same age are due within this time of each other.
const SPREAD: Micros = 3600 * SECOND;
/// Orders that failed among the faults may be found to have failed after them.
const LATE_FAILURES: u32 = 4;

pub(crate) struct Simulation {
    pub(crate) world: World,
    pub(crate) replicas: Vec<Option<Replica>>,
    pub(crate) chaos: bool,
    pub(crate) interval: Micros,
    pub(crate) faults: u64,
    pub(crate) crashes: u64,
    /// Every other world ends with the first certificates, so that more fit into CI.
    renews: bool,
    /// Whether the last replica wants nothing.
    idler: bool,
    lease: Duration,
    wanted: Vec<Wanted>,
    ids: Vec<CertId>,
}

/// A world in which everything held.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) steps: u64,
    pub(crate) faults: u64,
    pub(crate) crashes: u64,
    pub(crate) orders: u64,
    pub(crate) certificates: u64,
    pub(crate) hash: u64,
    pub(crate) history: Vec<String>,
}

/// A world in which something did not.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) broken: String,
    pub(crate) hash: u64,
    planted: Planted,
    history: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.history {
            writeln!(f, "{line}")?;
        }
        write!(f, "seed {}: everything held", self.seed)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skip = self.history.len().saturating_sub(LINES);
        writeln!(
            f,
            "seed {}, the last {LINES} lines of its history:",
            self.seed
        )?;
        for line in &self.history[skip..] {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{}", self.broken)?;
        write!(
            f,
            "again, with {:?} planted: SIMULATION_SEED={} cargo test -p certwright-acme --all-features --test simulation one_seed -- --nocapture",
            self.planted, self.seed
        )
    }
}

const LINES: usize = 250;

/// Lives through one world.
pub(crate) fn run(seed: u64, planted: Planted) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(async {
        let mut simulation = Simulation::new(seed, planted);
        let outcome = simulation.live().await;
        // Those who still live hold on to the world.
        simulation.replicas.clear();
        let mut inner = simulation.world.inner();
        let history = core::mem::take(&mut inner.history);
        let mut hasher = DefaultHasher::new();
        history.hash(&mut hasher);
        let hash = hasher.finish();
        match outcome {
            Ok(()) => Ok(Report {
                seed,
                steps: inner.steps,
                faults: simulation.faults,
                crashes: simulation.crashes,
                orders: inner.servers.authority.orders.len().try_into().unwrap(),
                certificates: inner.servers.authority.issued.len().try_into().unwrap(),
                hash,
                history,
            }),
            Err(broken) => Err(Failure {
                seed,
                broken,
                hash,
                planted,
                history,
            }),
        }
    })
}

impl Simulation {
    fn new(seed: u64, planted: Planted) -> Self {
        let machines = 2 + usize::from(!seed.is_multiple_of(3));
        let world = World::new(seed, machines, planted);
        let mut inner = world.inner();
        let random = &mut inner.random;
        let sets = [&["a.test"][..], &["b.test", "c.test"]];
        let count = 1 + random.index(2);
        let wanted = sets.iter().take(count).map(|names| {
            let names = names.iter().map(|name| name.parse().unwrap());
            Wanted::new(names.collect())
        });
        let wanted: Vec<Wanted> = wanted.collect();
        let lease = Duration::from_secs(random.within(5..16));
        let interval = random.one_of(&[50 * MILLISECOND, 500 * MILLISECOND, 3 * SECOND]);
        drop(inner);
        Self {
            replicas: (0..machines).map(|_| None).collect(),
            ids: wanted.iter().map(|wanted| wanted.id("")).collect(),
            chaos: false,
            faults: 0,
            crashes: 0,
            renews: seed.is_multiple_of(2),
            idler: seed.is_multiple_of(5),
            world,
            lease,
            interval,
            wanted,
        }
    }

    async fn live(&mut self) -> Result<(), String> {
        {
            let mut inner = self.world.inner();
            for machine in 0..self.replicas.len() {
                let pause = inner.random.within(0..SECOND);
                inner.restart_in(machine, pause);
            }
        }
        self.trouble_for().await?;
        self.peace(1).await?;
        if !self.renews {
            return Ok(());
        }
        // Until somebody renews: with certificates of a day after about sixteen hours.
        let end = self.world.inner().now + 24 * 3600 * SECOND;
        let due = self.advance(end, |inner| !inner.servers.checker.is_quiet());
        if !due.await? {
            return Err(self.broken("I8: nobody renews"));
        }
        self.trouble_for().await?;
        self.peace(2).await
    }

    /// A while in which things go wrong.
    async fn trouble_for(&mut self) -> Result<(), String> {
        let end = {
            let mut inner = self.world.inner();
            inner.note(None, "TROUBLE");
            inner.lossy = inner.random.one_of(&[0, 10, 50, 200]);
            inner.servers.authority.moody = inner.random.one_of(&[0, 0, 20]);
            let first = inner.random.tail(self.interval);
            inner.trouble_in(first);
            let length = inner.random.within(self.interval * 5..self.interval * 30);
            inner.now + length.max(5 * SECOND)
        };
        self.chaos = true;
        let lived = self.advance(end, |_| false).await;
        self.chaos = false;
        lived.map(drop)
    }

    /// Nothing goes wrong any more: every certificate is there in time, everybody serves
    /// it, and nothing is left behind.
    async fn peace(&mut self, generation: u64) -> Result<(), String> {
        let count = self.replicas.len();
        {
            let mut inner = self.world.inner();
            inner.note(None, "PEACE");
            inner.lossy = 0;
            inner.servers.authority.moody = 0;
            inner.mend();
            for machine in 0..count {
                inner.resume(machine);
            }
        }
        let due = if generation > 1 { SPREAD } else { 0 };
        let mut end = self.world.inner().now + due + SETTLING;
        let mut failures = 0;
        loop {
            let settled = self.advance(end, |inner| inner.servers.checker.is_quiet());
            settled.await?;
            let now = self.world.inner().now;
            if self.is_settled(generation) {
                return Ok(());
            }
            if now < end {
                // One of several is done, or not everybody has heard of it.
                self.advance(end.min(now + 5 * SECOND), |_| false).await?;
                continue;
            }
            // What was seen to fail only now has its own pause.
            let inner = self.world.inner();
            let checker = &inner.servers.checker;
            let next = checker.next_at.values().max().map(|at| {
                let pause = *at - start();
                Micros::try_from(pause.whole_microseconds()).unwrap_or_default()
            });
            drop(inner);
            match next {
                Some(next) if next + SETTLING > end && failures < LATE_FAILURES => {
                    failures += 1;
                    end = next + SETTLING;
                }
                _ => return Err(self.broken(&self.unsettled(generation))),
            }
        }
    }

    fn is_settled(&self, generation: u64) -> bool {
        self.unsettled(generation).is_empty()
    }

    /// What is not as it should be long after the last fault.
    fn unsettled(&self, generation: u64) -> String {
        let inner = self.world.inner();
        let servers = &inner.servers;
        for id in &self.ids {
            let there = servers.checker.generation(id);
            if there < generation {
                return format!("I8: {id} is at generation {there}, not {generation}");
            }
            for (machine, replica) in self.replicas.iter().enumerate() {
                let served = replica
                    .as_ref()
                    .map(|replica| replica.serving.generation(id));
                if served != Some(there) {
                    return format!("I7: r{machine} serves {served:?} of {id}, not {there}");
                }
            }
        }
        let shown = done(servers.storage.list(CHALLENGES)).unwrap().entries;
        match shown.first() {
            Some(entry) => format!("I9: {} is still shown", entry.key),
            None if servers.checker.is_quiet() => String::new(),
            None => "I9: a journal is left".to_owned(),
        }
    }

    fn broken(&self, what: &str) -> String {
        let mut inner = self.world.inner();
        inner.note(None, &format!("BROKEN {what}"));
        what.to_owned()
    }

    /// Lives on until `end`, or until this holds.
    async fn advance(
        &mut self,
        end: Micros,
        until: impl Fn(&Inner) -> bool,
    ) -> Result<bool, String> {
        loop {
            // With time that stands still, this comes back when nobody else has anything
            // to do.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let next = self.world.step(end);
            let ended = matches!(next, Next::Done);
            match next {
                Next::Done | Next::Nothing => {}
                Next::Look(look) => self.look(look),
                Next::Restart(machine) => self.restart(machine),
                Next::Trouble => self.trouble(),
            }
            let inner = self.world.inner();
            if let Some(broken) = &inner.servers.checker.broken {
                return Err(broken.clone());
            }
            if until(&inner) || ended {
                return Ok(!ended);
            }
        }
    }

    fn restart(&mut self, machine: usize) {
        if self.replicas[machine].is_some() {
            return;
        }
        {
            let mut inner = self.world.inner();
            inner.machines[machine].running = true;
            inner.note(Some(machine), "STARTS");
        }
        // One may serve what it does not order itself, and must leave the others' alone.
        let last = machine + 1 == self.replicas.len();
        let wanted = match self.idler && last {
            true => &[],
            false => self.wanted.as_slice(),
        };
        let replica = Replica::start(&self.world, machine, self.lease, wanted);
        self.replicas[machine] = Some(replica);
    }

    /// The CA asks one of those who answer.
    fn look(&mut self, look: Look) {
        let mut inner = self.world.inner();
        let all = 0..self.replicas.len();
        let up: Vec<usize> = all
            .filter(|at| inner.machines[*at].running && !inner.machines[*at].stopped)
            .collect();
        if up.is_empty() {
            return inner.unanswered(look);
        }
        let machine = inner.random.one_of(&up);
        inner.note(None, &format!("CA asks r{machine} for {}", look.token));
        drop(inner);
        let Some(replica) = &self.replicas[machine] else {
            return;
        };
        let (world, answers) = (self.world.clone(), replica.engine.http01().clone());
        tokio::spawn(async move {
            let answer = answers.answer(&format!("{PATH}{}", look.token)).await;
            world.inner().answered(machine, look, answer);
        });
    }
}

impl Inner {
    fn unanswered(&mut self, mut look: Look) {
        look.tries += 1;
        match look.tries {
            ..=3 => self.look_in(look, 3 * SECOND),
            _ => {
                self.note(None, &format!("CA got no answer for {}", look.token));
                self.servers.looked(&look, false);
            }
        }
    }

    fn answered(
        &mut self,
        machine: usize,
        look: Look,
        answer: Result<Option<String>, StorageError>,
    ) {
        match answer {
            Ok(Some(answer)) if answer == look.expected => {
                self.note(None, &format!("CA found {}", look.token));
                self.servers.looked(&look, true);
            }
            Ok(Some(answer)) => {
                let what = format!("I5: r{machine} answers {answer} for {}", look.token);
                self.servers.checker.fail(&what);
            }
            Ok(None) => {
                let stored = done(self.servers.storage.get(&place(&look.token)));
                if stored.unwrap().is_some() {
                    let what = format!("I5: r{machine} does not know {}", look.token);
                    self.servers.checker.fail(&what);
                }
                self.note(None, &format!("CA found nothing for {}", look.token));
                self.servers.looked(&look, false);
            }
            Err(_) => self.unanswered(look),
        }
    }
}
