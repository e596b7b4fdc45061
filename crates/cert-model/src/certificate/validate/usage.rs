use crate::certificate::CertificateSpec;
use crate::defaults::Defaults;
use crate::key::KeyAlgorithm;
use crate::report::{Report, spec};
use crate::usage::{KeyUsage, Usage, Usages};
use crate::violation::ViolationKind;

pub(super) fn usages(
    report: &mut Report,
    cert: &CertificateSpec,
    algorithm: KeyAlgorithm,
    defaults: &Defaults,
) -> Usages {
    let mut asked = Vec::with_capacity(cert.usages.len());
    for (index, name) in cert.usages.iter().enumerate() {
        let field = || spec("usages").index(index);
        match name.parse::<Usage>() {
            Ok(usage) => {
                if let Some(reason) = unfit(usage, algorithm) {
                    report.warning(field(), ViolationKind::NotSupported, reason);
                }
                asked.push(usage);
            }
            Err(error) => report.invalid(field(), error.to_string()),
        }
    }
    defaults.usages_for(&asked, cert.is_ca, algorithm)
}

/// Why a key of this algorithm cannot be used so, if it cannot (RFC 8813, 3; RFC 8410, 5).
fn unfit(usage: Usage, algorithm: KeyAlgorithm) -> Option<String> {
    let Usage::Key(key_usage) = usage else {
        return None;
    };
    let wrong = match algorithm {
        KeyAlgorithm::Rsa(_) => matches!(
            key_usage,
            KeyUsage::KeyAgreement | KeyUsage::EncipherOnly | KeyUsage::DecipherOnly
        ),
        KeyAlgorithm::Ecdsa(_) => {
            matches!(
                key_usage,
                KeyUsage::KeyEncipherment | KeyUsage::DataEncipherment
            )
        }
        KeyAlgorithm::Ed25519 => !matches!(
            key_usage,
            KeyUsage::DigitalSignature
                | KeyUsage::ContentCommitment
                | KeyUsage::CertSign
                | KeyUsage::CrlSign
        ),
    };
    wrong.then(|| {
        format!(
            "{usage} is nothing an {algorithm} key can do; linters and some verifiers refuse it"
        )
    })
}
