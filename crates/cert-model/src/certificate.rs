//! The `spec` of a Certificate resource as it is written: every value with a grammar is still text.

#[cfg(feature = "documents")]
mod decode;
mod validate;

use std::collections::BTreeMap;

/// The `spec` of a `cert-manager.io/v1` Certificate; field names are cert-manager's.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the fields are documented by cert-manager's API reference; validation explains each rule"
)]
pub struct CertificateSpec {
    pub secret_name: String,
    pub issuer_ref: IssuerRefSpec,
    pub common_name: Option<String>,
    pub subject: Option<SubjectSpec>,
    pub literal_subject: Option<String>,
    pub dns_names: Vec<String>,
    pub ip_addresses: Vec<String>,
    pub uris: Vec<String>,
    pub email_addresses: Vec<String>,
    pub other_names: Vec<OtherNameSpec>,
    pub duration: Option<String>,
    pub renew_before: Option<String>,
    pub renew_before_percentage: Option<i64>,
    pub renewal: Option<RenewalSpec>,
    pub is_ca: bool,
    pub usages: Vec<String>,
    pub encode_usages_in_request: Option<bool>,
    pub signature_algorithm: Option<String>,
    pub private_key: Option<PrivateKeySpec>,
    pub name_constraints: Option<NameConstraintsSpec>,
    pub secret_template: Option<SecretTemplateSpec>,
    pub additional_output_formats: Vec<OutputFormatSpec>,
    pub keystores: Option<KeystoresSpec>,
    pub revision_history_limit: Option<i64>,
}

/// `issuerRef`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct IssuerRefSpec {
    pub name: String,
    pub kind: Option<String>,
    pub group: Option<String>,
}

/// `subject`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct SubjectSpec {
    pub organizations: Vec<String>,
    pub countries: Vec<String>,
    pub organizational_units: Vec<String>,
    pub localities: Vec<String>,
    pub provinces: Vec<String>,
    pub street_addresses: Vec<String>,
    pub postal_codes: Vec<String>,
    pub serial_number: Option<String>,
}

/// One of `otherNames`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct OtherNameSpec {
    pub oid: String,
    pub utf8_value: String,
}

/// `renewal`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct RenewalSpec {
    pub policy: Option<String>,
    pub windows: Vec<RenewalWindowSpec>,
}

/// One of `renewal.windows`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct RenewalWindowSpec {
    pub cron: String,
    pub window_duration: Option<String>,
    pub timezone: Option<String>,
}

/// `privateKey`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct PrivateKeySpec {
    pub algorithm: Option<String>,
    pub encoding: Option<String>,
    pub size: Option<i64>,
    pub rotation_policy: Option<String>,
}

/// `nameConstraints`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct NameConstraintsSpec {
    pub critical: bool,
    pub permitted: Option<SubtreesSpec>,
    pub excluded: Option<SubtreesSpec>,
}

/// `nameConstraints.permitted` and `.excluded`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct SubtreesSpec {
    pub dns_domains: Vec<String>,
    pub ip_ranges: Vec<String>,
    pub email_addresses: Vec<String>,
    pub uri_domains: Vec<String>,
}

/// `secretTemplate`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct SecretTemplateSpec {
    pub annotations: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// One of `additionalOutputFormats`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct OutputFormatSpec {
    pub r#type: String,
}

/// `keystores`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct KeystoresSpec {
    pub jks: Option<KeystoreSpec>,
    pub pkcs12: Option<KeystoreSpec>,
}

/// `keystores.jks` and `keystores.pkcs12`.
#[derive(Clone, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct KeystoreSpec {
    pub create: bool,
    pub alias: Option<String>,
    pub profile: Option<String>,
    pub password: Option<zeroize::Zeroizing<String>>,
    pub password_secret_ref: Option<SecretKeyRefSpec>,
}

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "cert-manager's names")]
pub struct SecretKeyRefSpec {
    pub name: String,
    pub key: Option<String>,
}

impl core::fmt::Debug for KeystoreSpec {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KeystoreSpec")
            .field("create", &self.create)
            .field("alias", &self.alias)
            .field("profile", &self.profile)
            .field("password", &self.password.as_ref().map(|_| "redacted"))
            .field("password_secret_ref", &self.password_secret_ref)
            .finish()
    }
}
