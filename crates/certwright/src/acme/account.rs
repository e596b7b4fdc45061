//! From `spec.acme` to an issuer of the engine.

use core::fmt;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use certwright_acme::account::{AccountSpec, ExternalBinding};
use certwright_acme::chain::ChainPreference;
use certwright_acme::config::LETS_ENCRYPT;
use certwright_acme::http::HttpOptions;
use certwright_acme::limits::Quotas;
use certwright_acme::{AcmeServer, Issuer};
use certwright_cert_model::pem;
use certwright_cert_model::violation::FieldPath;
use rustls::pki_types::CertificateDer;

use super::{Settings, solver};
use crate::issuer::{AcmeAccount, IssuerError};

/// The issuer these settings describe.
pub(super) fn issuer(account: &AcmeAccount, settings: &Settings) -> Result<Issuer, IssuerError> {
    let acme = &account.spec;
    if acme.disable_account_key_generation {
        let message = "the account's key is made here and kept in the storage; remove the field";
        return Err(wrong(&field("disableAccountKeyGeneration"), message));
    }
    if acme.enable_duration_feature {
        let message = "orders ask for no duration here; remove the field, or ask for a profile";
        return Err(wrong(&field("enableDurationFeature"), message));
    }
    let source = acme.renewal_information_source.as_deref();
    if !matches!(source, None | Some("ARI" | "None")) {
        let message = format!("{:?} is neither ARI nor None", source.unwrap_or_default());
        return Err(wrong(&field("renewalInformationSource"), message));
    }
    let http = HttpOptions::new(roots(account, settings)?);
    let server = AcmeServer::new(&acme.server, http);
    let server = server.map_err(|error| wrong(&field("server"), error))?;
    let mut known = AccountSpec::new(&acme.server);
    // Issuers that name one Secret share an account, as they do in cert-manager.
    known.label = format!("{}/{}", account.namespace, acme.private_key_secret_name);
    let email = acme.email.iter().filter(|email| !email.is_empty());
    let contacts = email.map(|email| format!("mailto:{email}"));
    known.registration.contacts = contacts.collect();
    known.registration.binding = binding(account)?;
    let solvers = solver::solvers(&acme.solvers, settings)?;
    let name = format!("{}/{}", account.namespace, account.name);
    let mut issuer = Issuer::new(&name, known, Arc::new(server), solvers);
    let preferred = acme.preferred_chain.as_deref().unwrap_or_default();
    issuer.chain = ChainPreference::named(preferred);
    let profile = acme.profile.clone();
    issuer.profile = profile.filter(|profile| !profile.is_empty());
    issuer.quotas = match settings.quotas {
        Some(quotas) => quotas,
        None if acme.server == LETS_ENCRYPT => Quotas::default(),
        None => Quotas::unlimited(),
    };
    Ok(issuer)
}

fn binding(account: &AcmeAccount) -> Result<Option<ExternalBinding>, IssuerError> {
    let Some(binding) = &account.spec.external_account_binding else {
        return Ok(None);
    };
    let place = || field("externalAccountBinding").child("keySecretRef");
    let mac = account.binding_key().unwrap_or_default();
    let mac = core::str::from_utf8(mac).map_err(|_| wrong(&place(), "the key is no text"))?;
    ExternalBinding::new(&binding.key_id, mac)
        .map(Some)
        .map_err(|error| wrong(&place(), error))
}

fn roots(
    account: &AcmeAccount,
    settings: &Settings,
) -> Result<Vec<CertificateDer<'static>>, IssuerError> {
    let bundle = account.spec.ca_bundle.as_deref().unwrap_or_default();
    if bundle.is_empty() {
        return match &settings.roots {
            Some(roots) => Ok(roots.clone()),
            None => HttpOptions::system()
                .map(|options| options.roots)
                .map_err(IssuerError::permanent),
        };
    }
    let place = || field("caBundle");
    let text: String = bundle.split_whitespace().collect();
    let text = Base64::decode_vec(&text)
        .map_err(|_| wrong(&place(), "is not base64 of certificates in PEM"))?;
    let blocks = pem::read_at_most(&text, MAX_ROOTS).map_err(|error| wrong(&place(), error))?;
    let certificates = blocks.iter().filter(|block| block.label() == "CERTIFICATE");
    let roots: Vec<_> = certificates
        .map(|block| CertificateDer::from(block.der().to_vec()))
        .collect();
    match roots.is_empty() {
        true => Err(wrong(&place(), "has no certificate")),
        false => Ok(roots),
    }
}

/// A bundle of all public roots is a quarter of a mebibyte.
const MAX_ROOTS: usize = 4 << 20;

/// A field of `spec.acme`.
pub(super) fn field(name: &str) -> FieldPath {
    FieldPath::root("spec").child("acme").child(name)
}

/// A field with which no order can succeed.
pub(super) fn wrong(field: &FieldPath, message: impl fmt::Display) -> IssuerError {
    IssuerError::permanent(format_args!("{field}: {message}"))
}
