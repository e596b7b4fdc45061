//! Who is connected to the listener, and who has to go when others come.

use core::net::{IpAddr, Ipv6Addr};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

/// The connections there are, so many and no more.
///
/// Anybody can open connections and say nothing. So a full house turns nobody away: the
/// one who came first of those who have asked for nothing yet leaves, from wherever most
/// of them are. Whoever asks at once, as CAs do, is not held up by those who do not. Nor by those
/// who ask as well: who has more than a quarter of all places has no claim to them.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// In the order they came.
    taken: BTreeMap<u64, Taken>,
}

#[derive(Debug)]
struct Taken {
    origin: IpAddr,
    asked: bool,
    /// None until it is there.
    task: Option<AbortHandle>,
}

/// A place, for as long as it lives.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let inner = Mutex::default();
        Arc::new(Self { most, inner })
    }

    /// Serves a connection from this address, in a task that is ended if its place is
    /// needed.
    pub(super) fn serve<F>(self: &Arc<Self>, address: IpAddr, serve: impl FnOnce(Arc<Place>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut inner = self.inner();
        while inner.taken.len() >= self.most {
            let Some(number) = inner.last_wanted(self.most) else {
                break;
            };
            let left = inner.taken.remove(&number);
            if let Some(task) = left.and_then(|left| left.task) {
                task.abort();
            }
        }
        let number = inner.next;
        inner.next += 1;
        let taken = Taken {
            origin: origin(address),
            asked: false,
            task: None,
        };
        inner.taken.insert(number, taken);
        drop(inner);
        let place = Place {
            places: Arc::clone(self),
            number,
        };
        // A runtime that is ending drops it, and the place with it, at once.
        let task = tokio::spawn(serve(Arc::new(place)));
        if let Some(taken) = self.inner().taken.get_mut(&number) {
            taken.task = Some(task.abort_handle());
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Who goes first.
    fn last_wanted(&self, most: usize) -> Option<u64> {
        let taken = self.taken.values();
        let silent = taken.clone().any(|one| !one.asked);
        let all = crowds(taken);
        let many = |one: &Taken| all.get(&one.origin).is_some_and(|all| *all > most / 4);
        let eligible = || {
            let taken = self.taken.iter();
            taken.filter(|(_, one)| !(silent && one.asked) || many(one))
        };
        let crowds = crowds(eligible().map(|(_, one)| one));
        let largest = crowds.values().copied().max();
        let found = eligible().filter(|(_, one)| crowds.get(&one.origin).copied() == largest);
        let oldest = found.min_by_key(|(number, one)| (one.asked, **number));
        oldest.map(|(number, _)| *number)
    }
}

/// How many there are of each origin.
fn crowds<'t>(taken: impl Iterator<Item = &'t Taken>) -> HashMap<IpAddr, usize> {
    let mut crowds = HashMap::new();
    for one in taken {
        *crowds.entry(one.origin).or_default() += 1;
    }
    crowds
}

impl Place {
    /// Its request is there.
    pub(super) fn has_asked(&self) {
        if let Some(taken) = self.places.inner().taken.get_mut(&self.number) {
            taken.asked = true;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.inner().taken.remove(&self.number);
    }
}

/// What one client has many addresses of: an IPv6 network of 64 bits.
fn origin(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        },
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use core::future::pending;

    use super::*;

    #[tokio::test]
    async fn who_goes_when_others_come() {
        let places = Places::new(4);
        let holders = Arc::new(Mutex::new(Vec::new()));
        let come = |address: &str| {
            let holders = Arc::clone(&holders);
            places.serve(address.parse().unwrap(), move |place| {
                holders.lock().unwrap().push(place);
                pending()
            });
        };
        let there = || -> Vec<u64> { places.inner().taken.keys().copied().collect() };
        for (address, expected) in [
            ("192.0.2.1", vec![0]),
            ("192.0.2.2", vec![0, 1]),
            ("::ffff:192.0.2.2", vec![0, 1, 2]),
            ("2001:db8::1", vec![0, 1, 2, 3]),
            // The second address has two.
            ("2001:db8::2", vec![0, 2, 3, 4]),
            // And now one network has.
            ("192.0.2.3", vec![0, 2, 4, 5]),
            // Nobody has more than another: the oldest.
            ("192.0.2.4", vec![2, 4, 5, 6]),
        ] {
            come(address);
            assert_eq!(there(), expected, "{address}");
        }
        // Who has asked stays, as long as there are others.
        let held = holders.lock().unwrap();
        for place in held.iter().filter(|place| place.number < 5) {
            place.has_asked();
        }
        drop(held);
        come("192.0.2.5");
        assert_eq!(there(), [2, 4, 6, 7]);
        // Who is done has gone.
        holders.lock().unwrap().clear();
        assert_eq!(there(), Vec::<u64>::new());
    }

    #[tokio::test]
    async fn one_address_that_asks_keeps_nobody_out() {
        let places = Places::new(8);
        let holders = Arc::new(Mutex::new(Vec::new()));
        let come = |address: &str| {
            let holders = Arc::clone(&holders);
            places.serve(address.parse().unwrap(), move |place| {
                holders.lock().unwrap().push(place);
                pending()
            });
        };
        let ask = |number: u64| {
            let holders = holders.lock().unwrap();
            let place = holders.iter().find(|place| place.number == number);
            place.unwrap().has_asked();
        };
        let there = || -> Vec<u64> { places.inner().taken.keys().copied().collect() };
        for number in 0..8 {
            come("192.0.2.1");
            ask(number);
        }
        // The CA, whose head is not there yet when another one of them comes.
        come("192.0.2.2");
        come("192.0.2.1");
        assert_eq!(there(), [2, 3, 4, 5, 6, 7, 8, 9]);
        // Their own who say nothing go before those who asked.
        come("192.0.2.1");
        assert_eq!(there(), [2, 3, 4, 5, 6, 7, 8, 10]);
        ask(10);
        ask(8);
        come("192.0.2.1");
        assert_eq!(there(), [3, 4, 5, 6, 7, 8, 10, 11]);
        // When they are no more than a quarter, those of them who asked stay as well.
        for number in 3..9 {
            come(&format!("192.0.2.{number}"));
        }
        assert_eq!(there(), [7, 8, 10, 13, 14, 15, 16, 17]);
    }
}
