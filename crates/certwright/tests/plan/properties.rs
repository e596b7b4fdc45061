//! Laws of the plan, and a model of when to issue that is as simple as it can be.

use certwright::KeySource;
use certwright::annotation::{
    CERTIFICATE, FINGERPRINT, ISSUED_AT, SEAL, TEMPLATE_ANNOTATIONS, TEMPLATE_LABELS, TEMPORARY,
};
use certwright::plan::{Authority, Failures, Plan, reapply};
use certwright_cert_model::secret::{CA_CRT, KEY_DER, TLS_CRT, TLS_KEY};
use certwright_cert_model::{TlsSecret, ValidatedSpec};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use crate::world::{Ca, Issuer, NOW, issue, issued, planned, seen, spec};

/// The fields of a specification that the tests vary.
#[derive(Clone, Debug, PartialEq)]
struct Fields {
    issues: Issues,
    keeps: Keeps,
}

/// What is in the fingerprint.
#[derive(Clone, Debug, PartialEq)]
struct Issues {
    dns: Vec<u8>,
    uri: Option<u8>,
    common_name: Option<u8>,
    organization: Option<u8>,
    server: bool,
    duration_hours: u16,
    algorithm: u8,
    issuer: u8,
}

/// What is not.
#[derive(Clone, Debug, PartialEq)]
struct Keeps {
    renew_before_minutes: Option<u16>,
    label: Option<u8>,
    annotation: Option<u8>,
    der: bool,
    combined: bool,
    pkcs8: bool,
    history: u8,
}

impl Fields {
    fn spec(&self) -> ValidatedSpec {
        let Self { issues, keeps } = self;
        let dns: Vec<_> = issues
            .dns
            .iter()
            .map(|n| format!("n{n}.example.com"))
            .collect();
        let mut lines = vec![
            format!("dnsNames: [{}]", dns.join(", ")),
            format!(
                "usages: [{} auth]",
                if issues.server { "server" } else { "client" }
            ),
            format!("duration: {}h", issues.duration_hours),
            format!("issuerRef: {{name: ca{}}}", issues.issuer),
            format!(
                "privateKey: {{rotationPolicy: Always, encoding: {}, {}}}",
                if keeps.pkcs8 { "PKCS8" } else { "PKCS1" },
                [
                    "algorithm: Ed25519",
                    "algorithm: ECDSA",
                    "algorithm: ECDSA, size: 384"
                ][usize::from(issues.algorithm)],
            ),
            format!("revisionHistoryLimit: {}", keeps.history),
        ];
        lines.extend(issues.uri.map(|n| format!("uris: ['spiffe://td/{n}']")));
        lines.extend(issues.common_name.map(|n| format!("commonName: cn{n}")));
        lines.extend(
            issues
                .organization
                .map(|n| format!("subject: {{organizations: [o{n}]}}")),
        );
        lines.extend(
            keeps
                .renew_before_minutes
                .map(|n| format!("renewBefore: {n}m")),
        );
        let mut template = Vec::new();
        template.extend(
            keeps
                .label
                .map(|n| format!("labels: {{l{}: 'v{n}'}}", n % 2)),
        );
        template.extend(
            keeps
                .annotation
                .map(|n| format!("annotations: {{a{}: 'v{n}'}}", n % 2)),
        );
        lines.push(format!("secretTemplate: {{{}}}", template.join(", ")));
        let mut outputs = Vec::new();
        outputs.extend(keeps.der.then_some("{type: DER}"));
        outputs.extend(keeps.combined.then_some("{type: CombinedPEM}"));
        lines.push(format!("additionalOutputFormats: [{}]", outputs.join(", ")));
        spec(&lines.join("\n"))
    }
}

fn issues() -> impl Strategy<Value = Issues> {
    let small = || proptest::option::of(0_u8..3);
    (
        proptest::collection::btree_set(0_u8..5, 1..4),
        (small(), small(), small()),
        any::<bool>(),
        24_u16..200,
        0_u8..3,
        0_u8..2,
    )
        .prop_map(
            |(dns, texts, server, duration_hours, algorithm, issuer)| Issues {
                dns: dns.into_iter().collect(),
                uri: texts.0,
                common_name: texts.1,
                organization: texts.2,
                server,
                duration_hours,
                algorithm,
                issuer,
            },
        )
}

