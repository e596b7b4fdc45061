//! Whether the CA would find us: a name's addresses, looked at before an order.
//!
//! Every name must have A or AAAA records that lead here, says Traefik's documentation;
//! an order for one that has none costs one of the CA's few failed validations.

use core::fmt;
use core::net::IpAddr;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::dns01::DnsError;
use crate::runtime::Task;

/// Who knows the addresses of names; with the feature `dns`,
/// [`Propagation`](super::dns01::Propagation) does.
pub trait AddressView: Send + Sync + fmt::Debug {
    /// All addresses of a name; none if it has none.
    fn addresses<'a>(&'a self, name: &'a str) -> Task<'a, Result<BTreeSet<IpAddr>, DnsError>>;
}

/// Looks at the addresses of names that are to be proven by HTTP-01 or TLS-ALPN-01,
/// before they are ordered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AddressCheck {
    /// Who tells them.
    pub view: Arc<dyn AddressView>,
    /// Where the CA must arrive: a name with any other address is not ours alone. Empty
    /// if any address will do, as behind load balancers.
    pub ours: BTreeSet<IpAddr>,
    /// What happens to an order for names that do not lead here.
    pub otherwise: Otherwise,
}

/// What happens to an order for names that do not lead here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Otherwise {
    /// It is not placed, unless DNS-01 may prove the name too. It is looked at again
    /// soon, at no cost to the CA.
    Refuse,
    /// It is placed, and an event says what may be wrong.
    #[default]
    Warn,
}

/// Why the CA may not find us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreachable {
    /// The name has addresses that are not ours.
    #[error("it leads to {}, which {} not here", addresses(.found), if .found.len() == 1 { "is" } else { "are" })]
    Elsewhere {
        /// Those.
        found: BTreeSet<IpAddr>,
    },
    /// The name has no A or AAAA record.
    #[error("it has no A or AAAA record")]
    NoAddress,
    /// It cannot be told; the CA may know better, so this alone refuses nothing.
    #[error("its addresses cannot be told: {reason}")]
    Untold {
        /// Why not.
        reason: String,
    },
}

impl AddressCheck {
    /// Warns of names without any address.
    pub fn new(view: Arc<dyn AddressView>) -> Self {
        Self {
            view,
            ours: BTreeSet::new(),
            otherwise: Otherwise::default(),
        }
    }

    /// What is wrong with a name's addresses, if anything is.
    pub async fn problem(&self, name: &str) -> Option<Unreachable> {
        let found = match self.view.addresses(name).await {
            Ok(found) => found,
            Err(error) => {
                let reason = error.to_string();
                return Some(Unreachable::Untold { reason });
            }
        };
        if found.is_empty() {
            return Some(Unreachable::NoAddress);
        }
        // The CA picks one; IPv6 first, if there is any.
        let found: BTreeSet<IpAddr> = found.difference(&self.ours).copied().collect();
        match found.is_empty() || self.ours.is_empty() {
            true => None,
            false => Some(Unreachable::Elsewhere { found }),
        }
    }
}

