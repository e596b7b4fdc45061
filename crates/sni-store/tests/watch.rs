//! A watched directory: mounted Secrets swapped as Kubernetes does it, editors, half-written files, and
//! what must not be taken up.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use certwright_sni_store::{
    CertDir, CertStore, ChangeSet, DirWatch, EntryId, PairLoader, Report, Resolver,
    SelectionPolicy, WatchError, WatchEvent, WatchOptions,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::{CryptoProvider, KeyProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::time_provider::DefaultTimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn pair(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

struct Watched {
    root: tempfile::TempDir,
    store: CertStore<CertifiedKey>,
    events: Receiver<WatchEvent>,
    watch: DirWatch,
    first: Report,
}

impl Watched {
    fn start(fill: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().unwrap();
        fill(root.path());
        let store = CertStore::new(SelectionPolicy::Best);
        let directory = CertDir::new(root.path(), PairLoader::new(provider()));
        let (sender, events) = channel();
        let mut settings = WatchOptions::default();
        settings.quiet = Duration::from_millis(20);
        settings.rescan = None;
        let (watch, first) = DirWatch::start(store.clone(), directory, settings, move |event| {
            sender.send(event).unwrap();
        })
        .unwrap();
        Self {
            root,
            store,
            events,
            watch,
            first,
        }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.root.path().join(file), text).unwrap();
    }

    /// The next report, which must come.
    fn report(&self) -> Report {
        match self.events.recv_timeout(Duration::from_secs(30)).unwrap() {
            WatchEvent::Reloaded(report) => report,
            other => panic!("{other:?}"),
        }
    }

    /// Reports until the store serves this leaf under the id.
    fn until_served(&self, id: &str, pem: &str) {
        let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let serves = || {
            let entry = self.store.entry(id);
            entry.is_some_and(|entry| entry.payload().cert[0] == leaf)
        };
        while !serves() {
            self.report();
        }
    }
}

fn ids(ids: &[EntryId]) -> Vec<&str> {
    ids.iter().map(EntryId::as_str).collect()
}

#[test]
fn files_come_change_and_go() {
    let (chain, key) = pair("a.test");
    let watched = Watched::start(|root| {
        fs::write(root.join("a.crt"), &chain).unwrap();
        fs::write(root.join("a.key"), &key).unwrap();
    });
    assert_eq!(ids(&watched.first.added), ["a"]);

    // A new pair in two files, a combined one, and a subdirectory with its files.
    let (chain, key) = pair("b.test");
    watched.write("b.key", &key);
    watched.write("b.crt", &chain);
    watched.until_served("b", &chain);
    let (chain, key) = pair("c.test");
    watched.write("c.pem", &(chain.clone() + &key));
    watched.until_served("c", &chain);
    let (chain, key) = pair("d.test");
    let live = watched.root.path().join("d");
    fs::create_dir(&live).unwrap();
    fs::write(live.join("privkey.pem"), &key).unwrap();
    fs::write(live.join("fullchain.pem"), &chain).unwrap();
    watched.until_served("d", &chain);
    // Which is followed too.
    let (chain, key) = pair("d.test");
    fs::write(live.join("privkey.pem"), &key).unwrap();
    fs::write(live.join("fullchain.pem"), &chain).unwrap();
    watched.until_served("d", &chain);
    // Made anew it is another directory under the same name.
    fs::remove_dir_all(&live).unwrap();
    let (chain, key) = pair("d.test");
    fs::create_dir(&live).unwrap();
    fs::write(live.join("privkey.pem"), &key).unwrap();
    fs::write(live.join("fullchain.pem"), &chain).unwrap();
    watched.until_served("d", &chain);
    let (chain, key) = pair("d.test");
    fs::write(live.join("privkey.pem"), &key).unwrap();
    fs::write(live.join("fullchain.pem"), &chain).unwrap();
    watched.until_served("d", &chain);

    fs::remove_file(watched.root.path().join("a.crt")).unwrap();
    while watched.store.entry("a").is_some() {
        watched.report();
    }
    fs::remove_dir_all(&live).unwrap();
    while watched.store.entry("d").is_some() {
        watched.report();
    }
    let left = watched.store.entries();
    let left: Vec<_> = left.iter().map(|entry| entry.id().as_str()).collect();
    assert_eq!(left, ["b", "c"]);
}

#[test]
fn a_rescan_drops_what_is_no_good_staple() {
    let (chain, key) = pair("a.test");
    let watched = Watched::start(|root| {
        fs::write(root.join("a.crt"), &chain).unwrap();
        fs::write(root.join("a.key"), &key).unwrap();
    });
    let entry = watched.store.entry("a").unwrap();
    let stapled = CertifiedKey {
        cert: entry.payload().cert.clone(),
        key: entry.payload().key.clone(),
        ocsp: Some(b"not one".to_vec()),
    };
    let mut change = ChangeSet::new();
    change.set_payload(&entry, Arc::new(stapled));
    assert_eq!(watched.store.apply(change).replaced.len(), 1);
    watched.watch.rescan();
    assert_eq!(ids(&watched.report().replaced), ["a"]);
    let entry = watched.store.entry("a").unwrap();
    assert_eq!(entry.payload().ocsp, None);
}

#[test]
fn what_cannot_be_used_is_told_and_changes_nothing() {
    let (chain, key) = pair("a.test");
    let watched = Watched::start(|root| {
        fs::write(root.join("a.crt"), &chain).unwrap();
        fs::write(root.join("a.key"), &key).unwrap();
    });
    let generation = watched.store.current().generation();
    let (next, next_key) = pair("a.test");
    for (file, text) in [
        ("a.crt", &next[..next.len() / 2]),
        ("a.crt", ""),
        ("a.crt", "no certificate"),
        // A certificate without its key yet.
        ("a.crt", &next),
    ] {
        watched.write(file, text);
        let report = watched.report();
        assert_eq!(report.rejected[0].to_string(), "entry a rejected");
        assert_eq!(watched.store.current().generation(), generation);
    }
    watched.write("a.key", &next_key);
    watched.until_served("a", &next);
    fs::remove_file(watched.root.path().join("a.key")).unwrap();
    assert_eq!(watched.report().rejected.len(), 1);
    assert!(watched.store.entry("a").is_some());
}

#[test]
fn what_editors_leave_is_passed_over() {
    let (chain, key) = pair("a.test");
    let watched = Watched::start(|root| {
        fs::write(root.join("a.crt"), &chain).unwrap();
        fs::write(root.join("a.key"), &key).unwrap();
    });
    for file in [
        ".a.crt.swp",
        ".a.crt",
        "a.crt~",
        "4913",
        "#a.crt#",
        "a.crt.tmp",
        "a.bak",
    ] {
        watched.write(file, "no certificate");
    }
    // Saved as editors do it: the old one moved away, a new one moved in.
    let (chain, key) = pair("a.test");
    let path = |file: &str| watched.root.path().join(file);
    fs::write(path("a.key.new"), &key).unwrap();
    fs::rename(path("a.key.new"), path("a.key")).unwrap();
    fs::rename(path("a.crt"), path("a.crt~")).unwrap();
    fs::write(path("a.crt"), &chain).unwrap();
    watched.until_served("a", &chain);
    assert_eq!(watched.store.entries().len(), 1);
    // Written again as it was: nothing to tell. What comes next is what is told next.
    watched.write("a.crt", &chain);
    let (chain, key) = pair("b.test");
    watched.write("b.pem", &(chain + &key));
    let report = watched.report();
    assert_eq!((ids(&report.added), report.rejected.len()), (vec!["b"], 0));
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_are_followed_too() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let name = OsStr::from_bytes(b"\xff.pem");
    let (chain, key) = pair("a.test");
    let watched = Watched::start(|root| fs::write(root.join(name), chain + &key).unwrap());
    assert_eq!(ids(&watched.first.added), ["\u{fffd}"]);
    let (chain, key) = pair("a.test");
    fs::write(watched.root.path().join(name), chain.clone() + &key).unwrap();
    watched.until_served("\u{fffd}", &chain);
}

#[test]
fn a_directory_that_is_gone_takes_nothing_with_it() {
    let (chain, key) = pair("a.test");
    let fill = |root: &Path| {
        fs::write(root.join("a.crt"), &chain).unwrap();
        fs::write(root.join("a.key"), &key).unwrap();
    };
    let watched = Watched::start(fill);
    let away = tempfile::tempdir().unwrap();
    let elsewhere = away.path().join("away");
    fs::rename(watched.root.path(), &elsewhere).unwrap();
    watched.watch.rescan();
    let event = watched
        .events
        .recv_timeout(Duration::from_secs(30))
        .unwrap();
    let WatchEvent::Failed(WatchError::Dir(error)) = event else {
        panic!("{event:?}")
    };
    assert_eq!(error.path, watched.root.path());
    assert!(watched.store.entry("a").is_some());
    // Back again with another certificate, it is followed as before.
    fs::create_dir(watched.root.path()).unwrap();
    let (next, next_key) = pair("a.test");
    watched.write("a.crt", &next);
    watched.write("a.key", &next_key);
    watched.watch.rescan();
    watched.until_served("a", &next);
    let (next, next_key) = pair("a.test");
    watched.write("a.key", &next_key);
    watched.write("a.crt", &next);
    watched.until_served("a", &next);
}

#[test]
fn a_link_to_the_directory_may_be_swapped() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let put = |file: &str| {
        let (chain, key) = pair("a.test");
        fs::write(path(file), chain + &key).unwrap();
    };
    fs::create_dir(path("one")).unwrap();
    fs::create_dir(path("two")).unwrap();
    put("one/a.pem");
    put("two/b.pem");
    symlink("one", path("live")).unwrap();
    let store = CertStore::new(SelectionPolicy::Best);
    let directory = CertDir::new(path("live"), PairLoader::new(provider()));
    let mut settings = WatchOptions::default();
    settings.quiet = Duration::from_millis(20);
    settings.rescan = None;
    let (sender, events) = channel();
    let (watch, first) = DirWatch::start(store.clone(), directory, settings, move |event| {
        sender.send(event).unwrap();
    })
    .unwrap();
    assert_eq!(ids(&first.added), ["a"]);
    let next = || match events.recv_timeout(Duration::from_secs(30)).unwrap() {
        WatchEvent::Reloaded(report) => report,
        other => panic!("{other:?}"),
    };

    // Nobody tells of that; but once it is seen, the new directory is the one that is followed.
    symlink("two", path("next")).unwrap();
    fs::rename(path("next"), path("live")).unwrap();
    watch.rescan();
    let report = next();
    assert_eq!(
        (ids(&report.added), ids(&report.removed)),
        (vec!["b"], vec!["a"])
    );
    put("two/c.pem");
    while store.entry("c").is_none() {
        next();
    }
}

