//! From a plan to a signed chain: key, request, signature, and whether the answer is what was asked for.

use std::sync::Arc;

use certwright_cert_model::ValidatedSpec;
use certwright_cert_model::inspect::{CertificateFacts, NameTexts};
use certwright_cert_model::subject::attribute;
use certwright_issuance::bundle::SecretError;
use certwright_issuance::keystore::{KeystoreError, PasswordError};
use certwright_issuance::{
    CaError, Certificate, Csr, CsrError, CsrPolicy, KeyError, KeyPair, Profile, SignError,
    SignedBundle, VerifiedCsr, chain, self_signed,
};
use certwright_renewal::Failure;
use certwright_sni_store::Source;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::inventory::ResourceName;
use crate::issuer::{IssuerError, KeySlot, Request, Signer};
use crate::plan::{ReapplyError, Reason};

/// One certificate to be signed, apart from the manager that wants it: hand it to a thread or await it, and bring
/// what comes of it back with [`Manager::finish`](crate::Manager::finish).
#[derive(Debug)]
pub struct Job {
    /// Every job of a manager has another one.
    pub(crate) id: u64,
    pub(crate) certificate: ResourceName,
    pub(crate) spec: Arc<ValidatedSpec>,
    pub(crate) signer: Signer,
    pub(crate) key: JobKey,
    pub(crate) reason: Reason,
    pub(crate) revision: u64,
    /// The `tls.crt` there is.
    pub(crate) stored: Option<Vec<u8>>,
}

/// The key of a job.
pub(crate) enum JobKey {
    Generate,
    Made(KeyPair),
    Stored(Zeroizing<Vec<u8>>),
}

/// What came of a [`Job`].
#[derive(Debug)]
pub struct Done {
    pub(crate) id: u64,
    pub(crate) certificate: ResourceName,
    pub(crate) spec: Arc<ValidatedSpec>,
    pub(crate) reason: Reason,
    pub(crate) revision: u64,
    pub(crate) result: Result<Made, IssueError>,
}

#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) key: Arc<KeyPair>,
    pub(crate) csr: Csr,
    pub(crate) bundle: SignedBundle,
    pub(crate) is_acme: bool,
}

impl core::fmt::Debug for JobKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Generate => "Generate",
            Self::Made(_) => "Made(..)",
            Self::Stored(_) => "Stored(..)",
        })
    }
}

impl Job {
    /// The Certificate it is for.
    pub fn certificate(&self) -> &ResourceName {
        &self.certificate
    }

    /// Why it is issued.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// Whether an issuer of yours is asked; the others take the time of a signature, and perhaps of a new key.
    pub fn is_remote(&self) -> bool {
        matches!(self.signer, Signer::Remote(..))
    }

    /// Does it. The future of a job that is not [remote](Self::is_remote) is ready when it is first asked.
    pub async fn run(self, now: OffsetDateTime) -> Done {
        let Signer::Remote(issuer, account) = self.signer.clone() else {
            return self.run_here(now);
        };
        let certificate = self.certificate.clone();
        let revision = self.revision;
        let result = match prepare(&self.spec, self.key) {
            Err(error) => Err(error),
            Ok((key, csr)) => {
                let key = KeySlot::new(key);
                let asked_for = key.get();
                let request = Request {
                    certificate,
                    spec: self.spec.clone(),
                    csr,
                    revision,
                    reason: self.reason.clone(),
                    acme: account.as_ref().map(|account| account.spec.clone()),
                    account: account.map(Arc::unwrap_or_clone),
                    stored: self.stored,
                    key,
                };
                let answer = issuer.issue(&request).await;
                let is_acme = issuer.source() == Source::Acme;
                answer
                    .map_err(IssueError::Issuer)
                    .and_then(|chain| answered(&chain, request, &asked_for, is_acme))
            }
        };
        Done {
            id: self.id,
            certificate: self.certificate,
            spec: self.spec,
            reason: self.reason,
            revision,
            result,
        }
    }

    /// What came of it if nothing came back.
    #[cfg(feature = "run")]
    pub(crate) fn lost(&self) -> Done {
        let error = IssuerError::transient("the issuer panicked");
        Done {
            id: self.id,
            certificate: self.certificate.clone(),
            spec: self.spec.clone(),
            reason: self.reason.clone(),
            revision: self.revision,
            result: Err(IssueError::Issuer(error)),
        }
    }

