//! Whose a Secret is that several Certificates want to keep their result in.

use core::fmt;

use time::OffsetDateTime;

/// A Certificate that names a Secret as its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim<'a> {
    /// The Certificate's name.
    pub certificate: &'a str,
    /// When the Certificate was made, if that is known.
    pub created: Option<OffsetDateTime>,
}

impl<'a> Claim<'a> {
    /// The claim of a Certificate of this name and age.
    pub fn new(certificate: &'a str, created: Option<OffsetDateTime>) -> Self {
        Self {
            certificate,
            created,
        }
    }
}

/// The Certificates of one namespace that name one Secret; there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership<'a> {
    owner: &'a str,
    /// All of them, the oldest first.
    claims: Vec<&'a str>,
}

/// Decides whose a Secret is, as cert-manager does: the Certificate that the Secret's annotation
/// `cert-manager.io/certificate-name` names, if it claims the Secret; otherwise the oldest, of several of one age (or
/// of unknown age, which comes after every known one) the first by name. `None` without a claim.
///
/// The others issue nothing, so that no two of them overwrite each other's result for ever. The decision depends on
/// nothing but the arguments: every replica and every restart makes the same one.
pub fn ownership<'a>(
    claims: impl IntoIterator<Item = Claim<'a>>,
    annotated: Option<&str>,
) -> Option<Ownership<'a>> {
    let mut claims: Vec<_> = claims.into_iter().collect();
    claims.sort_by_key(|claim| (claim.created.is_none(), claim.created, claim.certificate));
    let mut names: Vec<_> = claims.iter().map(|claim| claim.certificate).collect();
    names.dedup();
    let oldest = *names.first()?;
    let annotated = names.iter().find(|name| Some(**name) == annotated);
    Some(Ownership {
        owner: annotated.copied().unwrap_or(oldest),
        claims: names,
    })
}

impl<'a> Ownership<'a> {
    /// The Certificate that keeps its result in the Secret.
    pub fn owner(&self) -> &'a str {
        self.owner
    }

    /// Whether the Secret is this Certificate's.
    pub fn is_owner(&self, certificate: &str) -> bool {
        self.owner() == certificate
    }

    /// The other Certificates that claim the Secret, from the view of one of them, the oldest first.
    pub fn others(&self, certificate: &str) -> impl Iterator<Item = &'a str> {
        self.claims
            .iter()
            .copied()
            .filter(move |name| *name != certificate)
    }

    /// What is to be said about a Certificate that is not alone; `None` if it is.
    pub fn conflict(&self, certificate: &str, secret: &str) -> Option<Conflict> {
        let others: Vec<_> = self.others(certificate).map(str::to_owned).collect();
        (!others.is_empty()).then(|| Conflict {
            secret: secret.to_owned(),
            owner: self.owner().to_owned(),
            is_owner: self.is_owner(certificate),
            others,
        })
    }
}

/// Several Certificates name one Secret: what one of them is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The Secret.
    pub secret: String,
    /// The Certificate whose it is.
    pub owner: String,
    /// Whether that is the one that is told.
    pub is_owner: bool,
    /// The Certificates beside the one that is told.
    pub others: Vec<String>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            secret,
            owner,
            is_owner,
            others,
        } = self;
        if *is_owner {
            let others = others.join(", ");
            write!(
                f,
                "Secret {secret} is also wanted by Certificate {others}, which issues nothing; give each its own spec.secretName"
            )
        } else {
            write!(
                f,
                "Secret {secret} belongs to Certificate {owner}, so nothing is issued; give each its own spec.secretName"
            )
        }
    }
}
