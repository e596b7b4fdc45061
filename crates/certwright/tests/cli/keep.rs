//! `run` on a directory: commands after changes, metrics, the lock, stops and kills.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::world::{Running, WAIT, World, check_secrets, wait_until};

const RUN: [&str; 6] = [
    "run",
    "manifests",
    "--secrets",
    "secrets",
    "--poll",
    "200ms",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    RUN.iter().chain(more).copied().collect()
}

#[test]
fn a_command_hears_of_every_change_and_stops_nothing() {
    let world = World::new();
    let script = "echo \"$CERTWRIGHT_EVENT $CERTWRIGHT_NAMESPACE/$CERTWRIGHT_SECRET of $CERTWRIGHT_CERTIFICATE\" >> told; \
                  test -s \"$CERTWRIGHT_PATH/tls.crt\" || echo missing >> told; test $CERTWRIGHT_SECRET != root";
    let mut running = Running::start(&world, &with(&["--shell", "--on-change", script]));
    running.wait_for("command-failed shop/root: sh failed: exit status: 1");
    // The two below the root are issued side by side.
    running.wait_for("command shop/tenants-tls: sh is done");
    running.wait_for("command shop/storefront-tls: sh is done");
    let told = || fs::read_to_string(world.path("told")).unwrap();
    let mut lines: Vec<_> = told().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "changed shop/root of root",
            "changed shop/storefront-tls of storefront",
            "changed shop/tenants-tls of tenants",
        ]
    );
    assert_eq!(running.stop().0, Some(0));

    // What is there when it begins is no change.
    let mut running = Running::start(&world, &with(&["--shell", "--on-change", script]));
    running.wait_for("kept shop/tenants");
    world.run(&["renew", "tenants", WAIT]);
    running.wait_for("command shop/tenants-tls");
    assert_eq!(running.stop().0, Some(0));
    assert_eq!(told().lines().count(), 4);
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_what_it_started() {
    let world = World::new();
    let mut running = Running::start(
        &world,
        &with(&[
            "--shell",
            "--on-change",
            "sleep 600 & echo $! >> pids; wait",
            "--on-change-timeout",
            "1s",
        ]),
    );
    running.wait_for("command-failed shop/root: sh took longer than 1s and was ended");
    // The first of the three that came so far before it was ended.
    let pid = wait_until("something it started", || {
        let pids = fs::read_to_string(world.path("pids")).unwrap_or_default();
        pids.split_once('\n').map(|(pid, _)| pid.to_owned())
    });
    wait_until("the end of what it started", || {
        has_ended(&pid).then_some(())
    });
    running.wait_for("command-failed shop/storefront-tls");
    running.wait_for("command-failed shop/tenants-tls");
    assert_eq!(running.stop().0, Some(0));
}

/// The first signal waits for a command that takes its time; the second one waits for nobody.
#[test]
fn a_second_signal_ends_it_at_once_with_what_it_started() {
    let world = World::new();
    let mut running = Running::start(
        &world,
        &with(&[
            "--shell",
            "--on-change",
            "sleep 3600 & echo $! >> pids; wait",
            "--on-change-timeout",
            "1h",
        ]),
    );
    let pid = wait_until("something it started", || {
        let pids = fs::read_to_string(world.path("pids")).unwrap_or_default();
        pids.split_once('\n').map(|(pid, _)| pid.to_owned())
    });
    running.terminate();
    running.wait_for("stopping");
    assert!(running.child.try_wait().unwrap().is_none());
    let (code, lines) = running.stop();
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(
        lines.last().unwrap().contains(" stopped: at once"),
        "{lines:?}"
    );
    wait_until("the end of what it started", || {
        has_ended(&pid).then_some(())
    });
    check_secrets(&world.secrets());
}

/// Each has its own time, however many are due.
#[test]
fn a_stop_waits_for_every_command_that_is_due() {
    let world = World::new();
    let script = "sleep 2; echo $CERTWRIGHT_SECRET >> told";
    let mut running = Running::start(
        &world,
        &with(&[
            "--shell",
            "--on-change",
            script,
            "--on-change-timeout",
            "5s",
        ]),
    );
    running.wait_for_all_issued();
    let (code, lines) = running.stop();
    assert_eq!(code, Some(0), "{lines:?}");
    let told = fs::read_to_string(world.path("told")).unwrap();
    assert_eq!(told.lines().count(), 3, "{lines:?}");
}

