//! Transports that upstream takes, or goes on with otherwise than they are written.

use certwright_cert_model::Violations;
use certwright_transport::ServersTransport;
use certwright_transport::servers_transport::ForwardingTimeouts;
use certwright_transport::tls_parameters::TlsVersion;
use serde_json::{Map, Value};

use super::differs;

/// The rule by which we differ, if what upstream makes of the transport is what is expected in everything.
pub(super) fn rule(
    expect: &Map<String, Value>,
    raw: &ServersTransport,
    violations: Option<&Violations>,
) -> Option<&'static str> {
    // As upstream shows it, and without what we refuse.
    let (mut theirs, mut rest) = (raw.clone(), raw.clone());
    let name = match violations {
        _ if raw.namespace.is_some()
            && expect.get("logged").is_some_and(|level| level == "error") =>
        {
            fall_back(&mut theirs);
            rest = theirs.clone();
            if theirs == *raw {
                return None;
            }
            match violations {
                Some(_) => "transports-fail-closed",
                None => "one-tls-version",
            }
        }
        None => return None,
        Some(violations) => {
            let path = format!("{}.", raw.path);
            let wrong: Option<Vec<_>> = violations
                .iter()
                .map(|wrong| Some(wrong.field.to_string().strip_prefix(&path)?.to_owned()))
                .collect();
            let wrong = wrong?;
            let max = raw.max_version.as_deref().and_then(TlsVersion::from_name);
            if wrong.iter().all(|field| field == "serverName") {
                rest.server_name = None;
                "server-names-are-checked"
            } else if wrong
                .iter()
                .all(|field| field == "cipherSuites" || field == "maxVersion" && max.is_some())
            {
                (rest.min_version, rest.max_version) = (None, None);
                rest.cipher_suites.clear();
                "tls-as-rustls-has-it"
            } else if wrong.iter().all(|field| {
                // The type is an enumeration in the custom resource's schema.
                field.starts_with("peerCert")
                    && (raw.namespace.is_none() || !field.ends_with(".type"))
            }) {
                theirs.peer_cert_uri = theirs.peer_cert_uri.filter(|uri| !uri.is_empty());
                rest.peer_cert_uri = None;
                rest.peer_cert_sans.clear();
                "peer-names-are-checked"
            } else {
                return None;
            }
        }
    };
    let upstream = rest.validate().ok()?;
    differs(expect, &theirs, &upstream)
        .is_none()
        .then_some(name)
}

/// What Traefik makes of a custom resource after it logged what is wrong: it goes on with defaults.
fn fall_back(raw: &mut ServersTransport) {
    let version = |text: &Option<String>| text.as_deref().and_then(TlsVersion::from_name);
    let (min, max) = (version(&raw.min_version), version(&raw.max_version));
    if min.is_none() {
        raw.min_version = None;
    }
    if max.is_none() {
        raw.max_version = None;
    }
    if min.is_some() && max.is_some() && min >= max {
        raw.min_version = Some("VersionTLS12".to_owned());
        raw.max_version = None;
    }
    let alone = |change: &dyn Fn(&mut ServersTransport)| {
        let mut one = ServersTransport::default();
        change(&mut one);
        one.validate().is_ok()
    };
    // A suite of TLS 1.3 beside it, so that one which rustls does not have counts as known.
    let known = |suite: &String| {
        alone(&|one| {
            one.cipher_suites = vec![suite.clone(), "TLS_AES_128_GCM_SHA256".to_owned()];
        })
    };
    if !raw.cipher_suites.iter().all(known) {
        raw.cipher_suites.clear();
    }
    if let Some(given) = &mut raw.forwarding_timeouts {
        for text in [
            &mut given.dial_timeout,
            &mut given.response_header_timeout,
            &mut given.idle_conn_timeout,
            &mut given.read_idle_timeout,
            &mut given.ping_timeout,
        ] {
            let readable = alone(&|one| {
                let mut timeouts = ForwardingTimeouts::default();
                timeouts.dial_timeout.clone_from(text);
                one.forwarding_timeouts = Some(timeouts);
            });
            if !readable {
                *text = None;
            }
        }
    }
}
