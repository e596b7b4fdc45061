//! What is remembered about one Certificate.

use std::collections::VecDeque;

use certwright_cert_model::status::{CertificateRequestStatus, Condition, ConditionStatus};
use time::{Duration, OffsetDateTime};

use crate::inventory::ResourceName;
use crate::issue::IssueError;
use crate::issuer::Suggestion;

/// One attempt to have a certificate signed: what cert-manager keeps as a CertificateRequest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestRecord {
    /// `CERTIFICATE-REVISION`.
    pub name: String,
    /// Which certificate of the Certificate it was to be, from 1.
    pub revision: u64,
    /// The CSR in PEM; none if it came to none.
    pub csr: Option<String>,
    /// What came of it.
    pub result: RequestResult,
    /// When that was known.
    pub at: OffsetDateTime,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestResult {
    /// It was not signed.
    Failed {
        /// Why not.
        message: String,
    },
    /// It was signed.
    Issued,
}

impl RequestRecord {
    /// The same as the `status` of a CertificateRequest.
    pub fn status(&self) -> CertificateRequestStatus {
        let ready = |status| Condition::new("Ready", status, self.at);
        let mut written = CertificateRequestStatus::default();
        written.conditions = vec![match &self.result {
            RequestResult::Failed { message } => {
                written.failure_time = Some(self.at);
                ready(ConditionStatus::False).because("Failed", message)
            }
            RequestResult::Issued => {
                let message = "Certificate fetched from issuer successfully";
                ready(ConditionStatus::True).because("Issued", message)
            }
        }];
        written
    }
}

/// What a manager remembers about one Certificate.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The number of the last certificate.
    pub(super) revision: u64,
    pub(super) failing: Option<Failing>,
    /// How often in a row the keystores beside a certificate could not be written.
    pub(super) lacking: i64,
    /// When somebody asked for a new certificate.
    pub(super) requested: Option<OffsetDateTime>,
    /// The same when the job that runs began: what is asked for later wants another one.
    pub(super) answering: Option<OffsetDateTime>,
    /// Whether that is to have a new key whatever the policy is.
    pub(super) rekey: bool,
    /// Whether that instant is still to come, and the job that runs keeps the key.
    pub(super) parked: bool,
    /// Whether the last certificate had one for that reason.
    #[cfg(feature = "run")]
    pub(super) rekeyed: bool,
    pub(super) running: Option<Running>,
    /// Whether an issuer of yours was asked last.
    pub(super) remote: bool,
    /// When the last certificates were issued, the oldest first.
    issued: VecDeque<OffsetDateTime>,
    /// When its Secret was rewritten around the same certificate, the oldest first.
    rewritten: VecDeque<OffsetDateTime>,
    /// What is told while somebody else undoes that.
    pub(super) contested: Option<String>,
    requests: VecDeque<RequestRecord>,
    /// What the CA suggested when it was looked last.
    pub(super) suggestion: Suggestion,
    /// What is to be told: a word for programs, a text for people.
    pub(super) told: Option<(&'static str, String)>,
}

/// A job that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) id: u64,
    pub(super) local: bool,
    /// Since when.
    pub(super) since: OffsetDateTime,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failing {
    pub(super) attempts: i64,
    pub(super) last: OffsetDateTime,
    pub(super) until: OffsetDateTime,
}

/// Told of a Certificate whose Secret lacks a keystore because there is no password.
const NO_PASSWORD: &str = "KeystorePasswordMissing";
/// The same for a keystore that cannot be made.
const NO_KEYSTORE: &str = "KeystoreFailed";
/// Told of one whose issuer did not sign, or not what was asked for.
pub(super) const FAILED: &str = "Failed";
/// As long as a CA may ask to be left alone, and what is added to that.
const LONGEST_PAUSE: Duration = Duration::days(8);
/// As many instants are remembered.
const REMEMBERED: usize = 16;

impl State {
    /// Until when nothing is tried, if it is not yet. Who asks by hand does not wait, but is heard once.
    pub(super) fn paused(&self, now: OffsetDateTime, longest: Duration) -> Option<OffsetDateTime> {
        let Failing { last, until, .. } = self.failing?;
        let longest = longest.max(LONGEST_PAUSE);
        if self.requested.is_some_and(|at| at > last && at <= now) {
            return None;
        }
        // A pause that is longer than any, as a CA may name one, comes from a clock that was ahead.
        (now < until && until - now <= longest).then_some(until)
    }

