use crate::certificate::{CertificateSpec, PrivateKeySpec};
use crate::defaults::Defaults;
use crate::key::{
    Curve, KeyAlgorithm, KeyEncoding, KeySpec, RotationPolicy, RsaSize, SignatureAlgorithm,
};
use crate::report::{Report, spec};
use crate::violation::{FieldPath, ViolationKind};

pub(super) fn key(
    report: &mut Report,
    key: Option<&PrivateKeySpec>,
    defaults: &Defaults,
) -> KeySpec {
    let empty = PrivateKeySpec::default();
    let key = key.unwrap_or(&empty);
    // In the API's own encoding 0 and an absent number are the same.
    let size = key.size.filter(|size| *size != 0);
    let algorithm = match key.algorithm.as_deref() {
        None | Some("" | "RSA") => KeyAlgorithm::Rsa(rsa(report, size)),
        Some("ECDSA") => KeyAlgorithm::Ecdsa(curve(report, size)),
        Some("Ed25519") => {
            if let Some(size) = size {
                report.warning(
                    field("size"),
                    ViolationKind::NotSupported,
                    format!("{size} is ignored: Ed25519 keys have one size"),
                );
            }
            KeyAlgorithm::Ed25519
        }
        Some(other) => {
            report.invalid(
                field("algorithm"),
                format!("{other:?} is not RSA, ECDSA or Ed25519"),
            );
            KeyAlgorithm::default()
        }
    };
    let encoding = match key.encoding.as_deref() {
        None | Some("" | "PKCS1") => KeyEncoding::Pkcs1,
        Some("PKCS8") => KeyEncoding::Pkcs8,
        Some(other) => {
            not_supported(report, field("encoding"), other, "PKCS1 or PKCS8");
            KeyEncoding::default()
        }
    };
    let rotation = match key.rotation_policy.as_deref() {
        None | Some("") => defaults.rotation,
        Some("Always") => RotationPolicy::Always,
        Some("Never") => RotationPolicy::Never,
        Some(other) => {
            not_supported(report, field("rotationPolicy"), other, "Always or Never");
            defaults.rotation
        }
    };
    KeySpec {
        algorithm,
        encoding,
        rotation,
    }
}

fn rsa(report: &mut Report, size: Option<i64>) -> RsaSize {
    let Some(size) = size else {
        return RsaSize::default();
    };
    RsaSize::from_bits(size).unwrap_or_else(|| {
        report.invalid(
            field("size"),
            format!(
                "{size} is not from {} to {} bits",
                RsaSize::MIN.bits(),
                RsaSize::MAX.bits()
            ),
        );
        RsaSize::default()
    })
}

fn curve(report: &mut Report, size: Option<i64>) -> Curve {
    let Some(size) = size else {
        return Curve::default();
    };
    Curve::from_bits(size).unwrap_or_else(|| {
        report.violation(
            field("size"),
            ViolationKind::NotSupported,
            format!("{size} is not the size of a curve; write 256, 384 or 521"),
        );
        Curve::default()
    })
}

pub(super) fn signature_algorithm(
    report: &mut Report,
    cert: &CertificateSpec,
) -> Option<SignatureAlgorithm> {
    let name = cert
        .signature_algorithm
        .as_deref()
        .filter(|name| !name.is_empty())?;
    let field = || spec("signatureAlgorithm");
    let Some(signature) = SignatureAlgorithm::from_name(name) else {
        let names = SignatureAlgorithm::ALL
            .map(SignatureAlgorithm::name)
            .join(", ");
        // Of the same kind as one for another key, as upstream, which knows no others.
        report.invalid(
            field(),
            format!("{name:?} is not supported; write one of {names}"),
        );
        return None;
    };
    let key = cert
        .private_key
        .as_ref()
        .and_then(|key| key.algorithm.as_deref());
    let key = match key {
        None | Some("") => "RSA",
        Some(key) => key,
    };
    if ["RSA", "ECDSA", "Ed25519"].contains(&key) && signature.key_algorithm() != key {
        report.invalid(
            field(),
            format!(
                "{name} signs with {} keys, but privateKey.algorithm is {key}",
                signature.key_algorithm()
            ),
        );
    }
    Some(signature)
}

fn field(name: &str) -> FieldPath {
    spec("privateKey").child(name)
}

fn not_supported(report: &mut Report, field: FieldPath, found: &str, supported: &str) {
    report.violation(
        field,
        ViolationKind::NotSupported,
        format!("{found:?} is not supported; write {supported}"),
    );
}