fn addresses(found: &BTreeSet<IpAddr>) -> String {
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    found.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::AccountSpec;
    use crate::challenge::Solvers;
    use crate::event::Event;
    use crate::issuer::Issuer;
    use crate::limits::Quotas;
    use crate::testing::{FakeCa, World, identifiers, run};
    use crate::{Demand, Engine, Options, Outcome, Wanted};

    /// The addresses of every name; it cannot tell those of `untold.test`.
    #[derive(Debug)]
    struct Book(Vec<(&'static str, &'static str)>);

    impl AddressView for Book {
        fn addresses<'a>(&'a self, name: &'a str) -> Task<'a, Result<BTreeSet<IpAddr>, DnsError>> {
            Box::pin(async move {
                let own = self.0.iter().filter(|(owner, _)| *owner == name);
                match name {
                    "untold.test" => Err(DnsError::Query {
                        name: name.to_owned(),
                        server: "192.0.2.53:53".to_owned(),
                        reason: "it says SERVFAIL".to_owned(),
                    }),
                    _ => Ok(own.map(|(_, address)| address.parse().unwrap()).collect()),
                }
            })
        }
    }

    fn check(otherwise: Otherwise, ours: &[&str]) -> AddressCheck {
        let book = Book(vec![
            ("here.test", "192.0.2.1"),
            ("here.test", "2001:db8::1"),
            ("half.test", "192.0.2.1"),
            ("half.test", "2001:db8::9"),
            ("there.test", "192.0.2.9"),
        ]);
        let mut check = AddressCheck::new(Arc::new(book));
        check.ours = ours
            .iter()
            .map(|address| address.parse().unwrap())
            .collect();
        check.otherwise = otherwise;
        check
    }

    #[test]
    fn addresses_of_names() {
        let ours = &["192.0.2.1", "2001:db8::1"][..];
        for (name, ours, expected) in [
            ("here.test", &[][..], None),
            ("here.test", ours, None),
            ("there.test", &[], None),
            (
                "there.test",
                ours,
                Some("it leads to 192.0.2.9, which is not here"),
            ),
            (
                "half.test",
                ours,
                Some("it leads to 2001:db8::9, which is not here"),
            ),
            (
                "here.test",
                &["192.0.2.8"],
                Some("it leads to 192.0.2.1 and 2001:db8::1, which are not here"),
            ),
            ("none.test", &[], Some("it has no A or AAAA record")),
            ("none.test", ours, Some("it has no A or AAAA record")),
            (
                "untold.test",
                &[],
                Some(
                    "its addresses cannot be told: 192.0.2.53:53 did not answer for untold.test: it says SERVFAIL",
                ),
            ),
        ] {
            let problem = run(check(Otherwise::Warn, ours).problem(name));
            let problem = problem.map(|problem| problem.to_string());
            assert_eq!(problem.as_deref(), expected, "{name} {ours:?}");
        }
    }

    /// The outcome of ordering these names, the events about addresses, and how many
    /// orders the CA saw.
    fn order(names: &[&str], check: Option<AddressCheck>) -> (Outcome, Vec<(String, bool)>, usize) {
        let world = World::new();
        let storage = world.storage();
        let ca = FakeCa::new(&world, &storage);
        let mut solvers = Solvers::http01();
        solvers.addresses = check;
        let account = AccountSpec::new("https://ca.test/dir");
        let mut issuer = Issuer::new("ca", account, Arc::new(ca.clone()), solvers);
        issuer.quotas = Quotas::unlimited();
        let (storage, runtime) = (Arc::new(storage), Arc::new(world));
        let engine = Engine::new(storage, runtime, vec![issuer], Options::default()).unwrap();
        let mut events = engine.events().listen();
        let wanted = Wanted::new(identifiers(names));
        let outcome = run(engine.obtain(&wanted, Demand::Missing)).unwrap();
        drop(engine);
        let mut seen = Vec::new();
        while let Some(Ok(event)) = run(events.next()) {
            if let Event::Unreachable {
                identifier,
                refused,
                ..
            } = event
            {
                seen.push((identifier.to_string(), refused));
            }
        }
        (outcome, seen, ca.calls("new_order"))
    }

    #[test]
    fn orders_for_names_that_lead_nowhere() {
        let names = &["here.test", "none.test", "untold.test"];
        // Off by default.
        let (outcome, seen, orders) = order(names, None);
        assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
        assert_eq!((seen.len(), orders), (0, 1));
        let (outcome, seen, orders) = order(names, Some(check(Otherwise::Warn, &[])));
        assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
        let warned = ["none.test", "untold.test"].map(|name| (name.to_owned(), false));
        assert_eq!((seen.as_slice(), orders), (&warned[..], 1));
        let refuse = check(Otherwise::Refuse, &[]);
        let (outcome, seen, orders) = order(names, Some(refuse.clone()));
        let Outcome::Waiting {
            failure: Some(failure),
            ..
        } = &outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            failure.detail,
            "none.test is not ordered: it has no A or AAAA record"
        );
        let refused = [
            ("none.test".to_owned(), true),
            ("untold.test".to_owned(), false),
        ];
        assert_eq!((seen.as_slice(), orders), (&refused[..], 0));
        // Not to know is no reason to refuse, and an address needs no address.
        let (outcome, _, orders) = order(&["untold.test", "192.0.2.77"], Some(refuse));
        assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
        assert_eq!(orders, 1);
    }
}
