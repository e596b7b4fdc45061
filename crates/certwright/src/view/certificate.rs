use core::fmt::{self, Write};
use std::collections::BTreeSet;

use certwright_cert_model::inspect::NameTexts;
use certwright_cert_model::issuer_ref::IssuerRef;
use certwright_cert_model::status::{CertificateStatus, Condition, ConditionStatus};
use certwright_cert_model::validated::ValidatedSpec;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::table::Table;
use super::{Age, status, status_text};
use crate::plan::Observed;

/// A Certificate and its state.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CertificateView {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The Secret that holds the result.
    pub secret: String,
    /// Who signs.
    pub issuer: IssuerRef,
    /// Whether it is a CA's.
    pub is_ca: bool,
    /// The common name that is asked for, if any.
    pub common_name: Option<String>,
    /// The names that are asked for.
    pub names: NameTexts,
    /// When it was made, if that is known.
    pub created: Option<OffsetDateTime>,
    /// Its state: the conditions `Ready` and `Issuing`, dates, failures, revision.
    pub status: CertificateStatus,
    /// When issuing is tried again after a failure.
    pub next_attempt: Option<OffsetDateTime>,
}

impl CertificateView {
    /// A Certificate of which nothing more is known.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        secret: impl Into<String>,
        issuer: IssuerRef,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            secret: secret.into(),
            issuer,
            is_ca: false,
            common_name: None,
            names: NameTexts::default(),
            created: None,
            status: CertificateStatus::default(),
            next_attempt: None,
        }
    }

    /// A Certificate of this specification, of which the state is not known yet.
    pub fn of(namespace: impl Into<String>, name: impl Into<String>, spec: &ValidatedSpec) -> Self {
        let secret = spec.secret_name();
        Self {
            is_ca: spec.is_ca(),
            common_name: spec.common_name().map(str::to_owned),
            names: NameTexts::from(spec.names()),
            ..Self::new(namespace, name, secret, spec.issuer_ref().clone())
        }
    }

    /// Brings status and next attempt up to date, as far as what is seen of the Certificate tells.
    pub fn update(&mut self, spec: &ValidatedSpec, seen: &Observed<'_>, now: OffsetDateTime) {
        let status = crate::plan::status(spec, seen, &self.status, now);
        (self.status, self.next_attempt) = status;
    }

    /// The Certificate as a Kubernetes document with its `status`. The specification is what a view knows of it.
    pub fn to_document(&self) -> Value {
        let issuer = &self.issuer;
        let mut spec = json!({
            "secretName": self.secret,
            "issuerRef": {"name": issuer.name, "kind": issuer.kind(), "group": issuer.group()},
        });
        if let Some(name) = &self.common_name {
            spec["commonName"] = json!(name);
        }
        if self.is_ca {
            spec["isCA"] = json!(true);
        }
        let ips: Vec<_> = self.names.ip.iter().map(ToString::to_string).collect();
        for (field, names) in [
            ("dnsNames", &self.names.dns),
            ("emailAddresses", &self.names.email),
            ("ipAddresses", &ips),
            ("uris", &self.names.uri),
        ] {
            if !names.is_empty() {
                spec[field] = json!(names);
            }
        }
        json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": metadata(&self.namespace, &self.name, self.created),
            "spec": spec,
            "status": self.status,
        })
    }

    /// `kubectl describe certificate`: issuer, Secret, names, dates, conditions, the last failure and the next attempt.
    pub fn describe(&self, now: OffsetDateTime) -> String {
        let mut text = String::new();
        let written = self.write(&mut text, now);
        debug_assert!(written.is_ok(), "writing to a String does not fail");
        text
    }

    fn write(&self, text: &mut String, now: OffsetDateTime) -> fmt::Result {
        let Self { status, .. } = self;
        writeln!(text, "Name:         {}", self.name.escape_debug())?;
        writeln!(text, "Namespace:    {}", self.namespace.escape_debug())?;
        writeln!(
            text,
            "API Version:  cert-manager.io/v1\nKind:         Certificate"
        )?;
        if let Some(created) = self.created {
            writeln!(text, "Created:      {}", instant(created, now))?;
        }
        writeln!(text, "Spec:")?;
        if let Some(name) = &self.common_name {
            writeln!(text, "  Common Name:  {}", name.escape_debug())?;
        }
        let ips: Vec<_> = self.names.ip.iter().map(ToString::to_string).collect();
        for (title, names) in [
            ("Dns Names", &self.names.dns),
            ("Email Addresses", &self.names.email),
            ("Ip Addresses", &ips),
            ("Uris", &self.names.uri),
        ] {
            if !names.is_empty() {
                writeln!(text, "  {title}:")?;
            }
            for name in names {
                writeln!(text, "    {}", name.escape_debug())?;
            }
        }
        if self.is_ca {
            writeln!(text, "  Is CA:  true")?;
        }
        writeln!(text, "  Issuer Ref:")?;
        writeln!(text, "    Group:  {}", self.issuer.group())?;
        writeln!(text, "    Kind:   {}", self.issuer.kind())?;
        writeln!(text, "    Name:   {}", self.issuer.name)?;
        writeln!(text, "  Secret Name:  {}", self.secret)?;
        writeln!(text, "Status:")?;
        if !status.conditions.is_empty() {
            writeln!(text, "  Conditions:")?;
        }
        for condition in &status.conditions {
            write_condition(text, condition, now)?;
        }
        for (title, at) in [
            ("Not Before", status.not_before),
            ("Not After", status.not_after),
            ("Renewal Time", status.renewal_time),
            ("Last Failure Time", status.last_failure_time),
            ("Next Attempt", self.next_attempt),
        ] {
            if let Some(at) = at {
                let title = format!("{title}:");
                writeln!(text, "  {title:<19} {}", instant(at, now))?;
            }
        }
        for (title, number) in [
            ("Failed Attempts", status.failed_issuance_attempts),
            ("Revision", status.revision),
        ] {
            if let Some(number) = number {
                let title = format!("{title}:");
                writeln!(text, "  {title:<19} {number}")?;
            }
        }
        Ok(())
    }

    /// When the next certificate comes, for people.
    fn renews(&self, now: OffsetDateTime) -> String {
        let issuing = status(&self.status.conditions, "Issuing") == ConditionStatus::True;
        match self.next_attempt.or(self.status.renewal_time) {
            Some(at) if at > now && !issuing => format!("in {}", Age(at - now)),
            None if !issuing => "never".to_owned(),
            _ => "now".to_owned(),
        }
    }
}

