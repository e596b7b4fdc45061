//! `renew`: what is asked for by hand, by whatever clock and whoever dies in between.

use std::fs;
use std::process::Output;

use certwright::annotation::REVISION;
use certwright_cert_model::TlsSecret;
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
use certwright_issuance::Certificate;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::acme;
use crate::machines::Etcd;
use crate::server::FakeServer;
use crate::support::check_pair;
use crate::world::{Running, WAIT, World, check_secrets, stderr, stdout, wait_until};

const RUN: [&str; 3] = ["run", "manifests", "--poll=100ms"];

fn secret(world: &World, name: &str) -> TlsSecret {
    world.secrets().read("shop", name).unwrap().unwrap()
}

fn key(world: &World, name: &str) -> Vec<u8> {
    secret(world, name).get(TLS_KEY).unwrap().to_vec()
}

fn leaf(world: &World, name: &str) -> Certificate {
    let chain = Certificate::read_pem(secret(world, name).get(TLS_CRT).unwrap()).unwrap();
    chain[0].clone()
}

fn revision(secret: &TlsSecret) -> u32 {
    secret.annotations[REVISION].parse().unwrap()
}

fn anchors(world: &World, name: &str) -> Vec<Certificate> {
    let secret = secret(world, name);
    Certificate::read_pem(secret.get(certwright::TRUST_BUNDLE).unwrap()).unwrap()
}

/// What is asked for a Certificate, as it is written down.
fn request(world: &World, name: &str) -> Option<String> {
    fs::read_to_string(world.path("secrets/.renew/shop").join(name)).ok()
}

fn wait_for_the_end(world: &World, name: &str) {
    wait_until("the end of the request", || {
        request(world, name).is_none().then_some(())
    });
}

