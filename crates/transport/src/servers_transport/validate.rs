//! The rules of a `ServersTransport`; whatever breaks one is an error, nothing falls back.

use certwright_cert_model::name::DnsNameError;
use certwright_cert_model::{FieldPath, Violation, ViolationKind, Violations};
use rustls_pki_types::ServerName;

use super::{RootCa, San, ServersTransport, is_pem};
use crate::danger::Unverified;
use crate::material::Source;
use crate::peer::{HostName, PeerPolicy, PeerSan, SpiffePolicy};
use crate::timeouts::{self, Timeouts};
use crate::tls_parameters::{self, NamedSuite, TLS13_SUITES, TlsParameters, TlsVersion};
use crate::upstream::{IdleConnections, Placed, Settings, Upstream, Verified};

impl ServersTransport {
    /// Checks every field and how they go together.
    ///
    /// What weakens verification is another type: `insecureSkipVerify` without peer names becomes
    /// [`Upstream::Danger`].
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each with its field.
    pub fn validate(self) -> Result<Upstream, Violations> {
        let mut check = Check {
            path: self.path.clone(),
            namespace: self.namespace.clone(),
            violations: Vec::new(),
            warnings: Vec::new(),
        };
        let server_name = check.server_name(self.server_name.as_deref());
        let roots = check.roots(&self);
        let identities = check.identities(&self);
        let parameters = check.parameters(&self);
        let idle_per_host = check.idle(self.max_idle_conns_per_host);
        let timeouts = check.timeouts(&self);
        let sans = check.sans(&self);
        let spiffe = check.spiffe(&self);
        if let Some(violations) = Violations::from_vec(check.violations) {
            return Err(violations);
        }
        let policy = match (spiffe, sans, self.insecure_skip_verify) {
            (Some(policy), _, _) => Some(PeerPolicy::Spiffe(policy)),
            (None, Some(sans), skip) => Some(PeerPolicy::PeerSans {
                sans,
                host_name: match skip {
                    true => HostName::Replaced,
                    false => HostName::Checked,
                },
            }),
            (None, None, false) => Some(PeerPolicy::ServerName),
            (None, None, true) => None,
        };
        if policy.is_none() && !roots.is_empty() {
            check.warnings.push(Violation::new(
                self.path.child("insecureSkipVerify"),
                ViolationKind::Forbidden,
                "true verifies nothing, so the roots are never looked at",
            ));
        }
        let settings = Settings {
            server_name,
            parameters,
            offers_http2: !self.disable_http2,
            idle_per_host,
            timeouts,
            warnings: check.warnings,
        };
        Ok(match policy {
            Some(policy) => Upstream::Verified(Verified {
                settings,
                policy,
                roots,
                identities,
            }),
            None => Upstream::Danger(Unverified {
                settings,
                identities,
            }),
        })
    }
}

impl ServersTransport {
    /// [`ServersTransport::validate`] for all transports of a dynamic configuration, by name.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any of them.
    pub fn validate_all(transports: Vec<Self>) -> Result<Vec<(String, Upstream)>, Violations> {
        let mut upstreams = Vec::with_capacity(transports.len());
        let mut violations = Vec::new();
        for transport in transports {
            let name = transport.name.clone();
            match transport.validate() {
                Ok(upstream) => upstreams.push((name, upstream)),
                Err(found) => violations.extend(found.into_vec()),
            }
        }
        match Violations::from_vec(violations) {
            None => Ok(upstreams),
            Some(violations) => Err(violations),
        }
    }
}

struct Check {
    path: FieldPath,
    namespace: Option<String>,
    violations: Vec<Violation>,
    warnings: Vec<Violation>,
}

impl Check {
    fn wrong(&mut self, field: FieldPath, kind: ViolationKind, message: impl Into<String>) {
        self.violations.push(Violation::new(field, kind, message));
    }

    fn warn(&mut self, field: FieldPath, kind: ViolationKind, message: impl Into<String>) {
        self.warnings.push(Violation::new(field, kind, message));
    }

