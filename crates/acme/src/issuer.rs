//! An issuer: a CA's server, an account there, and how to deal with it.

use std::sync::Arc;

use crate::account::AccountSpec;
use crate::chain::ChainPreference;
use crate::challenge::Solvers;
use crate::limits::Quotas;
use crate::protocol::Protocol;

/// A CA, the account to use there, and how to deal with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issuer {
    /// Its name in records and events: choose it once.
    pub name: String,
    /// Which account.
    pub account: AccountSpec,
    /// The CA's server.
    pub protocol: Arc<dyn Protocol>,
    /// The challenges that can be answered.
    pub solvers: Solvers,
    /// Which of several chains is taken.
    pub chain: ChainPreference,
    /// The CA's profile, for certificates that do not ask for one themselves.
    pub profile: Option<String>,
    /// What the CA allows.
    pub quotas: Quotas,
    /// How many names and addresses it takes in one order, at most [`MAX_NAMES`].
    pub max_names: usize,
}

/// How many names and addresses a certificate may have here: what its journal says of them
/// must fit into a transaction of the store.
pub const MAX_NAMES: usize = 500;
/// What the public CAs take.
const PUBLIC_MAX_NAMES: usize = 100;

impl Issuer {
    /// An issuer with the quotas of Let's Encrypt, its 100 names in an order, and the CA's
    /// own choice of chain.
    pub fn new(
        name: &str,
        account: AccountSpec,
        protocol: Arc<dyn Protocol>,
        solvers: Solvers,
    ) -> Self {
        Self {
            name: name.to_owned(),
            account,
            protocol,
            solvers,
            chain: ChainPreference::default(),
            profile: None,
            quotas: Quotas::default(),
            max_names: PUBLIC_MAX_NAMES,
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.max_names.min(MAX_NAMES)
    }
}
