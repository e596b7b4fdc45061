//! Every reason to issue, in a table: what is stored, and what is said about it.

use certwright::annotation::{CERTIFICATE, FINGERPRINT, ISSUED_AT, TEMPORARY};
use certwright::plan::{
    AuthorityChange, Block, CurrentRequest, Failures, KeyReuse, Plan, Reason, readiness,
};
use certwright::{KeySource, Observed};
use certwright_cert_model::secret::{CA_CRT, TLS_CRT, TLS_KEY};
use certwright_cert_model::status::ConditionStatus;
use certwright_cert_model::{Requested, TlsSecret, ValidatedSpec};
use certwright_issuance::Certificate;
use certwright_renewal::AriWindow;
use time::{Duration, OffsetDateTime};

use crate::world::{Ca, Issuer, NAME, NOW, days, issued, planned, seen, spec};

/// `Issue` as `word: message`, everything else by its name.
fn told(plan: &Plan) -> String {
    match plan {
        Plan::Blocked(block) => format!("blocked, {}: {block}", block.word()),
        Plan::Idle(_) => "idle".to_owned(),
        Plan::Issue { reason, .. } => format!("{}: {reason}", reason.word()),
        Plan::Reapply { what, .. } => {
            let what: Vec<_> = what.iter().map(ToString::to_string).collect();
            format!("reapply: {}", what.join("; "))
        }
        Plan::Wait { reason, until, .. } => format!("wait until {until}: {reason}"),
        other => format!("{other:?}"),
    }
}

fn check(spec: &ValidatedSpec, seen: &Observed<'_>, now: OffsetDateTime, expected: &str) {
    let told = told(&planned(spec, seen, now));
    assert!(
        told.starts_with(expected),
        "expected {expected:?}, found {told:?}"
    );
}

#[test]
fn what_is_stored_is_looked_at_in_this_order() {
    type Edit = fn(&mut TlsSecret);
    let cases: &[(&str, Edit, &str)] = &[
        ("", |_| {}, "idle"),
        (
            "",
            |s| assert!(s.remove(TLS_KEY)),
            "MissingData: the Secret has no tls.key",
        ),
        (
            "",
            |s| s.insert(TLS_CRT, ""),
            "MissingData: the Secret has no tls.crt",
        ),
        (
            "",
            |s| s.insert(TLS_KEY, "x"),
            "InvalidKeyPair: the stored key is unusable: ",
        ),
        (
            "",
            |s| s.insert(TLS_CRT, "x"),
            "InvalidCertificate: the stored certificate is unusable: ",
        ),
        (
            "",
            |s| drop(s.annotations.insert(TEMPORARY.into(), "true".into())),
            "TemporaryCertificate: the stored certificate is only a temporary one",
        ),
        (
            "",
            |s| {
                let key = "cert-manager.io/issuer-kind";
                s.annotations.insert(key.into(), "ClusterIssuer".into());
            },
            "IncorrectIssuer: ClusterIssuer/ca signed it, Issuer/ca is to",
        ),
        (
            "",
            |s| {
                let key = "cert-manager.io/certificate-name";
                s.annotations.insert(key.into(), "other".into());
            },
            "IncorrectCertificate: it was issued for Certificate other, not for web",
        ),
        (
            "privateKey: {algorithm: ECDSA, rotationPolicy: Always}",
            |_| {},
            "SecretMismatch: the stored key is Ed25519, but spec.privateKey.algorithm asks for ECDSA P-256",
        ),
        (
            "privateKey: {algorithm: ECDSA, rotationPolicy: Never}",
            |_| {},
            "blocked, CannotRegenerateKey: the stored key is Ed25519, but spec.privateKey.algorithm asks for ECDSA P-256; delete tls.key, ask for a new key once or set privateKey.rotationPolicy to Always",
        ),
        (
            "dnsNames: [www.example.com, api.example.com]",
            |_| {},
            "RequestChanged: the specification has changed: spec.dnsNames asks for www.example.com, api.example.com, but there is www.example.com",
        ),
        (
            "usages: [client auth]",
            |_| {},
            "RequestChanged: the specification has changed",
        ),
        (
            "duration: 100h",
            |_| {},
            "RequestChanged: the specification has changed",
        ),
        (
            "isCA: true\nnameConstraints: {permitted: {dnsDomains: [example.com]}}",
            |_| {},
            "RequestChanged: the specification has changed: spec.isCA asks for true, but there is false; spec.nameConstraints asks for permitted example.com, but there is nothing",
        ),
        (
            "dnsNames: [api.example.com]",
            |s| drop(s.annotations.remove(FINGERPRINT)),
            "SecretMismatch: the stored certificate is not what the specification asks for: spec.dnsNames asks for api.example.com, but there is www.example.com",
        ),
    ];
    let ca = Ca::root(NOW, 3650);
    for (lines, edit, expected) in cases {
        let mut secret = issued(&spec(""), Issuer::Ca(&ca), NOW);
        edit(&mut secret);
        check(&spec(lines), &seen(&secret, Issuer::Ca(&ca)), NOW, expected);
    }
    let nothing = Observed::new(None, Issuer::Ca(&ca).authority());
    check(
        &spec(""),
        &nothing,
        NOW,
        "DoesNotExist: there is no Secret yet",
    );
    // A key that belongs to another certificate.
    let (mut one, other) = (
        issued(&spec(""), Issuer::Ca(&ca), NOW),
        issued(&spec(""), Issuer::Ca(&ca), NOW),
    );
    one.insert(TLS_KEY, other.get(TLS_KEY).unwrap());
    check(
        &spec(""),
        &seen(&one, Issuer::Ca(&ca)),
        NOW,
        "InvalidKeyPair: the stored key is unusable: it is not the certificate's",
    );
}

