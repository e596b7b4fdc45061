//! The example `lifecycle` as a user runs it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn lifecycle(arguments: &[&str]) -> Output {
    example("lifecycle", arguments)
}

fn example(name: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO"))
        .args([
            "run",
            "-q",
            "--locked",
            "-p",
            "certwright",
            "--example",
            name,
            "--",
        ])
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .expect("cargo starts")
}

#[test]
fn a_whole_life_goes_by_and_a_second_one_finds_its_secrets() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().to_str().unwrap();
    let first = lifecycle(&["--out", out]);
    let text = String::from_utf8_lossy(&first.stdout);
    assert!(
        first.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&first.stderr)
    );
    for line in [
        "3 files: 6 Certificates, 2 issuers, 2 ServersTransports",
        "NAME             READY  SECRET          ISSUER              AGE  RENEWS",
        "anything.shop.example  shop/tenants-tls     wildcard  verified",
        "checkout.shop.example  shop/checkout-tls    exact     verified",
        "nobody.invalid         the default          default   refused",
        "refused: spiffe://shop.example/ns/shop/sa/backend is not accepted here",
        "refused: the certificate has none of URI spiffe://shop.example/ns/shop/sa/backend-impostor",
        "refused: no chain leads to a root of trust domain shop.example",
        "handshakes meanwhile, 0 failed",
        "openssl verify -x509_strict",
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
    let svg = fs::read_to_string(Path::new(out).join("timeline.svg")).unwrap();
    assert!(svg.starts_with("<svg"), "{svg}");
    let chain = fs::read(Path::new(out).join("shop/storefront-tls/tls.crt")).unwrap();

    let second = lifecycle(&["--out", out]);
    assert!(second.status.success());
    assert_eq!(
        fs::read(Path::new(out).join("shop/storefront-tls/tls.crt")).unwrap(),
        chain
    );
}

