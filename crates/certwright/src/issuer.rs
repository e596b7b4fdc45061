//! Who signs: an issuer of this process, or one of yours.

use core::fmt;
use core::pin::Pin;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use certwright_cert_model::ValidatedSpec;
use certwright_cert_model::issuer::{AcmeIssuer, CaIssuer, SelfSignedIssuer};
use certwright_cert_model::issuer_ref::IssuerRef;
use certwright_issuance::{Certificate, CertificateAuthority, Csr, KeyPair};
use certwright_renewal::{AriWindow, Failure};
use certwright_sni_store::Source;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::inventory::ResourceName;
use crate::plan::{Authority, KeyReuse, Reason};

/// An issuer of your own; register it for a group and a kind with
/// [`Manager::register`](crate::Manager::register).
///
/// ```
/// use certwright::{Issuer, IssuerError, Issuing, Request};
///
/// #[derive(Debug)]
/// struct Ours;
///
/// impl Issuer for Ours {
///     fn issue<'a>(&'a self, request: &'a Request) -> Issuing<'a> {
///         Box::pin(async move { ask_our_ca(&request.csr_pem()).await.map_err(IssuerError::transient) })
///     }
/// }
/// # async fn ask_our_ca(_csr: &str) -> Result<Vec<u8>, String> { Err("it is closed".into()) }
/// ```
pub trait Issuer: Send + Sync + fmt::Debug {
    /// Has a request signed: the chain in PEM, in any order; a root in it becomes `ca.crt`. What comes back is held
    /// against the specification before it is stored.
    ///
    /// A future that is dropped, or a process that ends, leaves the request unanswered; it is made again, with a new
    /// key. So is one that failed, after the pause that its [`IssuerError`] asks for.
    fn issue<'a>(&'a self, request: &'a Request) -> Issuing<'a>;

    /// Whether a key may be in more than one request.
    fn key_reuse(&self) -> KeyReuse {
        KeyReuse::Allowed
    }

    /// Where its certificates are from, for the order of fallbacks among those that are served.
    fn source(&self) -> Source {
        Source::Provided
    }

    /// Whether it can work with these settings of an issuer with `spec.acme`; asked before it is asked to sign, and
    /// told in the issuer's condition `Ready`.
    ///
    /// # Errors
    ///
    /// What is to be changed in them.
    fn check(&self, _account: &AcmeAccount) -> Result<(), IssuerError> {
        Ok(())
    }

    /// All that one [`Manager`](crate::Manager) wants of it, whenever that may have changed. It must not wait; what is
    /// under way for anything else is to be given up, in the background.
    fn wanted(&self, _all: &[Wish]) {}

    /// What it sent last for this is not what was asked for, and is not stored: the same again would not be either.
    fn refused(&self, _wish: &Wish) {}

    /// What the CA is known to suggest about the renewal of a certificate (RFC 9773). It must not wait: whoever has to
    /// ask first says so with [`Suggestion::again`], and is asked again.
    fn suggestion(&self, _held: &Held<'_>, _now: OffsetDateTime) -> Suggestion {
        Suggestion::default()
    }
}

/// A Certificate that names an issuer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Wish {
    /// The Certificate.
    pub certificate: ResourceName,
    /// What it asks for.
    pub spec: Arc<ValidatedSpec>,
    /// The namespace of its issuer; empty for a ClusterIssuer.
    pub issuer_namespace: String,
}

/// A certificate that is stored and needs nothing now.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Held<'a> {
    /// The Certificate.
    pub certificate: &'a ResourceName,
    /// What it asks for.
    pub spec: &'a ValidatedSpec,
    /// The account, if its issuer is one with `spec.acme`.
    pub acme: Option<&'a AcmeAccount>,
    /// Its `tls.crt`.
    pub chain: &'a [u8],
}

/// What a CA suggests about a renewal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Suggestion {
    /// When to renew.
    pub window: Option<AriWindow>,
    /// When to ask again; `None` if there will never be another answer.
    pub again: Option<OffsetDateTime>,
}

impl Suggestion {
    /// This window, and when to ask again.
    pub fn new(window: Option<AriWindow>, again: Option<OffsetDateTime>) -> Self {
        Self { window, again }
    }
}

/// An issuer with `spec.acme`, and what its Secrets hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcmeAccount {
    /// Its namespace; empty for a ClusterIssuer.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its `spec.acme`.
    pub spec: AcmeIssuer,
    /// The key of `externalAccountBinding`, as its Secret holds it.
    pub(crate) binding_key: Option<BindingKey>,
}

impl AcmeAccount {
    /// The key of `externalAccountBinding` as its Secret holds it: base64url, usually.
    pub fn binding_key(&self) -> Option<&[u8]> {
        self.binding_key.as_ref().map(|key| key.0.as_slice())
    }
}