fn keeps() -> impl Strategy<Value = Keeps> {
    (
        proptest::option::of(5_u16..600),
        proptest::option::of(0_u8..4),
        proptest::option::of(0_u8..4),
        any::<[bool; 3]>(),
        1_u8..4,
    )
        .prop_map(
            |(renew_before_minutes, label, annotation, flags, history)| Keeps {
                renew_before_minutes,
                label,
                annotation,
                der: flags[0],
                combined: flags[1],
                pkcs8: flags[2],
                history,
            },
        )
}

fn fields() -> impl Strategy<Value = Fields> {
    (issues(), keeps()).prop_map(|(issues, keeps)| Fields { issues, keeps })
}

/// What somebody else does to a Secret.
fn tamper(secret: &mut TlsSecret, how: u8) {
    let first =
        |map: &std::collections::BTreeMap<String, String>, n: usize| map.keys().nth(n).cloned();
    match how {
        0 => drop(secret.remove(CA_CRT)),
        1 => drop(secret.remove(KEY_DER)),
        2 => drop(first(&secret.labels, 0).and_then(|key| secret.labels.remove(&key))),
        3 => drop(secret.labels.insert("l0".into(), "theirs".into())),
        4 => drop(secret.annotations.insert("a1".into(), "theirs".into())),
        5 => drop(secret.annotations.remove("cert-manager.io/alt-names")),
        6 => drop(
            secret
                .annotations
                .insert("cert-manager.io/email-sans".into(), "x".into()),
        ),
        7 => secret.annotations.clear(),
        _ => {
            let text = secret.get(TLS_CRT).unwrap().to_vec();
            let end = "-----END CERTIFICATE-----\n";
            let text = String::from_utf8(text).unwrap();
            let leaf = text.split_inclusive(end).next().unwrap();
            secret.insert(TLS_CRT, leaf);
        }
    }
}

