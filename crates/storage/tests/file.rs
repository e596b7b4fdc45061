//! The store in a directory, held to the contract, killed and stopped.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_storage::conformance::{Outcome, Step, Subject, run};
use certwright_storage::{Busy, Clock, FileOptions, FileStorage, Key, Storage, StorageError, Txn};
use rustix::process::{Pid, Signal, kill_process};

struct Files {
    dir: PathBuf,
    storage: Option<FileStorage>,
    clock: Clock,
}

impl Files {
    fn open(dir: &Path) -> Self {
        let clock = Clock::manual(Instant::now());
        let mut files = Self {
            dir: dir.to_owned(),
            storage: None,
            clock,
        };
        files.reopen();
        files
    }

    fn reopen(&mut self) {
        self.storage = None;
        let mut options = FileOptions::default();
        options.clock = self.clock.clone();
        // A child that another test is starting has our lock, too, until it becomes its program. Whatever opens a
        // store again waits for that.
        options.busy = Busy::Wait;
        self.storage = Some(FileStorage::open(&self.dir, options).unwrap());
    }
}

impl Subject for Files {
    fn replica(&self) -> Arc<dyn Storage> {
        Arc::new(self.storage.clone().unwrap())
    }

    fn pass(&mut self, time: Duration) -> Step<'_, ()> {
        self.clock.advance(time);
        Box::pin(async {})
    }

    fn compact(&mut self) -> Step<'_, bool> {
        self.storage.as_ref().unwrap().compact();
        Box::pin(async { true })
    }

    fn crash(&mut self) -> Step<'_, bool> {
        self.reopen();
        Box::pin(async { true })
    }
}

#[tokio::test]
async fn conformance() {
    let dir = tempfile::tempdir().unwrap();
    let report = run(&mut Files::open(&dir.path().join("store"))).await;
    assert!(report.passed(), "{report}");
    let skipped = report
        .outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == Outcome::Skipped);
    assert_eq!(skipped.count(), 0, "{report}");
    assert_modes(dir.path().join("store").as_path());
}

#[tokio::test]
async fn wide_modes_are_made_narrow_and_damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path(), Busy::Fail).unwrap();
    storage
        .txn(Txn::new().put(key("v1/a"), "value"))
        .await
        .unwrap();
    drop(storage);
    let file = dir.path().join("data/v1/a.rec");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(dir.path().join("data/v1/README"), "not ours").unwrap();
    std::fs::set_permissions(
        dir.path().join("data/v1/README"),
        PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let storage = open(dir.path(), Busy::Wait).unwrap();
    assert_modes(dir.path());
    drop(storage);

    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = open(dir.path(), Busy::Wait).unwrap_err();
    let expected = format!("{} is damaged: the checksum does not match", file.display());
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn links_and_pipes_are_refused_and_what_they_lead_to_is_left_alone() {
    let outside = tempfile::tempdir().unwrap();
    let precious = outside.path().join("precious");
    std::fs::write(&precious, "precious").unwrap();
    std::fs::set_permissions(&precious, PermissionsExt::from_mode(0o644)).unwrap();
    let pipe = |path: &Path| {
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    };
    for planted in [
        "LOCK",
        "HEAD",
        "txn",
        "data/v1/b.rec",
        "data/v1/link",
        "data/v2",
    ] {
        for is_pipe in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let storage = open(dir.path(), Busy::Fail).unwrap();
            let put = Txn::new().put(key("v1/a"), "value");
            storage.txn(put).await.unwrap();
            drop(storage);
            let path = dir.path().join(planted);
            let _ = std::fs::remove_file(&path);
            match is_pipe {
                true => pipe(&path),
                false => std::os::unix::fs::symlink(&precious, &path).unwrap(),
            }
            let busy = match planted {
                "LOCK" => Busy::Fail,
                _ => Busy::Wait,
            };
            let error = open(dir.path(), busy).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(path.to_str().unwrap()) || planted == "LOCK",
                "{message}"
            );
            assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
            let mode = precious.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644);
        }
    }
}

/// As after a restore that cares for nothing.
#[tokio::test]
async fn what_a_restore_may_bring_along() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path(), Busy::Fail).unwrap();
    for name in ["v1/a", "V1/A"] {
        storage.txn(Txn::new().put(key(name), name)).await.unwrap();
    }
    drop(storage);
    for path in ["", "data", "data/v1", "LOCK", "HEAD", "data/v1/a.rec"] {
        let path = dir.path().join(path);
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    let no_text = std::ffi::OsStr::from_bytes(b"\xff");
    std::fs::create_dir(dir.path().join("data").join(no_text)).unwrap();
    let storage = open(dir.path(), Busy::Wait).unwrap();
    assert_eq!(storage.list("").await.unwrap().entries.len(), 2);
    std::fs::remove_dir(dir.path().join("data").join(no_text)).unwrap();
    assert_modes(dir.path());
    drop(storage);

    let long = std::fs::File::create(dir.path().join("data/v1/long.rec")).unwrap();
    long.set_len(1 << 40).unwrap();
    let error = open(dir.path(), Busy::Wait).unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
}

#[tokio::test]
async fn watches_end_with_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path(), Busy::Fail).unwrap();
    let start = storage.list("").await.unwrap().revision;
    let mut watch = storage.watch("", start).await.unwrap();
    storage.txn(Txn::new().put(key("a"), "1")).await.unwrap();
    drop(storage);
    assert!(watch.next().await.is_some());
    assert!(watch.next().await.is_none());
}

