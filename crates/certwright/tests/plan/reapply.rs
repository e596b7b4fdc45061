//! What is rewritten without a new certificate: every kind of drift, told, repaired, and gone.

use certwright::annotation::FINGERPRINT;
use certwright::plan::{Drift, OutputDrift, Plan, reapply};
use certwright_cert_model::secret::{CA_CRT, KEY_DER, TLS_COMBINED, TLS_CRT, TLS_KEY};
use certwright_cert_model::{TlsSecret, ValidatedSpec, pem};
use certwright_issuance::Certificate;
use certwright_issuance::keystore::SecretKeystores;
use time::{Duration, OffsetDateTime};

use crate::world::{Ca, Issuer, NOW, days, issued, planned, seen, spec};

/// Rewrites a Secret until nothing is left to do; what was told on the way.
fn repaired(
    spec: &ValidatedSpec,
    issuer: Issuer<'_>,
    secret: &TlsSecret,
) -> (TlsSecret, Vec<Drift>) {
    let now = NOW + days(1);
    let what = match planned(spec, &seen(secret, issuer), now) {
        Plan::Reapply { what, .. } => what,
        other => panic!("{other:?}"),
    };
    let leaf = |secret: &TlsSecret| {
        let chain = Certificate::read_pem(secret.get(TLS_CRT).unwrap()).unwrap();
        chain[0].clone()
    };
    let copy = secret.clone_with_keys();
    let rewritten = reapply(copy, spec, &seen(secret, issuer), &what).unwrap();
    assert_eq!(leaf(&rewritten), leaf(secret), "nothing is issued");
    let plan = planned(spec, &seen(&rewritten, issuer), now);
    assert!(matches!(plan, Plan::Idle(_)), "{plan:?}");
    (rewritten, what)
}

#[test]
fn edits_of_a_specification_that_issue_nothing() {
    let root = Ca::root(NOW, 3650);
    let ca = root.below(NOW, 1000);
    let base = spec(
        "privateKey: {algorithm: ECDSA}\nsecretTemplate: {labels: {old: '1'}, annotations: {a: '1'}}",
    );
    for (lines, expected) in [
        (
            "secretTemplate: {labels: {new: '2'}, annotations: {a: '1'}}",
            vec![
                "annotation certwright/template-labels is \"old\", but is to be \"new\"",
                "label new is not there, but is to be \"2\"",
                "label old is \"1\", but is to go",
            ],
        ),
        (
            "secretTemplate: {labels: {old: '1'}, annotations: {a: '2'}}",
            vec!["annotation a is \"1\", but is to be \"2\""],
        ),
        (
            "renewBefore: 1h",
            vec![
                "annotation a is \"1\", but is to go",
                "annotation certwright/template-annotations is \"a\", but is to go",
                "annotation certwright/template-labels is \"old\", but is to go",
                "label old is \"1\", but is to go",
            ],
        ),
    ] {
        let secret = issued(&base, Issuer::Ca(&ca), NOW);
        let edited = spec(&format!("privateKey: {{algorithm: ECDSA}}\n{lines}"));
        let (rewritten, what) = repaired(&edited, Issuer::Ca(&ca), &secret);
        let what: Vec<_> = what.iter().map(ToString::to_string).collect();
        assert_eq!(what, expected);
        for (key, value) in &edited.secret_template().labels {
            assert_eq!(rewritten.labels.get(key), Some(value));
        }
    }
}

#[test]
fn outputs_and_encodings_are_rewritten() {
    let root = Ca::root(NOW, 3650);
    let base = spec("privateKey: {algorithm: ECDSA}");
    let both = "additionalOutputFormats: [{type: DER}, {type: CombinedPEM}]";
    let more = spec(&format!("privateKey: {{algorithm: ECDSA}}\n{both}"));
    let output = |key, problem| Drift::Output { key, problem };

    let secret = issued(&base, Issuer::Ca(&root), NOW);
    let (rewritten, what) = repaired(&more, Issuer::Ca(&root), &secret);
    let missing = [TLS_COMBINED, KEY_DER].map(|key| output(key, OutputDrift::Missing));
    assert_eq!(what, missing);
    let fresh = rewritten.get(KEY_DER).unwrap();
    let blocks = pem::read(rewritten.get(TLS_KEY).unwrap()).unwrap();
    assert_eq!(blocks[0].der(), fresh);

    let (_, what) = repaired(&base, Issuer::Ca(&root), &rewritten);
    let unwanted = [TLS_COMBINED, KEY_DER].map(|key| output(key, OutputDrift::Unwanted));
    assert_eq!(what, unwanted);

    let mut edited = rewritten.clone_with_keys();
    edited.insert(TLS_COMBINED, "x");
    let (_, what) = repaired(&more, Issuer::Ca(&root), &edited);
    assert_eq!(what, [output(TLS_COMBINED, OutputDrift::Differs)]);

    let pkcs8 = spec(&format!(
        "privateKey: {{algorithm: ECDSA, encoding: PKCS8}}\n{both}"
    ));
    let (rewritten, what) = repaired(&pkcs8, Issuer::Ca(&root), &rewritten);
    assert_eq!(
        what[0].to_string(),
        "tls.key is a EC PRIVATE KEY, but is to be a PRIVATE KEY"
    );
    assert!(
        rewritten
            .get(TLS_KEY)
            .unwrap()
            .starts_with(b"-----BEGIN PRIVATE KEY")
    );
}

