//! The figures this crate is measured by, one per line: `RATIO name value goal`, or
//! `WATCH name value note` without a goal.
//!
//! Times are the thread's CPU time, best of the rounds, rounds of both sides interleaved. The
//! allocator counts; that slows both sides of every ratio alike.

#![allow(clippy::unwrap_used, reason = "a bench reports nothing else")]

use std::hint::black_box;
use std::time::Duration;

use certwright_cert_model::document::{Format, Node, Strictness, parse};
use certwright_cert_model::name::SpiffeId;
use certwright_cert_model::{CertificateSpec, Defaults, manifest};
use saphyr::{LoadableYamlNode, MarkedYaml};

/// A Certificate as they are written: a few names, a subject, usages and a key.
const TYPICAL: &str = "\
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: example-com
  namespace: sandbox
spec:
  secretName: example-com-tls
  secretTemplate:
    labels:
      app: example
  privateKey:
    algorithm: ECDSA
    encoding: PKCS8
    size: 256
  duration: 2160h
  renewBefore: 360h
  isCA: false
  usages:
  - server auth
  - client auth
  subject:
    organizations:
    - example
  dnsNames:
  - example.com
  - www.example.com
  - '*.api.example.com'
  uris:
  - spiffe://cluster.local/ns/sandbox/sa/example
  ipAddresses:
  - 192.168.0.5
  issuerRef:
    name: ca-issuer
    kind: Issuer
---
";
const ROUNDS: usize = 9;
const SPECS: usize = 2_000;

fn main() {
    let spec_nodes: Vec<Node> = parse(&TYPICAL.repeat(SPECS), Format::Yaml)
        .into_iter()
        .map(|document| document.unwrap().root.get("spec").unwrap().clone())
        .collect();
    let defaults = Defaults::documented();
    let thousand = TYPICAL.repeat(1_000);
    let ten_thousand = TYPICAL.repeat(10_000);
    let mut best = [Duration::MAX; 7];
    for _ in 0..ROUNDS {
        let specs = || -> Vec<CertificateSpec> {
            let decode = |node| CertificateSpec::decode(node, Strictness::Strict);
            spec_nodes
                .iter()
                .map(|node| decode(node).into_result().unwrap())
                .collect()
        };
        let mut decoded = Vec::new();
        let decode = cpu(|| decoded = specs());
        let validate = cpu(|| {
            for spec in decoded.drain(..) {
                black_box(spec.validate(&defaults).unwrap());
            }
        });
        let times = [
            decode,
            validate,
            cpu(|| repeat(SPECS, || drop(black_box(parse(TYPICAL, Format::Yaml))))),
            cpu(|| repeat(SPECS, bare)),
            cpu(|| repeat(10, || read(&thousand))),
            cpu(|| read(&ten_thousand)),
            cpu(|| repeat(SPECS, || drop(black_box(identity())))),
        ];
        for (best, time) in best.iter_mut().zip(times) {
            *best = time.min(*best);
        }
    }
    let [
        decode,
        validate,
        yaml,
        saphyr,
        thousand,
        ten_thousand,
        spiffe,
    ] = best.map(|time| time.as_secs_f64());
    println!("RATIO validate_vs_parse_yaml {:.3} <=0.10", validate / yaml);
    println!(
        "WATCH decode_vs_parse_yaml {:.3} typed, before validation",
        decode / yaml
    );
    println!("RATIO parse_yaml_vs_bare_saphyr {:.2} <=1.3", yaml / saphyr);
    println!(
        "RATIO documents_10k_vs_1k_per_document {:.2} <=1.2",
        ten_thousand / thousand
    );
    let allocations = allocation_counter::measure(|| drop(black_box(identity()))).count_total;
    println!("RATIO spiffe_id_parse_allocations {allocations} <=1");
    let micros = |seconds: f64| seconds * 1e6 / SPECS as f64;
    println!(
        "WATCH parse_yaml_us {:.1} of a typical Certificate",
        micros(yaml)
    );
    println!("WATCH validate_us {:.2} of the same", micros(validate));
    println!("WATCH spiffe_id_parse_ns {:.0}", micros(spiffe) * 1e3);
}

fn read(text: &str) {
    drop(black_box(manifest::read(
        text,
        Format::Yaml,
        Strictness::Strict,
    )));
}

fn bare() {
    drop(black_box(MarkedYaml::load_from_str(TYPICAL).unwrap()));
}

fn identity() -> SpiffeId {
    black_box("spiffe://cluster.local/ns/sandbox/sa/example")
        .parse()
        .unwrap()
}

fn repeat(count: usize, mut work: impl FnMut()) {
    for _ in 0..count {
        work();
    }
}

fn cpu(work: impl FnOnce()) -> Duration {
    let start = clock();
    work();
    clock() - start
}

#[cfg(unix)]
fn clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap()
}

#[cfg(not(unix))]
fn clock() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}