#[track_caller]
fn is_done(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_key_stays_until_a_new_one_is_asked_for() {
    let world = World::new();
    let mut running = Running::start(&world, &RUN);
    running.wait_for_all_issued();
    let before = [key(&world, "tenants-tls"), key(&world, "storefront-tls")];
    is_done(&world.run(&["renew", "tenants", WAIT]));
    assert_eq!(key(&world, "tenants-tls"), before[0]);
    let output = world.run(&["renew", "--new-key", "tenants", "storefront", WAIT]);
    is_done(&output);
    assert_eq!(
        stdout(&output),
        "Certificate shop/tenants is to be renewed with a new key.\n\
         Certificate shop/storefront is to be renewed with a new key.\n\
         Certificate shop/tenants is renewed.\n\
         Certificate shop/storefront is renewed.\n"
    );
    assert_ne!(key(&world, "tenants-tls"), before[0]);
    assert_ne!(key(&world, "storefront-tls"), before[1]);
    // Asked for once: the next one keeps it.
    let new = key(&world, "tenants-tls");
    is_done(&world.run(&["renew", "tenants", WAIT]));
    assert_eq!(key(&world, "tenants-tls"), new);
    assert_eq!(revision(&secret(&world, "tenants-tls")), 4);
    assert_eq!(running.stop().0, Some(0));
    check_secrets(&world.secrets());
}

/// Nobody runs meanwhile, and what was asked for is written down as if by an earlier version at first.
#[test]
fn who_asks_for_less_later_takes_nothing_back() {
    let world = World::issued();
    let before = [key(&world, "tenants-tls"), key(&world, "storefront-tls")];
    let at = OffsetDateTime::now_utc() - Duration::MINUTE;
    let at = at.format(&Rfc3339).unwrap();
    let old = format!("{at} storefront-tls\n");
    world.write("secrets/.renew/shop/storefront", &old);
    let ask = |arguments: &[&str]| {
        let output = world.run(&[&["renew", "--json"], arguments].concat());
        is_done(&output);
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(object["dropOldAnchors"], false);
        let at = object["at"].as_str().unwrap().to_owned();
        (at, object["newKey"].as_bool().unwrap())
    };
    let (first, new) = ask(&["--new-key", "tenants"]);
    assert!(new);
    let (second, new) = ask(&["tenants"]);
    assert!(new && second > first, "{first} {second}");
    let (first, new) = ask(&["storefront"]);
    assert!(!new && first > at, "{at} {first}");
    let (second, new) = ask(&["--new-key", "storefront"]);
    assert!(new && second > first, "{first} {second}");
    let mut running = Running::start(&world, &RUN);
    for (name, before) in [("tenants", &before[0]), ("storefront", &before[1])] {
        wait_for_the_end(&world, name);
        assert_ne!(&key(&world, &format!("{name}-tls")), before);
    }
    assert_eq!(running.stop().0, Some(0));
}

/// What counts is the clock of the process that issues, whatever the one who asks believes.
#[test]
fn clocks_may_be_apart() {
    let world = World::new();
    let running = Running::start(&world, &RUN);
    running.wait_for_all_issued();
    for (times, minutes) in [-30, 30, -1, 1].into_iter().enumerate() {
        let before = secret(&world, "tenants-tls");
        let at = OffsetDateTime::now_utc() + Duration::minutes(minutes);
        // As a version writes it that knows no more.
        let text = format!("{} tenants-tls\n", at.format(&Rfc3339).unwrap());
        world.write("asked", &text);
        fs::create_dir_all(world.path("secrets/.renew/shop")).unwrap();
        fs::rename(
            world.path("asked"),
            world.path("secrets/.renew/shop/tenants"),
        )
        .unwrap();
        wait_for_the_end(&world, "tenants");
        let after = secret(&world, "tenants-tls");
        assert_eq!(revision(&after), revision(&before) + 1, "{minutes}, once");
        let line = running.wait_for_nth("asked shop/tenants: for a new certificate", times + 1);
        assert!(!line.contains("key"), "{line}");
    }
}

/// What was ordered before somebody asked may be what is wrong with it.
#[test]
fn an_order_that_is_under_way_is_no_answer() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(FakeServer::start());
    let world = acme::world(&server.directory(), "[{http01: {}}]");
    let more = ["--http-challenges=127.0.0.1:0", "--acme-roots=roots.pem"];
    let running = Running::start(&world, &[&RUN[..], &more].concat());
    running.wait_for("issued default/one");
    server.state().processing = u32::MAX;
    let manifest = fs::read_to_string(world.path("manifests/acme.yaml")).unwrap();
    let manifest = manifest.replace("[one.", "[two.example.test, one.");
    world.write("manifests/acme.yaml", &manifest);
    running.wait_for_nth("ordered default/one", 2);
    let mut asked = Running::start(&world, &["renew", "one", WAIT]);
    wait_until("a request in hand", || {
        let text = fs::read_to_string(world.path("secrets/.renew/default/one"));
        text.ok().filter(|text| text.contains("taken="))
    });
    // The order comes to its end.
    server.state().processing = 1;
    running.wait_for_nth("issued default/one", 2);
    assert!(asked.child.wait().unwrap().success());
    let secret = world.secrets().read("default", "one").unwrap().unwrap();
    assert_eq!(revision(&secret), 3, "{:?}", running.lines());
}

#[test]
fn what_somebody_gives_up_is_not_called_done() {
    let world = World::issued();
    let mut asked = Running::start(&world, &["renew", "tenants", WAIT]);
    asked.wait_for("Certificate shop/tenants is to be renewed.");
    fs::remove_file(world.path("secrets/.renew/shop/tenants")).unwrap();
    assert_eq!(asked.child.wait().unwrap().code(), Some(1));
}