#[test]
fn a_missing_directory_is_an_error_and_a_panicking_listener_is_contained() {
    let store = CertStore::new(SelectionPolicy::Best);
    let directory = |path: &Path| CertDir::new(path, PairLoader::new(provider()));
    let settings = WatchOptions::default;
    let nowhere = directory(Path::new("/nowhere/at/all"));
    assert!(DirWatch::start(store.clone(), nowhere, settings(), |_| {}).is_err());

    let root = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let mut quick = settings();
    quick.quiet = Duration::from_millis(1);
    let (watch, _) = DirWatch::start(store.clone(), directory(root.path()), quick, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        panic!("told to");
    })
    .unwrap();
    for n in 0..3 {
        let (chain, key) = pair("a.test");
        fs::write(root.path().join(format!("{n}.pem")), chain + &key).unwrap();
        while store.entry(&n.to_string()).is_none() {
            thread::yield_now();
        }
    }
    drop(watch);
    assert!(calls.load(Ordering::Relaxed) >= 3);
}

/// Panics once.
#[derive(Debug)]
struct Panicking(AtomicBool);

impl KeyProvider for Panicking {
    fn load_private_key(
        &self,
        key: PrivateKeyDer<'static>,
    ) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        assert!(self.0.swap(true, Ordering::Relaxed), "told to");
        provider().key_provider.load_private_key(key)
    }
}

