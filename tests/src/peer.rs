//! Programs of strangers that judge what we make.

use std::path::Path;
use std::process::{Command, Output};

/// An outside program, if it is installed. Without it a test says so and passes, but in CI it fails.
///
/// # Panics
///
/// It is missing in CI.
pub fn find(program: &str) -> Option<Command> {
    let found = std::env::var_os("PATH").is_some_and(|paths| {
        std::env::split_paths(&paths).any(|path| path.join(program).is_file())
    });
    if found {
        return Some(Command::new(program));
    }
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "{program} is not installed, and this is CI");
    eprintln!("SKIPPED: {program} is not installed; this test judges nothing without it");
    None
}

/// What a program printed, both streams, for messages.
pub fn printed(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{out}{err}")
}

/// Fails unless OpenSSL verifies the leaf in `chain` strictly against the roots in `ca`.
///
/// # Panics
///
/// It does not, or is missing in CI.
pub fn openssl_verifies(ca: &Path, chain: &Path) {
    let Some(mut openssl) = find("openssl") else {
        return;
    };
    openssl
        .args(["verify", "-x509_strict", "-CAfile"])
        .arg(ca)
        .arg("-untrusted")
        .arg(chain)
        .arg(chain);
    let output = openssl.output().expect("openssl starts");
    assert!(
        output.status.success(),
        "{}: {}",
        chain.display(),
        printed(&output)
    );
}
