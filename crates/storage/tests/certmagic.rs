//! A directory as certmagic writes it, read and written as Secrets.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use certwright_storage::certmagic::read;

const ISSUER: &str = "acme-v02.api.letsencrypt.org-directory";

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn certificate(dir: &Path, issuer: &str, name: &str, san: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new([san.to_owned()]).unwrap();
    let chain = params.self_signed(&key).unwrap().pem();
    let base = format!("certificates/{issuer}/{name}/{name}");
    write(dir, &format!("{base}.crt"), &chain);
    write(dir, &format!("{base}.key"), &key.serialize_pem());
    let meta = format!(r#"{{"sans":["{san}"],"issuer_data":{{"url":"https://ca/cert/1"}}}}"#);
    write(dir, &format!("{base}.json"), &meta);
    chain
}

#[test]
fn certificates_and_accounts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let chain = certificate(dir, ISSUER, "example.com", "example.com");
    certificate(dir, ISSUER, "wildcard_.example.com", "*.example.com");
    certificate(dir, "zerossl", "example.com", "example.com");
    write(dir, &format!("certificates/{ISSUER}/half/half.crt"), &chain);
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let user = format!("acme/{ISSUER}/users/a@example.com/a");
    write(dir, &format!("{user}.key"), &key);
    write(
        dir,
        &format!("{user}.json"),
        r#"{"status":"valid","location":"https://ca/acct/1"}"#,
    );
    write(
        dir,
        &format!("acme/{ISSUER}/challenge_tokens/example.com.json"),
        "{}",
    );
    write(dir, "locks/issue_cert_example.com.lock", "{}");

    let imported = read(dir).unwrap();
    let found: Vec<_> = imported
        .certificates
        .iter()
        .map(|certificate| (certificate.issuer.as_str(), certificate.names[0].as_str()))
        .collect();
    let expected = [
        (ISSUER, "example.com"),
        (ISSUER, "*.example.com"),
        ("zerossl", "example.com"),
    ];
    assert_eq!(found, expected);
    assert_eq!(imported.certificates[0].chain, chain.as_bytes());
    assert_eq!(
        imported.certificates[0].issuer_data["url"],
        "https://ca/cert/1"
    );
    let account = &imported.accounts[0];
    assert_eq!(
        (account.email.as_str(), &account.key[..]),
        ("a@example.com", key.as_bytes())
    );
    assert_eq!(account.registration["location"], "https://ca/acct/1");
    assert_eq!(imported.left_out.len(), 1);
    assert!(imported.left_out[0].path.ends_with("half"));
    assert!(!format!("{imported:?}").contains("PRIVATE"));

    let manifests = imported.to_manifests("web");
    let names: Vec<_> = manifests
        .lines()
        .filter(|line| line.starts_with("  name: "))
        .collect();
    assert_eq!(manifests.matches("---\n").count(), 3);
    for (line, name) in names.iter().zip([
        "example.com-tls",
        "wildcard.example.com-tls",
        "example.com-tls-2",
    ]) {
        assert!(line.contains(name), "{line}");
    }
}

#[test]
fn files_that_are_something_else_are_left_out_with_the_reason() {
    for (ending, text, reason) in [
        ("crt", "no PEM", "PEM"),
        (
            "key",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "expected PRIVATE KEY, found CERTIFICATE",
        ),
        ("json", "[]", "it is no JSON object"),
        ("json", "{}", "sans is no list of names"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        certificate(dir.path(), ISSUER, "a", "a.example");
        write(
            dir.path(),
            &format!("certificates/{ISSUER}/a/a.{ending}"),
            text,
        );
        let imported = read(dir.path()).unwrap();
        assert!(imported.certificates.is_empty());
        let found = &imported.left_out[0].reason;
        assert!(found.contains(reason), "{found}");
    }
    assert!(read(Path::new("/nowhere")).unwrap().certificates.is_empty());
}

#[cfg(unix)]
#[test]
fn links_pipes_and_huge_files_are_left_out() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    certificate(outside.path(), ISSUER, "stolen", "stolen.example");
    let outside = outside.path().join(format!("certificates/{ISSUER}"));
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let certificates = dir.join("certificates");
    for name in ["whole", "linked", "piped", "huge"] {
        certificate(dir, ISSUER, name, "a.example");
    }
    let key = |name: &str| certificates.join(format!("{ISSUER}/{name}/{name}.key"));
    for name in ["linked", "piped"] {
        std::fs::remove_file(key(name)).unwrap();
    }
    symlink(outside.join("stolen/stolen.key"), key("linked")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(key("piped"))
        .status();
    assert!(made.unwrap().success());
    let huge = std::fs::File::create(key("huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    symlink(&outside, certificates.join("issuer")).unwrap();
    symlink(
        outside.join("stolen"),
        certificates.join(ISSUER).join("stolen"),
    )
    .unwrap();
    std::fs::create_dir_all(dir.join("acme/ca")).unwrap();
    symlink(&outside, dir.join("acme/ca/users")).unwrap();
    let imported = read(dir).unwrap();
    assert_eq!(imported.certificates.len(), 1);
    assert!(imported.accounts.is_empty());
    assert_eq!(imported.left_out.len(), 6, "{:?}", imported.left_out);
}

#[test]
fn names_used_before_are_numbered() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path(), ISSUER, "a", "a.example");
    certificate(dir.path(), ISSUER, "b", "a.example-tls-2");
    let mut imported = read(dir.path()).unwrap();
    let again = || read(dir.path()).unwrap().certificates.swap_remove(0);
    imported.certificates.extend((0..300).map(|_| again()));
    let manifests = imported.to_manifests("web");
    let mut names: Vec<_> = manifests
        .lines()
        .filter(|line| line.starts_with("  name: "))
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 302);
}