#[test]
fn a_reload_that_panics_is_told_and_done_again() {
    static PANICKING: Panicking = Panicking(AtomicBool::new(false));
    let root = tempfile::tempdir().unwrap();
    let store = CertStore::new(SelectionPolicy::Best);
    let panicking = CryptoProvider {
        key_provider: &PANICKING,
        ..aws_lc_rs::default_provider()
    };
    let directory = CertDir::new(root.path(), PairLoader::new(Arc::new(panicking)));
    let mut settings = WatchOptions::default();
    settings.quiet = Duration::from_millis(20);
    settings.rescan = None;
    let (sender, events) = channel();
    let (watch, _) = DirWatch::start(store, directory, settings, move |event| {
        sender.send(event).unwrap();
    })
    .unwrap();
    let next = || events.recv_timeout(Duration::from_secs(30)).unwrap();

    let (chain, key) = pair("a.test");
    let hidden = root.path().join(".a.pem");
    fs::write(&hidden, chain + &key).unwrap();
    fs::rename(&hidden, root.path().join("a.pem")).unwrap();
    let event = next();
    let panicked = matches!(event, WatchEvent::Failed(WatchError::Panicked));
    assert!(panicked, "{event:?}");
    watch.rescan();
    match next() {
        WatchEvent::Reloaded(report) => assert_eq!(ids(&report.added), ["a"]),
        other => panic!("{other:?}"),
    }
}

