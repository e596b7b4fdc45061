//! Everything that goes wrong by itself.

use crate::machine::{Link, skew};
use crate::scenario::Simulation;
use crate::world::{Inner, SECOND};

impl Simulation {
    /// One more thing goes wrong, or right again.
    pub(crate) fn trouble(&mut self) {
        let world = self.world.clone();
        let mut inner = world.inner();
        let inner = &mut *inner;
        if !self.chaos {
            return;
        }
        self.faults += 1;
        let count = inner.machines.len();
        // Rather who orders than anybody.
        let machine = match inner.servers.checker.busy {
            Some(busy) if inner.random.thousandths(500) => busy,
            _ => inner.random.index(count),
        };
        match inner.random.within(0..14) {
            0..=3 => {
                if inner.machines[machine].running {
                    inner.note(Some(machine), "KILLED");
                    self.crashes += 1;
                    self.replicas[machine] = None;
                    inner.machines[machine].stopped = false;
                    inner.machines[machine].running = false;
                    inner.machines[machine].held.clear();
                    let pause = inner.random.tail(SECOND);
                    inner.restart_in(machine, pause);
                }
            }
            4 | 5 => {
                if inner.machines[machine].running && !inner.machines[machine].stopped {
                    inner.note(Some(machine), "STOPPED");
                    inner.machines[machine].stopped = true;
                    let pause = inner.random.within(SECOND..40 * SECOND);
                    inner.resume_in(machine, pause);
                }
            }
            6 | 7 => {
                let links = [Link::NoAnswers, Link::Refusing, Link::Silent];
                let link = inner.random.one_of(&links);
                inner.note(Some(machine), &format!("STORE {link:?}"));
                inner.set_storage(machine, link);
            }
            8 => {
                let links = [Link::NoAnswers, Link::Refusing, Link::Silent];
                let link = inner.random.one_of(&links);
                inner.note(Some(machine), &format!("CA {link:?}"));
                inner.machines[machine].authority = link;
            }
            9 => {
                inner.note(None, "STORE DOWN");
                inner.servers.storage_down = true;
                let now = inner.now;
                for machine in &mut inner.machines {
                    machine.cut_since.get_or_insert(now);
                }
            }
            10 => {
                inner.machines[machine].ahead = skew(&mut inner.random);
                let ahead = inner.machines[machine].ahead;
                inner.note(Some(machine), &format!("CLOCK {ahead:+} s"));
            }
            11 => {
                inner.note(None, "COMPACTED");
                inner.servers.storage.compact();
            }
            _ => inner.mend(),
        }
        let pause = inner.random.tail(self.interval);
        inner.trouble_in(pause);
    }
}

impl Inner {
    fn set_storage(&mut self, machine: usize, link: Link) {
        self.machines[machine].storage = link;
        let cut = link != Link::Up || self.servers.storage_down;
        self.machines[machine].cut_since = match (cut, self.machines[machine].cut_since) {
            (true, since) => Some(since.unwrap_or(self.now)),
            (false, _) => None,
        };
    }

    /// All connections are there again.
    pub(crate) fn mend(&mut self) {
        self.note(None, "CONNECTED");
        self.servers.storage_down = false;
        for machine in 0..self.machines.len() {
            self.set_storage(machine, Link::Up);
            self.machines[machine].authority = Link::Up;
        }
    }
}