#[test]
fn third_party_edits_are_undone_and_additions_stay() {
    let root = Ca::root(NOW, 3650);
    let ca = root.below(NOW, 1000);
    let base = spec("secretTemplate: {labels: {app: web}}");
    let secret = issued(&base, Issuer::Ca(&ca), NOW);
    let alt_names = "cert-manager.io/alt-names".to_owned();

    let mut edited = secret.clone_with_keys();
    edited.annotations.insert(alt_names.clone(), "x".into());
    edited.labels.remove("app");
    edited.labels.insert("theirs".into(), "1".into());
    edited.annotations.insert("theirs".into(), "1".into());
    edited.insert("theirs", "1");
    let (rewritten, what) = repaired(&base, Issuer::Ca(&ca), &edited);
    assert_eq!(what.len(), 2, "{what:?}");
    assert_eq!(rewritten.annotations[&alt_names], "www.example.com");
    assert_eq!(rewritten.labels["app"], "web");
    assert_eq!(rewritten.labels["theirs"], "1");
    assert_eq!(rewritten.annotations["theirs"], "1");
    assert_eq!(rewritten.get("theirs"), Some(b"1".as_slice()));

    // Additions alone are nobody's business.
    let mut added = secret.clone_with_keys();
    added.labels.insert("theirs".into(), "1".into());
    let plan = planned(&base, &seen(&added, Issuer::Ca(&ca)), NOW);
    assert!(matches!(plan, Plan::Idle(_)), "{plan:?}");
}

#[test]
fn who_undoes_a_rewriting_again_and_again_waits_ever_longer() {
    let root = Ca::root(NOW, 3650);
    let base = spec("secretTemplate: {labels: {app: web}}");
    let mut edited = issued(&base, Issuer::Ca(&root), NOW);
    edited.labels.insert("app".into(), "theirs".into());
    let mut rewritten: Vec<OffsetDateTime> = Vec::new();
    let mut now = NOW;
    let mut pauses = Vec::new();
    for _ in 0..16 {
        let mut view = seen(&edited, Issuer::Ca(&root));
        view.rewritten = &rewritten;
        if let Plan::Contested { until, what, .. } = planned(&base, &view, now) {
            assert_eq!(what.len(), 1);
            pauses.push((until - now).whole_hours());
            now = until;
        }
        let plan = planned(&base, &view, now);
        assert!(matches!(plan, Plan::Reapply { .. }), "{plan:?}");
        rewritten.insert(0, now);
        rewritten.truncate(16);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 32, 32, 32, 32, 32]);
    // A quiet time ends it, and so does a clock that was ahead.
    let mut view = seen(&edited, Issuer::Ca(&root));
    view.rewritten = &rewritten;
    for quiet in [now + days(3), NOW - Duration::minutes(30)] {
        let plan = planned(&base, &view, quiet);
        assert!(matches!(plan, Plan::Reapply { .. }), "{plan:?}");
    }
}