fn is_idle(plan: &Plan) -> bool {
    matches!(plan, Plan::Idle(_))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_was_issued_is_idle_until_it_is_due(fields in fields(), below: bool) {
        let root = Ca::root(NOW, 3650);
        let ca = if below { root.below(NOW, 1000) } else { root };
        let spec = fields.spec();
        let secret = issued(&spec, Issuer::Ca(&ca), NOW);
        let plan = planned(&spec, &seen(&secret, Issuer::Ca(&ca)), NOW);
        let Plan::Idle(Some(schedule)) = plan else { panic!("{plan:?}") };
        let before = schedule.due() - Duration::SECOND;
        prop_assert!(is_idle(&planned(&spec, &seen(&secret, Issuer::Ca(&ca)), before)));
        let due = planned(&spec, &seen(&secret, Issuer::Ca(&ca)), schedule.due());
        prop_assert!(matches!(due, Plan::Issue { .. }), "{due:?}");
        // Where the Secret is kept does not matter, nor that it is a copy.
        let copy = secret.clone_with_keys();
        prop_assert!(is_idle(&planned(&spec, &seen(&copy, Issuer::Ca(&ca)), NOW)));
    }

    #[test]
    fn whatever_the_fingerprint_covers_issues(old in fields(), new in issues()) {
        prop_assume!(old.issues != new);
        let ca = Ca::root(NOW, 3650);
        let secret = issued(&old.spec(), Issuer::Ca(&ca), NOW);
        let edited = Fields { issues: new, ..old }.spec();
        let plan = planned(&edited, &seen(&secret, Issuer::Ca(&ca)), NOW);
        prop_assert!(matches!(plan, Plan::Issue { .. }), "{plan:?}");
    }

    #[test]
    fn nothing_else_does_and_one_rewriting_settles_it(old in fields(), new in keeps()) {
        let ca = Ca::root(NOW, 3650);
        let secret = issued(&old.spec(), Issuer::Ca(&ca), NOW);
        let edited = Fields { keeps: new, ..old }.spec();
        settles(&edited, &ca, &secret)?;
    }

    #[test]
    fn tampering_around_the_certificate_issues_nothing(
        fields in fields(),
        how in proptest::collection::vec(0_u8..9, 1..5),
    ) {
        let root = Ca::root(NOW, 3650);
        let ca = root.below(NOW, 1000);
        let spec = fields.spec();
        let mut secret = issued(&spec, Issuer::Ca(&ca), NOW);
        for how in how {
            tamper(&mut secret, how);
        }
        settles(&spec, &ca, &secret)?;
    }

    #[test]
    fn whatever_annotations_say_one_step_settles_it(
        fields in fields(),
        which in 0_usize..10,
        value in "[ -~\\n]{0,40}",
    ) {
        let ca = Ca::root(NOW, 3650);
        let spec = fields.spec();
        let mut secret = issued(&spec, Issuer::Ca(&ca), NOW);
        let key = [
            FINGERPRINT, ISSUED_AT, TEMPORARY, TEMPLATE_ANNOTATIONS, TEMPLATE_LABELS, CERTIFICATE, SEAL,
            "cert-manager.io/issuer-name", "cert-manager.io/certificate-name", "cert-manager.io/ip-sans",
        ][which];
        secret.annotations.insert(key.to_owned(), value);
        let next = match planned(&spec, &seen(&secret, Issuer::Ca(&ca)), NOW) {
            Plan::Idle(_) => return Ok(()),
            Plan::Issue { key, .. } => issue(&spec, Issuer::Ca(&ca), Some(&secret), key, NOW),
            Plan::Reapply { what, .. } => {
                let view = seen(&secret, Issuer::Ca(&ca));
                reapply(secret.clone_with_keys(), &spec, &view, &what).unwrap()
            }
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        let plan = planned(&spec, &seen(&next, Issuer::Ca(&ca)), NOW);
        prop_assert!(is_idle(&plan), "{key}: {plan:?}");
    }

    #[test]
    fn tampering_with_key_or_certificate_issues(
        fields in fields(),
        key in any::<bool>(),
        text in "[ -~]{0,80}",
    ) {
        let ca = Ca::root(NOW, 3650);
        let spec = fields.spec();
        let mut secret = issued(&spec, Issuer::Ca(&ca), NOW);
        secret.insert(if key { TLS_KEY } else { TLS_CRT }, text);
        let plan = planned(&spec, &seen(&secret, Issuer::Ca(&ca)), NOW);
        prop_assert!(matches!(plan, Plan::Issue { .. }), "{plan:?}");
    }
}

/// Nothing is issued, and one rewriting leaves nothing to do.
fn settles(spec: &ValidatedSpec, ca: &Ca, secret: &TlsSecret) -> Result<(), TestCaseError> {
    let view = seen(secret, Issuer::Ca(ca));
    let what = match planned(spec, &view, NOW) {
        Plan::Idle(_) => return Ok(()),
        Plan::Reapply { what, .. } => what,
        other => return Err(TestCaseError::fail(format!("{other:?}"))),
    };
    prop_assert!(!what.is_empty());
    let rewritten = reapply(secret.clone_with_keys(), spec, &view, &what).unwrap();
    let plan = planned(spec, &seen(&rewritten, Issuer::Ca(ca)), NOW);
    prop_assert!(is_idle(&plan), "{what:?}, then {plan:?}");
    Ok(())
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    EditIssues(Issues),
    EditKeeps(Keeps),
    /// The issuer fails from now on, or works again.
    Outage(bool),
    Rekey,
    RenewCa,
    Request,
    Tamper(u8),
    Wait(u16),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => issues().prop_map(Event::EditIssues),
        2 => keeps().prop_map(Event::EditKeeps),
        2 => any::<bool>().prop_map(Event::Outage),
        1 => Just(Event::Rekey),
        1 => Just(Event::RenewCa),
        1 => Just(Event::Request),
        2 => (0_u8..7).prop_map(Event::Tamper),
        5 => (0_u16..100).prop_map(Event::Wait),
    ]
}

/// When to issue, without certificates: who asked for what, which CA it was, and when.
struct Model {
    asked: Issues,
    ca: usize,
    issued: OffsetDateTime,
    requested: Option<OffsetDateTime>,
    /// How often in a row, when last, and what was asked for then.
    failed: Option<(u32, OffsetDateTime, Issues)>,
}

impl Model {
    fn waits(&self, fields: &Fields, now: OffsetDateTime) -> bool {
        let Some((times, last, asked)) = &self.failed else {
            return false;
        };
        let hours = 2_i64.pow((times - 1).min(5));
        *asked == fields.issues
            && now < *last + Duration::hours(hours)
            && self.requested.is_none_or(|at| at <= *last)
    }