#[test]
fn the_request_that_led_to_it_is_compared_in_full() {
    let ca = Ca::root(NOW, 3650);
    let base = spec("usages: [server auth]");
    let secret = issued(&base, Issuer::Ca(&ca), NOW);
    let key = |secret: &TlsSecret| {
        let chain = Certificate::read_pem(secret.get(TLS_CRT).unwrap()).unwrap();
        chain[0].spki_der().to_vec()
    };
    let known = Requested::of(&base, key(&secret));
    let mut seen = seen(&secret, Issuer::Ca(&ca));
    seen.request = CurrentRequest::Known(&known);
    check(&base, &seen, NOW, "idle");
    check(
        &spec("usages: [client auth]\nduration: 24h\nsubject: {organizations: [A, B]}"),
        &seen,
        NOW,
        "RequestChanged: something else was requested: spec.subject.organizations asks for A, B, but there is nothing; spec.usages asks for client auth, but there is server auth",
    );
    // Not in a request's comparison, but in the fingerprint.
    check(
        &spec("usages: [server auth]\nsignatureAlgorithm: PureEd25519"),
        &seen,
        NOW,
        "RequestChanged: the specification has changed",
    );
    let other = Requested::of(&base, key(&issued(&base, Issuer::Ca(&ca), NOW)));
    seen.request = CurrentRequest::Known(&other);
    check(
        &base,
        &seen,
        NOW,
        "SecretMismatch: the stored key is not the one of the request that led to it",
    );
    seen.request = CurrentRequest::Unreadable("no PEM");
    check(
        &base,
        &seen,
        NOW,
        "InvalidCertificateRequest: the request that led to it cannot be read: no PEM",
    );
}

#[test]
fn an_issuer_that_changed_usages_causes_nothing_and_an_edit_does() {
    let ca = Ca::root(NOW, 3650);
    // The CA was asked for client auth and gave server auth.
    let (asked, given) = (spec("usages: [client auth]"), spec("usages: [server auth]"));
    let mut secret = issued(&given, Issuer::Ca(&ca), NOW);
    let fingerprint = asked.fingerprint().to_string();
    secret
        .annotations
        .insert(FINGERPRINT.to_owned(), fingerprint);
    check(&asked, &seen(&secret, Issuer::Ca(&ca)), NOW, "idle");
    check(
        &given,
        &seen(&secret, Issuer::Ca(&ca)),
        NOW,
        "RequestChanged: the specification has changed",
    );
}

/// Puts the key and the certificate of another Secret into this one, and leaves everything that is written on it.
fn swap(secret: &TlsSecret, other: &TlsSecret) -> TlsSecret {
    let mut swapped = secret.clone_with_keys();
    for key in [TLS_CRT, TLS_KEY] {
        swapped.insert(key, other.get(key).unwrap());
    }
    swapped
}