/// The key of an external account binding, which no log is to show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BindingKey(Arc<Zeroizing<Vec<u8>>>);

impl BindingKey {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(Arc::new(key.to_vec().into()))
    }
}

impl fmt::Debug for BindingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BindingKey(..)")
    }
}

/// The answer of an [`Issuer`], to be waited for.
pub type Issuing<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, IssuerError>> + Send + 'a>>;

/// What an issuer is asked to sign.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The Certificate.
    pub certificate: ResourceName,
    /// What it asks for.
    pub spec: Arc<ValidatedSpec>,
    /// The same as a request, signed with the certificate's key.
    pub csr: Csr,
    /// Which certificate of this Certificate it will be, from 1.
    pub revision: u64,
    /// Why it is issued.
    pub reason: Reason,
    /// The server and account, if its issuer is one of cert-manager's with `spec.acme`.
    pub acme: Option<AcmeIssuer>,
    /// The same with what its Secrets hold.
    pub account: Option<AcmeAccount>,
    /// The `tls.crt` that is stored now.
    pub stored: Option<Vec<u8>>,
    pub(crate) key: KeySlot,
}

/// The key that a certificate is to be for.
#[derive(Clone)]
pub(crate) struct KeySlot(Arc<Mutex<Arc<KeyPair>>>);

impl KeySlot {
    pub(crate) fn new(key: KeyPair) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(key))))
    }

    pub(crate) fn get(&self) -> Arc<KeyPair> {
        let key = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&key)
    }
}

impl fmt::Debug for KeySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySlot(..)")
    }
}

impl Request {
    /// The private key, for issuers that keep it with what they have asked their CA for, so that a certificate made for
    /// a request from before a crash is not lost. It goes nowhere else.
    pub fn key(&self) -> Arc<KeyPair> {
        self.key.get()
    }

    /// Says that the certificate is for this key instead: that of such an earlier request.
    pub fn answer_is_for(&self, key: KeyPair) {
        let mut slot = self.key.0.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Arc::new(key);
    }

    /// Whether what is stored now is for this key.
    pub(crate) fn is_stored_for(&self, key: &KeyPair) -> bool {
        let stored = self.stored.as_deref().map(Certificate::read_pem);
        let stored = stored.and_then(Result::ok).unwrap_or_default();
        let leaf = stored.first();
        leaf.is_some_and(|leaf| leaf.spki_der() == key.public_key().spki_der())
    }

    /// The request in PEM.
    pub fn csr_pem(&self) -> String {
        self.csr.to_pem()
    }

    /// The issuer the Certificate names.
    pub fn issuer(&self) -> &IssuerRef {
        self.spec.issuer_ref()
    }
}

/// Why an issuer of yours did not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct IssuerError {
    /// What happened, for people.
    pub message: String,
    /// What kind of failure it is, which decides when to try again.
    pub failure: Failure,
}

impl IssuerError {
    /// A failure of this kind.
    pub fn new(failure: Failure, message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            failure,
        }
    }

    /// One that may be over in a moment.
    pub fn transient(message: impl fmt::Display) -> Self {
        Self::new(Failure::Transient, message)
    }

    /// One that lasts until somebody changes something.
    pub fn permanent(message: impl fmt::Display) -> Self {
        Self::new(Failure::Permanent, message)
    }
}

/// The group under which an [`Issuer`] is registered, with kind `Issuer`, that signs for Issuers and ClusterIssuers with
/// `spec.acme`.
pub const ACME_GROUP: &str = "acme.cert-manager.io";

/// The issuers of other API groups, by group and kind.
pub(crate) type Registry = BTreeMap<(String, String), Arc<dyn Issuer>>;

/// The issuer of one certificate, ready to sign.
#[derive(Clone, Debug)]
pub(crate) enum Signer {
    Ca(Arc<CertificateAuthority>, CaIssuer),
    Remote(Arc<dyn Issuer>, Option<Arc<AcmeAccount>>),
    SelfSigned(SelfSignedIssuer),
}

impl Signer {
    /// Who signs, as the plan has to know.
    pub(crate) fn authority(&self) -> Authority<'_> {
        match self {
            Self::Ca(ca, _) => Authority::Chain(ca.chain().certificates()),
            Self::Remote(..) => Authority::Unknown,
            Self::SelfSigned(_) => Authority::OwnKey,
        }
    }

    pub(crate) fn key_reuse(&self) -> KeyReuse {
        match self {
            Self::Remote(issuer, _) => issuer.key_reuse(),
            Self::Ca(..) | Self::SelfSigned(_) => KeyReuse::Allowed,
        }
    }
}
