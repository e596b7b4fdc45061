//! The `spec` of a Certificate resource as it is written: every value with a grammar is still text.

#[cfg(feature = "documents")]
mod decode;
pub(crate) mod validate;

use std::collections::BTreeMap;

/// The `spec` of a `cert-manager.io/v1` Certificate; field names are cert-manager's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct CertificateSpec {
    /// The Secret that holds the result, in the Certificate's namespace; an RFC 1123 subdomain. Required.
    pub secret_name: String,
    /// Who signs. Required.
    pub issuer_ref: IssuerRefSpec,
    /// The subject's common name, at most 64 bytes; TLS clients ignore it. Excludes `literalSubject`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub common_name: Option<String>,
    /// The rest of the subject. Excludes `literalSubject`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub subject: Option<SubjectSpec>,
    /// The whole subject as text, `CN=web,O=Example`; see [`LiteralSubject`](crate::subject::LiteralSubject).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub literal_subject: Option<String>,
    /// DNS names, with `*` as the whole first label or without.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub dns_names: Vec<String>,
    /// IP addresses, without zone or prefix length.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub ip_addresses: Vec<String>,
    /// Absolute URIs, such as SPIFFE IDs.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub uris: Vec<String>,
    /// Bare mailboxes, `user@example.com`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub email_addresses: Vec<String>,
    /// Names of other types, as UTF-8 text.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub other_names: Vec<OtherNameSpec>,
    /// How long the certificate is to be valid, in Go's form, at least `1h`; `2160h` if absent.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub duration: Option<String>,
    /// How long before expiry it is renewed, at least `5m`. Excludes the percentage.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub renew_before: Option<String>,
    /// The share of the lifetime before expiry at which it is renewed, 1 to 99 per cent.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub renew_before_percentage: Option<i64>,
    /// When a due renewal may start.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub renewal: Option<RenewalSpec>,
    /// Whether the certificate is a CA's; adds the usage `cert sign`.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "isCA", skip_serializing_if = "core::ops::Not::not")
    )]
    pub is_ca: bool,
    /// Names of [`Usage`](crate::usage::Usage)s; the [`Defaults`](crate::Defaults) if empty.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub usages: Vec<String>,
    /// Whether the usages are written into the CSR too; true if absent.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub encode_usages_in_request: Option<bool>,
    /// A name of [`SignatureAlgorithm`](crate::key::SignatureAlgorithm) for the CSR; by the key if absent.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub signature_algorithm: Option<String>,
    /// The key.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub private_key: Option<PrivateKeySpec>,
    /// What names may lie below a CA.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub name_constraints: Option<NameConstraintsSpec>,
    /// Labels and annotations to keep on the Secret.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub secret_template: Option<SecretTemplateSpec>,
    /// Other formats to keep in the Secret, each at most once.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub additional_output_formats: Vec<OutputFormatSpec>,
    /// Keystores to keep in the Secret.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub keystores: Option<KeystoresSpec>,
    /// How many past CertificateRequests are kept, at least 1.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub revision_history_limit: Option<i64>,
}

/// `issuerRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct IssuerRefSpec {
    /// The issuer's name. Required.
    pub name: String,
    /// `Issuer` (if absent), `ClusterIssuer`, or a kind of another group.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub kind: Option<String>,
    /// The API group; `cert-manager.io` if absent.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub group: Option<String>,
}

/// `subject`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct SubjectSpec {
    /// `O`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub organizations: Vec<String>,
    /// `C`, two letters each.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub countries: Vec<String>,
    /// `OU`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub organizational_units: Vec<String>,
    /// `L`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub localities: Vec<String>,
    /// `ST`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub provinces: Vec<String>,
    /// `STREET`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub street_addresses: Vec<String>,
    /// `2.5.4.17`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub postal_codes: Vec<String>,
    /// `SERIALNUMBER`: of the subject, not of the certificate.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub serial_number: Option<String>,
}