#[test]
fn a_pair_that_somebody_swapped_is_found() {
    let ca = Ca::root(NOW, 3650);
    let base = spec("usages: [server auth]");
    let secret = issued(&base, Issuer::Ca(&ca), NOW);
    let unbound = |secret: &TlsSecret| {
        let mut unbound = secret.clone_with_keys();
        unbound.annotations.remove(CERTIFICATE).unwrap();
        unbound
    };
    check(
        &base,
        &seen(&unbound(&secret), Issuer::Ca(&ca)),
        NOW,
        "reapply: annotation certwright/certificate-sha256",
    );
    for (lines, found) in [
        ("usages: [server auth]", None),
        (
            "usages: [server auth]\ndnsNames: [evil.example]",
            Some("spec.dnsNames"),
        ),
        ("usages: [client auth]", Some("spec.usages")),
        (
            "usages: [server auth, cert sign]\nisCA: true\ncommonName: x",
            Some("spec.isCA"),
        ),
    ] {
        let other = issued(&spec(lines), Issuer::Ca(&ca), NOW);
        let swapped = swap(&secret, &other);
        let replaced = "SecretMismatch: the stored certificate with serial number ";
        check(&base, &seen(&swapped, Issuer::Ca(&ca)), NOW, replaced);
        let ready = readiness(&base, &seen(&swapped, Issuer::Ca(&ca)), NOW);
        assert_eq!(ready.status, ConditionStatus::False);
        // Who also takes away what it is known by is held against the specification.
        let swapped = unbound(&swapped);
        match (found, planned(&base, &seen(&swapped, Issuer::Ca(&ca)), NOW)) {
            (None, Plan::Reapply { .. }) => {}
            (
                Some(field),
                Plan::Issue {
                    reason: Reason::SpecMismatch(differences),
                    ..
                },
            ) => {
                let fields: Vec<_> = differences.iter().map(ToString::to_string).collect();
                assert!(
                    fields.iter().any(|text| text.starts_with(field)),
                    "{fields:?}"
                );
            }
            (_, other) => panic!("{lines}: {other:?}"),
        }
    }
}

#[test]
fn everything_below_a_changed_ca_follows() {
    let root = Ca::root(NOW, 3650);
    let ca = root.below(NOW, 1000);
    let base = spec("");
    let secret = issued(&base, Issuer::Ca(&ca), NOW);
    let later = NOW + days(1);
    check(&base, &seen(&secret, Issuer::Ca(&ca)), later, "idle");

    let change = |ca: &Ca| match planned(&base, &seen(&secret, Issuer::Ca(ca)), later) {
        Plan::Issue {
            reason: Reason::IssuerChanged { change, .. },
            ..
        } => change,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        change(&ca.renewed(Some(&root), later, 1000)),
        AuthorityChange::Renewed
    );
    assert_eq!(change(&root.below(later, 1000)), AuthorityChange::Rekeyed);
    check(
        &base,
        &seen(&secret, Issuer::OwnKey),
        later,
        "IssuerChanged: its issuer is of another kind now",
    );
    // The same the other way round.
    let named = spec("commonName: web");
    let own = issued(&named, Issuer::OwnKey, NOW);
    check(&named, &seen(&own, Issuer::OwnKey), NOW, "idle");
    check(
        &named,
        &seen(&own, Issuer::Ca(&ca)),
        NOW,
        "IssuerChanged: its issuer is of another kind now",
    );
    // Somebody put our CA beside a stranger's certificate.
    let mut stranger = issued(&base, Issuer::Ca(&Ca::root(NOW, 3650)), NOW);
    stranger.insert(CA_CRT, root.chain()[0].to_pem());
    check(
        &base,
        &seen(&stranger, Issuer::Ca(&root)),
        NOW,
        "InvalidCertificate: the stored certificate is unusable: its CA did not sign it",
    );
}

#[test]
fn a_certificate_does_not_outlive_its_chain() {
    // A CA that signs for longer than it lasts, as upstream's does.
    let ca = Ca::root(NOW, 3650);
    let short = ca.renewed(None, NOW, 10);
    let base = spec("duration: 2400h");
    let mut secret = issued(&base, Issuer::Ca(&ca), NOW);
    secret.insert(CA_CRT, short.chain()[0].to_pem());
    check(
        &base,
        &seen(&secret, Issuer::Ca(&short)),
        NOW,
        "ChainEndsFirst: its chain ends at 2026-03-11T12:00:00Z, before it would itself at 2026-06-09T12:00:00Z",
    );
    let again = issued(&base, Issuer::Ca(&short), NOW);
    check(&base, &seen(&again, Issuer::Ca(&short)), NOW, "idle");

    // Of a CA nobody knows, the chain decides when to renew, unless that would be ever faster.
    for (chain_days, now, expected) in [
        (60, NOW + days(39), "idle"),
        (
            60,
            NOW + days(41),
            "ChainEndsFirst: its chain ends at 2026-04-30",
        ),
        (20, NOW + days(41), "idle"),
        (20, NOW + days(67), "Renewing: "),
    ] {
        let above = ca.renewed(None, NOW, chain_days);
        secret.insert(CA_CRT, above.chain()[0].to_pem());
        let mut seen = seen(&secret, Issuer::OwnKey);
        seen.authority = certwright::plan::Authority::Unknown;
        check(&base, &seen, now, expected);
    }
}

