use core::fmt;

use certwright_cert_model::output::OutputFormat;
use certwright_cert_model::pem;
use certwright_cert_model::secret::{KEY_DER, TLS_COMBINED, TLS_CRT, TLS_KEY};
use certwright_cert_model::{TlsSecret, ValidatedSpec};
use certwright_issuance::Certificate;
use certwright_issuance::bundle::combined_pem;

use super::observed::{Authority, Observed};
use super::stored::Stored;
use crate::annotation::Metadata;

/// One thing about a Secret that is not as the specification says, although its certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drift {
    /// An annotation.
    Annotation {
        /// Its key.
        key: String,
        /// What it is to be; `None` if it is to go.
        expected: Option<String>,
        /// What it is.
        found: Option<String>,
    },
    /// The certificates above the leaf in `tls.crt` and `ca.crt` are not the ones of the CA.
    Chain,
    /// `tls.key` is in another encoding.
    KeyEncoding {
        /// The PEM label it is to have, for example `PRIVATE KEY`.
        expected: &'static str,
        /// The PEM label it has.
        found: String,
    },
    /// A keystore: it is not there, not wanted, of another key or chain, or locked with another password, profile or
    /// alias.
    Keystore {
        /// Its key in the Secret, for example `keystore.p12`.
        key: String,
    },
    /// A label.
    Label {
        /// Its key.
        key: String,
        /// What it is to be; `None` if it is to go.
        expected: Option<String>,
        /// What it is.
        found: Option<String>,
    },
    /// An additional format of key and chain.
    Output {
        /// Its key in the Secret, for example `key.der`.
        key: &'static str,
        /// What about it.
        problem: OutputDrift,
    },
}

/// What about an additional format is not as the specification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputDrift {
    /// It does not hold the stored key and chain.
    Differs,
    /// It is asked for, but not there.
    Missing,
    /// It is there, but not asked for.
    Unwanted,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entry =
            |what: &str, key: &str, expected: &Option<String>, found: &Option<String>| {
                // Anybody may have written key and value.
                write!(f, "{what} {} is ", key.escape_debug())?;
                match found {
                    None => f.write_str("not there")?,
                    Some(found) => write!(f, "\"{}\"", found.escape_debug())?,
                }
                match expected {
                    None => f.write_str(", but is to go"),
                    Some(expected) => write!(f, ", but is to be \"{}\"", expected.escape_debug()),
                }
            };
        match self {
            Self::Annotation {
                key,
                expected,
                found,
            } => entry("annotation", key, expected, found),
            Self::Label {
                key,
                expected,
                found,
            } => entry("label", key, expected, found),
            Self::Chain => f.write_str("the CA's certificates are not those of the issuer"),
            Self::KeyEncoding { expected, found } => write!(
                f,
                "tls.key is a {}, but is to be a {expected}",
                found.escape_debug()
            ),
            Self::Keystore { key } => write!(f, "{key} is not as spec.keystores says"),
            Self::Output { key, problem } => {
                let problem = match problem {
                    OutputDrift::Differs => "does not hold the stored key and chain",
                    OutputDrift::Missing => "is asked for, but not there",
                    OutputDrift::Unwanted => "is there, but not asked for",
                };
                write!(f, "{key} {problem}")
            }
        }
    }
}

/// Everything about a Secret that is not as the specification says.
pub(super) fn drift(spec: &ValidatedSpec, seen: &Observed<'_>, stored: &Stored<'_>) -> Vec<Drift> {
    let mut drift = metadata(spec, seen.certificate, stored);
    let complete = match seen.authority {
        Authority::Chain(chain) => same_certificates(chain, stored),
        Authority::OwnKey => stored.is_its_own_authority(),
        Authority::Unknown => true,
    };
    if !complete {
        drift.push(Drift::Chain);
    }
    drift.extend(key_encoding(spec, stored));
    drift.extend(outputs(spec, stored));
    drift.extend(seen.keystores.iter().map(|key| Drift::Keystore {
        key: (*key).to_owned(),
    }));
    drift
}

