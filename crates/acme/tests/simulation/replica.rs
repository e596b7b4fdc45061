//! One process: engine and keeper as users have them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certwright_acme::account::AccountSpec;
use certwright_acme::challenge::Solvers;
use certwright_acme::limits::Quotas;
use certwright_acme::{
    CertId, CertificateSink, Engine, IssuedCertificate, Issuer, Keeper, Options, Wanted,
};
use certwright_renewal::RenewalPolicy;

use crate::client::Client;
use crate::store::Remote;
use crate::world::World;

pub(crate) struct Replica {
    pub(crate) engine: Engine,
    pub(crate) serving: Arc<Serving>,
    _keeper: Keeper,
}

/// What a replica serves.
pub(crate) struct Serving {
    world: World,
    machine: usize,
    generations: Mutex<HashMap<CertId, u64>>,
}

impl Replica {
    pub(crate) fn start(world: &World, machine: usize, lease: Duration, wanted: &[Wanted]) -> Self {
        let client = Arc::new(Client {
            world: world.clone(),
            machine,
        });
        let storage = Arc::new(Remote {
            world: world.clone(),
            machine,
        });
        let account = AccountSpec::new("https://ca.test/dir");
        let mut issuer = Issuer::new("ca", account, client.clone(), Solvers::http01());
        issuer.quotas = Quotas::unlimited();
        let mut options = Options::default();
        options.owner = format!("r{machine}");
        options.lease = lease;
        let engine = Engine::new(storage, client, vec![issuer], options).unwrap();
        let serving = Arc::new(Serving {
            world: world.clone(),
            machine,
            generations: Mutex::default(),
        });
        let policy = RenewalPolicy::default();
        let mut keeper = Keeper::new(engine.clone(), policy, serving.clone());
        for wanted in wanted {
            keeper.want(wanted.clone());
        }
        Self {
            engine,
            serving,
            _keeper: keeper,
        }
    }
}

impl Serving {
    pub(crate) fn generation(&self, id: &CertId) -> u64 {
        let generations = self.generations.lock();
        let generations = generations.unwrap_or_else(PoisonError::into_inner);
        generations.get(id).copied().unwrap_or_default()
    }
}

impl core::fmt::Debug for Serving {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Serving({})", self.machine)
    }
}

impl CertificateSink for Serving {
    fn publish(&self, id: &CertId, certificate: &Arc<IssuedCertificate>) {
        let generation = certificate.generation();
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = generations.insert(id.clone(), generation);
        drop(generations);
        let mut inner = self.world.inner();
        let checker = &mut inner.servers.checker;
        checker.served(id, certificate, before.unwrap_or_default());
    }

    fn remove(&self, id: &CertId) {
        let mut inner = self.world.inner();
        let what = format!("I7: r{} does not serve {id} any more", self.machine);
        inner.servers.checker.fail(&what);
    }
}
