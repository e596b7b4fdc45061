//! A directory with manifests and, if wanted, Secrets issued at a fixed instant; and the binary run in it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use certwright::{Documents, Manager, SecretDir};
use time::OffsetDateTime;
use time::macros::datetime;

pub(crate) use crate::support::wait_until;
use crate::support::{all_secrets, check_pair};

/// When the Secrets of a world were issued.
pub(crate) const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

/// A directory of its own.
pub(crate) struct World {
    root: tempfile::TempDir,
}

impl World {
    /// With the manifests of `tests/cli/world`.
    pub(crate) fn new() -> Self {
        let world = Self::empty();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/world");
        for directory in ["manifests", "wrong"] {
            fs::create_dir(world.path(directory)).unwrap();
            for entry in fs::read_dir(from.join(directory)).unwrap() {
                let entry = entry.unwrap();
                let to = world.path(directory).join(entry.file_name());
                fs::copy(entry.path(), to).unwrap();
            }
        }
        world
    }

    pub(crate) fn empty() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { root }
    }

    /// The same with everything issued at [`NOW`].
    pub(crate) fn issued() -> Self {
        let world = Self::new();
        world.issue();
        world
    }

    /// Issues what the manifests ask for, at [`NOW`].
    pub(crate) fn issue(&self) {
        let mut documents = Documents::default();
        documents.read_paths([self.path("manifests")]);
        assert!(documents.problems.is_empty(), "{:?}", documents.problems);
        let mut manager = Manager::new(documents.inventory, []);
        manager.reconcile(NOW);
        let dir = self.secrets();
        for secret in manager.secrets() {
            dir.write(secret).unwrap();
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn secrets(&self) -> SecretDir {
        SecretDir::new(self.path("secrets"))
    }

    /// The binary, in this directory, away from whatever the one who tests has set.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_certwright"));
        command
            .args(arguments)
            .current_dir(self.root.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // An instrumented build counts what it runs through here as well (.ci/coverage).
        if let Some(profiles) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", profiles);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    }
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What an invocation comes to, as one text.
pub(crate) fn transcript(arguments: &[&str], output: &Output) -> String {
    let mut text = format!("$ certwright {}\n{}", arguments.join(" "), stdout(output));
    let errors = stderr(output);
    if !errors.is_empty() {
        text.push_str("[stderr]\n");
        text.push_str(&errors);
    }
    text.push_str(&format!("[exit {}]\n", output.status.code().unwrap_or(-1)));
    text
}

/// Compares a text with `tests/cli/snapshots/NAME.txt`; UPDATE_SNAPSHOTS=1 writes that anew.
pub(crate) fn snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cli/snapshots")
        .join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, known,
        "{name}: UPDATE_SNAPSHOTS=1 writes it anew, if that is how it is to be"
    );
}

/// The binary at work in a world, and what it has told so far.
pub(crate) struct Running {
    pub(crate) child: std::process::Child,
    lines: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    /// Ends with what it reads.
    reader: std::thread::JoinHandle<()>,
}

/// As long as other tests wait.
pub(crate) const WAIT: &str = "--wait=180s";

impl Running {
    pub(crate) fn start(world: &World, arguments: &[&str]) -> Self {
        use std::io::BufRead as _;
        let mut child = world
            .command(arguments)
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let (told, stdout) = (lines.clone(), child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in std::io::BufReader::new(stdout)
                .lines()
                .map_while(Result::ok)
            {
                told.lock().unwrap().push(line);
            }
        });
        Self {
            child,
            lines,
            reader,
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for what is issued in [`World::new`]: the two below the root side by side, in any order.
    pub(crate) fn wait_for_all_issued(&self) {
        for certificate in ["root", "storefront", "tenants"] {
            self.wait_for(&format!(" issued shop/{certificate}:"));
        }
    }

    /// Waits for a line with this in it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_for_nth(text, 1)
    }

    pub(crate) fn wait_for_nth(&self, text: &str, nth: usize) -> String {
        wait_until(text, || {
            let lines = self.lines();
            let mut found = lines.iter().filter(|line| line.contains(text));
            found.nth(nth - 1).cloned()
        })
    }

    /// Asks it to stop, as systemd does; what it ends with.
    pub(crate) fn stop(&mut self) -> (Option<i32>, Vec<String>) {
        self.terminate();
        let status = self.child.wait().unwrap();
        wait_until("all it told", || self.reader.is_finished().then_some(()));
        (status.code(), self.lines())
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// That every Secret in a directory is whole: its key is its certificate's.
pub(crate) fn check_secrets(dir: &SecretDir) -> usize {
    all_secrets(dir).iter().map(check_pair).count()
}
