//! Two processes share a store. One holds a lease and writes under it; it is killed, and
//! the other takes over.
//!
//! On files, which needs nothing installed:
//! `cargo run -p certwright-storage --example takeover`
//!
//! On etcd (Debian: `apt-get install etcd-server`), in two terminals:
//! `etcd --data-dir /tmp/takeover-etcd`
//! `cargo run -p certwright-storage --example takeover -- http://127.0.0.1:2379`
//!
//! On etcd the lease has to run out first, and a late write of the dead holder would be
//! refused by its token. On files the kernel frees the store with the process.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_storage::{
    Acquisition, Busy, EtcdOptions, EtcdStorage, FileOptions, FileStorage, Key, Storage, Txn,
};

const TTL: Duration = Duration::from_secs(3);

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [role, name, place] if role == "--replica" => replica(name, place).await,
        [] => {
            let dir = tempfile::tempdir()?;
            direct(&dir.path().join("store").to_string_lossy())
        }
        [endpoint] if endpoint.starts_with("http") => direct(endpoint),
        _ => Err("say nothing, or the URL of an etcd member".into()),
    }
}

/// Starts both, kills the holder, and waits until the other writes.
fn direct(place: &str) -> Outcome<()> {
    let mut one = start("one", place)?;
    hear(&mut one, "wrote")?;
    let mut two = start("two", place)?;
    hear(&mut two, "waits")?;
    println!("killing one");
    one.kill()?;
    one.wait()?;
    let killed = Instant::now();
    hear(&mut two, "wrote")?;
    println!(
        "two took over after {:.1} s",
        killed.elapsed().as_secs_f64()
    );
    two.kill()?;
    two.wait()?;
    Ok(())
}

/// Waits for the lease, then writes under it and keeps it alive until killed.
async fn replica(name: &str, place: &str) -> Outcome<()> {
    if place.starts_with("http") || Path::new(place).join("LOCK").exists() {
        println!("{name} waits");
    }
    let storage = open(place)?;
    let (lock, count) = (Key::new("takeover/lock")?, Key::new("takeover/count")?);
    let mut lease = loop {
        match storage.acquire(&lock, name, TTL).await? {
            Acquisition::Granted(lease) => break lease,
            Acquisition::Held { .. } => tokio::time::sleep(TTL / 10).await,
        }
    };
    println!("{name} holds the lease with token {}", lease.token());
    loop {
        let found = storage.get(&count).await?;
        let text = found.map(|entry| String::from_utf8_lossy(entry.value.as_bytes()).into_owned());
        let next = text.map_or(0, |text| text.parse().unwrap_or(0)) + 1;
        let write = Txn::new()
            .if_held(lease.fence())
            .put(count.clone(), next.to_string().as_str());
        storage.txn(write).await?;
        println!("{name} wrote {next}");
        tokio::time::sleep(lease.ttl() / 3).await;
        storage.keep_alive(&mut lease).await?;
    }
}

fn open(place: &str) -> Outcome<Arc<dyn Storage>> {
    if place.starts_with("http") {
        return Ok(Arc::new(EtcdStorage::new(EtcdOptions::new([place]))?));
    }
    let mut options = FileOptions::default();
    options.busy = Busy::Wait;
    Ok(Arc::new(FileStorage::open(Path::new(place), options)?))
}

fn start(name: &str, place: &str) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    let command = command
        .args(["--replica", name, place])
        .stdout(Stdio::piped());
    Ok(command.spawn()?)
}

/// Passes on what a replica says until it says this.
fn hear(replica: &mut Child, word: &str) -> Outcome<()> {
    let output = replica.stdout.take().ok_or("no output")?;
    let mut reader = BufReader::with_capacity(1, output);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err("the replica ended".into());
        }
        print!("{line}");
        if line.contains(word) {
            replica.stdout = Some(reader.into_inner());
            return Ok(());
        }
    }
}