    /// Does it, unless an issuer of yours is asked.
    pub(crate) fn run_here(self, now: OffsetDateTime) -> Done {
        let result = prepare(&self.spec, self.key)
            .and_then(|(key, csr)| sign(&self.signer, &self.spec, key, csr, now));
        Done {
            id: self.id,
            certificate: self.certificate,
            spec: self.spec,
            reason: self.reason,
            revision: self.revision,
            result,
        }
    }
}

/// The key and the request of a certificate.
pub(crate) fn prepare(spec: &ValidatedSpec, key: JobKey) -> Result<(KeyPair, Csr), IssueError> {
    let key = match key {
        JobKey::Generate => KeyPair::generate(spec.key().algorithm).map_err(IssueError::Key)?,
        JobKey::Made(key) => key,
        JobKey::Stored(pem) => KeyPair::from_pem(&pem).map_err(IssueError::Key)?,
    };
    let csr = Csr::for_spec(spec, &key).map_err(IssueError::Request)?;
    Ok((key, csr))
}

pub(crate) fn verify(csr: &Csr) -> Result<VerifiedCsr, IssueError> {
    csr.verify(&CsrPolicy::default())
        .map_err(IssueError::Request)
}

fn sign(
    signer: &Signer,
    spec: &ValidatedSpec,
    key: KeyPair,
    csr: Csr,
    now: OffsetDateTime,
) -> Result<Made, IssueError> {
    let verified = verify(&csr)?;
    let profile = Profile::for_spec(spec);
    let bundle = match signer {
        Signer::Ca(ca, issuer) => ca.sign(&verified, &profile.with_ca_issuer(issuer), now),
        Signer::SelfSigned(issuer) => {
            let profile = profile.with_self_signed_issuer(issuer);
            self_signed(&verified, &key, &profile, now)
        }
        Signer::Remote(..) => return Err(IssueError::UnsupportedIssuer),
    };
    let bundle = bundle.map_err(IssueError::Sign)?;
    Ok(Made {
        key: Arc::new(key),
        csr,
        bundle,
        is_acme: false,
    })
}

/// What an issuer of yours sent, with the request and the key it is for.
fn answered(
    chain: &[u8],
    request: Request,
    asked_for: &Arc<KeyPair>,
    is_acme: bool,
) -> Result<Made, IssueError> {
    let (key, spec) = (request.key.get(), &request.spec);
    let is_asked_for = key.public_key().spki_der() == asked_for.public_key().spki_der();
    if !is_asked_for && request.is_stored_for(&key) {
        let reason = "it is for the key that is to be replaced".to_owned();
        return Err(IssueError::Unfit { reason });
    }
    let mut bundle = read_answer(chain, &key, spec)?;
    if is_acme {
        // Public CAs are in everybody's stores; what a server sends along is no reason to trust it.
        bundle = bundle.without_authority();
    }
    let csr = match Arc::ptr_eq(&key, asked_for) {
        true => request.csr,
        false => Csr::for_spec(spec, &key).map_err(IssueError::Request)?,
    };
    Ok(Made {
        key,
        csr,
        bundle,
        is_acme,
    })
}

/// The chain an issuer of yours sent, if it is one, and the leaf's key and names are those that were asked for.
fn read_answer(
    pem: &[u8],
    key: &KeyPair,
    spec: &ValidatedSpec,
) -> Result<SignedBundle, IssueError> {
    let unfit = |reason: String| IssueError::Unfit { reason };
    let certificates = Certificate::read_pem(pem).map_err(|e| unfit(e.to_string()))?;
    let assembled = chain::assemble(certificates).map_err(|e| unfit(e.to_string()))?;
    let leaf = assembled.chain.first();
    let bundle = SignedBundle::from_chain(&assembled);
    let (Some(leaf), Some(bundle)) = (leaf, bundle) else {
        return Err(unfit("there is no certificate".to_owned()));
    };
    if leaf.spki_der() != key.public_key().spki_der() {
        return Err(unfit("its key is not the request's".to_owned()));
    }
    let facts = CertificateFacts::from_der(leaf.der()).map_err(|e| unfit(e.to_string()))?;
    if facts.is_ca != spec.is_ca() {
        let (not, asked) = if facts.is_ca {
            ("", "none")
        } else {
            ("no ", "one")
        };
        return Err(unfit(format!("it is {not}CA, {asked} was asked for")));
    }
    // CAs add and leave out common names; what counts is what peers match.
    let mut found = facts.names;
    let common_name = facts.subject.values(attribute::COMMON_NAME).last();
    found.dns.extend(common_name.map(str::to_owned));
    let asked = NameTexts::from(spec.names());
    let missing = [
        missing(&asked.dns, &found.dns),
        missing(&asked.email, &found.email),
        missing(&asked.ip, &found.ip),
        missing(&asked.uri, &found.uri),
    ];
    match missing.into_iter().flatten().next() {
        Some(name) => Err(unfit(format!("it lacks the name {name}"))),
        None => Ok(bundle),
    }
}

