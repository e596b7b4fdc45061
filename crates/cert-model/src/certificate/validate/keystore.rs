use crate::certificate::{KeystoreSpec, KeystoresSpec};
use crate::output::{JksKeystore, KeystorePassword, Keystores, Pkcs12Keystore, Pkcs12Profile};
use crate::report::{Report, spec};
use crate::violation::{FieldPath, ViolationKind};

pub(super) fn keystores(report: &mut Report, keystores: Option<KeystoresSpec>) -> Keystores {
    let keystores = keystores.unwrap_or_default();
    Keystores {
        jks: keystores.jks.and_then(|jks| self::jks(report, jks)),
        pkcs12: keystores.pkcs12.and_then(|store| pkcs12(report, store)),
    }
}

fn jks(report: &mut Report, keystore: KeystoreSpec) -> Option<JksKeystore> {
    let field = spec("keystores").child("jks");
    let alias = keystore.alias.clone().filter(|alias| !alias.is_empty());
    let alias = alias.unwrap_or_else(|| "certificate".to_owned());
    if alias.eq_ignore_ascii_case("ca") {
        report.invalid(
            field.child("alias"),
            format!("{alias:?} is the alias of the CA's own entry, which would replace the key"),
        );
    }
    let units = alias.encode_utf16().count();
    if units > LONGEST_ALIAS {
        report.invalid(
            field.child("alias"),
            format!("has {units} UTF-16 units; write at most {LONGEST_ALIAS}, for which a JKS store has room"),
        );
    }
    let (create, password) = (keystore.create, password(report, &field, keystore));
    let password = password.filter(|_| create)?;
    Some(JksKeystore { alias, password })
}

/// A JKS store has room for 65,535 bytes, and a UTF-16 unit takes up to three, in lower case too.
const LONGEST_ALIAS: usize = 21_845;

fn pkcs12(report: &mut Report, keystore: KeystoreSpec) -> Option<Pkcs12Keystore> {
    let field = spec("keystores").child("pkcs12");
    let name = keystore.profile.as_deref().unwrap_or_default();
    let profile = Pkcs12Profile::from_name(name).unwrap_or_else(|| {
        report.violation(
            field.child("profile"),
            ViolationKind::NotSupported,
            format!(
                "{name:?} is not supported; write Modern2023, Modern2026, LegacyDES or LegacyRC2"
            ),
        );
        Pkcs12Profile::default()
    });
    if keystore.create && profile.is_legacy() {
        report.warning(
            field.child("profile"),
            ViolationKind::NotSupported,
            format!("{} protects the key with SHA-1 and outdated ciphers; write Modern2023 unless old readers need it", profile.name()),
        );
    }
    let (create, password) = (keystore.create, password(report, &field, keystore));
    let password = password.filter(|_| create)?;
    Some(Pkcs12Keystore { profile, password })
}

/// A password is needed even for a keystore that is not created, as upstream has it.
fn password(
    report: &mut Report,
    field: &FieldPath,
    keystore: KeystoreSpec,
) -> Option<KeystorePassword> {
    let reference = keystore
        .password_secret_ref
        .filter(|reference| !reference.name.is_empty());
    let forbidden = |report: &mut Report, message: &str| {
        report.violation(field.clone(), ViolationKind::Forbidden, message);
    };
    if keystore
        .password
        .as_ref()
        .is_some_and(|password| password.is_empty())
    {
        if reference.is_some() {
            forbidden(report, "password and passwordSecretRef cannot both be set");
        }
        report.violation(
            field.child("password"),
            ViolationKind::Forbidden,
            "is empty; write a password or use passwordSecretRef",
        );
        return None;
    }
    match (keystore.password, reference) {
        (Some(_), Some(_)) => {
            forbidden(report, "password and passwordSecretRef cannot both be set");
            None
        }
        (None, None) => {
            forbidden(report, "has no password; set passwordSecretRef or password");
            None
        }
        (Some(password), None) => Some(KeystorePassword::Literal(password)),
        (None, Some(reference)) => {
            let key = reference.key.unwrap_or_default();
            if key.is_empty() {
                report.violation(
                    field.child("passwordSecretRef").child("key"),
                    ViolationKind::Required,
                    "must name the key of the Secret that holds the password",
                );
            }
            let name = reference.name;
            Some(KeystorePassword::SecretKey { name, key })
        }
    }
}
