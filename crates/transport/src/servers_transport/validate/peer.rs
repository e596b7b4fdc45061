//! Who the server must be: peer names and SPIFFE.

use certwright_cert_model::name::DnsNameError;
use certwright_cert_model::{FieldPath, ViolationKind};

use super::{Check, San, ServersTransport, is_given};
use crate::peer::{PeerSan, SpiffePolicy};

impl Check {
    /// The deprecated URI comes last, as Traefik appends it.
    pub(super) fn sans(&mut self, raw: &ServersTransport) -> Option<Vec<PeerSan>> {
        let mut sans = Vec::new();
        for (i, san) in raw.peer_cert_sans.iter().enumerate() {
            let field = self.path.child("peerCertSANs").index(i);
            sans.extend(self.san(&field, san));
        }
        if let Some(uri) = &raw.peer_cert_uri {
            let field = self.path.child("peerCertURI");
            self.warn(
                field.clone(),
                ViolationKind::NotSupported,
                "is deprecated; write it as an entry of peerCertSANs with type URI",
            );
            sans.extend(self.uri(&field, uri));
        }
        (raw.peer_cert_uri.is_some() || !raw.peer_cert_sans.is_empty()).then_some(sans)
    }

    fn san(&mut self, field: &FieldPath, san: &San) -> Option<PeerSan> {
        let value = field.child("value");
        match san.kind.as_str() {
            "DNSName" => {
                // A name with its final dot is the same name (RFC 1034, 3.1).
                let name = san.value.strip_suffix('.').unwrap_or(&san.value);
                match name.parse() {
                    Ok(name) => Some(PeerSan::Dns(name)),
                    Err(error) => {
                        let error: DnsNameError = error;
                        let message = format!("{:?}: {error}", san.value);
                        self.wrong(value, ViolationKind::Invalid, message);
                        None
                    }
                }
            }
            "URI" => self.uri(&value, &san.value),
            other => {
                self.wrong(
                    field.child("type"),
                    ViolationKind::NotSupported,
                    format!("{other:?} is not a type of name; use URI or DNSName"),
                );
                None
            }
        }
    }

    fn uri(&mut self, field: &FieldPath, text: &str) -> Option<PeerSan> {
        match text.parse() {
            Ok(uri) => Some(PeerSan::Uri(uri)),
            Err(error) => {
                self.wrong(
                    field.clone(),
                    ViolationKind::Invalid,
                    format!("{text:?}: {error}"),
                );
                None
            }
        }
    }

    pub(super) fn spiffe(&mut self, raw: &ServersTransport) -> Option<SpiffePolicy> {
        let spiffe = raw.spiffe.as_ref()?;
        for (name, is_set) in [
            ("serverName", is_given(raw.server_name.as_deref())),
            ("insecureSkipVerify", raw.insecure_skip_verify),
            ("rootCAsSecrets", !raw.root_cas_secrets.is_empty()),
            ("rootCAs", !raw.root_cas.is_empty()),
            ("certificatesSecrets", !raw.certificates_secrets.is_empty()),
            ("certificates", !raw.certificates.is_empty()),
            ("cipherSuites", !raw.cipher_suites.is_empty()),
            ("minVersion", is_given(raw.min_version.as_deref())),
            ("maxVersion", is_given(raw.max_version.as_deref())),
            ("peerCertURI", raw.peer_cert_uri.is_some()),
            ("peerCertSANs", !raw.peer_cert_sans.is_empty()),
        ] {
            if is_set {
                self.wrong(
                    self.path.child(name),
                    ViolationKind::Forbidden,
                    "cannot be set together with spiffe, which decides what is trusted; remove one",
                );
            }
        }
        let field = self.path.child("spiffe");
        let ids = field.child("ids");
        let domain = field.child("trustDomain");
        let given = spiffe
            .trust_domain
            .as_deref()
            .filter(|text| !text.is_empty());
        if spiffe.ids.is_empty() {
            let Some(text) = given else {
                return Some(SpiffePolicy::Any);
            };
            return match text.parse() {
                Ok(domain) => Some(SpiffePolicy::TrustDomain(domain)),
                Err(error) => {
                    let message = format!("{text:?} is not a trust domain: {error}");
                    self.wrong(domain, ViolationKind::Invalid, message);
                    None
                }
            };
        }
        if given.is_some() {
            self.warn(
                domain,
                ViolationKind::Forbidden,
                "is not read, because spiffe.ids says who is accepted",
            );
        }
        let mut accepted = Vec::new();
        for (i, text) in spiffe.ids.iter().enumerate() {
            match text.parse() {
                Ok(id) => accepted.push(id),
                Err(error) => self.wrong(
                    ids.index(i),
                    ViolationKind::Invalid,
                    format!("{text:?} is not a SPIFFE ID: {error}"),
                ),
            }
        }
        Some(SpiffePolicy::Ids(accepted))
    }
}
