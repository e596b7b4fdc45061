//! etcd on loopback: started for one test, killed and restarted by it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Some members, each with a directory of its own.
pub(crate) struct Cluster {
    dir: TempDir,
    members: Vec<Member>,
    flags: Vec<String>,
    scheme: &'static str,
}

struct Member {
    client: u16,
    peer: u16,
    process: Option<Child>,
}

impl Cluster {
    /// A running cluster; `None`, loudly, if etcd is not installed, unless in CI.
    pub(crate) fn start(members: usize) -> Option<Self> {
        Self::start_with(members, "http", |_| Vec::new())
    }

    pub(crate) fn start_with(
        members: usize,
        scheme: &'static str,
        flags: impl FnOnce(&TempDir) -> Vec<String>,
    ) -> Option<Self> {
        if Command::new("etcd").arg("--version").output().is_err() {
            assert_ne!(
                std::env::var("CI").as_deref(),
                Ok("true"),
                "etcd is not installed"
            );
            eprintln!("SKIPPED: etcd is not installed (Debian: etcd-server)");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let flags = flags(&dir);
        // All at once, so that no port is probed twice.
        let listeners: Vec<TcpListener> = (0..2 * members)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|at| at.local_addr().unwrap().port())
            .collect();
        drop(listeners);
        let members = ports.chunks(2).map(|ports| Member {
            client: ports[0],
            peer: ports[1],
            process: None,
        });
        let mut cluster = Self {
            members: members.collect(),
            dir,
            flags,
            scheme,
        };
        for at in 0..cluster.members.len() {
            cluster.restart(at);
        }
        cluster.wait_until_ready();
        Some(cluster)
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        let scheme = self.scheme;
        let each = self.members.iter();
        each.map(|member| format!("{scheme}://127.0.0.1:{}", member.client))
            .collect()
    }

    pub(crate) fn port(&self, at: usize) -> u16 {
        self.members[at].client
    }

    pub(crate) fn kill(&mut self, at: usize) {
        if let Some(mut process) = self.members[at].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// The member that leads, as the others say.
    pub(crate) fn leader(&self) -> usize {
        let status = |at: usize| post(self.port(at), "/v3/maintenance/status", "{}");
        let field = |text: &str, name: &str| {
            let (_, after) = text.split_once(&format!("\"{name}\":\"")).unwrap();
            after.split('"').next().unwrap().to_owned()
        };
        let leader = field(&status(0).unwrap(), "leader");
        let all = 0..self.members.len();
        let mut found = all.filter(|at| field(&status(*at).unwrap(), "member_id") == leader);
        found.next().unwrap()
    }

    /// Starts a member, the first time or again.
    pub(crate) fn restart(&mut self, at: usize) {
        let peers: Vec<String> = self
            .members
            .iter()
            .enumerate()
            .map(|(at, member)| format!("m{at}=http://127.0.0.1:{}", member.peer))
            .collect();
        let member = &mut self.members[at];
        let client = format!("{}://127.0.0.1:{}", self.scheme, member.client);
        let peer = format!("http://127.0.0.1:{}", member.peer);
        let data: PathBuf = self.dir.path().join(format!("m{at}"));
        let mut command = Command::new("etcd");
        if !data.exists() {
            command.args([
                "--initial-cluster",
                &peers.join(","),
                "--initial-cluster-state",
                "new",
            ]);
        }
        let process = command
            .args(["--name", &format!("m{at}")])
            .arg("--data-dir")
            .arg(&data)
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
            .args(["--logger=zap", "--log-outputs=stderr"])
            .args(&self.flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        member.process = Some(process);
    }

    pub(crate) fn wait_until_ready(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        for member in &self.members {
            if member.process.is_none() {
                continue;
            }
            loop {
                // Behind TLS an open port has to do.
                let ready = match self.scheme {
                    "http" => post(member.client, "/v3/kv/range", r#"{"key":"YQ=="}"#)
                        .is_some_and(|answer| answer.contains("200 OK")),
                    _ => TcpStream::connect(("127.0.0.1", member.client)).is_ok(),
                };
                if ready {
                    break;
                }
                assert!(Instant::now() < until, "etcd does not get ready");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for at in 0..self.members.len() {
            self.kill(at);
        }
    }
}

/// A call of the gateway, without the code under test.
pub(crate) fn post(port: u16, path: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
