//! Certificates of Traefik and certmagic become Secrets that a manager keeps.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64ct::{Base64, Encoding as _};
use certwright_cert_model::key::KeyEncoding;
use certwright_issuance::KeyPair;

use crate::world::{Running, World, stderr, stdout};

/// An acme.json with the storefront's certificate, and one that cannot be used.
fn acme_json(world: &World) -> String {
    let secret = world
        .secrets()
        .read("shop", "storefront-tls")
        .unwrap()
        .unwrap();
    let [chain, key] = ["tls.crt", "tls.key"].map(|key| secret.get(key).unwrap().to_vec());
    let account = KeyPair::from_pem(&key).unwrap();
    let account = account.to_der(KeyEncoding::Pkcs8).unwrap();
    let [chain, key, account] = [chain.as_slice(), &key, &account].map(Base64::encode_string);
    serde_json::json!({
        "letsencrypt": {
            "Account": {
                "Email": "a@example.com",
                "Registration": {
                    "body": {"status": "valid", "contact": ["mailto:a@example.com"]},
                    "uri": "https://ca.test/acct/1",
                },
                "PrivateKey": account,
                "KeyType": "4096",
            },
            "Certificates": [
                {
                    "domain": {"main": "shop.example", "sans": ["www.shop.example"]},
                    "certificate": chain, "key": key, "Store": "default",
                },
                {"domain": {"main": "broken.example"}, "certificate": chain, "key": "", "Store": "default"},
            ],
        },
    })
    .to_string()
}

#[test]
fn traefiks_file_becomes_secrets_that_are_kept() {
    let world = World::issued();
    world.write("acme.json", &acme_json(&world));
    let import = [
        "import",
        "acme.json",
        "--secrets",
        "imported",
        "-n",
        "shop",
        "--manifests",
        "written",
        "--issuer",
        "shop-ca",
    ];
    let dry = world.run(&[&import[..], &["--dry-run"]].concat());
    assert!(dry.status.success(), "{dry:?}");
    assert!(!world.path("imported").exists() && !world.path("written").exists());

    let output = world.run(&import);
    assert!(output.status.success(), "{output:?}");
    let table = stdout(&output);
    assert!(table.contains("shop/shop.example-tls"), "{table}");
    assert!(table.contains("shop/acme-account-letsencrypt"), "{table}");
    assert!(
        stderr(&output).contains("left out: [letsencrypt].Certificates[1]"),
        "{output:?}"
    );
    for key in ["shop.example-tls", "acme-account-letsencrypt"] {
        let path = world.path("imported/shop").join(key).join("tls.key");
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    // The CA comes along, as it would be in a real place; then nothing is to be issued.
    let imported = certwright::SecretDir::new(world.path("imported"));
    imported
        .write(&world.secrets().read("shop", "root").unwrap().unwrap())
        .unwrap();
    fs::copy(
        world.path("manifests/10-pki.yaml"),
        world.path("written/pki.yaml"),
    )
    .unwrap();
    let at = "2026-03-05T12:00:00Z";
    let plan = world.run(&["plan", "written", "--secrets", "imported", "--at", at]);
    let plan = stdout(&plan);
    let row = plan
        .lines()
        .find(|line| line.starts_with("shop/shop.example-tls"));
    // Nothing is issued; the bundle of anchors is put beside it.
    assert!(row.unwrap().contains("rewrite   now"), "{plan}");
    let again = world.run(&import);
    assert!(stdout(&again).contains("there already"), "{again:?}");
    assert!(stdout(&again).contains("\n0 manifests"), "{again:?}");

    // What was changed since is not lost.
    let mut secret = imported.read("shop", "shop.example-tls").unwrap().unwrap();
    secret.insert("tls.key", "mine");
    imported.write(&secret).unwrap();
    let refused = world.run(&import);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stdout(&refused).contains("refused"), "{refused:?}");
}

