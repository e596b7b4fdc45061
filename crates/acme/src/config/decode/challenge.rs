//! The three challenges.

use certwright_cert_model::ViolationKind;
use certwright_cert_model::document::{Fields, Kind, Value};

use super::EntryPoints;
use crate::config::value::{filled, pause};
use crate::config::{
    CnameRecords, DnsChallenge, HttpChallenge, Propagation, Resolver, TlsChallenge,
};

pub(super) fn challenges(
    fields: &mut Fields<'_>,
    resolver: &mut Resolver,
    entries: Option<&EntryPoints<'_>>,
) {
    let dns = section(fields, "dnsChallenge", dns_challenge);
    resolver.dns_challenge = dns.map(Option::unwrap_or_default);
    let http = section(fields, "httpChallenge", |http| {
        http_challenge(http, entries)
    });
    if let Some(None) = http {
        let message = "needs the name of an entryPoint";
        fields.report("httpChallenge", ViolationKind::Required, message);
    }
    resolver.http_challenge = http.map(Option::unwrap_or_default);
    let tls = section(fields, "tlsChallenge", |tls| TlsChallenge {
        delay: pause(tls, "delay"),
    });
    resolver.tls_challenge = tls.map(Option::unwrap_or_default);
    if let (Some(_), Some(entries)) = (&resolver.tls_challenge, entries)
        && !entries
            .valid
            .iter()
            .any(|entry| entry.port == 443 && !entry.udp)
        && let Some(mut value) = fields.get("tlsChallenge")
    {
        let message =
            "no entry point has port 443, where the CA asks; some port 443 must lead to one";
        value.warn(ViolationKind::Invalid, message);
    }
    if resolver.dns_challenge.is_none()
        && resolver.http_challenge.is_none()
        && resolver.tls_challenge.is_none()
    {
        let message = "set one of httpChallenge, tlsChallenge and dnsChallenge";
        fields.report("httpChallenge", ViolationKind::Required, message);
    }
}

/// A map that may also be switched on with `true`, which gives no `T`, or off with `false`.
fn section<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> Option<Option<T>> {
    let value = fields.get(name)?;
    match value.node().kind {
        Kind::Bool(true) => Some(None),
        Kind::Bool(false) => None,
        Kind::Map(_) => value.object(read).map(Some),
        // It is wrong, and there.
        _ => value.mismatch("a map, true or false").or(Some(None)),
    }
}

fn dns_challenge(fields: &mut Fields<'_>) -> DnsChallenge {
    let provider = filled(fields, "provider");
    let resolvers = fields.list("resolvers", |value| {
        let text = value.node().as_text().map(str::to_owned);
        match text.map(|text| text.parse()) {
            Some(Ok(server)) => Some(server),
            Some(Err(error)) => {
                value.report(ViolationKind::Invalid, format!("{error}"));
                None
            }
            None => value.mismatch("a name server like 192.0.2.53:53"),
        }
    });
    let new = fields.object("propagation", |fields| {
        let set = ["delayBeforeChecks", "disableChecks"].map(|name| fields.get(name).is_some());
        (propagation(fields), set)
    });
    let (mut propagation, [delay_set, checks_set]) = new.unwrap_or_default();
    if is_old(
        fields,
        "delayBeforeCheck",
        "propagation.delayBeforeChecks",
        delay_set,
    ) {
        propagation.delay_before_checks = pause(fields, "delayBeforeCheck");
    }
    if is_old(
        fields,
        "disablePropagationCheck",
        "propagation.disableChecks",
        checks_set,
    ) {
        propagation.disable_checks = fields.bool("disablePropagationCheck").unwrap_or_default();
    }
    let ignore = fields.bool("disableCNAMESupport").unwrap_or_default();
    DnsChallenge {
        provider,
        resolvers,
        propagation,
        cname_records: match ignore {
            true => CnameRecords::Ignore,
            false => CnameRecords::Follow,
        },
    }
}

fn propagation(fields: &mut Fields<'_>) -> Propagation {
    let propagation = Propagation {
        delay_before_checks: pause(fields, "delayBeforeChecks"),
        disable_checks: fields.bool("disableChecks").unwrap_or_default(),
        require_all_rns: fields.bool("requireAllRNS").unwrap_or_default(),
        disable_ans_checks: fields.bool("disableANSChecks").unwrap_or_default(),
    };
    let mut warn = |name, message: &str| {
        if let Some(mut value) = fields.get(name) {
            value.warn(ViolationKind::Invalid, message);
        }
    };
    if propagation.disable_checks {
        warn(
            "disableChecks",
            "the CA may look before the record is everywhere, and the challenge fail",
        );
    }
    if propagation.disable_ans_checks && !propagation.require_all_rns && !propagation.disable_checks
    {
        warn(
            "disableANSChecks",
            "set requireAllRNS too: with no authoritative server asked, one recursive server is not enough",
        );
    }
    propagation
}

/// Whether an option of an old name is there and counts.
fn is_old(fields: &mut Fields<'_>, old: &'static str, new: &str, new_set: bool) -> bool {
    let Some(mut value) = fields.get(old) else {
        return false;
    };
    if new_set {
        let message = format!("{new} is set too, which is its new name; remove this one");
        value.report(ViolationKind::Forbidden, message);
        return false;
    }
    value.warn(
        ViolationKind::NotSupported,
        format!("is an old name; write {new}"),
    );
    true
}

fn http_challenge(fields: &mut Fields<'_>, entries: Option<&EntryPoints<'_>>) -> HttpChallenge {
    let delay = pause(fields, "delay");
    let entry_point = fields.require("entryPoint").and_then(Value::text);
    let entry_point = entry_point.unwrap_or_default();
    let challenge = HttpChallenge { entry_point, delay };
    let name = challenge.entry_point.as_str();
    let Some(mut value) = fields.get("entryPoint") else {
        return challenge;
    };
    if name.is_empty() {
        if value.node().as_text().is_some() {
            value.report(ViolationKind::Required, "must be set");
        }
        return challenge;
    }
    let Some(entries) = entries else {
        return challenge;
    };
    if !entries.names.iter().any(|known| known == name) {
        let known = entries.names.join(", ");
        let message = format!("there is no entry point {name:?}; there are {known}");
        value.report(ViolationKind::NotSupported, message);
        return challenge;
    }
    let entry = entries.valid.iter().find(|entry| entry.name == name);
    match entry {
        Some(entry) if entry.udp => {
            let message = format!("{name:?} is an entry point of UDP; HTTP-01 needs one of TCP");
            value.report(ViolationKind::Invalid, message);
        }
        Some(entry) if entry.port != 80 => {
            let port = entry.port;
            let message = format!(
                "{name:?} listens on port {port}; the CA asks at port 80, which must lead there"
            );
            value.warn(ViolationKind::Invalid, message);
        }
        _ => {}
    }
    challenge
}
