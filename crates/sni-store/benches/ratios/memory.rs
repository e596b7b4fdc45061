//! Bytes per certificate and per name.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;

use allocation_counter::measure as count;
use certwright_sni_store::{CertStore, ChangeSet, Entry, PairLoader, SelectionPolicy};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::lazy;
use crate::load::{Pairs, provider};

const CERTIFICATES: usize = 20_000;
const NAMES: usize = 100_000;

pub(crate) fn measure() {
    let entries = || {
        (0..NAMES).map(|n| {
            let id = format!("fleet/{n}");
            Entry::new(id, [format!("host{n:08}.shop.example.com")], Arc::new(()))
        })
    };
    let mut plain = Vec::new();
    let of_entries = count(|| plain.extend(entries().map(Arc::new)));
    let store = CertStore::new(SelectionPolicy::Best);
    let of_store = count(|| {
        store.replace_all(entries().collect::<ChangeSet<_>>());
    });
    let index = of_store.bytes_current - of_entries.bytes_current;
    println!(
        "RATIO index_bytes_per_name {:.0} <=120",
        index as f64 / NAMES as f64
    );
    drop(plain);

    let grown = |kind: &str| -> Option<f64> {
        let this = std::env::current_exe().ok()?;
        let output = Command::new(this)
            .arg(format!("--memory={kind}"))
            .output()
            .ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    match (grown("store"), grown("owned")) {
        (Some(store), Some(owned)) => {
            println!(
                "RATIO bytes_per_p256_vs_owned_chains {:.2} <=0.75",
                store / owned
            );
            println!(
                "WATCH bytes_per_p256 {store:.0} all included; owned chains in a map {owned:.0}"
            );
        }
        _ => println!("WATCH bytes_per_p256_vs_owned_chains - needs /proc"),
    }
    match (grown("lazy"), grown("owned")) {
        (Some(lazy), Some(owned)) => {
            println!(
                "RATIO lazy_keys_bytes_vs_owned_chains {:.2} <=0.55",
                lazy / owned
            );
            println!("WATCH lazy_keys_bytes_per_p256 {lazy:.0} all included");
        }
        _ => println!("WATCH lazy_keys_bytes_vs_owned_chains - needs /proc"),
    }
    match grown("flood") {
        // Summed up, not per certificate.
        Some(beyond) => println!(
            "RATIO flood_memory_growth_bytes {:.0} <=0",
            (beyond * CERTIFICATES as f64).max(0.0)
        ),
        None => println!("WATCH flood_memory_growth_bytes - needs /proc"),
    }
}

/// Prints how many bytes a certificate takes, in a process that holds nothing else.
pub(crate) fn child(kind: &str) {
    if kind == "flood" {
        return lazy::flood(data_bytes, CERTIFICATES);
    }
    let pairs = Pairs::new(CERTIFICATES);
    let Some(before) = data_bytes() else { return };
    let kept: Box<dyn std::any::Any> = match kind {
        "owned" => {
            let mut map = HashMap::new();
            for (name, pair) in pairs.named() {
                let chain = CertificateDer::pem_slice_iter(pair.chain)
                    .map(Result::unwrap)
                    .collect();
                let key = PrivateKeyDer::from_pem_slice(pair.key).unwrap();
                let certified =
                    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).unwrap();
                map.insert(name.to_owned(), Arc::new(certified));
            }
            Box::new(map)
        }
        _ => {
            let mut loader = PairLoader::new(provider());
            if kind == "lazy" {
                loader = loader.with_lazy_keys();
            }
            let store = CertStore::new(SelectionPolicy::Best);
            for (name, pair) in pairs.named() {
                store.apply(loader.load(name, pair).unwrap());
            }
            Box::new(store)
        }
    };
    let grown = data_bytes().unwrap_or(before) - before;
    println!("{}", grown / CERTIFICATES as f64);
    drop(kept);
}

/// Resident bytes that belong to no file.
fn data_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024.0)
}