#[test]
fn certmagics_directory_becomes_secrets_that_are_served() {
    let world = World::issued();
    let secret = world
        .secrets()
        .read("shop", "storefront-tls")
        .unwrap()
        .unwrap();
    let place =
        "caddy/certificates/acme-v02.api.letsencrypt.org-directory/shop.example/shop.example";
    for (extension, key) in [("crt", "tls.crt"), ("key", "tls.key")] {
        let text = String::from_utf8(secret.get(key).unwrap().to_vec()).unwrap();
        world.write(&format!("{place}.{extension}"), &text);
    }
    world.write(
        &format!("{place}.json"),
        r#"{"sans": ["shop.example", "www.shop.example"], "issuer_data": {}}"#,
    );
    let account = "caddy/acme/acme-v02.api.letsencrypt.org-directory/users/a@example.com/a";
    let key = fs::read_to_string(world.path(&format!("{place}.key"))).unwrap();
    world.write(&format!("{account}.key"), &key);
    world.write(
        &format!("{account}.json"),
        r#"{"status": "valid", "contact": ["mailto:a@example.com"], "location": "https://ca.test/acct/1"}"#,
    );
    let output = world.run(&["import", "caddy", "--secrets", "imported"]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        stdout(&output).contains("default/shop.example-tls"),
        "{output:?}"
    );
    let account = "acme-account-acme-v02.api.letsencrypt.org-directory";
    let imported = certwright::SecretDir::new(world.path("imported"));
    let account = imported.read("default", account).unwrap().unwrap();
    assert_eq!(account.get("tls.key"), Some(key.as_bytes()));
    let location = account.annotations.get("certwright/acme-account");
    assert_eq!(location.map(String::as_str), Some("https://ca.test/acct/1"));
    let at = "2026-03-05T12:00:00Z";
    let why = world.run(&[
        "explain",
        "shop.example",
        "--secrets",
        "imported",
        "--at",
        at,
    ]);
    assert!(
        stdout(&why).contains("default/shop.example-tls is served"),
        "{why:?}"
    );
    // A manager without a Certificate for it leaves it alone.
    let mut running = Running::start(&world, &["run", "manifests", "--secrets", "imported"]);
    running.wait_for("issued shop/tenants");
    // Nobody writes beside one that keeps the directory; looking is no writing.
    let import = ["import", "caddy", "--secrets", "imported", "--force"];
    let refused = world.run(&import);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let kept_by = format!("imported is kept by process {}", running.child.id());
    assert!(stderr(&refused).contains(&kept_by), "{refused:?}");
    assert!(
        world
            .run(&[&import[..], &["--dry-run"]].concat())
            .status
            .success()
    );
    assert_eq!(running.stop().0, Some(0));
    let kept = certwright::SecretDir::new(world.path("imported"));
    let kept = kept.read("default", "shop.example-tls").unwrap().unwrap();
    assert_eq!(kept.get("tls.crt"), secret.get("tls.crt"));
}

#[test]
fn pairs_of_the_file_provider_become_secrets() {
    let world = World::issued();
    let secrets = world.path("secrets/shop");
    world.write(
        "traefik.yaml",
        "tls:\n  certificates:\n    - certFile: secrets/shop/tenants-tls/tls.crt\n      keyFile: \
         secrets/shop/tenants-tls/tls.key\n    - certFile: secrets/shop/tenants-tls/tls.crt\n      keyFile: \
         secrets/shop/root/tls.key\n",
    );
    let inline =
        |name: &str| fs::read_to_string(secrets.join("storefront-tls").join(name)).unwrap();
    let (chain, key) = (inline("tls.crt"), inline("tls.key"));
    world.write(
        "traefik.toml",
        &format!("[[tls.certificates]]\ncertFile = \"\"\"\n{chain}\"\"\"\nkeyFile = \"\"\"\n{key}\"\"\"\n"),
    );
    let output = world.run(&["import", "traefik.yaml", "--secrets", "imported"]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        stdout(&output).contains("default/wildcard.shop.example-tls"),
        "{output:?}"
    );
    assert_eq!(
        stderr(&output),
        "warning: left out: traefik.yaml:5:7: tls.certificates[1]: the key is not that of the certificate\n"
    );
    let output = world.run(&["import", "traefik.toml", "--secrets", "imported"]);
    assert!(
        stdout(&output).contains("default/shop.example-tls"),
        "{output:?}"
    );
    let at = "2026-03-05T12:00:00Z";
    let why = world.run(&[
        "explain",
        "x.shop.example",
        "--secrets",
        "imported",
        "--at",
        at,
    ]);
    assert!(
        stdout(&why).contains("default/wildcard.shop.example-tls is served"),
        "{why:?}"
    );
}