fn missing<T: PartialEq + ToString>(asked: &[T], found: &[T]) -> Option<String> {
    let lost = asked.iter().find(|name| !found.contains(name))?;
    Some(lost.to_string())
}

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// Key and certificate do not go into one Secret.
    #[error("the result cannot be stored")]
    Bundle(#[source] SecretError),
    /// The issuer's Secret holds no usable CA.
    #[error("Secret {secret} is no usable CA")]
    Ca {
        /// The Secret.
        secret: ResourceName,
        /// Why not.
        source: CaError,
    },
    /// An issuer of yours did not sign.
    #[error("not signed")]
    Issuer(#[source] IssuerError),
    /// The private key cannot be made or read.
    #[error("no private key")]
    Key(#[source] KeyError),
    /// The issuer does not exist.
    #[error("its issuer does not exist")]
    NoIssuer,
    /// The issuer's Secret does not exist (yet).
    #[error("Secret {secret} of its issuer does not exist")]
    NoCaSecret {
        /// The Secret.
        secret: ResourceName,
    },
    /// The Secret with the key of an external account binding has no such key (yet).
    #[error("Secret {secret} of its issuer has no {key:?}")]
    NoBindingKey {
        /// The Secret.
        secret: ResourceName,
        /// What it lacks.
        key: String,
    },
    /// A keystore cannot be made.
    #[error("a keystore cannot be made")]
    Keystore(#[source] KeystoreError),
    /// A keystore's password is not there (yet).
    #[error("there is no password for a keystore")]
    Password(#[source] PasswordError),
    /// What is around the certificate cannot be written again.
    #[error("the Secret cannot be brought up to date")]
    Reapply(#[source] ReapplyError),
    /// The request cannot be made.
    #[error("no certificate request")]
    Request(#[source] CsrError),
    /// The issuer refused.
    #[error("not signed")]
    Sign(#[source] SignError),
    /// What the issuer sent is not what was asked for.
    #[error("the issuer sent a certificate that is not what was asked for: {reason}")]
    Unfit {
        /// What is wrong with it.
        reason: String,
    },
    /// A Secret of its issuer, or with a keystore's password, is there and cannot be read.
    #[error("Secret {secret} cannot be read: {reason}")]
    Unreadable {
        /// The Secret.
        secret: ResourceName,
        /// What cannot be read, and where it is.
        reason: String,
    },
    /// No issuer is registered for the group and kind.
    #[error("no issuer is registered for kind {kind} of group {group}")]
    Unregistered {
        /// The API group.
        group: String,
        /// The kind.
        kind: String,
    },
    /// An issuer of a type that nothing here signs for: with `spec.acme`, and none is registered
    /// ([`ACME_GROUP`](crate::ACME_GROUP)); or of a type that cert-manager knows and this crate does not.
    #[error(
        "nobody signs for issuers of this type here; register AcmeIssuers for those with spec.acme, or use selfSigned or ca"
    )]
    UnsupportedIssuer,
}

impl IssueError {
    /// What kind of failure an issuer of yours named.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match self {
            Self::Issuer(error) => Some(error.failure),
            _ => None,
        }
    }

    /// Whether something else has to come first, such as a document or a Secret.
    pub fn is_pending(&self) -> bool {
        matches!(
            self,
            Self::NoIssuer
                | Self::NoBindingKey { .. }
                | Self::NoCaSecret { .. }
                | Self::Password(_)
                | Self::Unreadable { .. }
                | Self::Unregistered { .. }
        )
    }
}
