//! Several machines on one etcd: one issues, all have the Secrets, another takes over.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::world::{Running, WAIT, World, check_secrets, wait_until};

pub(crate) struct Etcd {
    process: Child,
    pub(crate) url: String,
    _dir: tempfile::TempDir,
}

impl Etcd {
    /// One member on loopback; `None`, loudly, if etcd is not installed, unless in CI.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("http", &[])
    }

    fn start_with(scheme: &str, more: &[&str]) -> Option<Self> {
        for _ in 0..10 {
            let mut etcd = Self::launch(scheme, more)?;
            let serves = wait_until("etcd", || {
                // Somebody else may have taken one of its ports before it did.
                match etcd.process.try_wait().unwrap() {
                    Some(_) => Some(false),
                    None => etcd.is_healthy().then_some(true),
                }
            });
            if serves {
                return Some(etcd);
            }
        }
        panic!("etcd never gets its ports");
    }

    /// Whether it is etcd that answers there, and has a leader.
    fn is_healthy(&self) -> bool {
        let Some(address) = self.url.strip_prefix("http://") else {
            // Whoever may ask it is not known here; a port that nobody has may be connected to itself.
            let stream = TcpStream::connect(self.url.strip_prefix("https://").unwrap());
            let ends = stream.map(|stream| (stream.local_addr().ok(), stream.peer_addr().ok()));
            return ends.is_ok_and(|(here, there)| here != there);
        };
        let ask = || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        ask().is_ok_and(|answer| answer.contains("\"health\":\"true\""))
    }

    fn launch(scheme: &str, more: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [client, peer] = ports.each_ref().map(|at| at.local_addr().unwrap());
        let (client, peer) = (format!("{scheme}://{client}"), format!("http://{peer}"));
        drop(ports);
        let process = Command::new("etcd")
            .arg("--data-dir")
            .arg(dir.path())
            .args(["--name", "one", "--initial-cluster", &format!("one={peer}")])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = process else {
            let in_ci = std::env::var("CI").as_deref() == Ok("true");
            assert!(!in_ci, "etcd is not installed");
            eprintln!("SKIPPED: etcd is not installed (Debian: etcd-server)");
            return None;
        };
        Some(Self {
            process,
            url: client,
            _dir: dir,
        })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How many certificates were issued, once it has told of so many.
fn issued(running: &Running, at_least: usize) -> usize {
    if at_least > 0 {
        running.wait_for_nth(" issued ", at_least);
    }
    running
        .lines()
        .iter()
        .filter(|line| line.contains(" issued "))
        .count()
}

#[test]
fn one_issues_all_serve_and_another_takes_over() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let worlds = [World::new(), World::new()];
    let arguments = |name: &'static str| {
        [
            "run",
            "manifests",
            "--etcd",
            &etcd.url,
            "--poll",
            "200ms",
            "--identity",
            name,
            "--shell",
            "--on-change",
            "cat \"$CERTWRIGHT_PATH/tls.crt\" > /dev/null || echo none of >> told; echo $CERTWRIGHT_SECRET >> told",
        ]
        .map(str::to_owned)
    };
    let start = |world: &World, name| {
        let arguments = arguments(name);
        Running::start(world, &arguments.each_ref().map(String::as_str))
    };
    let mut first = start(&worlds[0], "first");
    first.wait_for("leading");
    first.wait_for_all_issued();
    let mut second = start(&worlds[1], "second");
    second.wait_for("loaded: 3 Secrets");
    for world in &worlds {
        wait_until("both machines' copies", || {
            // The CA's key is on neither machine's disk.
            (check_secrets(&world.secrets()) == 2).then_some(())
        });
    }
    let same = |name: &str| {
        worlds[0].secrets().read("shop", name).unwrap()
            == worlds[1].secrets().read("shop", name).unwrap()
    };
    wait_until("the same copies", || {
        (same("storefront-tls") && same("tenants-tls")).then_some(())
    });

    // Nobody is told of what is not on the machine's disk.
    first.wait_for("command shop/storefront-tls");
    first.wait_for("command shop/tenants-tls");
    let told = std::fs::read_to_string(worlds[0].path("told")).unwrap();
    let mut told: Vec<_> = told.lines().collect();
    told.sort();
    assert_eq!(told, ["storefront-tls", "tenants-tls"]);

    // Asked for on the other machine, done by the one that issues.
    let renew = |world: &World| world.run(&["renew", "tenants", "--etcd", &etcd.url, WAIT]);
    let output = renew(&worlds[1]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!((issued(&first, 4), issued(&second, 0)), (4, 0));
    wait_until("the copy on the other machine", || {
        same("tenants-tls").then_some(())
    });

    first.kill();
    second.wait_for("leading");
    let output = renew(&worlds[1]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(issued(&second, 1), 1, "{:?}", second.lines());

    let table = worlds[0].run(&["get", "certificates", "--etcd", &etcd.url]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert_eq!(table.matches(" True ").count(), 3, "{table}");
    assert_eq!(second.stop().0, Some(0));
    drop(etcd);
}

/// The one that issues is stopped in its tracks until another has taken over: what it wakes up to do is refused.
#[test]
fn one_paused_past_its_lease_harms_nothing() {
    use rustix::process::{Pid, Signal, kill_process};
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let worlds = [World::new(), World::new()];
    let run = |name: &'static str| {
        [
            "run",
            "manifests",
            "--etcd",
            &etcd.url,
            "--poll",
            "200ms",
            "--identity",
            name,
        ]
        .map(str::to_owned)
    };
    let run =
        |world: &World, name| Running::start(world, &run(name).each_ref().map(String::as_str));
    let first = run(&worlds[0], "first");
    first.wait_for_all_issued();
    let second = run(&worlds[1], "second");
    second.wait_for("loaded");
    let pid = Pid::from_child(&first.child);
    kill_process(pid, Signal::STOP).unwrap();
    second.wait_for("leading");
    let output = worlds[1].run(&["renew", "tenants", "--etcd", &etcd.url, WAIT]);
    assert!(output.status.success(), "{output:?}");
    kill_process(pid, Signal::CONT).unwrap();
    first.wait_for("following");
    assert_eq!((issued(&first, 3), issued(&second, 1)), (3, 1));
    for world in &worlds {
        wait_until("both machines' copies", || {
            let newest = worlds[1].secrets().read("shop", "tenants-tls").unwrap();
            (world.secrets().read("shop", "tenants-tls").unwrap() == newest).then_some(())
        });
        check_secrets(&world.secrets());
    }
}

const CLIENTS: &str = "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self, namespace: etcd}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: root, namespace: etcd}
spec: {secretName: root, isCA: true, commonName: etcd, privateKey: {algorithm: ECDSA}, issuerRef: {name: self}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: root, namespace: etcd}
spec: {ca: {secretName: root}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: server, namespace: etcd}
spec: {secretName: server, ipAddresses: [127.0.0.1], usages: [digital signature, server auth, client auth],
  privateKey: {algorithm: ECDSA}, issuerRef: {name: root}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: client, namespace: etcd}
spec: {secretName: client, dnsNames: [machine.example], usages: [digital signature, client auth],
  privateKey: {algorithm: ECDSA}, issuerRef: {name: root}}
";

#[test]
fn an_etcd_that_asks_for_certificates_is_given_one() {
    let pki = World::empty();
    pki.write("pki.yaml", CLIENTS);
    let mut documents = certwright::Documents::default();
    documents.read_paths([pki.path("pki.yaml")]);
    let mut manager = certwright::Manager::new(documents.inventory, []);
    manager.reconcile(time::OffsetDateTime::now_utc());
    for secret in manager.secrets() {
        pki.secrets().write(secret).unwrap();
    }
    let file = |name: &str| {
        let path = pki.path("secrets/etcd").join(name);
        path.to_str().unwrap().to_owned()
    };
    let (roots, chain, key) = (
        file("root/tls.crt"),
        file("server/tls.crt"),
        file("server/tls.key"),
    );
    let more = [
        "--client-cert-auth",
        "--trusted-ca-file",
        &roots,
        "--cert-file",
        &chain,
        "--key-file",
        &key,
    ];
    let Some(etcd) = Etcd::start_with("https", &more) else {
        return;
    };
    let world = World::new();
    let (chain, key) = (file("client/tls.crt"), file("client/tls.key"));
    let known = ["--etcd-cert", &chain, "--etcd-key", &key];
    let arguments = |command: &[&str], more: &[&str]| -> Vec<String> {
        let etcd = ["--etcd", &etcd.url, "--etcd-ca", &roots];
        let all = [command, &etcd, more].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let list = |more: &[&str]| {
        let arguments = arguments(&["get", "certificates"], more);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        world.run(&arguments)
    };
    wait_until("etcd", || list(&known).status.success().then_some(()));
    let arguments = arguments(&["run", "manifests"], &known);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut running = Running::start(&world, &arguments);
    running.wait_for_all_issued();
    assert_eq!(running.stop().0, Some(0));
    let table = String::from_utf8(list(&known).stdout).unwrap();
    assert_eq!(table.matches(" True ").count(), 3, "{table}");
    assert_eq!(list(&[]).status.code(), Some(1), "nobody else is let in");
    for half in [&known[..2], &known[2..]] {
        assert_eq!(list(half).status.code(), Some(2), "{half:?}");
    }
}