/// What the kubelet does with a Secret's volume: a directory of the new version, a link to it moved over
/// the old link, the old version removed.
fn publish(mount: &Path, version: usize, (chain, key): &(String, String)) {
    let data = format!("..version_{version}");
    fs::create_dir(mount.join(&data)).unwrap();
    fs::write(mount.join(&data).join("tls.crt"), chain).unwrap();
    fs::write(mount.join(&data).join("tls.key"), key).unwrap();
    let old = fs::read_link(mount.join("..data")).ok();
    symlink(&data, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        if !mount.join(file).exists() {
            symlink(Path::new("..data").join(file), mount.join(file)).unwrap();
        }
    }
    if let Some(old) = old {
        fs::remove_dir_all(mount.join(old)).unwrap();
    }
}

/// A whole handshake in memory; any certificate that is the server's own will do.
fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Result<(), rustls::Error> {
    let name = "a.test".try_into().unwrap();
    let mut client = ClientConnection::new(client.clone(), name)?;
    let mut server = ServerConnection::new(server.clone())?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
        }
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn a_thousand_kubernetes_swaps_under_handshakes() {
    const SWAPS: usize = 1000;
    for layout in ["app", ""] {
        // All of them trusted: what fails then is a key that is not the certificate's.
        let pairs: Vec<_> = (0..20).map(|_| pair("a.test")).collect();
        let mut roots = RootCertStore::empty();
        for (chain, _) in &pairs {
            let der = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
            roots.add(der).unwrap();
        }
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Arc::new(client);
        // The mount is the directory, or one of those in it.
        let id = if layout.is_empty() { "tls" } else { layout };
        let watched = Watched::start(|root| {
            fs::create_dir_all(root.join(layout)).unwrap();
            publish(&root.join(layout), 0, &pairs[0]);
        });
        assert_eq!(ids(&watched.first.added), [id]);
        let resolver = Resolver::new(watched.store.clone(), Arc::new(DefaultTimeProvider));
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        let server = Arc::new(server);
        let stop = AtomicBool::new(false);
        let handshakes = AtomicUsize::new(0);
        let failures = Mutex::new(Vec::new());
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    handshakes.fetch_add(1, Ordering::Relaxed);
                    if let Err(error) = handshake(&server, &client) {
                        failures.lock().unwrap().push(error);
                    }
                }
            });
            let mount = watched.root.path().join(layout);
            for version in 1..=SWAPS {
                publish(&mount, version, &pairs[version % pairs.len()]);
                // Now and then the reload may finish, otherwise it is run over by the next swap.
                if version % 50 == 0 {
                    watched.until_served(id, &pairs[version % pairs.len()].0);
                } else if version % 3 == 0 {
                    thread::yield_now();
                }
            }
            watched.until_served(id, &pairs[SWAPS % pairs.len()].0);
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(failures.into_inner().unwrap(), []);
        assert!(handshakes.into_inner() > 20);
        let counts = watched.store.counts();
        assert_eq!(
            (counts.unmatched, counts.invalid, counts.unusable),
            (0, 0, 0)
        );
        drop(watched.watch);
        while let Ok(event) = watched.events.try_recv() {
            assert!(matches!(event, WatchEvent::Reloaded(_)), "{event:?}");
        }
    }
}
