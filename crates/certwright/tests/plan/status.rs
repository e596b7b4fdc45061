//! A Certificate's `status` through a life.

use certwright::plan::{Failures, Observed, status};
use certwright::view::{CertificateView, certificates};
use certwright_cert_model::ValidatedSpec;
use certwright_cert_model::status::{CertificateStatus, ConditionStatus};
use certwright_renewal::AriWindow;
use time::{Duration, OffsetDateTime};

use crate::world::{Ca, Issuer, NAME, NOW, days, issued, seen, spec};

/// Conditions as `Type=Status (Reason) since`.
fn told(status: &CertificateStatus) -> Vec<String> {
    let text = |status| match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    };
    let conditions = status.conditions.iter().map(|condition| {
        let since = condition.last_transition_time.unwrap() - NOW;
        let reason = condition.reason.as_deref().unwrap();
        let days = since.whole_days();
        format!(
            "{}={} ({reason}) +{days}d",
            condition.kind,
            text(condition.status)
        )
    });
    conditions.collect()
}

#[test]
fn conditions_keep_the_time_of_their_change() {
    let ca = Ca::root(NOW, 3650);
    let base = spec("duration: 2160h");
    let mut current = CertificateStatus::default();
    current.revision = Some(7);
    let step = |spec: &ValidatedSpec,
                seen: &Observed<'_>,
                current: &mut CertificateStatus,
                now: OffsetDateTime| {
        let (next, attempt) = status(spec, seen, current, now);
        *current = next;
        (told(current), attempt)
    };

    let mut nothing = Observed::new(None, Issuer::Ca(&ca).authority());
    nothing.certificate = NAME;
    let (conditions, _) = step(&base, &nothing, &mut current, NOW);
    assert_eq!(
        conditions,
        [
            "Ready=False (DoesNotExist) +0d",
            "Issuing=True (DoesNotExist) +0d"
        ]
    );
    assert_eq!(current.not_after, None);

    nothing.failures = Some(Failures::new(1, NOW, base.fingerprint()));
    let (conditions, attempt) = step(&base, &nothing, &mut current, NOW + Duration::MINUTE);
    assert_eq!(
        conditions,
        [
            "Ready=False (DoesNotExist) +0d",
            "Issuing=False (BackingOff) +0d"
        ]
    );
    assert_eq!(attempt, Some(NOW + Duration::HOUR));
    assert_eq!(current.failed_issuance_attempts, Some(1));

    let start = NOW + days(1);
    let secret = issued(&base, Issuer::Ca(&ca), start);
    let mut view = seen(&secret, Issuer::Ca(&ca));
    view.ari = AriWindow::new(start + days(50), start + days(51)).ok();
    for day in [0, 40] {
        let (conditions, attempt) = step(&base, &view, &mut current, start + days(day));
        assert_eq!(conditions, ["Ready=True (Ready) +1d"]);
        assert_eq!(attempt, None);
    }
    assert_eq!(current.not_after, Some(start + days(90)));
    let due = current.renewal_time.unwrap();
    assert!((start + days(50)..start + days(51)).contains(&due), "{due}");
    assert_eq!(current.last_failure_time, None);
    assert_eq!(current.revision, Some(7), "what a plan does not know stays");
    assert!(current.acme.as_ref().unwrap().ari.is_some());

    let (conditions, _) = step(&base, &view, &mut current, start + days(60));
    assert_eq!(
        conditions,
        ["Ready=True (Ready) +1d", "Issuing=True (Renewing) +61d"]
    );
    let (conditions, _) = step(&base, &view, &mut current, start + days(99));
    assert_eq!(
        conditions,
        [
            "Ready=False (Expired) +100d",
            "Issuing=True (Renewing) +61d"
        ]
    );
    view.owner = Some("other");
    let (conditions, _) = step(&base, &view, &mut current, start + days(99));
    assert_eq!(conditions[1], "Issuing=False (SecretOwnedByAnother) +100d");
}

#[test]
fn a_view_follows() {
    let ca = Ca::root(NOW, 3650);
    let base = spec("duration: 2160h");
    let secret = issued(&base, Issuer::Ca(&ca), NOW);
    let mut view = CertificateView::of("shop", NAME, &base);
    view.created = Some(NOW);
    view.update(&base, &seen(&secret, Issuer::Ca(&ca)), NOW + days(20));
    assert_eq!(
        certificates(&[view], NOW + days(20)).to_string(),
        "\
NAME   READY   SECRET    ISSUER   AGE   RENEWS
web    True    web-tls   ca       20d   in 40d
"
    );
}
