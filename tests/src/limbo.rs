//! x509-limbo (C2SP): chains that a verifier must accept or refuse, through the verifiers of
//! `certwright-transport`.
//!
//! The file itself is not part of the project; [`judge`] takes its text. Where we differ from an expectation,
//! [`EXCEPTIONS`] says why, case by case, and a case that agrees although it is listed fails as well.

mod exceptions;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_transport::client_auth::ClientAuth;
use certwright_transport::peer::{HostName, PeerPolicy, PeerSan};
use certwright_transport::revocation::Crls;
use certwright_transport::roots::Roots;
use certwright_transport::upstream::{Upstream, Verified};
use certwright_transport::verify::{PeerRole, PeerVerifier};
use certwright_transport::{Material, PeerError, ServersTransport};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use exceptions::{EXCEPTIONS, Exceptions};

/// How long one case may take: pathological chains must run into webpki's budgets (100 signatures, 200 000
/// steps, 250 000 comparisons of name constraints, 6 intermediates) long before.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Which verifier judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The verifier of clients.
    Client,
    /// The peer core, with the expected name as a peer name too.
    Core,
    /// Server name mode.
    Server,
}

/// What came of a file.
#[derive(Debug, Default)]
pub struct Report {
    /// Judgements as expected.
    pub passed: usize,
    /// Judgements that differ for a listed reason.
    pub excepted: usize,
    /// Judgements that could not be asked for, with why.
    pub skipped: Vec<String>,
    /// Judgements that differ, and listed ones that do not.
    pub failures: Vec<String>,
}

/// Judges every case of the file; cases that name no time are judged at `now`.
///
/// # Errors
///
/// The text is not a limbo file of version 1.
pub fn judge(text: &str, now: UnixTime) -> Result<Report, String> {
    let file: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if file["version"] != 1 {
        return Err(format!("limbo version {} is not 1", file["version"]));
    }
    let cases = file["testcases"].as_array().ok_or("no testcases")?;
    let mut report = Report::default();
    for case in cases {
        let id = case["id"].as_str().ok_or("a case without id")?;
        let views: &[View] = match case["validation_kind"].as_str() {
            Some("CLIENT") => &[View::Client],
            _ if serves_both(case) => &[View::Server, View::Core, View::Client],
            _ => &[View::Server, View::Core],
        };
        for view in views {
            report.enter(id, case, *view, now);
        }
    }
    Ok(report)
}

/// Whether a chain for servers must do for a client too: none of its certificates is limited to servers.
fn serves_both(case: &Value) -> bool {
    let texts = [&case["peer_certificate"], &case["untrusted_intermediates"]];
    let Ok(certificates) = certificates(&texts.map(joined).join(&b'\n')) else {
        return false;
    };
    certificates.iter().all(|der| {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else {
            return false;
        };
        match certificate.extended_key_usage() {
            Ok(None) => true,
            Ok(Some(usage)) => usage.value.client_auth,
            Err(_) => false,
        }
    })
}