#[test]
fn names_of_every_form_are_asked_for_by_what_is_written() {
    let world = World::new();
    world.write(
        "manifests/30-mixed.yaml",
        "apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: mixed, namespace: shop}
spec:
  secretName: mixed
  commonName: Mixed
  dnsNames: [mixed.example]
  ipAddresses: [192.0.2.1, '2001:db8::1']
  uris: ['spiffe://shop.example/mixed']
  emailAddresses: [a@shop.example]
  issuerRef: {name: shop-ca}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: workload, namespace: shop}
spec:
  secretName: workload
  privateKey: {algorithm: Ed25519}
  uris: ['spiffe://shop.example/workload']
  issuerRef: {name: shop-ca}
",
    );
    world.issue();
    let pair = |name: &str| {
        let place = format!("secrets/shop/{name}/tls");
        format!("    - {{certFile: {place}.crt, keyFile: {place}.key}}\n")
    };
    let pairs = pair("mixed") + &pair("workload");
    world.write("traefik.yaml", &format!("tls:\n  certificates:\n{pairs}"));
    let import =
        "import traefik.yaml --secrets imported -n shop --manifests written --issuer shop-ca";
    let output = world.run(&import.split(' ').collect::<Vec<_>>());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stderr(&output), "");
    let table = stdout(&output);
    let mixed = "mixed.example spiffe://shop.example/mixed a@shop.example 192.0.2.1 2001:db8::1";
    assert!(table.contains(mixed), "{table}");

    let imported = certwright::SecretDir::new(world.path("imported"));
    let root = world.secrets().read("shop", "root").unwrap().unwrap();
    imported.write(&root).unwrap();
    let pki = world.path("manifests/10-pki.yaml");
    fs::copy(pki, world.path("written/pki.yaml")).unwrap();
    let plan = "plan written --secrets imported --at 2026-03-05T12:00:00Z";
    let plan = world.run(&plan.split(' ').collect::<Vec<_>>());
    assert_eq!(stderr(&plan), "");
    let plan = stdout(&plan);
    for name in ["mixed.example-tls", "spiffe---shop.example-workload-tls"] {
        let name = format!("shop/{name} ");
        let row = plan.lines().find(|line| line.starts_with(&name));
        // Nothing is issued; the bundle of anchors is put beside it.
        assert!(row.is_some_and(|row| row.contains("rewrite ")), "{plan}");
    }
}

#[test]
fn what_holds_nothing_is_no_import() {
    let world = World::new();
    let output = world.run(&["import", "manifests/10-pki.yaml", "--secrets", "imported"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "error: nothing to import in manifests/10-pki.yaml: it has no certificate and no account\n"
    );
    assert!(!world.path("imported").exists());
}

/// Somebody left out the first line and the last.
#[test]
fn a_key_that_is_no_pem_is_not_shown() {
    let world = World::issued();
    let key = fs::read_to_string(world.path("secrets/shop/tenants-tls/tls.key")).unwrap();
    let lines: Vec<_> = key.lines().filter(|line| !line.contains("-----")).collect();
    let indented: String = lines
        .iter()
        .map(|line| format!("        {line}\n"))
        .collect();
    world.write(
        "traefik.yaml",
        &format!(
            "tls:\n  certificates:\n    - certFile: secrets/shop/tenants-tls/tls.crt\n      keyFile: |\n{indented}"
        ),
    );
    let output = world.run(&["import", "traefik.yaml", "--secrets", "imported"]);
    let told = stdout(&output) + &stderr(&output);
    assert!(told.contains("left out: traefik.yaml:3:7"), "{told}");
    assert!(!lines.iter().any(|line| told.contains(line)), "{told}");
}
