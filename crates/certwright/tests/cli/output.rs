//! Help, tables, errors and JSON, word for word.

use std::fs;
use std::io::Read as _;

use serde_json::Value;

use crate::world::{World, snapshot, stderr, stdout, transcript};

const AT: &str = "2026-03-05T12:00:00Z";

#[test]
fn help() {
    let world = World::empty();
    let mut all = String::new();
    for command in [
        "",
        "run",
        "check",
        "plan",
        "get",
        "get certificates",
        "describe",
        "describe certificate",
        "renew",
        "explain",
        "forecast",
        "import",
        "completions",
        "man",
    ] {
        let mut arguments: Vec<_> = command.split_whitespace().collect();
        arguments.push("--help");
        let output = world.run(&arguments);
        assert!(output.status.success());
        all.push_str(&transcript(&arguments, &output));
        all.push('\n');
    }
    snapshot("help", &all);
}

#[test]
fn tables() {
    let world = World::issued();
    let mut all = String::new();
    for arguments in [
        vec!["get", "certificates", "--at", AT],
        vec!["get", "issuers", "--at", AT],
        vec!["get", "secrets", "--at", AT],
        vec!["get", "tree", "--at", AT],
        vec![
            "get",
            "certificates",
            "storefront",
            "-n",
            "shop",
            "--at",
            AT,
        ],
        vec!["get", "certificates", "-n", "nowhere"],
        vec![
            "describe",
            "certificate",
            "storefront",
            "--timeline",
            "--at",
            AT,
        ],
        vec!["describe", "issuer", "shop-ca", "--at", AT],
        vec!["plan", "--at", AT],
        vec!["plan", "--secrets", "nowhere", "--at", AT],
        vec!["plan", "--at", "2026-03-24T12:00:00Z", "--changes"],
        vec!["plan", "--at", "2036-01-01T00:00:00Z", "--exit-code"],
        vec!["explain", "www.shop.example", "--at", AT],
        vec!["explain", "other.shop.example", "--at", AT],
        vec![
            "explain",
            "shop.example",
            "--at",
            "2030-01-01T00:00:00Z",
            "--policy",
            "traefik",
        ],
        vec!["explain", "nobody.example", "--at", AT],
        vec!["forecast", "--at", AT, "--horizon", "60d"],
    ] {
        let output = world.run(&arguments);
        all.push_str(&without_serials(&transcript(&arguments, &output)));
        all.push('\n');
    }
    snapshot("tables", &all);
}