impl Report {
    fn enter(&mut self, id: &str, case: &Value, view: View, now: UnixTime) {
        let wanted = case["expected_result"] == "SUCCESS";
        let start = Instant::now();
        let outcome = match ask(case, view, now) {
            Ok(outcome) => outcome,
            Err(why) => return self.skipped.push(format!("{id} ({view:?}): {why}")),
        };
        let took = start.elapsed();
        let found = outcome
            .as_ref()
            .map_or_else(PeerError::code, |()| "accepted");
        let exception = EXCEPTIONS
            .iter()
            .find(|exceptions| exceptions.ids.contains(&id) && exceptions.views.contains(&view));
        match (outcome.is_ok() == wanted, exception) {
            (true, None) => self.passed += 1,
            (false, Some(_)) => self.excepted += 1,
            (true, Some(_)) => self.failures.push(format!(
                "{id} ({view:?}): {found}, as expected; its exception is out of date"
            )),
            (false, None) => self.failures.push(format!(
                "{id} ({view:?}): {found}, expected {}",
                case["expected_result"]
            )),
        }
        if took > TIME_LIMIT {
            self.failures
                .push(format!("{id} ({view:?}): took {took:?}"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} unsupported, {} deliberate",
            self.passed,
            self.failures.len(),
            self.skipped.len(),
            self.excepted
        )
    }
}

/// One judgement; the outer error says why it cannot be asked for.
fn ask(case: &Value, view: View, now: UnixTime) -> Result<Result<(), PeerError>, String> {
    if !case["max_chain_depth"].is_null() {
        return Err("the depth of chains is not configurable".to_owned());
    }
    let now = match case["validation_time"].as_str() {
        None => now,
        Some(text) => instant(text)?,
    };
    let roots = match Roots::from_pem(&joined(&case["trusted_certs"])) {
        Ok(roots) => roots,
        Err(error) => return Ok(Err(malformed(error))),
    };
    let crls = match joined(&case["crls"]).as_slice() {
        [] => None,
        text => match Crls::from_pem(text) {
            Ok(crls) => Some(Arc::new(crls)),
            Err(error) => return Ok(Err(malformed(error))),
        },
    };
    let leaf = certificates(&joined(&case["peer_certificate"]))?;
    let leaf = leaf.first().ok_or("no certificate of the peer")?;
    let rest = certificates(&joined(&case["untrusted_intermediates"]))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    if view == View::Client {
        let auth = ClientAuth::new(None, Some(&roots), crls.as_deref(), &provider);
        let ClientAuth::Verified(verifier) = auth.map_err(|error| error.to_string())? else {
            return Err("clients are not verified".to_owned());
        };
        return Ok(readable(
            verifier.verify_client_cert(leaf, &rest, now).map(|_| ()),
        ));
    }
    let name = case["expected_peer_name"]["value"]
        .as_str()
        .ok_or("no name to ask for")?;
    let server = ServerName::try_from(name).map_err(|_| format!("{name:?} cannot be asked for"))?;
    if view == View::Server {
        let mut material = Material::default();
        material.system_roots = Some(roots);
        material.crls = crls;
        let verifier = plain()
            .server_verifier(&provider, &material)
            .map_err(|error| error.to_string())?;
        let verdict = verifier.verify_server_cert(leaf, &rest, &server, &[], now);
        return Ok(readable(verdict.map(|_| ())));
    }
    core(name, &server, roots, crls, &provider).map(|verifier| {
        verifier
            .verify(leaf, &rest, PeerRole::Server(&server), now)
            .map(|_| ())
    })
}

fn plain() -> Verified {
    match ServersTransport::default().validate() {
        Ok(Upstream::Verified(upstream)) if *upstream.policy() == PeerPolicy::ServerName => {
            upstream
        }
        other => unreachable!("nothing set verifies the server's name, found {other:?}"),
    }
}

fn core(
    name: &str,
    server: &ServerName<'_>,
    roots: Roots,
    crls: Option<Arc<Crls>>,
    provider: &CryptoProvider,
) -> Result<PeerVerifier, String> {
    if matches!(server, ServerName::IpAddress(_)) {
        return Err("an IP address is no peer name".to_owned());
    }
    let name = name.parse().map_err(|error| format!("{name:?}: {error}"))?;
    let verifier = PeerVerifier::peer_sans(
        vec![PeerSan::Dns(name)],
        HostName::Checked,
        roots,
        provider.signature_verification_algorithms.all,
    );
    Ok(match crls {
        Some(crls) => verifier.with_crls(crls),
        None => verifier,
    })
}

fn readable(verdict: Result<(), rustls::Error>) -> Result<(), PeerError> {
    verdict.map_err(|error| PeerError::from_rustls(&error).unwrap_or_else(|| malformed(error)))
}

fn malformed(error: impl fmt::Display) -> PeerError {
    PeerError::Malformed {
        reason: error.to_string(),
    }
}

/// One PEM text or a list of them.
fn joined(value: &Value) -> Vec<u8> {
    let list = value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice);
    let texts: Vec<_> = list.iter().filter_map(Value::as_str).collect();
    texts.join("\n").into_bytes()
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let blocks = certwright_cert_model::pem::read(text).map_err(|error| error.to_string())?;
    Ok(blocks
        .into_iter()
        .map(|block| block.der().to_vec().into())
        .collect())
}

fn instant(text: &str) -> Result<UnixTime, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| error.to_string())?;
    let seconds = u64::try_from(time.unix_timestamp()).map_err(|error| error.to_string())?;
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}