/// What the children below do; not a test by itself.
#[tokio::test]
async fn child() {
    let Ok(role) = std::env::var("STORAGE_CHILD") else {
        return;
    };
    let dir = PathBuf::from(std::env::var("STORAGE_DIR").unwrap());
    match role.as_str() {
        "writes" => writes_forever(&dir).await,
        "holds" => holds_and_writes_later(&dir).await,
        other => panic!("no role {other}"),
    }
}

/// Two keys always together, one alone; says each round once it is acknowledged.
async fn writes_forever(dir: &Path) {
    let storage = open(dir, Busy::Wait).unwrap();
    let found = storage.get(&key("one")).await.unwrap();
    let first = found.map_or(0, |entry| number(entry.value.as_bytes()));
    for round in first + 1.. {
        let text = round.to_string();
        let pair = Txn::new()
            .put(key("v1/a"), text.as_str())
            .put(key("v2/b"), text.as_str());
        storage.txn(pair).await.unwrap();
        storage
            .txn(Txn::new().put(key("one"), text.as_str()))
            .await
            .unwrap();
        say(&text);
    }
}

async fn holds_and_writes_later(dir: &Path) {
    let storage = open(dir, Busy::Fail).unwrap();
    let asked = storage
        .acquire(&key("lock"), "child", Duration::from_secs(1))
        .await;
    let lease = asked.unwrap().granted().unwrap();
    storage
        .txn(Txn::new().put(key("a"), "1").if_held(lease.fence()))
        .await
        .unwrap();
    say("held");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let refused = storage
        .txn(Txn::new().put(key("a"), "2").if_held(lease.fence()))
        .await;
    assert!(!lease.is_held(Instant::now()));
    match refused {
        Err(StorageError::LeaseLost { .. }) => say("refused"),
        other => say(&format!("{other:?}")),
    }
}

#[tokio::test]
async fn two_hundred_killed_writers_lose_and_tear_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut least = 0;
    for kill in 0..200_u64 {
        let mut child = Running::start("writes", dir.path());
        let mut acknowledged = child.line().parse().unwrap();
        // Any moment of a round will do; rounds take from one to some milliseconds.
        let until = Instant::now() + Duration::from_micros(kill * 7919 % 5_000);
        while Instant::now() < until {
            acknowledged = child.line().parse().unwrap();
        }
        acknowledged = child
            .kill()
            .last()
            .map_or(acknowledged, |line| line.parse().unwrap());
        assert!(acknowledged > least);

        let storage = open(dir.path(), Busy::Wait).unwrap();
        let read = async |name: &str| {
            let entry = storage.get(&key(name)).await.unwrap().unwrap();
            number(entry.value.as_bytes())
        };
        let (a, b, one) = (read("v1/a").await, read("v2/b").await, read("one").await);
        assert_eq!(a, b, "kill {kill}");
        assert!(
            one >= acknowledged && one <= acknowledged + 1,
            "kill {kill}: {one}"
        );
        assert!(a == one || a == one + 1, "kill {kill}: {a} and {one}");
        least = one;
        drop(storage);
        assert_modes(dir.path());
    }
}

#[tokio::test]
async fn the_second_process_fails_or_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Running::start("writes", dir.path());
    child.line();
    let error = open(dir.path(), Busy::Fail).unwrap_err();
    let expected = "is open in another process; close that one, or open with Busy::Wait";
    assert!(matches!(error, StorageError::Locked { .. }) && error.to_string().ends_with(expected));
    let path = dir.path().to_owned();
    let waiting = std::thread::spawn(move || open(&path, Busy::Wait).unwrap());
    for _ in 0..20 {
        child.line();
    }
    assert!(!waiting.is_finished());
    child.kill();
    let storage = waiting.join().unwrap();
    assert!(storage.get(&key("one")).await.unwrap().is_some());
}

/// A real lease: this one waits for it to run out.
#[tokio::test]
async fn a_holder_stopped_past_its_lease_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Running::start("holds", dir.path());
    assert_eq!(child.line(), "held");
    let pid = Pid::from_child(&child.process);
    kill_process(pid, Signal::STOP).unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    kill_process(pid, Signal::CONT).unwrap();
    child.input.write_all(b"go on\n").unwrap();
    assert_eq!(child.line(), "refused");
    child.kill();
    let storage = open(dir.path(), Busy::Wait).unwrap();
    let found = storage.get(&key("a")).await.unwrap().unwrap();
    assert_eq!(found.value.as_bytes(), b"1");
}

/// This test program again, as another process.
struct Running {
    process: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

const SAID: &str = "said: ";

impl Running {
    fn start(role: &str, dir: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env("STORAGE_CHILD", role)
            .env("STORAGE_DIR", dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            input,
            output,
        }
    }

    /// The next thing the child says.
    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.output.read_line(&mut line).unwrap(),
                0,
                "the child ended"
            );
            if let Some((_, said)) = line.split_once(SAID) {
                return said.trim_end().to_owned();
            }
        }
    }

    /// Kills the child; what it had said and nobody heard.
    fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let lines = self.output.lines().map_while(Result::ok);
        let said = lines.filter_map(|line| Some(line.split_once(SAID)?.1.to_owned()));
        said.collect()
    }
}

fn say(what: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{SAID}{what}").unwrap();
    output.flush().unwrap();
}

fn open(dir: &Path, busy: Busy) -> Result<FileStorage, StorageError> {
    let mut options = FileOptions::default();
    options.busy = busy;
    FileStorage::open(dir, options)
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

fn assert_modes(dir: &Path) {
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir), 0o700, "{}", dir.display());
    for entry in dir.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_modes(&path);
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}