    pub(super) fn attempts(&self) -> i64 {
        self.failing.map_or(0, |failing| failing.attempts)
    }

    /// Somebody changed what this is about: nothing that happened before counts.
    pub(super) fn configuration_changed(&mut self) {
        self.failing = None;
        self.lacking = 0;
        self.issued.clear();
        self.rewritten.clear();
        // What a job brings now is not what is asked for.
        self.running = None;
    }

    /// When the last certificates were issued.
    pub(super) fn issued(&self) -> Vec<OffsetDateTime> {
        self.issued.iter().copied().collect()
    }

    /// When its Secret was rewritten lately.
    pub(super) fn rewritten(&self) -> Vec<OffsetDateTime> {
        self.rewritten.iter().copied().collect()
    }

    pub(super) fn rewrote(&mut self, now: OffsetDateTime) {
        remember(&mut self.rewritten, now);
        self.contested = None;
    }

    pub(super) fn failed(&mut self, name: &ResourceName, failing: Failing, error: &IssueError) {
        self.running = None;
        let message = with_causes(error);
        // What never came to a request is no CertificateRequest.
        if !error.is_pending() {
            let revision = self.revision + 1;
            let result = RequestResult::Failed {
                message: message.clone(),
            };
            // One attempt at a revision is enough to see what is wrong.
            self.requests.retain(|request| request.revision != revision);
            self.requests
                .push_back(record(name, revision, None, result, failing.last));
        }
        let word = match error {
            IssueError::Password(_) => NO_PASSWORD,
            error if error.is_pending() => "Pending",
            _ => FAILED,
        };
        self.told = Some((word, message));
        self.failing = Some(failing);
    }

    /// Takes note that the keystores beside a good certificate cannot be written; how often in a row that was.
    pub(super) fn lacked(&mut self, error: &IssueError) -> i64 {
        let word = match error {
            IssueError::Password(_) | IssueError::Unreadable { .. } => NO_PASSWORD,
            _ => NO_KEYSTORE,
        };
        self.told = Some((word, with_causes(error)));
        self.failing = None;
        self.lacking = self.lacking.saturating_add(1);
        self.lacking
    }

    /// Whether what is told is that keystores are missing.
    pub(super) fn lacks_keystores(&self) -> bool {
        let told = self.told.as_ref();
        told.is_some_and(|(word, _)| [NO_PASSWORD, NO_KEYSTORE].contains(word))
    }

    pub(super) fn succeeded(
        &mut self,
        name: &ResourceName,
        revision: u64,
        csr: String,
        limit: u32,
        is_acme: bool,
        now: OffsetDateTime,
    ) {
        self.revision = revision;
        self.failing = None;
        // Whoever asked meanwhile did not mean this one, and is heard after it; a clock that was set back since makes
        // that the earlier instant.
        let after = now.saturating_add(Duration::NANOSECOND);
        let meanwhile = self.requested.is_some() && self.requested != self.answering;
        // Its instant stays: whoever asked knows it.
        let parked = core::mem::take(&mut self.parked);
        if !parked {
            self.requested = meanwhile.then_some(after);
        }
        #[cfg(feature = "run")]
        {
            self.rekeyed = self.rekey && !parked;
        }
        self.rekey &= parked;
        self.running = None;
        // It was about the certificate before. Who knows ACME is asked at once, when the new one is stored.
        self.suggestion = Suggestion::new(None, is_acme.then_some(now));
        remember(&mut self.issued, now);
        self.requests.retain(|request| request.revision != revision);
        let request = record(name, revision, Some(csr), RequestResult::Issued, now);
        self.requests.push_back(request);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        while self.requests.len() > limit {
            self.requests.pop_front();
        }
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = &RequestRecord> {
        self.requests.iter()
    }
}

fn remember(instants: &mut VecDeque<OffsetDateTime>, now: OffsetDateTime) {
    instants.push_back(now);
    if instants.len() > REMEMBERED {
        instants.pop_front();
    }
}

fn record(
    certificate: &ResourceName,
    revision: u64,
    csr: Option<String>,
    result: RequestResult,
    at: OffsetDateTime,
) -> RequestRecord {
    RequestRecord {
        name: format!("{}-{revision}", certificate.name),
        revision,
        csr,
        result,
        at,
    }
}

/// An error with its causes on one line.
pub(crate) fn with_causes(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