/// One of `otherNames`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct OtherNameSpec {
    /// The type, an object identifier whose values are UTF-8 text. Required.
    pub oid: String,
    /// The value. Required.
    pub utf8_value: String,
}

/// `renewal`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct RenewalSpec {
    /// `RenewBefore` or `Disabled`. Required.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub policy: Option<String>,
    /// Windows in which a renewal may start; any time if empty.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub windows: Vec<RenewalWindowSpec>,
}

/// One of `renewal.windows`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct RenewalWindowSpec {
    /// When the window opens: five fields, or a word like `@daily`. Required.
    pub cron: String,
    /// How long it stays open, in Go's form. Required.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub window_duration: Option<String>,
    /// The IANA zone of `cron`; UTC if absent.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub timezone: Option<String>,
}

/// `privateKey`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct PrivateKeySpec {
    /// `RSA` (if absent), `ECDSA` or `Ed25519`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub algorithm: Option<String>,
    /// `PKCS1` (if absent) or `PKCS8`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub encoding: Option<String>,
    /// RSA: 2048 (if absent) to 8192 bits; ECDSA: 256 (if absent), 384 or 521.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub size: Option<i64>,
    /// `Never` or `Always`; the [`Defaults`](crate::Defaults) if absent.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub rotation_policy: Option<String>,
}

/// `nameConstraints`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct NameConstraintsSpec {
    /// Whether the extension is critical, as RFC 5280 demands.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "core::ops::Not::not"))]
    pub critical: bool,
    /// Where names must lie; forms that are not listed are free.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub permitted: Option<SubtreesSpec>,
    /// Where names must not lie.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub excluded: Option<SubtreesSpec>,
}

/// `nameConstraints.permitted` and `.excluded`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct SubtreesSpec {
    /// DNS names: each with everything below it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub dns_domains: Vec<String>,
    /// Blocks of addresses, `10.0.0.0/8`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub ip_ranges: Vec<String>,
    /// Mailboxes, hosts, or domains with a leading dot.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub email_addresses: Vec<String>,
    /// Hosts of URIs, or domains with a leading dot.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub uri_domains: Vec<String>,
}

/// `secretTemplate`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct SecretTemplateSpec {
    /// Annotations, none below `cert-manager.io/`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub labels: BTreeMap<String, String>,
}

/// One of `additionalOutputFormats`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct OutputFormatSpec {
    /// `DER` or `CombinedPEM`.
    pub r#type: String,
}

/// `keystores`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct KeystoresSpec {
    /// A Java keystore.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub jks: Option<KeystoreSpec>,
    /// A PKCS#12 keystore.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub pkcs12: Option<KeystoreSpec>,
}

/// `keystores.jks` and `keystores.pkcs12`.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct KeystoreSpec {
    /// Whether the keystore is made. Required.
    pub create: bool,
    /// The key entry's alias, of a Java keystore only; `certificate` if absent.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub alias: Option<String>,
    /// A name of [`Pkcs12Profile`](crate::output::Pkcs12Profile), of a PKCS#12 keystore only.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub profile: Option<String>,
    /// The password itself; serde reads it and never writes it.
    #[cfg_attr(
        feature = "serde",
        serde(skip_serializing, deserialize_with = "password")
    )]
    pub password: Option<zeroize::Zeroizing<String>>,
    /// Where the password is. Exactly one of the two.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub password_secret_ref: Option<SecretKeyRefSpec>,
}

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct SecretKeyRefSpec {
    /// The Secret's name.
    pub name: String,
    /// The key within the Secret.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub key: Option<String>,
}

/// A password is read and never written.
#[cfg(feature = "serde")]
fn password<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<zeroize::Zeroizing<String>>, D::Error> {
    let text: Option<String> = serde::Deserialize::deserialize(deserializer)?;
    Ok(text.map(zeroize::Zeroizing::new))
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