#[test]
fn every_mistake_is_told_with_its_place_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("broken.yaml");
    let out = directory.path().join("out");
    let text = "\
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: ns}
spec:
  secretName: web-tls
  issuerRef: {name: nobody}
  dnsNames: ['*.com']
  duration: 90d
  colour: red
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: other, namespace: ns}
spec: {secretName: other, issuerRef: {name: nobody}, commonName: other}
---
a: [
";
    fs::write(&manifest, text).unwrap();
    let output = lifecycle(&[manifest.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    let place = manifest.display();
    for line in [
        format!("{place}:7:14: spec.dnsNames[0]: \"*.com\": a wildcard needs at least two labels"),
        format!("{place}:8:13: spec.duration: \"90d\": unit \"d\" at byte 2 is not one of"),
        format!("{place}:9:3: spec.colour: unknown field"),
        format!("{place}:16:"),
        "Certificate ns/other names Issuer/nobody, which does not exist in namespace ns".to_owned(),
    ] {
        assert!(errors.contains(&line), "{line:?} is missing in:\n{errors}");
    }
    assert!(!out.exists(), "nothing is written");
}

const PKI: &str = "\
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self, namespace: ns}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: ca, namespace: ns}
spec:
  {secretName: ca, issuerRef: {name: self}, isCA: true, commonName: CA, privateKey: {algorithm: ECDSA, rotationPolicy: ROTATION}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: ca, namespace: ns}
spec: {ca: {secretName: ca}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: ns}
spec: {secretName: web, issuerRef: {name: ca}, dnsNames: [web.example], privateKey: {algorithm: ECDSA}}
";

/// Runs the example with one manifest; exit code, standard output and standard error.
fn with_manifest(text: &str) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("manifest.yaml");
    fs::write(&manifest, text).unwrap();
    let out = directory.path().join("out");
    let output = lifecycle(&[manifest.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn every_handshake_looks_at_the_certificate() {
    let (code, out, _) = with_manifest(&PKI.replace("ROTATION", "Never"));
    assert_eq!(code, Some(0), "{out}");
    // A root with a new key is unknown to the clients that trust the old one.
    let (code, out, errors) = with_manifest(&PKI.replace("ROTATION", "Always"));
    assert_eq!(code, Some(1), "{out}");
    assert!(
        errors.contains("unexpected: web.example: invalid peer certificate"),
        "{errors}"
    );
}

#[test]
fn what_cannot_be_issued_is_told_and_ends_nothing() {
    let more = "---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: nameless, namespace: ns}
spec: {secretName: nameless, issuerRef: {name: self}, dnsNames: [x.example], privateKey: {algorithm: ECDSA}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: acme, namespace: ns}
spec: {acme: {server: 'https://acme.example/directory', privateKeySecretRef: {name: account}}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: public, namespace: ns}
spec: {secretName: public, issuerRef: {name: acme}, dnsNames: [public.example], privateKey: {algorithm: ECDSA}}
";
    let (code, out, errors) = with_manifest(&(PKI.replace("ROTATION", "Never") + more));
    assert_eq!(code, Some(0), "{out}{errors}");
    for line in [
        "not issued: ns/nameless: not signed: ",
        "not issued: ns/public: nobody signs for issuers of this type here; register AcmeIssuers for those with spec.acme, or use selfSigned or ca",
        "ns/public    False",
        "ns/web       True",
        "web.example     ns/web       exact    verified",
    ] {
        assert!(out.contains(line), "{line:?} is missing in:\n{out}");
    }
}

#[test]
fn a_mesh_rotates_without_a_failed_handshake() {
    let output = example("mesh", &["4", "2"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("4 workloads, 2 days in"), "{text}");
    assert!(text.contains(", 0 failed"), "{text}");
}

#[test]
fn without_a_server_nobody_waits_for_handshakes() {
    let client = PKI.replace(
        "dnsNames: [web.example]",
        "uris: ['spiffe://x/y'], usages: [client auth]",
    );
    let (code, out, errors) = with_manifest(&client.replace("ROTATION", "Never"));
    assert_eq!(code, Some(0), "{out}{errors}");
    assert!(out.contains("0 handshakes meanwhile, 0 failed"), "{out}");
}

#[test]
fn what_holds_no_manifest_is_refused_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("latin1.yaml"), b"a: b\nc: \xfc\n").unwrap();
    fs::write(path("text.yaml"), "hello\n").unwrap();
    fs::write(path("empty.yaml"), "").unwrap();
    let namespace = PKI.replace("name: web, namespace: ns", "name: web, namespace: ..");
    fs::write(
        path("namespace.yaml"),
        namespace.replace("ROTATION", "Never"),
    )
    .unwrap();
    for (manifests, message) in [
        ("missing.yaml", "missing.yaml: No such file"),
        (
            "latin1.yaml",
            "latin1.yaml:2: is not UTF-8; save it as UTF-8",
        ),
        ("empty.yaml", "there is no Certificate in the manifests"),
        (
            "namespace.yaml",
            "namespace.yaml:19:34: metadata.namespace: must have only lower-case letters",
        ),
        ("", "latin1.yaml:2: is not UTF-8"),
        (
            "",
            "text.yaml:1:1: kind: must be set; without apiVersion and kind this is no manifest",
        ),
    ] {
        let out = path("out");
        let output = lifecycle(&[&path(manifests), "--out", &out]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{manifests}: {errors}");
        assert!(
            errors.contains(message),
            "{message:?} is missing in:\n{errors}"
        );
        assert!(!Path::new(&out).exists(), "nothing is written");
    }
}

#[test]
fn a_secret_that_is_given_is_used_and_kept_and_given_once() {
    let (_, first) = adopted("");
    let (output, second) = adopted(&first);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        first, second,
        "the manifest's Secret is kept, and written as every other"
    );
    let (output, _) = adopted(&format!("{first}---\n{first}"));
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("Secret default/w is defined twice; remove one"),
        "{errors}"
    );
}

/// Runs the example with a self-signed certificate in the namespace `default`, which no manifest names, and these
/// further manifests; what it said, and its Secret as a manifest.
fn adopted(secret: &str) -> (Output, String) {
    const SELF_SIGNED: &str = "\
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: w}
spec: {secretName: w, issuerRef: {name: self}, commonName: w.example, dnsNames: [w.example], privateKey: {algorithm: ECDSA}}
---
";
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("m.yaml"), format!("{SELF_SIGNED}{secret}")).unwrap();
    let output = lifecycle(&[&path("m.yaml"), "--out", &path("out")]);
    let file = |name: &str| {
        let text = fs::read_to_string(path(&format!("out/default/w/{name}"))).unwrap_or_default();
        text.lines()
            .map(|line| format!("    {line}\n"))
            .collect::<String>()
    };
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: w}}\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        file("tls.crt"),
        file("tls.key"),
    );
    (output, secret)
}

#[test]
fn a_transport_is_judged_by_the_roots_it_names() {
    let other = "
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: other, namespace: ns}
spec: {secretName: other, issuerRef: {name: self}, isCA: true, commonName: Other, privateKey: {algorithm: ECDSA}}
---
apiVersion: traefik.io/v1alpha1
kind: ServersTransport
metadata: {name: upstream, namespace: ns}
spec: SPEC
";
    for (spec, code, message) in [
        ("{serverName: web.example, rootCAs: [{secret: ca}]}", 0, ""),
        (
            "{serverName: web.example, rootCAs: [{secret: other}]}",
            1,
            "unexpected: ns/upstream, as written: Err(\"no chain leads to a known root\")",
        ),
        (
            "{serverName: web.example, rootCAs: [{secret: missing}]}",
            1,
            "unexpected: ns/upstream, as written: Err(\"spec.rootCAs[0] names Secret ns/missing, which is not there\")",
        ),
        (
            "{serverName: web.example, insecureSkipVerify: true, peerCertSANs: [{type: DNSName, value: web.example}]}",
            0,
            "",
        ),
    ] {
        let text = format!("{PKI}{}", other.replace("SPEC", spec));
        let (found, out, errors) = with_manifest(&text.replace("ROTATION", "Never"));
        assert_eq!(found, Some(code), "{spec}: {out}{errors}");
        assert!(errors.contains(message), "{spec}: {errors}");
    }
}
