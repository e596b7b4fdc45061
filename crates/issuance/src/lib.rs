#![doc = include_str!("../README.md")]

pub mod authority;
pub mod bundle;
pub mod certificate;
pub mod chain;
pub mod crl;
pub mod csr;
mod decode;
mod encode;
mod extensions;
pub mod general_name;
pub mod key_pair;
#[cfg(feature = "keystore")]
pub mod keystore;
mod name;
pub mod name_constraints;
pub mod pem_limit;
pub mod preflight;
pub mod profile;
pub mod public_key;
#[cfg(feature = "rcgen")]
pub mod rcgen;
pub mod rotation;
pub mod self_signed;
pub mod serial;
pub mod signing;
pub mod temporary;
mod validity;

/// The version of rustls-pki-types that this API speaks.
pub use rustls_pki_types;
/// The crate of the instants and spans in this API.
pub use time;

pub use authority::{CaChain, CaError, CertificateAuthority};
pub use bundle::SignedBundle;
pub use certificate::Certificate;
pub use crl::{Crl, CrlError, RevocationList};
pub use csr::{Csr, CsrError, CsrPolicy, VerifiedCsr};
pub use decode::DerError;
pub use encode::name::{
    NameStyle, RdnStyle, StringStyle, SubjectError, subject_alt_name_to_der, subject_to_der,
};
pub use extensions::ExtensionError;
pub use key_pair::{KeyError, KeyPair};
pub use profile::Profile;
pub use public_key::PublicKey;
pub use self_signed::self_signed;
pub use serial::Serial;
pub use signing::{SignError, ToBeSigned};