fn metadata(spec: &ValidatedSpec, certificate: &str, stored: &Stored<'_>) -> Vec<Drift> {
    let secret = stored.secret;
    let digest = Some(stored.digest().to_owned());
    let wanted = Metadata::of(spec, stored.fingerprint(spec), certificate, digest);
    let [annotations, labels] = wanted.outdated(secret);
    let mut drift = Vec::new();
    for (key, expected) in &wanted.annotations {
        let found = secret.annotations.get(key);
        if found != Some(expected) {
            drift.push(Drift::Annotation {
                key: key.clone(),
                expected: Some(expected.clone()),
                found: found.cloned(),
            });
        }
    }
    drift.extend(annotations.into_iter().map(|key| Drift::Annotation {
        key: key.to_owned(),
        expected: None,
        found: secret.annotations.get(key).cloned(),
    }));
    for (key, expected) in &wanted.labels {
        let found = secret.labels.get(key);
        if found != Some(expected) {
            drift.push(Drift::Label {
                key: key.clone(),
                expected: Some(expected.clone()),
                found: found.cloned(),
            });
        }
    }
    drift.extend(labels.into_iter().map(|key| Drift::Label {
        key: key.to_owned(),
        expected: None,
        found: secret.labels.get(key).cloned(),
    }));
    drift
}

/// Whether the Secret's certificates above the leaf are those of the CA, no more and no less.
fn same_certificates(chain: &[Certificate], stored: &Stored<'_>) -> bool {
    let known = |one: &Certificate| stored.above().any(|above| above.der() == one.der());
    let ours = |one: &Certificate| chain.iter().any(|above| above.der() == one.der());
    chain.iter().all(known) && stored.above().all(ours)
}

fn key_encoding(spec: &ValidatedSpec, stored: &Stored<'_>) -> Option<Drift> {
    let expected = stored.key.pem_label(spec.key().encoding);
    let text = stored.secret.get(TLS_KEY)?;
    let after = text
        .strip_prefix(b"-----BEGIN ")
        .and_then(|text| text.strip_prefix(expected.as_bytes()));
    if after.is_some_and(|text| text.starts_with(b"-----")) {
        // As it is written here: nothing before it, and the key in it was read.
        return None;
    }
    let blocks = pem::read(text).ok()?;
    let found = blocks.first()?.label();
    (found != expected).then(|| Drift::KeyEncoding {
        expected,
        found: found.to_owned(),
    })
}

fn outputs(spec: &ValidatedSpec, stored: &Stored<'_>) -> Vec<Drift> {
    let secret = stored.secret;
    let formats = [
        (TLS_COMBINED, OutputFormat::CombinedPem),
        (KEY_DER, OutputFormat::Der),
    ];
    let problem = |(key, format): (&'static str, OutputFormat)| {
        let wanted = spec.outputs().contains(&format);
        let problem = match (wanted, secret.get(key)) {
            (false, None) => return None,
            (false, Some(_)) => OutputDrift::Unwanted,
            (true, None) => OutputDrift::Missing,
            (true, Some(found)) if holds(format, found, secret) => return None,
            (true, Some(_)) => OutputDrift::Differs,
        };
        Some(Drift::Output { key, problem })
    };
    formats.into_iter().filter_map(problem).collect()
}

/// Whether an additional format is that of the Secret's own key and chain.
fn holds(format: OutputFormat, found: &[u8], secret: &TlsSecret) -> bool {
    let text = |key| core::str::from_utf8(secret.get(key).unwrap_or_default()).ok();
    match format {
        OutputFormat::CombinedPem => text(TLS_KEY)
            .zip(text(TLS_CRT))
            .is_some_and(|(key, chain)| combined_pem(key, chain).as_bytes() == found),
        OutputFormat::Der => pem::read(secret.get(TLS_KEY).unwrap_or_default())
            .is_ok_and(|blocks| blocks.first().is_some_and(|block| block.der() == found)),
    }
}
