//! The verification itself: no rustls, no clock, one search for a path.

mod svid;
pub(crate) mod verdict;

use core::cell::Cell;
use core::fmt;
use std::sync::Arc;

use certwright_cert_model::name::SpiffeId;
use rustls_pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use webpki::{
    EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};

use crate::bundle::TrustBundles;
use crate::leaf::Facts;
#[cfg(feature = "hyper")]
use crate::peer::PeerPolicy;
use crate::peer::{HostName, PeerIdentity, PeerSan, SpiffePolicy};
use crate::peer_error::PeerError;
use crate::revocation::Crls;
use crate::roots::Roots;
use verdict::{presented, refused, unreadable};

pub use svid::SvidProfile;

/// Decides whether a chain of certificates proves an accepted identity.
///
/// The order is: sizes; the leaf's own rules; the roots (in SPIFFE mode those of the trust domain the leaf
/// claims, and no others); one search for a path with signatures, validity, purpose, name constraints,
/// issuers' key usage and revocation; the policy last, on a proven identity. The handshake signature, which
/// proves that the peer has the key, is the TLS library's part.
pub struct PeerVerifier {
    rules: Rules,
    crls: Option<Arc<Crls>>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
}

enum Rules {
    PeerSans {
        sans: Vec<PeerSan>,
        host_name: HostName,
        roots: Roots,
    },
    Spiffe {
        policy: SpiffePolicy,
        bundles: TrustBundles,
        profile: SvidProfile,
    },
}

/// The part the peer plays in the handshake; complete by definition.
#[derive(Clone, Copy, Debug)]
pub enum PeerRole<'a> {
    /// It connected to us.
    Client,
    /// We connected to it, by this name.
    Server(&'a ServerName<'a>),
}

impl PeerVerifier {
    /// Accepts certificates that chain to `roots` and carry one of `sans`.
    ///
    /// `algorithms` are those of the crypto provider that makes the connections:
    /// `provider.signature_verification_algorithms.all`.
    pub fn peer_sans(
        sans: Vec<PeerSan>,
        host_name: HostName,
        roots: Roots,
        algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    ) -> Self {
        Self {
            rules: Rules::PeerSans {
                sans,
                host_name,
                roots,
            },
            crls: None,
            algorithms,
        }
    }

    /// Accepts X509-SVIDs of `bundles`' trust domains whose identity `policy` accepts.
    ///
    /// `algorithms` as in [`PeerVerifier::peer_sans`].
    pub fn spiffe(
        policy: SpiffePolicy,
        bundles: TrustBundles,
        algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    ) -> Self {
        Self {
            rules: Rules::Spiffe {
                policy,
                bundles,
                profile: SvidProfile::default(),
            },
            crls: None,
            algorithms,
        }
    }

    /// Also refuses certificates that these lists do not clear.
    #[must_use]
    pub fn with_crls(mut self, crls: Arc<Crls>) -> Self {
        self.crls = Some(crls);
        self
    }

    /// Holds X509-SVIDs to `profile`; without meaning for peer names.
    #[must_use]
    pub fn with_profile(mut self, wanted: SvidProfile) -> Self {
        if let Rules::Spiffe { profile, .. } = &mut self.rules {
            *profile = wanted;
        }
        self
    }

    /// Verifies what a peer presented: its own certificate and the rest in any order.
    ///
    /// # Errors
    ///
    /// The first rule that is broken, in the order the type describes.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        role: PeerRole<'_>,
        now: UnixTime,
    ) -> Result<PeerIdentity, PeerError> {
        check_sizes(leaf, rest)?;
        let certificate = EndEntityCert::try_from(leaf).map_err(|error| refused(error, role))?;
        let facts = Facts::read(leaf).ok_or_else(unreadable)?;
        check_names(facts)?;
        let search = Search {
            certificate: &certificate,
            rest,
            role,
            now,
            crls: self.crls.as_deref(),
            algorithms: self.algorithms,
        };
        match &self.rules {
            Rules::PeerSans {
                sans,
                host_name,
                roots,
            } => {
                search.path(roots.anchors(), SvidProfile::Standard)?;
                if let (HostName::Checked, PeerRole::Server(name)) = (host_name, role) {
                    certificate
                        .verify_is_valid_for_subject_name(name)
                        .map_err(|error| refused(error, role))?;
                }
                matching(sans, facts).map(PeerIdentity::San)
            }
            Rules::Spiffe {
                policy,
                bundles,
                profile,
            } => {
                let id = svid::id(facts)?;
                svid::check_leaf(&id, facts, *profile)?;
                let domain = id.trust_domain();
                let anchors = bundles.anchors(domain).ok_or_else(|| PeerError::NoBundle {
                    trust_domain: domain.to_owned(),
                    known: bundles.domains().map(str::to_owned).collect(),
                })?;
                if anchors.is_empty() {
                    return Err(PeerError::NoUsableAnchors {
                        trust_domain: domain.to_owned(),
                    });
                }
                search
                    .path(anchors, *profile)
                    .map_err(|error| match error {
                        PeerError::UnknownIssuer { .. } => PeerError::UnknownIssuer {
                            trust_domain: Some(domain.to_owned()),
                        },
                        error => error,
                    })?;
                policy.authorize(&id)?;
                Ok(PeerIdentity::Spiffe(id))
            }
        }
    }

    /// [`PeerVerifier::verify`] for a chain as a connection holds it, leaf first; for connections that were
    /// resumed, where TLS does not verify again.
    ///
    /// # Errors
    ///
    /// The chain is empty, or what [`PeerVerifier::verify`] says.
    pub fn verify_chain(
        &self,
        chain: &[CertificateDer<'_>],
        role: PeerRole<'_>,
        now: UnixTime,
    ) -> Result<PeerIdentity, PeerError> {
        let (leaf, rest) = chain.split_first().ok_or(PeerError::NoCertificate)?;
        self.verify(leaf, rest, role, now)
    }

    /// The roots that can lead to acceptance, for the hints a server sends.
    pub(crate) fn roots(&self) -> Vec<&Roots> {
        match &self.rules {
            Rules::PeerSans { roots, .. } => vec![roots],
            Rules::Spiffe { bundles, .. } => bundles.all_roots().collect(),
        }
    }
}