#[test]
fn what_a_command_was_not_told_it_is_told_at_the_next_start() {
    let script =
        "test -e go || { echo $$ > pid; exec sleep 3600; }; echo $CERTWRIGHT_SECRET >> told";
    let arguments = with(&[
        "--shell",
        "--on-change",
        script,
        "--on-change-timeout",
        "1h",
    ]);
    for end in ["kill -9", "two signals"] {
        let world = World::new();
        let mut running = Running::start(&world, &arguments);
        running.wait_for_all_issued();
        let pid = wait_until("the first command", || {
            let pid = fs::read_to_string(world.path("pid")).unwrap_or_default();
            pid.trim()
                .parse()
                .ok()
                .and_then(rustix::process::Pid::from_raw)
        });
        if end == "kill -9" {
            running.kill();
            // It goes on alone.
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        } else {
            running.terminate();
            running.wait_for("stopping");
            assert_eq!(running.stop().0, Some(1));
        }
        world.write("go", "");
        let mut running = Running::start(&world, &arguments);
        for secret in ["root", "storefront-tls", "tenants-tls"] {
            running.wait_for(&format!(" command shop/{secret}: sh is done"));
        }
        assert_eq!(running.stop().0, Some(0));
        // And once.
        let mut running = Running::start(&world, &arguments);
        running.wait_for("kept shop/tenants");
        assert_eq!(running.stop().0, Some(0));
        let told = fs::read_to_string(world.path("told")).unwrap();
        assert_eq!(told.lines().count(), 3, "{end}: {told}");
    }
}

/// Nobody may have waited for it yet.
fn has_ended(pid: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat"));
    state.map_or(true, |state| state.contains(") Z "))
}

#[test]
fn words_of_a_command_are_words_and_no_shell_is_asked() {
    let world = World::new();
    let running = Running::start(&world, &with(&["--on-change", "touch a;b $HOME"]));
    running.wait_for("command shop/tenants-tls: touch is done");
    assert!(world.path("a;b").exists() && world.path("$HOME").exists());
    drop(running);
    let running = Running::start(&world, &with(&["--on-change", "/nowhere/at-all"]));
    running.wait_for("kept shop/tenants");
    world.run(&["renew", "tenants"]);
    running.wait_for("command-failed shop/tenants-tls: /nowhere/at-all cannot be run");
    running.wait_for("issued shop/tenants");
}

#[test]
fn metrics_tell_counts_and_times() {
    let world = World::new();
    let running = Running::start(&world, &with(&["--metrics", "127.0.0.1:0", "--json"]));
    let line = running.wait_for("/metrics");
    let address = line
        .split("http://")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    for certificate in ["root", "storefront", "tenants"] {
        wait_until(certificate, || {
            let about = format!("\"about\":\"shop/{certificate}\"");
            let scheduled = |line: &String| line.contains("\"scheduled\"") && line.contains(&about);
            running.lines().iter().any(scheduled).then_some(())
        });
    }
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let metrics = wait_until("three certificates", || {
        let metrics = ask("/metrics");
        let issued = metrics.contains("\ncertwright_outcomes_total{result=\"issued\"} 3\n");
        issued.then_some(metrics)
    });
    assert!(metrics.contains("\ncertwright_leading 1\n"), "{metrics}");
    let value = |name: &str| -> i64 {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    let label = "{namespace=\"shop\",name=\"tenants\"}";
    let renewal = value(&format!("certwright_certificate_renewal_seconds{label}"));
    let expiry = value(&format!("certwright_certificate_expiry_seconds{label}"));
    let day = 86_400;
    assert!((19 * day..=20 * day).contains(&renewal), "{renewal}");
    assert!((29 * day..=30 * day).contains(&expiry), "{expiry}");
    assert!(ask("/healthz").ends_with("ok\n"));
    assert!(ask("/").starts_with("HTTP/1.1 404"));
    for line in running.lines() {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["kind"], "Event");
    }
}