    fn must_issue(&self, fields: &Fields, ca: usize, now: OffsetDateTime) -> bool {
        let duration = Duration::hours(i64::from(self.asked.duration_hours));
        let lead = match fields.keeps.renew_before_minutes {
            Some(minutes) => Duration::minutes(i64::from(minutes)),
            None => duration / 3,
        };
        let due = self.issued + duration - lead;
        self.asked != fields.issues
            || self.ca != ca
            || self.requested.is_some_and(|at| at > self.issued)
            || now >= due
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn it_issues_when_the_model_does(
        first in fields(),
        events in proptest::collection::vec(event(), 1..25),
    ) {
        let mut fields = first;
        let mut now = NOW;
        let mut cas = vec![Ca::root(now, 36_500)];
        let mut spec = fields.spec();
        let mut secret = issued(&spec, Issuer::Ca(&cas[0]), now);
        let mut model = Model {
            asked: fields.issues.clone(),
            ca: 0,
            issued: now,
            requested: None,
            failed: None,
        };
        let mut outage = false;
        for event in events {
            match event.clone() {
                Event::EditIssues(issues) => fields.issues = issues,
                Event::EditKeeps(keeps) => fields.keeps = keeps,
                Event::Rekey => cas.push(Ca::root(now, 36_500)),
                Event::RenewCa => {
                    let renewed = cas.last().unwrap().renewed(None, now, 36_500);
                    cas.push(renewed);
                }
                Event::Outage(begins) => outage = begins,
                Event::Request => model.requested = Some(now),
                Event::Tamper(how) => tamper(&mut secret, how),
                Event::Wait(hours) => now += Duration::hours(i64::from(hours)),
            }
            spec = fields.spec();
            let ca = cas.last().unwrap();
            let mut view = seen(&secret, Issuer::Ca(ca));
            view.authority = Authority::Chain(ca.chain());
            view.requested = model.requested;
            let fingerprint = |issues: &Issues| {
                let fields = Fields { issues: issues.clone(), keeps: fields.keeps.clone() };
                fields.spec().fingerprint()
            };
            view.failures = model.failed.as_ref().map(|(times, last, asked)| {
                Failures::new(i64::from(*times), *last, fingerprint(asked))
            });
            let must = model.must_issue(&fields, cas.len() - 1, now);
            let waits = model.waits(&fields, now);
            let next = match planned(&spec, &view, now) {
                Plan::Wait { until, .. } => {
                    prop_assert!(must && waits, "waits without a reason after {event:?}");
                    prop_assert!(until > now);
                    now += Duration::SECOND;
                    continue;
                }
                Plan::Issue { .. } if outage => {
                    prop_assert!(must && !waits, "issued without a reason after {event:?}");
                    let times = model.failed.as_ref().map_or(0, |(times, ..)| *times);
                    model.failed = Some((times + 1, now, fields.issues.clone()));
                    now += Duration::SECOND;
                    continue;
                }
                Plan::Issue { key, .. } => {
                    prop_assert!(must && !waits, "issued without a reason after {event:?}");
                    prop_assert_eq!(key, KeySource::Generate);
                    // A user's request of this very second is done by it.
                    Some(issue(&spec, Issuer::Ca(ca), Some(&secret), key, now))
                }
                Plan::Reapply { what, .. } => {
                    prop_assert!(!must, "not issued after {event:?}");
                    Some(reapply(secret.clone_with_keys(), &spec, &view, &what).unwrap())
                }
                Plan::Idle(_) => {
                    prop_assert!(!must, "not issued after {event:?}");
                    None
                }
                other => panic!("{other:?}"),
            };
            if must {
                model = Model {
                    asked: fields.issues.clone(),
                    ca: cas.len() - 1,
                    issued: now,
                    requested: None,
                    failed: None,
                };
            }
            if let Some(next) = next {
                secret = next;
                let mut view = seen(&secret, Issuer::Ca(ca));
                view.requested = model.requested;
                prop_assert!(is_idle(&planned(&spec, &view, now)), "after {event:?}");
            }
            // A moment passes, so that a request is later than what was issued.
            now += Duration::SECOND;
        }
    }
}