#[test]
fn renewals_come_when_they_are_due() {
    let ca = Ca::root(NOW, 3650);
    let base = spec("duration: 2160h");
    let secret = issued(&base, Issuer::Ca(&ca), NOW);
    let view = seen(&secret, Issuer::Ca(&ca));
    let Plan::Idle(Some(schedule)) = planned(&base, &view, NOW) else {
        panic!("not idle");
    };
    check(&base, &view, schedule.due() - Duration::SECOND, "idle");
    check(
        &base,
        &view,
        schedule.due(),
        "Renewing: its renewal is due since",
    );
    let disabled = spec("duration: 2160h\nrenewal: {policy: Disabled}");
    assert_eq!(planned(&disabled, &view, NOW + days(100)), Plan::Idle(None));
    check(
        &base,
        &view,
        NOW - days(1),
        "NotYetValid: it is not valid before",
    );

    // The CA moves its window.
    let window = |from, to| AriWindow::new(NOW + days(from), NOW + days(to)).ok();
    let mut moved = view;
    moved.ari = window(70, 72);
    check(&base, &moved, schedule.due(), "idle");
    moved.ari = window(1, 2);
    check(&base, &moved, NOW + Duration::HOUR, "idle");
    check(
        &base,
        &moved,
        NOW + days(2),
        "Renewing: its CA asks for a renewal between 2026-03-02T12:00:00Z",
    );
}

#[test]
fn a_user_is_obeyed_once() {
    let ca = Ca::root(NOW, 3650);
    let base = spec("");
    let first = issued(&base, Issuer::Ca(&ca), NOW);
    let asked = NOW + days(1);
    let mut view = seen(&first, Issuer::Ca(&ca));
    view.requested = Some(asked);
    check(&base, &view, NOW, "idle");
    check(
        &base,
        &view,
        asked,
        "ManuallyTriggered: it was asked for at 2026-03-02T12:00:00Z",
    );
    let second = issued(&base, Issuer::Ca(&ca), asked);
    view.secret = Some(&second);
    check(&base, &view, asked + days(1), "idle");
    // Nobody stops a user from being heard by dating the Secret ahead.
    let mut ahead = first.clone_with_keys();
    let never = "9999-01-01T00:00:00Z".to_owned();
    ahead.annotations.insert(ISSUED_AT.to_owned(), never);
    view.secret = Some(&ahead);
    check(&base, &view, asked, "ManuallyTriggered");
}

#[test]
fn a_user_gets_a_new_key_whatever_the_policy_is() {
    let ca = Ca::root(NOW, 3650);
    let base = spec("privateKey: {algorithm: ECDSA, rotationPolicy: Never}");
    let first = issued(&base, Issuer::Ca(&ca), NOW);
    let asked = NOW + days(1);
    let mut view = seen(&first, Issuer::Ca(&ca));
    (view.requested, view.key_reuse) = (Some(asked), KeyReuse::Forbidden);
    check(&base, &view, asked, "blocked, KeyReuseForbidden");
    view.rekey = true;
    let key = |plan: Plan| match plan {
        Plan::Issue { key, .. } => key,
        other => panic!("{other:?}"),
    };
    assert_eq!(key(planned(&base, &view, asked)), KeySource::Generate);
    // Once: the next renewal keeps that key.
    let second = issued(&base, Issuer::Ca(&ca), asked);
    (view.secret, view.key_reuse) = (Some(&second), KeyReuse::Allowed);
    check(&base, &view, asked + days(1), "idle");
    assert_eq!(
        key(planned(&base, &view, asked + days(70))),
        KeySource::Reuse
    );
}

#[test]
fn failures_make_it_wait_unless_something_changed() {
    let ca = Ca::root(NOW, 3650);
    let base = spec("");
    let mut view = Observed::new(None, Issuer::Ca(&ca).authority());
    view.failures = Some(Failures::new(2, NOW, base.fingerprint()));
    let minutes = |minutes| NOW + Duration::minutes(minutes);
    check(
        &base,
        &view,
        minutes(119),
        "wait until 2026-03-01 14:00:00.0 +00:00:00: there is no Secret yet",
    );
    check(&base, &view, minutes(120), "DoesNotExist");
    // A repaired specification, a clock that was ahead, and a user do not wait.
    check(
        &spec("dnsNames: [x.example.com]"),
        &view,
        minutes(1),
        "DoesNotExist",
    );
    check(&base, &view, NOW - days(1), "DoesNotExist");
    view.requested = Some(minutes(5));
    check(&base, &view, minutes(4), "wait");
    check(&base, &view, minutes(5), "DoesNotExist");
    view.requested = Some(minutes(-5));
    check(&base, &view, minutes(4), "wait");
}

