//! What the environment says about a provider.

use std::collections::BTreeMap;
use std::time::Duration;

use zeroize::Zeroizing;

use super::super::ProviderError;
use super::table::Entry;

/// The values of a provider's variables, each under its usual name.
pub(super) struct Credentials<'e> {
    entry: &'static Entry,
    values: BTreeMap<&'static str, Zeroizing<String>>,
    get: &'e dyn Fn(&str) -> Option<String>,
}

impl<'e> Credentials<'e> {
    pub(super) fn read(
        entry: &'static Entry,
        get: &'e dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ProviderError> {
        let mut values = BTreeMap::new();
        let mut missing = Vec::new();
        let required = entry.required.iter().map(|names| (names, true));
        let optional = entry.optional.iter().map(|names| (names, false));
        for (names, needed) in required.chain(optional) {
            let mut found = None;
            for name in *names {
                if found.is_none() {
                    found = value(entry, name, get)?;
                }
            }
            match found {
                Some(value) => {
                    values.insert(names[0], value);
                }
                None if needed => missing.push(names.join(" (or ") + &")".repeat(names.len() - 1)),
                None => {}
            }
        }
        match missing.is_empty() {
            true => Ok(Self { entry, values, get }),
            false => Err(ProviderError::Missing {
                provider: entry.names[0],
                variables: missing,
            }),
        }
    }

    /// The value of a variable that the entry requires.
    pub(super) fn text(&self, name: &str) -> &str {
        // Reading has made sure of those that are required.
        self.optional(name).unwrap_or_default()
    }

    /// The value of a variable that the entry knows.
    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        let rows = self.entry.required.iter().chain(self.entry.optional);
        debug_assert!(rows.clone().any(|names| names[0] == name), "{name}");
        self.values.get(name).map(|value| value.as_str())
    }

    /// The value of a variable that is true or false, as Go reads it; false without it.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, ProviderError> {
        let Some(text) = self.optional(name) else {
            return Ok(false);
        };
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(self.wrong(name, format!("{text:?} is neither true nor false"))),
        }
    }

    /// The value of a variable that is a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, ProviderError> {
        let number = self.optional(name).map(|text| {
            text.parse()
                .map_err(|_| self.wrong(name, format!("{text:?} is no number")))
        });
        number.transpose()
    }

    /// What is in the file that a variable names.
    pub(super) fn file_at(&self, name: &str) -> Result<Zeroizing<String>, ProviderError> {
        let path = self.text(name);
        let read = std::fs::read_to_string(path);
        let read =
            read.map_err(|error| self.wrong(name, format!("{path} cannot be read: {error}")));
        read.map(Zeroizing::new)
    }

    /// How long a request may take; the provider's default if the environment says no
    /// other.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, ProviderError> {
        self.seconds("HTTP_TIMEOUT")
    }

    pub(super) fn ttl(&self) -> Result<Option<u32>, ProviderError> {
        let name = format!("{}_TTL", self.entry.prefix);
        let ttl = self.seconds("TTL")?;
        let ttl = ttl.map(|ttl| u32::try_from(ttl.as_secs()));
        ttl.transpose()
            .map_err(|_| self.wrong(&name, "it is too long".to_owned()))
    }

    /// A setting beside the credentials, in seconds.
    pub(super) fn seconds(&self, setting: &str) -> Result<Option<Duration>, ProviderError> {
        let name = format!("{}_{setting}", self.entry.prefix);
        let text = (self.get)(&name).filter(|text| !text.is_empty());
        let seconds = text.map(|text| match text.parse() {
            Ok(seconds) => Ok(Duration::from_secs(seconds)),
            Err(_) => Err(self.wrong(&name, format!("{text:?} is no number of seconds"))),
        });
        seconds.transpose()
    }

    /// The value cannot be used; `reason` must not show a secret one.
    pub(super) fn wrong(&self, variable: &str, reason: String) -> ProviderError {
        wrong(self.entry, variable, reason)
    }

    /// The provider's code cannot use the values.
    pub(super) fn unusable(&self, error: &dns_update::Error) -> ProviderError {
        let required = self.entry.required.iter().map(|names| names[0]);
        let names: Vec<&str> = required.collect();
        self.wrong(&names.join(", "), error.to_string())
    }
}

/// The value of a variable, or of the file its `_FILE` names.
fn value(
    entry: &'static Entry,
    name: &str,
    get: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Zeroizing<String>>, ProviderError> {
    let filled = |name: &str| {
        get(name)
            .filter(|text| !text.is_empty())
            .map(Zeroizing::new)
    };
    let found = match filled(name) {
        Some(value) => value,
        None => {
            let file = format!("{name}_FILE");
            let Some(path) = filled(&file) else {
                return Ok(None);
            };
            let read = std::fs::read_to_string(path.as_str());
            let text = read.map_err(|error| {
                wrong(
                    entry,
                    &file,
                    format!("{} cannot be read: {error}", path.as_str()),
                )
            })?;
            let text = Zeroizing::new(text);
            Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())
        }
    };
    // In a header such a value would be left out without a word.
    if !WITH_LINES.contains(&name) && found.contains(['\r', '\n']) {
        return Err(wrong(entry, name, "it has a line break in it".to_owned()));
    }
    Ok(Some(found).filter(|value| !value.is_empty()))
}

fn wrong(entry: &'static Entry, variable: &str, reason: String) -> ProviderError {
    ProviderError::Value {
        provider: entry.names[0],
        variable: variable.to_owned(),
        reason,
    }
}

/// JSON may have line breaks.
const WITH_LINES: &[&str] = &["GCE_SERVICE_ACCOUNT"];