#[test]
fn anchors_are_dropped_of_cas_that_sign_themselves_and_of_no_other() {
    let world = World::issued();
    let more = fs::read_to_string(world.path("manifests/20-servers.yaml")).unwrap();
    let more = more
        .replace("storefront", "below")
        .replace("tenants", "more")
        .replace(
            "secretName",
            "isCA: true\n  commonName: Below\n  secretName",
        );
    world.write("manifests/30-more.yaml", &more);
    for (name, code, expected) in [
        ("root", 0, ""),
        ("storefront", 1, "Certificate shop/storefront is no CA"),
        (
            "below",
            1,
            "Certificate shop/below is signed by Issuer shop-ca",
        ),
    ] {
        let output = world.run(&["renew", name, "--new-key", "--drop-old-anchors"]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(stderr(&output).contains(expected), "{output:?}");
        assert_eq!(request(&world, name).is_some(), code == 0, "{name}");
    }
    let output = world.run(&["renew", "root", "--drop-old-anchors"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

/// The process is killed when it has the request in hand, and when the CA has its new key.
#[test]
fn nothing_trusts_the_old_key_of_a_ca_whoever_dies_in_between() {
    let world = World::new();
    let mut running = Running::start(&world, &RUN);
    running.wait_for_all_issued();
    let (old_key, old) = (key(&world, "root"), leaf(&world, "root"));
    is_done(&world.run(&["renew", "root", "--new-key", "--drop-old-anchors"]));
    wait_until("a request in hand", || {
        // Or done, if nobody looked for so long.
        let text = request(&world, "root");
        text.is_none_or(|text| text.contains("taken="))
            .then_some(())
    });
    running.kill();
    let mut running = Running::start(&world, &RUN);
    let new_key = wait_until("another key", || {
        Some(key(&world, "root")).filter(|key| *key != old_key)
    });
    running.kill();
    let mut running = Running::start(&world, &RUN);
    wait_for_the_end(&world, "root");
    let new = leaf(&world, "root");
    for name in ["root", "storefront-tls", "tenants-tls"] {
        check_pair(&secret(&world, name));
        let anchors = anchors(&world, name);
        assert!(anchors.len() == 1 && anchors[0] == new, "{name}");
    }
    assert_ne!(old, new);
    wait_until("nothing to do", || {
        let output = world.run(&["plan", "--changes"]);
        (output.stdout == b"Nothing to do.\n").then_some(())
    });
    assert_eq!(key(&world, "root"), new_key, "nothing is done twice");
    for name in ["storefront-tls", "tenants-tls"] {
        let signer = new.public_key().unwrap();
        leaf(&world, name).verify_signature(&signer).unwrap();
    }
    assert_eq!(running.stop().0, Some(0));
}

/// The machine that issues dies when the CA has its new key; the one that asked takes over.
#[test]
fn another_machine_ends_what_one_began() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let worlds = [World::new(), World::new()];
    let place = ["--etcd", &etcd.url];
    let run = |world: &World, name: &str| {
        let more = ["--lease=5s", "--identity", name];
        Running::start(world, &[&RUN[..], &place, &more].concat())
    };
    let mut first = run(&worlds[0], "first");
    first.wait_for_all_issued();
    let second = run(&worlds[1], "second");
    second.wait_for("loaded: 3 Secrets");
    wait_until("the second machine's copies", || {
        (check_secrets(&worlds[1].secrets()) == 2).then_some(())
    });
    let old = anchors(&worlds[1], "tenants-tls");
    let ask = ["renew", "root", "--new-key", "--drop-old-anchors", WAIT];
    let mut asked = Running::start(&worlds[1], &[&ask[..], &place].concat());
    first.wait_for_nth(" issued shop/root:", 2);
    first.kill();
    second.wait_for("leading");
    assert!(
        asked.child.wait().unwrap().success(),
        "{:?}",
        second.lines()
    );
    asked.wait_for("Certificate shop/root is renewed, and no bundle holds its old anchors.");
    for name in ["storefront-tls", "tenants-tls"] {
        wait_until("a copy that trusts one anchor", || {
            let anchors = anchors(&worlds[1], name);
            (anchors.len() == 1 && anchors != old).then_some(())
        });
    }
    let again = |line: &String| line.contains(" issued shop/root:");
    assert!(!second.lines().iter().any(again), "nothing is done twice");
}