#[test]
fn the_cas_certificates_come_back() {
    let root = Ca::root(NOW, 3650);
    let ca = root.below(NOW, 1000);
    let base = spec("");
    let secret = issued(&base, Issuer::Ca(&ca), NOW);
    let leaf = Certificate::read_pem(secret.get(TLS_CRT).unwrap()).unwrap()[0].to_pem();
    type Edit<'a> = &'a dyn Fn(&mut TlsSecret);
    let edits: [Edit<'_>; 4] = [
        &|secret| assert!(secret.remove(CA_CRT)),
        &|secret| secret.insert(CA_CRT, "x"),
        &|secret| secret.insert(TLS_CRT, leaf.as_str()),
        &|secret| {
            let root = root.chain()[0].to_pem();
            secret.insert(TLS_CRT, format!("{leaf}{}{root}", ca.chain()[0].to_pem()));
            secret.insert(CA_CRT, Ca::root(NOW, 1).chain()[0].to_pem());
        },
    ];
    for edit in edits {
        let mut edited = secret.clone_with_keys();
        edit(&mut edited);
        let (rewritten, what) = repaired(&base, Issuer::Ca(&ca), &edited);
        assert_eq!(what, [Drift::Chain]);
        assert_eq!(rewritten, secret);
    }
    // Unless that was another one.
    let mut edited = issued(&base, Issuer::Ca(&root), NOW);
    assert!(edited.remove(CA_CRT));
    let renewed = root.renewed(None, NOW + days(1), 3650);
    let plan = planned(&base, &seen(&edited, Issuer::Ca(&renewed)), NOW + days(1));
    assert!(matches!(plan, Plan::Issue { .. }), "{plan:?}");
    // What signed itself is its own CA.
    let named = spec("commonName: web");
    let own = issued(&named, Issuer::OwnKey, NOW);
    let mut edited = own.clone_with_keys();
    assert!(edited.remove(CA_CRT));
    let (rewritten, what) = repaired(&named, Issuer::OwnKey, &edited);
    assert_eq!((what, rewritten), (vec![Drift::Chain], own));
    // A root that was renewed above the same intermediate needs no new leaf.
    let renewed = root.renewed(None, NOW, 7300);
    let mut chain = vec![ca.chain()[0].clone()];
    chain.extend_from_slice(renewed.chain());
    let mut view = seen(&secret, Issuer::Ca(&ca));
    view.authority = certwright::plan::Authority::Chain(&chain);
    let plan = planned(&base, &view, NOW);
    assert!(
        matches!(&plan, Plan::Reapply { what, .. } if *what == [Drift::Chain]),
        "{plan:?}"
    );
}

#[test]
fn a_certificate_from_elsewhere_is_adopted_so_that_later_edits_are_seen() {
    let root = Ca::root(NOW, 3650);
    let base = spec("usages: [server auth]");
    let mut secret = issued(&base, Issuer::Ca(&root), NOW);
    secret.annotations.clear();
    secret.labels.clear();
    let (adopted, _) = repaired(&base, Issuer::Ca(&root), &secret);
    assert_eq!(
        adopted.annotations[FINGERPRINT],
        base.fingerprint().to_string()
    );
    let edited = spec("usages: [client auth]");
    let plan = planned(&edited, &seen(&adopted, Issuer::Ca(&root)), NOW);
    assert!(matches!(plan, Plan::Issue { .. }), "{plan:?}");
}

#[test]
fn a_template_cannot_set_what_plans_are_made_by() {
    let root = Ca::root(NOW, 3650);
    let base = spec(
        "secretTemplate: {annotations: {certwright/issued-at: '2000-01-01T00:00:00Z', certwright/temporary: 'true'}}",
    );
    let secret = issued(&base, Issuer::Ca(&root), NOW);
    let mut view = seen(&secret, Issuer::Ca(&root));
    view.requested = Some(NOW);
    let plan = planned(&base, &view, NOW + days(1));
    assert!(matches!(plan, Plan::Idle(_)), "{plan:?}");
}

#[test]
fn keystores_follow_profile_alias_and_password_without_a_new_certificate() {
    let root = Ca::root(NOW, 3650);
    let stores = |pkcs12: &str, jks: &str| {
        spec(&format!(
            "keystores: {{pkcs12: {{create: true, {pkcs12}}}, jks: {{create: true, {jks}}}}}"
        ))
    };
    let base = stores("password: a", "password: a");
    let both = ["keystore.jks", "truststore.jks"];
    let resolved =
        |spec: &ValidatedSpec| SecretKeystores::resolve(spec.keystores(), |_, _| None).unwrap();
    let mut secret = issued(&base, Issuer::Ca(&root), NOW);
    resolved(&base).write(&mut secret, NOW).unwrap();
    for (edited, expected) in [
        (&base, vec![]),
        (
            &stores("password: b", "password: a"),
            vec!["keystore.p12", "truststore.p12"],
        ),
        (
            &stores("password: a, profile: Modern2026", "password: a"),
            vec!["keystore.p12", "truststore.p12"],
        ),
        (
            &stores("password: a", "password: a, alias: other"),
            vec!["keystore.jks"],
        ),
        (
            &spec("keystores: {pkcs12: {create: true, password: a}}"),
            both.to_vec(),
        ),
    ] {
        let outdated = resolved(edited).outdated(&secret).unwrap();
        let mut view = seen(&secret, Issuer::Ca(&root));
        view.keystores = &outdated;
        let what = match planned(edited, &view, NOW) {
            Plan::Idle(_) => Vec::new(),
            Plan::Reapply { what, .. } => what,
            other => panic!("{other:?}"),
        };
        let told: Vec<_> = what
            .iter()
            .map(|drift| match drift {
                Drift::Keystore { key } => key.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, expected);
        let mut next = reapply(secret.clone_with_keys(), edited, &view, &what).unwrap();
        resolved(edited).write(&mut next, NOW).unwrap();
        assert_eq!(resolved(edited).outdated(&next).unwrap(), [""; 0]);
        assert_eq!(next.get(TLS_CRT), secret.get(TLS_CRT));
    }
}