#[test]
fn one_process_keeps_a_directory_and_another_takes_over() {
    let world = World::new();
    let mut first = Running::start(&world, &RUN);
    first.wait_for_all_issued();
    let mut second = Running::start(&world, &RUN);
    let line = second.wait_for("store:");
    let first_id = format!("is kept by process {}", first.child.id());
    assert!(line.contains(&first_id), "{line}");
    first.kill();
    second.wait_for("kept shop/tenants");
    world.run(&["renew", "tenants", WAIT]);
    second.wait_for(" issued ");
    let issued = second
        .lines()
        .into_iter()
        .filter(|line| line.contains(" issued "));
    assert_eq!(issued.count(), 1, "nothing twice: {:?}", second.lines());
    assert_eq!(second.stop().0, Some(0));
}

/// Renewals are asked for all the time, and the process that does them is killed at any moment.
#[test]
fn kill_9_leaves_whole_secrets_and_the_next_start_finishes() {
    let kills = std::env::var("CERTWRIGHT_KILLS").map_or(12, |text| text.parse().unwrap());
    let world = World::new();
    for kill in 0..kills {
        let mut running = Running::start(&world, &RUN);
        running.wait_for("loaded");
        let asked = world.run(&["renew", "storefront", "tenants"]);
        assert!(asked.status.success(), "{asked:?}");
        std::thread::sleep(Duration::from_millis(kill * 137 % 1500));
        running.kill();
        check_secrets(&world.secrets());
    }
    let mut running = Running::start(&world, &RUN);
    wait_until("the end of all requests", || {
        let left = fs::read_dir(world.path("secrets/.renew/shop")).map_or(0, Iterator::count);
        (left == 0).then_some(())
    });
    wait_until("nothing to do", || {
        let output = world.run(&["plan", "--changes"]);
        (output.stdout == b"Nothing to do.\n").then_some(())
    });
    assert_eq!(check_secrets(&world.secrets()), 3);
    assert_eq!(running.stop().0, Some(0));
    let output = world.run(&["plan", "--changes"]);
    assert_eq!(output.stdout, b"Nothing to do.\n");
}

#[test]
fn a_damaged_secret_keeps_no_other_from_being_renewed() {
    let world = World::new();
    let mut running = Running::start(&world, &RUN);
    running.wait_for_all_issued();
    let damaged = world.path("secrets/shop/storefront-tls/..data/.metadata.json");
    fs::write(damaged, "{").unwrap();
    // Asked for first, and read first where a directory lists what was made first.
    assert!(world.run(&["renew", "storefront"]).status.success());
    let output = world.run(&["renew", "tenants", WAIT]);
    assert!(output.status.success(), "{output:?}");
    running.wait_for("store: ");
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn mistakes_in_manifests_stop_nothing_else() {
    let world = World::new();
    let mut running = Running::start(&world, &RUN);
    running.wait_for("issued shop/tenants");
    world.write("manifests/30-more.yaml", "a: [\n---\nkind: Certificate\n");
    running.wait_for("document: manifests/30-more.yaml:");
    let more = fs::read_to_string(world.path("manifests/20-servers.yaml")).unwrap();
    let more = more
        .replace("storefront", "api")
        .replace("tenants", "more")
        .replace("shop.example", "api.example");
    world.write("manifests/40-more.yaml", &more);
    running.wait_for("issued shop/api");
    // What is gone may be what nobody can read any more: it stays asked for until the mistakes are gone.
    fs::remove_file(world.path("manifests/40-more.yaml")).unwrap();
    let line = running.wait_for("unread: still asked for as before");
    assert!(line.contains("Certificate shop/api"), "{line}");
    fs::remove_file(world.path("manifests/30-more.yaml")).unwrap();
    running.wait_for("mended");
    running.wait_for("orphaned shop/api: Secret shop/api-tls stays");
    assert_eq!(running.stop().0, Some(0));
}