    fn server_name(&mut self, name: Option<&str>) -> Option<ServerName<'static>> {
        let name = name.filter(|name| !name.is_empty())?;
        let field = self.path.child("serverName");
        match ServerName::try_from(name) {
            Ok(name) => Some(name.to_owned()),
            Err(_) => {
                self.wrong(
                    field,
                    ViolationKind::Invalid,
                    format!("{name:?} is neither a DNS name nor an IP address"),
                );
                None
            }
        }
    }

    /// The deprecated list comes first, as Traefik reads it.
    fn roots(&mut self, raw: &ServersTransport) -> Vec<Placed<Source>> {
        let mut roots = Vec::new();
        if !raw.root_cas_secrets.is_empty() {
            self.warn(
                self.path.child("rootCAsSecrets"),
                ViolationKind::NotSupported,
                "is deprecated; write each as an entry of rootCAs with secret",
            );
        }
        for (i, name) in raw.root_cas_secrets.iter().enumerate() {
            let field = self.path.child("rootCAsSecrets").index(i);
            if let Some(source) = self.secret(&field, name) {
                roots.push(Placed {
                    field,
                    value: source,
                });
            }
        }
        for (i, root) in raw.root_cas.iter().enumerate() {
            let field = self.path.child("rootCAs").index(i);
            if let Some(source) = self.root(&field, root) {
                roots.push(Placed {
                    field,
                    value: source,
                });
            }
        }
        roots
    }

    fn root(&mut self, field: &FieldPath, root: &RootCa) -> Option<Source> {
        match (&root.secret, &root.config_map, &root.file) {
            (Some(name), None, None) => self.secret(&field.child("secret"), name),
            (None, Some(name), None) => {
                let field = field.child("configMap");
                let namespace = self.namespace_for(&field, name)?;
                Some(Source::ConfigMap {
                    namespace,
                    name: name.clone(),
                })
            }
            (None, None, Some(text)) if text.is_empty() => {
                self.wrong(field.clone(), ViolationKind::Required, "is empty");
                None
            }
            (None, None, Some(text)) => Some(match is_pem(text) {
                true => Source::Text(text.clone()),
                false => Source::File(text.clone()),
            }),
            (None, None, None) => {
                self.wrong(
                    field.clone(),
                    ViolationKind::Required,
                    "names nothing; give secret or configMap",
                );
                None
            }
            _ => {
                self.wrong(
                    field.clone(),
                    ViolationKind::Forbidden,
                    "names both a secret and a configMap; give one of them per entry",
                );
                None
            }
        }
    }

    fn secret(&mut self, field: &FieldPath, name: &str) -> Option<Source> {
        let namespace = self.namespace_for(field, name)?;
        Some(Source::Secret {
            namespace,
            name: name.to_owned(),
        })
    }

    fn namespace_for(&mut self, field: &FieldPath, name: &str) -> Option<String> {
        if name.is_empty() {
            self.wrong(field.clone(), ViolationKind::Required, "is empty");
            return None;
        }
        if self.namespace.is_none() {
            self.wrong(
                field.clone(),
                ViolationKind::Forbidden,
                format!(
                    "{name} can only be looked up in the namespace of a resource; give a file here"
                ),
            );
        }
        self.namespace.clone()
    }

    fn identities(&mut self, raw: &ServersTransport) -> Vec<Placed<(Source, Source)>> {
        let mut identities = Vec::new();
        for (i, name) in raw.certificates_secrets.iter().enumerate() {
            let field = self.path.child("certificatesSecrets").index(i);
            if let Some(source) = self.secret(&field, name) {
                identities.push(Placed {
                    field,
                    value: (source.clone(), source),
                });
            }
        }
        for (i, files) in raw.certificates.iter().enumerate() {
            let field = self.path.child("certificates").index(i);
            let mut source = |name: &str, text: &str| {
                if text.is_empty() {
                    self.wrong(field.child(name), ViolationKind::Required, "is empty");
                }
                match is_pem(text) {
                    true => Source::Text(text.to_owned()),
                    false => Source::File(text.to_owned()),
                }
            };
            let value = (
                source("certFile", &files.cert_file),
                source("keyFile", &files.key_file),
            );
            identities.push(Placed { field, value });
        }
        identities
    }

    fn parameters(&mut self, raw: &ServersTransport) -> TlsParameters {
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

    fn idle(&mut self, number: Option<i64>) -> IdleConnections {
        let number = number.unwrap_or(0);
        match usize::try_from(number) {
            Ok(0) => IdleConnections::default(),
            Ok(number) => IdleConnections::AtMost(number),
            Err(_) if number == -1 => IdleConnections::None,
            Err(_) => {
                self.wrong(
                    self.path.child("maxIdleConnsPerHost"),
                    ViolationKind::Invalid,
                    format!("{number} is below -1; write -1 for no idle connections, 0 for 2"),
                );
                IdleConnections::default()
            }
        }
    }

    fn timeouts(&mut self, raw: &ServersTransport) -> Timeouts {
        let mut timeouts = Timeouts::default();
        let Some(given) = &raw.forwarding_timeouts else {
            return timeouts;
        };
        for (name, text, target) in [
            ("dialTimeout", &given.dial_timeout, &mut timeouts.dial),
            (
                "responseHeaderTimeout",
                &given.response_header_timeout,
                &mut timeouts.response_header,
            ),
            (
                "idleConnTimeout",
                &given.idle_conn_timeout,
                &mut timeouts.idle_conn,
            ),
            (
                "readIdleTimeout",
                &given.read_idle_timeout,
                &mut timeouts.read_idle,
            ),
            ("pingTimeout", &given.ping_timeout, &mut timeouts.ping),
        ] {
            match text.as_deref().map(timeouts::parse) {
                None => {}
                Some(Ok(duration)) => *target = duration,
                Some(Err(message)) => {
                    let field = self.path.child("forwardingTimeouts").child(name);
                    self.wrong(field, ViolationKind::Invalid, message);
                }
            }
        }
        timeouts
    }

    /// The deprecated URI comes last, as Traefik appends it.
    fn sans(&mut self, raw: &ServersTransport) -> Option<Vec<PeerSan>> {
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

    fn spiffe(&mut self, raw: &ServersTransport) -> Option<SpiffePolicy> {
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

/// An empty text is the same as none, as in Go.
fn is_given(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}
