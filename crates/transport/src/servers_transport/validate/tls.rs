//! Versions and cipher suites.

use certwright_cert_model::ViolationKind;

use super::{Check, ServersTransport};
use crate::tls_parameters::{self, NamedSuite, TLS13_SUITES, TlsParameters, TlsVersion};

impl Check {
    pub(super) fn parameters(&mut self, raw: &ServersTransport) -> TlsParameters {
        let min = self.version("minVersion", raw.min_version.as_deref());
        let max = self.version("maxVersion", raw.max_version.as_deref());
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            self.wrong(
                self.path.child("minVersion"),
                ViolationKind::Invalid,
                format!(
                    "{} is above maxVersion {}",
                    raw.min_version.as_deref().unwrap_or_default(),
                    raw.max_version.as_deref().unwrap_or_default()
                ),
            );
        }
        if min.is_some_and(|min| min < TlsVersion::V1_2) {
            self.warn(
                self.path.child("minVersion"),
                ViolationKind::NotSupported,
                format!(
                    "{} is older than rustls speaks; TLS 1.2 is the lowest that will be offered",
                    raw.min_version.as_deref().unwrap_or_default()
                ),
            );
        }
        if max.is_some_and(|max| max < TlsVersion::V1_2) {
            self.wrong(
                self.path.child("maxVersion"),
                ViolationKind::NotSupported,
                format!(
                    "{} is older than rustls speaks; use VersionTLS12 or VersionTLS13",
                    raw.max_version.as_deref().unwrap_or_default()
                ),
            );
        }
        let before = self.violations.len();
        let suites = self.suites(raw);
        let parameters = TlsParameters { min, max, suites };
        if before == self.violations.len()
            && !raw.cipher_suites.is_empty()
            && !parameters.offers_anything()
        {
            self.wrong(
                self.path.child("cipherSuites"),
                ViolationKind::Invalid,
                "none of these suites belongs to a version that may be offered",
            );
        }
        parameters
    }

    fn version(&mut self, name: &str, text: Option<&str>) -> Option<TlsVersion> {
        let text = text.filter(|text| !text.is_empty())?;
        let version = TlsVersion::from_name(text);
        if version.is_none() {
            self.wrong(
                self.path.child(name),
                ViolationKind::NotSupported,
                format!("{text:?} is not a TLS version; use VersionTLS12 or VersionTLS13"),
            );
        }
        version
    }

    /// As in Go, a list without suites of TLS 1.3 says nothing about TLS 1.3.
    fn suites(&mut self, raw: &ServersTransport) -> Option<Vec<rustls::CipherSuite>> {
        if raw.cipher_suites.is_empty() {
            return None;
        }
        let mut suites = Vec::new();
        for (i, name) in raw.cipher_suites.iter().enumerate() {
            let field = self.path.child("cipherSuites").index(i);
            match tls_parameters::suite(name) {
                Some(NamedSuite::Known(suite)) => suites.push(suite),
                Some(NamedSuite::Obsolete) => self.warn(
                    field,
                    ViolationKind::NotSupported,
                    format!("rustls does not have {name}; it will not be offered"),
                ),
                None => self.wrong(
                    field,
                    ViolationKind::NotSupported,
                    format!("{name:?} is not a cipher suite"),
                ),
            }
        }
        if !suites.is_empty() && !suites.iter().any(|suite| TLS13_SUITES.contains(suite)) {
            suites.extend(TLS13_SUITES);
        }
        Some(suites)
    }
}