fn write_condition(text: &mut String, condition: &Condition, now: OffsetDateTime) -> fmt::Result {
    let reason = condition.reason.as_deref().unwrap_or("-");
    let status = status_text(condition.status);
    write!(
        text,
        "    {}: {status}, {reason}",
        condition.kind.escape_debug()
    )?;
    if let Some(since) = condition.last_transition_time {
        write!(text, ", for {}", Age(now - since))?;
    }
    writeln!(text)?;
    match &condition.message {
        Some(message) => writeln!(text, "      {}", message.escape_debug()),
        None => Ok(()),
    }
}

/// `kubectl get certificates`: NAME, READY, SECRET, ISSUER, AGE and RENEWS, under NAMESPACE if there are several.
pub fn certificates(certificates: &[CertificateView], now: OffsetDateTime) -> Table {
    let namespaces = several(certificates.iter().map(|one| one.namespace.as_str()));
    let mut table = if namespaces {
        Table::new(&[
            "NAMESPACE",
            "NAME",
            "READY",
            "SECRET",
            "ISSUER",
            "AGE",
            "RENEWS",
        ])
    } else {
        Table::new(&["NAME", "READY", "SECRET", "ISSUER", "AGE", "RENEWS"])
    };
    for certificate in certificates {
        let ready = status_text(status(&certificate.status.conditions, "Ready")).to_owned();
        let cells = [
            certificate.name.clone(),
            ready,
            certificate.secret.clone(),
            certificate.issuer.name.clone(),
            age(certificate.created, now),
            certificate.renews(now),
        ];
        if namespaces {
            let [name, ready, secret, issuer, age, renews] = cells;
            let namespace = certificate.namespace.clone();
            table.push([namespace, name, ready, secret, issuer, age, renews]);
        } else {
            table.push(cells);
        }
    }
    table
}

pub(super) fn several<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    names.collect::<BTreeSet<_>>().len() > 1
}

pub(super) fn age(created: Option<OffsetDateTime>, now: OffsetDateTime) -> String {
    created.map_or_else(|| "<unknown>".to_owned(), |at| Age(now - at).to_string())
}

pub(super) fn metadata(namespace: &str, name: &str, created: Option<OffsetDateTime>) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(name));
    if !namespace.is_empty() {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    if let Some(created) = created.and_then(|at| at.format(&Rfc3339).ok()) {
        metadata.insert("creationTimestamp".to_owned(), json!(created));
    }
    Value::Object(metadata)
}

/// An instant, and how far away it is.
fn instant(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let text = crate::plan::instant(at);
    if at > now {
        format!("{text} (in {})", Age(at - now))
    } else {
        format!("{text} ({} ago)", Age(now - at))
    }
}