#[test]
fn whoever_undoes_it_again_and_again_makes_no_storm() {
    let ca = Ca::root(NOW, 3650);
    let base = spec("");
    let minutes = |minutes| NOW + Duration::minutes(minutes);
    let lately = [20, 10, 40, 0, 30].map(minutes);
    let mut view = Observed::new(None, Issuer::Ca(&ca).authority());
    view.issued = &lately[..4];
    check(&base, &view, minutes(50), "DoesNotExist");
    view.issued = &lately;
    check(
        &base,
        &view,
        minutes(50),
        "wait until 2026-03-01 13:00:00.0 +00:00:00: there is no Secret yet",
    );
    check(&base, &view, minutes(60), "DoesNotExist");
    // A user's edits are nobody else's.
    let secret = issued(&base, Issuer::Ca(&ca), NOW);
    view.secret = Some(&secret);
    check(
        &spec("dnsNames: [x.example.com]"),
        &view,
        minutes(50),
        "RequestChanged",
    );
}

#[test]
fn keys_are_made_or_kept_as_policy_and_issuer_say() {
    let ca = Ca::root(NOW, 3650);
    let due = NOW + days(80);
    for (policy, reuse, expected) in [
        ("Always", KeyReuse::Allowed, Ok(KeySource::Generate)),
        ("Always", KeyReuse::Forbidden, Ok(KeySource::Generate)),
        ("Never", KeyReuse::Allowed, Ok(KeySource::Reuse)),
        ("Never", KeyReuse::Forbidden, Err(Block::KeyReuse)),
    ] {
        let base = spec(&format!(
            "privateKey: {{algorithm: Ed25519, rotationPolicy: {policy}}}"
        ));
        let secret = issued(&base, Issuer::Ca(&ca), NOW);
        let mut view = seen(&secret, Issuer::Ca(&ca));
        view.key_reuse = reuse;
        let found = match planned(&base, &view, due) {
            Plan::Issue { key, .. } => Ok(key),
            Plan::Blocked(block) => Err(block),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{policy} {reuse:?}");
        // The first one has no key to keep.
        view.secret = None;
        let first = planned(&base, &view, NOW);
        let blocked = matches!(first, Plan::Blocked(_));
        assert_eq!(blocked, expected.is_err(), "{first:?}");
    }
}

#[test]
fn who_does_not_own_the_secret_issues_nothing() {
    let ca = Ca::root(NOW, 3650);
    let base = spec("");
    let mut view = Observed::new(None, Issuer::Ca(&ca).authority());
    (view.certificate, view.owner) = (NAME, Some("older"));
    check(
        &base,
        &view,
        NOW,
        "blocked, SecretOwnedByAnother: the Secret belongs to Certificate older; give each its own spec.secretName",
    );
    view.owner = Some(NAME);
    check(&base, &view, NOW, "DoesNotExist");
}

#[test]
fn ready_is_what_is_valid_and_as_asked_for() {
    let ca = Ca::root(NOW, 3650);
    let base = spec("duration: 2160h");
    let secret = issued(&base, Issuer::Ca(&ca), NOW);
    let view = seen(&secret, Issuer::Ca(&ca));
    let told = |spec: &ValidatedSpec, now| {
        let condition = readiness(spec, &view, now);
        (condition.status, condition.reason.unwrap())
    };
    let ready = |reason: &str| (ConditionStatus::True, reason.to_owned());
    let unready = |reason: &str| (ConditionStatus::False, reason.to_owned());
    assert_eq!(told(&base, NOW), ready("Ready"));
    assert_eq!(told(&base, NOW + days(80)), ready("Ready"), "due is ready");
    assert_eq!(told(&base, NOW + days(91)), unready("Expired"));
    assert_eq!(told(&base, NOW - days(1)), unready("NotYetValid"));
    let edited = spec("duration: 2160h\ncommonName: web");
    assert_eq!(told(&edited, NOW), unready("RequestChanged"));
    let other = Ca::root(NOW, 3650);
    let rotated = readiness(&base, &seen(&secret, Issuer::Ca(&other)), NOW);
    assert_eq!(
        rotated.status,
        ConditionStatus::True,
        "until it is replaced"
    );
}
