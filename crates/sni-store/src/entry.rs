//! One certificate as the selector sees it: what it is called, what it covers, when and for whom it is good.

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use time::OffsetDateTime;

use crate::pattern::Pattern;
use crate::scheme::SchemeMask;
use crate::server_name::lower;

/// The handle under which an entry is added, replaced and removed, such as `apps/whoami-tls`.
///
/// Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(Arc<str>);

impl EntryId {
    /// The identifier's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for EntryId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for EntryId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for EntryId {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a certificate came from; only [`SelectionPolicy::Traefik`](crate::SelectionPolicy::Traefik) asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Source {
    /// Obtained from an ACME authority.
    Acme,
    /// Given by the operator: a file, a Secret, another issuer.
    #[default]
    Provided,
}

/// A certificate in the store: its names, validity, usable signature schemes and an opaque payload.
///
/// The payload is whatever the TLS library wants to be handed (`rustls::sign::CertifiedKey` for the
/// rustls resolver); the selector never looks inside.
// In this order, what a handshake reads lies beside the reference count: one cache line instead of three.
#[repr(C)]
pub struct Entry<T> {
    payload: Arc<T>,
    valid_from: i64,
    valid_until: i64,
    schemes: SchemeMask,
    source: Source,
    excluded: Box<[Pattern]>,
    last_used: AtomicI64,
    id: EntryId,
    names: Box<[Box<str>]>,
    ips: Box<[IpAddr]>,
    /// Empty when it is the first name, which spares most entries a copy.
    common_name: Option<Box<str>>,
    /// `None` when it is the single name itself, which spares most entries a copy.
    identifier: Option<Box<str>>,
    fingerprint: Option<[u8; 32]>,
}

impl<T> Entry<T> {
    /// An entry for the DNS `names` of a certificate (its dNSName SANs, as they are written in it).
    ///
    /// Until told otherwise it is always valid, works for every client and has no fingerprint.
    pub fn new<N>(
        id: impl Into<EntryId>,
        names: impl IntoIterator<Item = N>,
        payload: Arc<T>,
    ) -> Self
    where
        N: Into<String>,
    {
        let mut entry = Self {
            payload,
            valid_from: i64::MIN,
            valid_until: i64::MAX,
            schemes: SchemeMask::ALL,
            source: Source::Provided,
            last_used: AtomicI64::new(NEVER),
            id: id.into(),
            names: names
                .into_iter()
                .map(|n| n.into().into_boxed_str())
                .collect(),
            ips: Box::default(),
            common_name: None,
            identifier: None,
            excluded: Box::default(),
            fingerprint: None,
        };
        entry.identify();
        entry
    }

    /// Adds the certificate's iPAddress SANs, which serve clients that send no server name.
    #[must_use]
    pub fn with_ips(mut self, ips: impl IntoIterator<Item = IpAddr>) -> Self {
        self.ips = ips.into_iter().map(|ip| ip.to_canonical()).collect();
        if !self.ips.is_empty() {
            self.identify();
        }
        self
    }

    /// Adds the subject's common name, as written: part of the [`identifier`](Self::identifier), and
    /// matched under [`SelectionPolicy::Traefik`](crate::SelectionPolicy::Traefik) only, since clients
    /// stopped to look at it (RFC 9525 section 2).
    #[must_use]
    pub fn with_common_name(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.common_name = match self.names.first() {
            _ if name.is_empty() => None,
            Some(first) if **first == *name => Some(Box::default()),
            _ => Some(name.into_boxed_str()),
        };
        self.identify();
        self
    }

    /// Limits the entry to the certificate's validity, both ends inclusive (RFC 5280 section 4.1.2.5).
    #[must_use]
    pub fn with_validity(mut self, validity: RangeInclusive<OffsetDateTime>) -> Self {
        self.valid_from = validity.start().unix_timestamp();
        self.valid_until = validity.end().unix_timestamp();
        self
    }

    /// Limits the entry to clients that accept one of `schemes`.
    #[must_use]
    pub fn with_schemes(mut self, schemes: SchemeMask) -> Self {
        self.schemes = schemes;
        self
    }

    /// Names the content: putting an entry whose fingerprint is already there under the same id
    /// changes nothing. A SHA-256 over certificate and key does.
    #[must_use]
    pub fn with_fingerprint(mut self, fingerprint: [u8; 32]) -> Self {
        self.fingerprint = Some(fingerprint);
        self
    }

    /// Takes names out of what the entry would match, such as one host below its wildcard.
    #[must_use]
    pub fn with_excluded(mut self, names: impl IntoIterator<Item = Pattern>) -> Self {
        self.excluded = names.into_iter().collect();
        self
    }

    /// Says where the certificate came from.
    #[must_use]
    pub fn with_source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// The handle given to [`new`](Self::new).
    pub fn id(&self) -> &EntryId {
        &self.id
    }

    /// What the certificates of a name are ordered by: common name, DNS names and IP addresses in lower
    /// case, sorted bytewise and joined with commas. A name equal to the common name appears once.
    ///
    /// Traefik's store key, see its TLS documentation ("ordered it by the identifier alphabetically").
    pub fn identifier(&self) -> &str {
        match (&self.identifier, &*self.names) {
            (Some(identifier), _) => identifier,
            (None, [name, ..]) => name,
            (None, []) => "",
        }
    }

    /// The DNS names, as given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The IP addresses, IPv4-mapped ones as IPv4.
    pub fn ips(&self) -> &[IpAddr] {
        &self.ips
    }

    /// The common name, as given.
    pub fn common_name(&self) -> Option<&str> {
        match self.common_name.as_deref() {
            Some("") => self.names.first().map(|name| &**name),
            name => name,
        }
    }

    /// What is served.
    pub fn payload(&self) -> &Arc<T> {
        &self.payload
    }

