//! What a manager knows, as [`view`](crate::view) shows it.

use certwright_cert_model::TlsSecret;
use certwright_cert_model::issuer_ref::{IssuerKind, IssuerRef};
use certwright_cert_model::secret::TLS_CRT;
use certwright_cert_model::status::{
    AcmeStatus, AriStatus, Condition, ConditionStatus, SuggestedWindow,
};
use certwright_issuance::Certificate;
use certwright_renewal::Schedule;
use time::OffsetDateTime;

use super::history::State;
use super::{Manager, RequestRecord, Status};
use crate::annotation;
use crate::inventory::{Object, ResourceName};
use crate::issue::IssueError;
use crate::plan::{Authority, Observed, Plan, plan, readiness};
use crate::view::{CertificateView, IssuerType, IssuerView};

impl Manager {
    /// A Certificate's state at the instant `now`; `None` if there is none of this name.
    pub fn status(&self, name: &ResourceName, now: OffsetDateTime) -> Option<Status> {
        self.inventory.certificate(name)?;
        let secret = self.secret_of(name);
        let chain = |secret: &TlsSecret| Certificate::read_pem(secret.get(TLS_CRT)?).ok();
        let leaf = secret
            .filter(|secret| !annotation::is_temporary(secret))
            .and_then(chain)
            .and_then(|chain| chain.into_iter().next());
        let state = self.states.get(name);
        let failing = state.and_then(|state| state.failing);
        let next = failing.map_or_else(|| self.agenda.get(name), |failing| Some(failing.until));
        let mut status = Status::of(leaf.as_ref(), state, secret, next, now);
        let target = self.inventory.target(name)?;
        if let Some((word, why)) = self.trouble(&target) {
            (status.ready, status.reason) = (false, word);
            why.clone_into(&mut status.message);
        }
        Some(status)
    }

    /// When a Certificate is renewed, and why then; `None` if it is not scheduled, because there is nothing to renew,
    /// something is due or wrong already, or renewal is disabled.
    pub fn schedule(&self, name: &ResourceName, now: OffsetDateTime) -> Option<Schedule> {
        let spec = self.inventory.certificate(name)?;
        let mut seen = Observed::new(self.secret_of(name), Authority::Unknown);
        seen.certificate = &name.name;
        seen.ari = self.states.get(name).and_then(|s| s.suggestion.window);
        match plan(spec, &seen, now) {
            Plan::Idle(schedule)
            | Plan::Contested { schedule, .. }
            | Plan::Reapply { schedule, .. } => schedule,
            Plan::Blocked(_) | Plan::Issue { .. } | Plan::Wait { .. } => None,
        }
    }

    /// Whether the issuer a Certificate would name can sign at `now`; why not, if it cannot.
    ///
    /// # Errors
    ///
    /// The issuer does not exist, or its CA is not usable.
    pub fn check_issuer(
        &mut self,
        namespace: &str,
        reference: &IssuerRef,
        now: OffsetDateTime,
    ) -> Result<(), IssueError> {
        self.signer(namespace, reference, now).map(|_| ())
    }

    /// The requests of a Certificate, the oldest first: the last successful ones, as many as
    /// `revisionHistoryLimit` says, and those that failed since.
    pub fn requests(&self, name: &ResourceName) -> impl Iterator<Item = &RequestRecord> {
        self.states.get(name).into_iter().flat_map(State::requests)
    }

    /// Every Certificate with its state at the instant `now`, CAs first.
    pub fn certificate_views(&self, now: OffsetDateTime) -> Vec<CertificateView> {
        let names = self.order.iter();
        names
            .filter_map(|name| self.certificate_view(name, now))
            .collect()
    }

