//! Every input under `fuzz/seeds` goes through its fuzz target once, as an ordinary test: what a fuzzer has found stays
//! found. The targets are those of the fuzzer; only its macro is another one.
#![allow(
    unused_attributes,
    clippy::needless_pass_by_value,
    clippy::redundant_closure,
    clippy::redundant_closure_for_method_calls,
    clippy::unwrap_used,
    reason = "targets say no_main, which is for programs; and a test that cannot go on has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};

// Where the targets look for the macro.
extern crate self as libfuzzer_sys;

#[path = "../../fuzz/targets/acme_answers.rs"]
mod acme_answers;
#[path = "../../fuzz/targets/acme_ari.rs"]
mod acme_ari;
#[path = "../../fuzz/targets/acme_authorization.rs"]
mod acme_authorization;
#[path = "../../fuzz/targets/acme_chain.rs"]
mod acme_chain;
#[path = "../../fuzz/targets/acme_http01.rs"]
mod acme_http01;
#[path = "../../fuzz/targets/acme_import.rs"]
mod acme_import;
#[path = "../../fuzz/targets/acme_link.rs"]
mod acme_link;
#[path = "../../fuzz/targets/acme_options.rs"]
mod acme_options;
#[path = "../../fuzz/targets/acme_problem.rs"]
mod acme_problem;
#[path = "../../fuzz/targets/acme_records.rs"]
mod acme_records;
#[path = "../../fuzz/targets/acme_router.rs"]
mod acme_router;
#[path = "../../fuzz/targets/acme_rule.rs"]
mod acme_rule;
#[path = "../../fuzz/targets/acme_url.rs"]
mod acme_url;
#[path = "../../fuzz/targets/agenda.rs"]
mod agenda;
#[path = "../../fuzz/targets/authority.rs"]
mod authority;
#[path = "../../fuzz/targets/bundle.rs"]
mod bundle;
#[path = "../../fuzz/targets/chain.rs"]
mod chain;
#[path = "../../fuzz/targets/constraints.rs"]
mod constraints;
#[path = "../../fuzz/targets/crl.rs"]
mod crl;
#[path = "../../fuzz/targets/cron.rs"]
mod cron;
#[path = "../../fuzz/targets/csr.rs"]
mod csr;
#[path = "../../fuzz/targets/documents.rs"]
mod documents;
#[path = "../../fuzz/targets/duration.rs"]
mod duration;
#[path = "../../fuzz/targets/facts.rs"]
mod facts;
#[path = "../../fuzz/targets/key.rs"]
mod key;
#[path = "../../fuzz/targets/keystores.rs"]
mod keystores;
#[path = "../../fuzz/targets/manifest.rs"]
mod manifest;
#[path = "../../fuzz/targets/names.rs"]
mod names;
#[path = "../../fuzz/targets/pair.rs"]
mod pair;
#[path = "../../fuzz/targets/peer.rs"]
mod peer;
#[path = "../../fuzz/targets/pem.rs"]
mod pem;
#[path = "../../fuzz/targets/routes.rs"]
mod routes;
#[path = "../../fuzz/targets/schedule.rs"]
mod schedule;
#[path = "../../fuzz/targets/secret.rs"]
mod secret;
#[path = "../../fuzz/targets/select.rs"]
mod select;
#[path = "../../fuzz/targets/servers_transport.rs"]
mod servers_transport;
#[path = "../../fuzz/targets/service.rs"]
mod service;
#[path = "../../fuzz/targets/sni_config.rs"]
mod sni_config;
#[path = "../../fuzz/targets/spiffe_id.rs"]
mod spiffe_id;
#[path = "../../fuzz/targets/spki.rs"]
mod spki;
#[path = "../../fuzz/targets/staple.rs"]
mod staple;
#[path = "../../fuzz/targets/storage_certmagic.rs"]
mod storage_certmagic;
#[path = "../../fuzz/targets/storage_etcd.rs"]
mod storage_etcd;
#[path = "../../fuzz/targets/storage_journal.rs"]
mod storage_journal;
#[path = "../../fuzz/targets/storage_path.rs"]
mod storage_path;
#[path = "../../fuzz/targets/storage_record.rs"]
mod storage_record;
#[path = "../../fuzz/targets/storage_sealed.rs"]
mod storage_sealed;
#[path = "../../fuzz/targets/stored.rs"]
mod stored;
#[path = "../../fuzz/targets/subject.rs"]
mod subject;
#[path = "../../fuzz/targets/window.rs"]
mod window;

// Behind the targets, which otherwise would see it without importing it.
macro_rules! fuzz_target {
    (|$data:ident: &[u8]| $body:expr) => {
        pub(super) fn run(bytes: &[u8]) {
            let $data = bytes;
            $body
        }
    };
    (|$data:ident: &str| $body:expr) => {
        pub(super) fn run(bytes: &[u8]) {
            if let Ok($data) = std::str::from_utf8(bytes) {
                $body
            }
        }
    };
    (|$data:ident: $type:ty| $body:expr) => {
        pub(super) fn run(bytes: &[u8]) {
            let rest = arbitrary::Unstructured::new(bytes);
            if let Ok($data) = <$type as arbitrary::Arbitrary>::arbitrary_take_rest(rest) {
                $body
            }
        }
    };
}
pub(crate) use fuzz_target;

macro_rules! replay {
    ($($target:ident,)*) => {
        mod replay {
            $(#[test] fn $target() { super::replay(stringify!($target), super::$target::run); })*
        }
        const TARGETS: &[&str] = &[$(stringify!($target)),*];
    };
}

replay! {
    acme_answers,
    acme_ari,
    acme_authorization,
    acme_chain,
    acme_http01,
    acme_import,
    acme_link,
    acme_options,
    acme_problem,
    acme_records,
    acme_router,
    acme_rule,
    acme_url,
    agenda,
    authority,
    bundle,
    chain,
    constraints,
    crl,
    cron,
    csr,
    documents,
    duration,
    facts,
    key,
    keystores,
    manifest,
    names,
    pair,
    peer,
    pem,
    routes,
    schedule,
    secret,
    select,
    servers_transport,
    service,
    sni_config,
    spiffe_id,
    spki,
    staple,
    storage_certmagic,
    storage_etcd,
    storage_journal,
    storage_path,
    storage_record,
    storage_sealed,
    stored,
    subject,
    window,
}

/// What targets start from even where nothing was found: nothing at all, one octet, and a lot of one.
const EVERYWHERE: [&[u8]; 4] = [b"", b"\0", b"\n", &[0xff; 4096]];

fn replay(target: &str, run: fn(&[u8])) {
    EVERYWHERE.into_iter().for_each(run);
    let Ok(seeds) = fs::read_dir(root().join("seeds").join(target)) else {
        return;
    };
    for seed in seeds {
        let path = seed.unwrap().path();
        println!("{}", path.display());
        run(&fs::read(path).unwrap());
    }
}

#[test]
fn every_target_is_replayed_and_built() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut found: Vec<String> = fs::read_dir(root().join("targets"))
        .unwrap()
        .map(|file| {
            file.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    found.sort();
    assert_eq!(found, TARGETS);
    for target in found {
        let path = format!("path = \"targets/{target}.rs\"");
        assert!(manifest.contains(&path), "fuzz/Cargo.toml lacks {path}");
    }
    for seeds in fs::read_dir(root().join("seeds")).unwrap() {
        let name = seeds.unwrap().file_name();
        if name == "README.md" {
            continue;
        }
        assert!(
            TARGETS.contains(&name.to_str().unwrap()),
            "seeds of no target: {name:?}"
        );
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}
