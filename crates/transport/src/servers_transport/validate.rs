//! The rules of a `ServersTransport`; whatever breaks one is an error, nothing falls back.

mod peer;
mod tls;

use core::time::Duration;

use certwright_cert_model::{FieldPath, Violation, ViolationKind, Violations};
use rustls_pki_types::ServerName;

use super::{RootCa, San, ServersTransport, is_pem};
use crate::danger::Unverified;
use crate::material::Source;
use crate::peer::{HostName, PeerPolicy};
use crate::timeouts::{self, Timeouts};
use crate::upstream::{IdleConnections, Placed, Settings, Sni, Upstream, Verified};

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
            sni: Sni::default(),
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

    /// The minimum is the custom resource's; elsewhere every negative number keeps none, as in Go.
    fn idle(&mut self, number: Option<i64>) -> IdleConnections {
        let number = number.unwrap_or(0);
        match usize::try_from(number) {
            Ok(0) => IdleConnections::default(),
            Ok(number) => IdleConnections::AtMost(number),
            Err(_) if number == -1 || self.namespace.is_none() => IdleConnections::None,
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
            match text.as_deref().map(|text| self.duration(text)) {
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

    /// A custom resource takes whole numbers without a sign only: its schema has the pattern
    /// `^([0-9]+(ns|us|µs|ms|s|m|h)?)+$`.
    fn duration(&self, text: &str) -> Result<Option<Duration>, String> {
        let duration = timeouts::parse(text)?;
        let in_schema = |c: char| c.is_ascii_digit() || UNIT_LETTERS.contains(c);
        if self.namespace.is_some() && !text.chars().all(in_schema) {
            return Err(format!(
                "{text:?} is no duration of a custom resource; write whole numbers with h, m, s, ms, us or ns, without a sign"
            ));
        }
        Ok(duration)
    }
}

/// The letters of the units in the custom resource's schema; the micro sign only, no Greek letter.
const UNIT_LETTERS: &str = "nu\u{b5}msh";

/// An empty text is the same as none, as in Go.
fn is_given(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}