    /// First second of validity; `None` when unlimited.
    pub fn not_before(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp(self.valid_from).ok()
    }

    /// Last second of validity; `None` when unlimited.
    pub fn not_after(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp(self.valid_until).ok()
    }

    /// First second of validity, as a Unix time; `i64::MIN` when unlimited.
    pub(crate) fn valid_from(&self) -> i64 {
        self.valid_from
    }

    /// Last second of validity, as a Unix time; `i64::MAX` when unlimited.
    pub(crate) fn valid_until(&self) -> i64 {
        self.valid_until
    }

    /// The signature schemes the key can sign with.
    pub fn schemes(&self) -> SchemeMask {
        self.schemes
    }

    /// Where the certificate came from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The content's fingerprint, if one was given.
    pub fn fingerprint(&self) -> Option<&[u8; 32]> {
        self.fingerprint.as_ref()
    }

    /// Names taken out of what the entry matches.
    pub fn excluded(&self) -> &[Pattern] {
        &self.excluded
    }

    /// The second the entry was last selected in, or `None` if it was not, or if nobody
    /// [tracks](crate::CertStore::track_use) it. Replacing an entry keeps it.
    ///
    /// Tells whether a certificate is still needed, for example before it is renewed.
    pub fn last_used(&self) -> Option<OffsetDateTime> {
        let second = Some(self.last_used.load(Ordering::Relaxed)).filter(|second| *second != NEVER);
        OffsetDateTime::from_unix_timestamp(second?).ok()
    }

    /// The same entry with another payload.
    pub(crate) fn with_payload(&self, payload: Arc<T>) -> Self {
        Self {
            payload,
            valid_from: self.valid_from,
            valid_until: self.valid_until,
            schemes: self.schemes,
            source: self.source,
            excluded: self.excluded.clone(),
            last_used: AtomicI64::new(NEVER),
            id: self.id.clone(),
            names: self.names.clone(),
            ips: self.ips.clone(),
            common_name: self.common_name.clone(),
            identifier: self.identifier.clone(),
            fingerprint: self.fingerprint,
        }
    }

    #[inline]
    pub(crate) fn note_use(&self, now: i64) {
        // Written once a second at most, however many threads serve the entry.
        if self.last_used.load(Ordering::Relaxed) < now {
            self.last_used.store(now, Ordering::Relaxed);
        }
    }

    pub(crate) fn inherit_use(&self, old: &Self) {
        let used = old.last_used.load(Ordering::Relaxed);
        self.last_used.fetch_max(used, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn excludes(&self, name: &[u8]) -> bool {
        !self.excluded.is_empty()
            && std::str::from_utf8(name)
                .is_ok_and(|name| self.excluded.iter().any(|pattern| pattern.matches(name)))
    }

    fn identify(&mut self) {
        let common_name = self.common_name();
        // Without a common name an empty name is left out as well: Traefik compares texts.
        let differs = |name: &str| name != common_name.unwrap_or_default();
        let mut elements: Vec<String> = common_name
            .map(lower)
            .into_iter()
            .chain(
                self.names
                    .iter()
                    .filter(|name| differs(name))
                    .map(|name| lower(name)),
            )
            .chain(
                self.ips
                    .iter()
                    .map(IpAddr::to_string)
                    .filter(|ip| differs(ip)),
            )
            .collect();
        elements.sort_unstable();
        let identifier = elements.join(",");
        let is_first_name = self
            .names
            .first()
            .map_or(identifier.is_empty(), |name| **name == *identifier);
        self.identifier = (!is_first_name).then(|| identifier.into_boxed_str());
    }
}

impl<T> fmt::Debug for Entry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The payload holds a private key as a rule.
        f.debug_struct("Entry")
            .field("id", &self.id)
            .field("identifier", &self.identifier())
            .field("valid", &(self.valid_from..=self.valid_until))
            .field("schemes", &self.schemes)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Before every instant a clock tells.
const NEVER: i64 = i64::MIN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_traefiks() {
        let table: &[(&str, &[&str], &[&str], &str)] = &[
            ("", &["snitest.com"], &[], "snitest.com"),
            ("", &["*.WWW.SNITEST.COM"], &[], "*.www.snitest.com"),
            (
                "example.com",
                &["*.example.com", "example.com"],
                &[],
                "*.example.com,example.com",
            ),
            // Raw comparison: a common name in other case stands twice.
            ("A.test", &["a.test"], &[], "a.test,a.test"),
            ("", &["a.test", "a.test"], &[], "a.test,a.test"),
            (
                "192.0.2.7",
                &[],
                &["192.0.2.7", "192.0.2.8"],
                "192.0.2.7,192.0.2.8",
            ),
            ("", &[], &["::ffff:192.0.2.7"], "192.0.2.7"),
            (
                "Zeta Organisation",
                &["x.test"],
                &[],
                "x.test,zeta organisation",
            ),
            ("", &[], &[], ""),
            ("", &[""], &[], ""),
            ("", &["", "a.test"], &[], "a.test"),
            ("", &["a.test", ""], &["192.0.2.7"], "192.0.2.7,a.test"),
            ("cn.test", &[""], &[], ",cn.test"),
        ];
        for (common_name, names, ips, expected) in table {
            let entry = Entry::new("id", names.iter().copied(), Arc::new(()))
                .with_common_name(*common_name)
                .with_ips(ips.iter().map(|ip| ip.parse().unwrap()));
            assert_eq!(entry.identifier(), *expected, "{common_name} {names:?}");
        }
    }

    #[test]
    fn debug_shows_no_payload() {
        let entry = Entry::new("id", ["a.test"], Arc::new("secret"));
        assert!(!format!("{entry:?}").contains("secret"));
    }
}