/// Serial numbers are other ones every time.
fn without_serials(text: &str) -> String {
    let is_serial = |word: &str| word.len() > 20 && word.matches(':').count() > 8;
    let plain = |word: &str| {
        let (word, comma) = match word.strip_suffix(',') {
            Some(word) => (word, ","),
            None => (word, ""),
        };
        match is_serial(word) {
            true => format!("SERIAL{comma}"),
            false => format!("{word}{comma}"),
        }
    };
    let line = |line: &str| line.split(' ').map(plain).collect::<Vec<_>>().join(" ");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn errors() {
    let world = World::issued();
    let mut all = String::new();
    for arguments in [
        vec!["check", "manifests"],
        vec!["check", "wrong"],
        vec!["check", "wrong/vault.yaml"],
        vec!["check", "wrong/vault.yaml", "--strict"],
        vec!["check", "nowhere.yaml", "manifests"],
        vec!["describe", "certificate", "nobody"],
        vec![
            "get",
            "certificates",
            "--manifests",
            "wrong/mistakes.yaml",
            "--at",
            AT,
        ],
        vec!["plan", "wrong/mistakes.yaml", "--at", AT],
        vec!["explain"],
        vec!["explain", "a", "--at", "yesterday"],
        vec!["forecast", "--quota", "much"],
        vec!["renew", "root", "--drop-old-anchors"],
        vec!["renew", "storefront", "--new-key", "--drop-old-anchors"],
        vec!["chek"],
    ] {
        let output = world.run(&arguments);
        all.push_str(&transcript(&arguments, &output));
        all.push('\n');
    }
    snapshot("errors", &all);
}

/// What scripts may rely on.
#[test]
fn exit_codes_say_yes_no_or_that_the_question_was_wrong() {
    let world = World::issued();
    for (arguments, code) in [
        (vec!["explain", "shop.example", "--at", AT], 0),
        (vec!["explain", "any.shop.example", "--at", AT], 0),
        (vec!["explain", "nobody.example", "--at", AT], 1),
        (vec!["explain", "nobody.example", "--at", AT, "--json"], 1),
        (vec!["explain", "", "--at", AT], 1),
        (vec!["explain"], 2),
        (vec!["explain", "a", "b"], 2),
        (vec!["renew", "storefront"], 0),
        // Nobody is there who does it.
        (vec!["renew", "storefront", "--wait", "10ms"], 1),
        (vec!["renew", "nobody"], 1),
        (vec!["renew"], 2),
        (vec!["renew", "storefront", "--wait", "soon"], 2),
        (vec!["renew", "storefront", "--new-key"], 0),
        (vec!["renew", "root", "--drop-old-anchors"], 2),
    ] {
        let output = world.run(&arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
    }
}

/// Nothing is to be done only where everything could be read.
#[test]
fn a_plan_of_what_cannot_be_read_is_none() {
    let world = World::new();
    let output = world.run(&["plan", "nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output), "");
    let told = stderr(&output);
    assert!(told.starts_with("error: nowhere: "), "{told}");
}

#[test]
fn nothing_to_check_is_told() {
    let world = World::empty();
    world.write("manifests/README.txt", "no manifest\n");
    world.write("manifests/empty.yaml", "---\n# later\n");
    let output = world.run(&["check", "manifests"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        stdout(&output),
        "manifests: warning: there is no document to check\n\
         valid: 1 file, 0 Certificates, 0 issuers, 1 warning, 0 mistakes\n"
    );
    let output = world.run(&["check", "manifests", "--strict"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn standard_input_is_checked() {
    let world = World::new();
    let text = fs::read_to_string(world.path("wrong/mistakes.yaml")).unwrap();
    let output = world.run_with(&["check", "-"], &text);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stdout(&output).contains("<stdin>:7:31: error: spec.dnsNames[1]"),
        "{}",
        stdout(&output)
    );
    let text = fs::read_to_string(world.path("manifests/10-pki.yaml")).unwrap();
    let output = world.run_with(&["check", "-"], &text);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}

#[test]
fn json_is_one_document_or_one_object_per_line() {
    let world = World::issued();
    for (arguments, kind) in [
        (vec!["check", "wrong"], "CheckResult"),
        (vec!["get", "certificates"], "List"),
        (vec!["get", "issuers"], "List"),
        (vec!["get", "secrets"], "List"),
        (vec!["describe", "certificate", "storefront"], "Certificate"),
        (vec!["describe", "issuer", "shop-ca"], "Issuer"),
        (vec!["describe", "secret", "root"], "SecretDescription"),
        (vec!["explain", "shop.example"], "Explanation"),
        (vec!["forecast"], "Forecast"),
    ] {
        let mut arguments = arguments;
        arguments.push("--json");
        let output = world.run(&arguments);
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", stdout(&output)));
        assert_eq!(document["kind"], kind, "{arguments:?}");
    }
    for (arguments, kind) in [
        (vec!["plan", "--json"], "PlannedAction"),
        (
            vec!["renew", "storefront", "tenants", "--json"],
            "RenewalRequest",
        ),
    ] {
        let output = world.run(&arguments);
        let text = stdout(&output);
        assert!(text.lines().count() >= 2, "{arguments:?}: {text}");
        for line in text.lines() {
            let object: Value = serde_json::from_str(line).unwrap();
            assert_eq!(object["kind"], kind, "{arguments:?}");
        }
    }
}

#[test]
fn a_quota_of_nobody_is_told() {
    let world = World::issued();
    let output = world.run(&["forecast", "--at", AT, "--quota", "shop/shop-ka=5/1h"]);
    let expected = "warning: quota of shop/shop-ka: no Certificate names such an issuer\n";
    assert_eq!(stderr(&output), expected);
    let output = world.run(&["forecast", "--at", AT, "--quota", "shop/shop-ca=5/1h"]);
    assert_eq!(stderr(&output), "");
}

#[test]
fn more_than_a_quota_has_room_for_is_told() {
    let world = World::new();
    let more = fs::read_to_string(world.path("manifests/20-servers.yaml")).unwrap();
    let more = more
        .replace("tenants", "more")
        .replace("storefront", "second");
    world.write("manifests/30-more.yaml", &more);
    world.issue();
    let forecast = [
        "forecast",
        "--at",
        AT,
        "--horizon",
        "60d",
        "--earlier",
        "1h",
    ];
    let quota = ["--quota", "shop/shop-ca=2/20d"];
    let output = world.run(&[&forecast[..], &quota].concat());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let told = stdout(&output);
    for line in [
        "at most 4 a day; after smoothing 1, with ",
        "too many: shop/shop-ca: 2 renewals from ",
        "late: shop/",
    ] {
        assert!(told.contains(line), "{line:?} is missing in:\n{told}");
    }
    let more = [
        "--goal",
        "within-quotas",
        "--step",
        "hour",
        "--svg",
        "load.svg",
        "--json",
    ];
    let output = world.run(&[&forecast[..], &quota, &more].concat());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let forecast: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(forecast["overruns"][0]["issuer"], "shop/shop-ca");
    assert_eq!(forecast["overruns"][0]["allowed"], 1);
    assert_eq!(forecast["shortages"][0]["namespace"], "shop");
    assert!(
        fs::read_to_string(world.path("load.svg"))
            .unwrap()
            .starts_with("<svg")
    );

    let output = world.run(&["forecast", "--quota", "shop/shop-ca=1/20d"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("too few to be spread"),
        "{output:?}"
    );
}

#[test]
fn transports_are_checked_and_other_kinds_are_named() {
    let world = World::empty();
    let transport =
        "apiVersion: traefik.io/v1alpha1\nkind: ServersTransport\nmetadata: {name: up}\n";
    world.write(
        "good.yaml",
        &format!("{transport}spec: {{serverName: a.example, rootCAsSecrets: [roots]}}\n"),
    );
    world.write(
        "bad.yaml",
        &format!("{transport}spec: {{servername: a.example}}\n---\nkind: Foo\n"),
    );
    let output = world.run(&["check", "good.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        stdout(&output).contains("warning: spec.rootCAsSecrets: is deprecated"),
        "{output:?}"
    );
    let output = world.run(&["check", "bad.yaml"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = stdout(&output);
    assert!(
        told.contains("bad.yaml:4:8: error: spec.servername: unknown field"),
        "{told}"
    );
    assert!(
        told.contains("bad.yaml:6:7: warning: Foo is not for certwright"),
        "{told}"
    );
}

#[test]
fn colours_are_for_terminals_and_those_who_ask() {
    let world = World::new();
    let plain = stdout(&world.run(&["check", "wrong"]));
    assert!(!plain.contains('\u{1b}'));
    let painted = stdout(&world.run(&["check", "wrong", "--color", "always"]));
    assert!(painted.contains("\u{1b}[1;31merror\u{1b}[0m"));
    let mut command = world.command(&["check", "wrong", "--color", "never"]);
    let output = command.env("CLICOLOR_FORCE", "1").output().unwrap();
    assert_eq!(stdout(&output), plain);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let world = World::issued();
    for arguments in [
        &["completions", "bash"][..],
        &["man"],
        &["check", "manifests"],
        &["get", "tree"],
    ] {
        let mut child = world.command(arguments).spawn().unwrap();
        drop(child.stdout.take());
        let mut errors = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            (status.code(), errors.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let world = World::empty();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = world.run(&["completions", shell]);
        assert!(output.status.success());
        assert!(stdout(&output).contains("forecast"), "{shell}");
    }
    assert!(stdout(&world.run(&["man"])).starts_with(".ie"));
    assert!(world.run(&["man", "--dir", "pages"]).status.success());
    for page in [
        "certwright.1",
        "certwright-run.1",
        "certwright-get-certificates.1",
    ] {
        assert!(world.path("pages").join(page).is_file(), "{page}");
    }
    let mut pages = fs::read_dir(world.path("pages")).unwrap();
    assert!(!pages.any(|page| page.unwrap().file_name().to_string_lossy().contains("help")));
}

/// The key is looked for line by line, as PEM has it and as a manifest would have it.
#[test]
fn no_key_leaves_the_directory() {
    let world = World::issued();
    let dir = world.secrets();
    let mut lines = Vec::new();
    for name in ["root", "storefront-tls", "tenants-tls"] {
        let secret = dir.read("shop", name).unwrap().unwrap();
        let key = String::from_utf8(secret.get("tls.key").unwrap().to_vec()).unwrap();
        let inner = key.lines().filter(|line| !line.starts_with("-----"));
        lines.extend(inner.map(str::to_owned));
        // Damaged in the middle, so that everything that reads it complains.
        let manifest = secret.to_manifest();
        world.write(
            "given/secret.yaml",
            &manifest.replacen("tls.key: ", "tls.key: !!map ", 1),
        );
        world.write(&format!("given/{name}.yaml"), &manifest);
    }
    world.write("given/key.yaml", &format!("a: {}\n b: [\n", lines[0]));
    for arguments in [
        vec!["check", "given", "manifests"],
        vec!["check", "given", "--json"],
        vec!["plan", "given", "manifests"],
        vec!["get", "secrets", "--manifests", "given"],
        vec!["get", "secrets", "--json"],
        vec!["describe", "secret", "root"],
        vec!["describe", "secret", "root", "--json"],
        vec!["describe", "certificate", "root", "--json"],
        vec!["explain", "shop.example", "--json"],
        vec!["forecast", "--json"],
    ] {
        let output = world.run(&arguments);
        let all = stdout(&output) + &stderr(&output);
        for line in &lines {
            assert!(!all.contains(line.as_str()), "{arguments:?}: {all}");
        }
        assert!(!all.contains("PRIVATE KEY"), "{arguments:?}: {all}");
    }
}