/// The SPIFFE ID in the leaf of a chain.
///
/// The leaf is read, not verified: ask for the chain of a connection that a [`PeerVerifier`] accepted.
///
/// # Errors
///
/// The chain is empty, or its leaf has not exactly one URI name that is a SPIFFE ID.
pub fn spiffe_id(chain: &[CertificateDer<'_>]) -> Result<SpiffeId, PeerError> {
    let leaf = chain.first().ok_or(PeerError::NoCertificate)?;
    svid::id(Facts::read(leaf).ok_or_else(unreadable)?)
}

/// Who the leaf of a chain, accepted under `policy` for `name`, proves its holder to be; nothing is verified.
#[cfg(feature = "hyper")]
pub(crate) fn proven(
    policy: &PeerPolicy,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> Result<PeerIdentity, PeerError> {
    match policy {
        PeerPolicy::PeerSans { sans, .. } => {
            let leaf = chain.first().ok_or(PeerError::NoCertificate)?;
            let facts = Facts::read(leaf).ok_or_else(unreadable)?;
            matching(sans, facts).map(PeerIdentity::San)
        }
        PeerPolicy::ServerName => Ok(PeerIdentity::ServerName(name.to_owned())),
        PeerPolicy::Spiffe(_) => spiffe_id(chain).map(PeerIdentity::Spiffe),
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("PeerVerifier");
        match &self.rules {
            Rules::PeerSans { sans, .. } => debug.field("sans", sans),
            Rules::Spiffe { policy, .. } => debug.field("spiffe", policy),
        };
        debug.finish_non_exhaustive()
    }
}

fn check_sizes(leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), PeerError> {
    if rest.len() >= MAX_CHAIN {
        return Err(PeerError::ChainTooLong {
            found: rest.len() + 1,
            limit: MAX_CHAIN,
        });
    }
    for (index, certificate) in core::iter::once(leaf).chain(rest).enumerate() {
        if certificate.len() > MAX_CERTIFICATE {
            return Err(PeerError::CertificateTooLarge {
                index,
                found: certificate.len(),
                limit: MAX_CERTIFICATE,
            });
        }
    }
    Ok(())
}

fn check_names(facts: Facts<'_>) -> Result<(), PeerError> {
    for (count, name) in facts.names().enumerate() {
        if count == MAX_NAMES {
            return Err(PeerError::TooManyNames { limit: MAX_NAMES });
        }
        name.ok_or_else(unreadable)?;
    }
    Ok(())
}

fn matching(sans: &[PeerSan], facts: Facts<'_>) -> Result<PeerSan, PeerError> {
    facts
        .names()
        .flatten()
        .find_map(|name| sans.iter().find(|san| san.matches(name)))
        .cloned()
        .ok_or_else(|| PeerError::NoMatchingSan {
            expected: sans.iter().map(ToString::to_string).collect(),
            presented: presented(facts),
        })
}

/// The one search for a path.
struct Search<'a> {
    certificate: &'a EndEntityCert<'a>,
    rest: &'a [CertificateDer<'a>],
    role: PeerRole<'a>,
    now: UnixTime,
    crls: Option<&'a Crls>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
}

impl Search<'_> {
    fn path(&self, anchors: &[TrustAnchor<'_>], profile: SvidProfile) -> Result<(), PeerError> {
        let lists = self.crls.map(Crls::lists);
        let revocation = match lists.as_deref() {
            None => None,
            Some(lists) => Some(
                RevocationOptionsBuilder::new(lists)
                    .map_err(|_| PeerError::UnknownRevocationStatus)?
                    .with_depth(RevocationCheckDepth::Chain)
                    .with_status_policy(UnknownStatusPolicy::Deny)
                    .with_expiration_policy(ExpirationPolicy::Enforce)
                    .build(),
            ),
        };
        let usage = match self.role {
            PeerRole::Client => KeyUsage::client_auth(),
            PeerRole::Server(_) => KeyUsage::server_auth(),
        };
        // webpki goes on with other paths when one is refused here, and knows no error for our rules.
        let refusal = Cell::new(None);
        let check = |path: &VerifiedPath<'_>| {
            svid::check_issuers(path, profile).map_err(|error| {
                refusal.set(Some(error));
                webpki::Error::UnknownIssuer
            })
        };
        let found = self.certificate.verify_for_usage(
            self.algorithms,
            anchors,
            self.rest,
            self.now,
            usage,
            revocation,
            Some(&check),
        );
        match found {
            Ok(_) => Ok(()),
            Err(error) => Err(refusal.take().unwrap_or_else(|| refused(error, self.role))),
        }
    }
}

/// How many certificates of a chain are looked at.
const MAX_CHAIN: usize = 16;
/// The largest certificate that is looked at, in bytes.
const MAX_CERTIFICATE: usize = 64 * 1024;
/// How many subject alternative names of a leaf are looked at.
const MAX_NAMES: usize = 256;