    /// A Certificate with its state at the instant `now`; `None` if there is none of this name.
    pub fn certificate_view(
        &self,
        name: &ResourceName,
        now: OffsetDateTime,
    ) -> Option<CertificateView> {
        let spec = self.inventory.certificate(name)?;
        let known = self.status(name, now)?;
        let state = self.states.get(name);
        let mut view = CertificateView::of(&name.namespace, &name.name, spec);
        view.created = self.created(&Object::Certificate(name.clone()));
        let status = &mut view.status;
        (status.not_before, status.not_after) = (known.not_before, known.not_after);
        status.renewal_time = self.schedule(name, now).map(|schedule| schedule.due());
        status.revision = known.revision.and_then(|number| i64::try_from(number).ok());
        status.last_failure_time = known.last_failure;
        status.failed_issuance_attempts = (known.failures > 0).then_some(known.failures);
        if let Some(window) = state.and_then(|state| state.suggestion.window) {
            let mut suggested = SuggestedWindow::default();
            (suggested.start, suggested.end) = (Some(window.start()), Some(window.end()));
            let acme = status.acme.get_or_insert_with(AcmeStatus::default);
            let ari = acme.ari.get_or_insert_with(AriStatus::default);
            ari.suggested_window = Some(suggested);
        }
        status.conditions.push(self.ready(name, now)?);
        if let Some(state) = state.filter(|state| state.running.is_some() || known.failures > 0) {
            let (status, reason) = match state.running {
                Some(_) => (ConditionStatus::True, "Issuing"),
                None => (ConditionStatus::False, "Failed"),
            };
            let message = state.told.as_ref().map(|(_, message)| message.as_str());
            let issuing = Condition::new("Issuing", status, known.last_failure.unwrap_or(now));
            let issuing =
                issuing.because(reason, message.unwrap_or("a certificate is being issued"));
            view.status.conditions.push(issuing);
        }
        let contested = state.and_then(|state| state.contested.as_ref());
        if let Some(message) = contested {
            let contested = Condition::new("SecretContested", ConditionStatus::True, now);
            let contested = contested.because("RewrittenTooOften", message);
            view.status.conditions.push(contested);
        }
        if known.failures > 0 || contested.is_some() {
            view.next_attempt = known.next;
        }
        Some(view)
    }

    /// Every issuer with its state at the instant `now`.
    pub fn issuer_views(&mut self, now: OffsetDateTime) -> Vec<IssuerView> {
        let inventory = self.inventory.clone();
        let mut views = Vec::new();
        for (namespace, reference, spec) in inventory.issuers() {
            let scope = namespace.unwrap_or_default();
            let found = inventory.issuer(scope, &reference);
            let secrets = found.map_or(scope, |found| found.namespace);
            let issues = IssuerType::of(spec, secrets);
            let (status, reason, message) = match self.signer(scope, &reference, now) {
                Ok(_) => match issues {
                    IssuerType::Ca { .. } => {
                        let verified = "the CA's certificate and key are usable".to_owned();
                        (ConditionStatus::True, "KeyPairVerified", verified)
                    }
                    _ => (ConditionStatus::True, "IsReady", "it can sign".to_owned()),
                },
                Err(error) => {
                    let reason = match error {
                        IssueError::NoBindingKey { .. }
                        | IssueError::NoCaSecret { .. }
                        | IssueError::Unreadable { .. } => "ErrGetKeyPair",
                        IssueError::Ca { .. } => "ErrInvalidKeyPair",
                        IssueError::Issuer(_) => "InvalidConfig",
                        _ => "Unsupported",
                    };
                    (
                        ConditionStatus::False,
                        reason,
                        super::history::with_causes(&error),
                    )
                }
            };
            let kind: IssuerKind = reference.kind.clone();
            let object = match namespace {
                Some(namespace) => Object::Issuer(ResourceName::new(namespace, &reference.name)),
                None => Object::ClusterIssuer(reference.name.clone()),
            };
            let mut view = IssuerView::new(kind, scope, &reference.name, issues);
            view.created = self.created(&object);
            let ready = Condition::new("Ready", status, now).because(reason, message);
            view.status.conditions.push(ready);
            views.push(view);
        }
        views
    }

    /// When something was made, or seen first.
    fn created(&self, object: &Object) -> Option<OffsetDateTime> {
        let written = self.inventory.created(object);
        written.or_else(|| self.seen.get(object).copied())
    }

    /// Takes note of what is new, and forgets what is gone.
    pub(super) fn see(&mut self, now: OffsetDateTime) {
        let before = core::mem::take(&mut self.seen);
        let seen = self.inventory.objects().map(|object| {
            let since = before.get(&object).copied().unwrap_or(now);
            (object, since)
        });
        self.seen = seen.collect();
    }

    fn ready(&self, name: &ResourceName, now: OffsetDateTime) -> Option<Condition> {
        let spec = self.inventory.certificate(name)?;
        let unready = |word: &str, message: &str| {
            Condition::new("Ready", ConditionStatus::False, now).because(word, message)
        };
        let target = self.inventory.target(name)?;
        if let Some((word, why)) = self.trouble(&target) {
            return Some(unready(word, why));
        }
        let state = self.states.get(name);
        if let Some((word, message)) = state.and_then(|state| state.told.as_ref())
            && (state.is_some_and(State::lacks_keystores) || self.secret_of(name).is_none())
        {
            return Some(unready(word, message));
        }
        let ca = self.inventory.ca_of(name).map(|(_, secret)| secret);
        let ca = ca.and_then(|secret| self.authorities.get(&secret));
        let chain: Option<&[Certificate]> = ca.map(|ca| ca.chain().certificates());
        let mut seen = Observed::new(
            self.secret_of(name),
            chain.map_or(Authority::Unknown, Authority::Chain),
        );
        seen.certificate = &name.name;
        Some(readiness(spec, &seen, now))
    }
}
