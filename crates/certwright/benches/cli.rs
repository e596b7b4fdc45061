//! What the binary adds to the library: `check` over a thousand manifests, both sides in turn, by wall time with the
//! start of the process.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use certwright::Documents;

const MANY: usize = 1_000;
const ROUNDS: usize = 15;

fn main() {
    let home = tempfile::tempdir().expect("a directory");
    let manifests = home.path().join("manifests");
    write(&manifests);
    let binary = || {
        let status = Command::new(env!("CARGO_BIN_EXE_certwright"))
            .args(["check", "manifests"])
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .expect("it starts");
        assert!(status.success());
    };
    let library = || {
        let mut documents = Documents::default();
        assert_eq!(documents.read_paths([&manifests]), MANY);
        assert!(documents.problems.is_empty());
        assert!(documents.inventory.order(|_| false).is_ok());
    };
    binary();
    library();
    let mut best = [f64::MAX; 2];
    for _ in 0..ROUNDS {
        for (best, work) in best.iter_mut().zip([&binary as &dyn Fn(), &library]) {
            let start = Instant::now();
            work();
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    let [binary, library] = best;
    println!(
        "RATIO cli_check_1k_manifests_vs_library {:.2} <=1.2",
        binary / library
    );
    println!(
        "WATCH cli_check_1k_manifests_ms {:.1} best of {ROUNDS}",
        binary * 1e3
    );
    let start = Instant::now();
    let help = Command::new(env!("CARGO_BIN_EXE_certwright"))
        .arg("--version")
        .output()
        .expect("it starts");
    assert!(help.status.success());
    println!(
        "WATCH cli_start_ms {:.1} --version",
        start.elapsed().as_secs_f64() * 1e3
    );
}

/// As people write them: one Certificate per file, but for the first, which has the issuer.
fn write(manifests: &Path) {
    fs::create_dir(manifests).expect("a directory");
    for number in 0..MANY {
        let text = match number {
            0 => "apiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {name: self, namespace: ns}\nspec: {selfSigned: {}}\n"
                .to_owned(),
            _ => format!(
                "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata:\n  name: web-{number}\n  namespace: ns\n  \
                 labels:\n    app: web\nspec:\n  secretName: web-{number}-tls\n  duration: 2160h\n  renewBefore: 360h\n  \
                 subject:\n    organizations:\n      - Example\n  privateKey:\n    algorithm: ECDSA\n    size: 256\n    \
                 rotationPolicy: Always\n  usages:\n    - server auth\n    - digital signature\n  dnsNames:\n    \
                 - web-{number}.example.com\n    - www.web-{number}.example.com\n  issuerRef:\n    name: self\n    \
                 kind: Issuer\n    group: cert-manager.io\n"
            ),
        };
        fs::write(manifests.join(format!("{number:04}.yaml")), text).expect("written");
    }
}
