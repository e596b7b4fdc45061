//! From a validated specification to a key, a CSR and a signed chain.

pub mod certificate;
pub mod csr;
mod decode;
mod encode;
mod extensions;
pub mod general_name;
pub mod key_pair;
mod name;
pub mod name_constraints;
pub mod pem_limit;
pub mod public_key;
mod validity;

pub use decode::DerError;
pub use key_pair::{KeyError, KeyPair};
pub use public_key::{PublicKey, PublicKeyError};
pub use certificate::{Certificate, CertificateError};
pub use csr::{Csr, CsrError, CsrPolicy, VerifiedCsr};
pub use encode::extension::name_constraints_to_der;
pub use encode::name::{NameStyle, RdnStyle, StringStyle, SubjectError, subject_alt_name_to_der, subject_to_der};
pub use extensions::ExtensionError;
