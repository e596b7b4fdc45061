use core::fmt;
use core::str::FromStr;

use super::{DnsName, DnsNameError};

/// A mailbox as RFC 5280, 4.2.1.6 stores it: an ASCII dot-string, `@`, a DNS name (RFC 5321, 4.1.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email {
    local: String,
    host: DnsName,
}

impl Email {
    /// The part before the `@`, compared with regard to case.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part behind the `@`, compared without regard to case.
    pub fn host(&self) -> &DnsName {
        &self.host
    }
}

impl FromStr for Email {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        let (local, host) = text.rsplit_once('@').ok_or(EmailError::NoAt)?;
        if let Some((at, found)) = local.char_indices().find(|(_, c)| !is_local(*c)) {
            return Err(EmailError::Character { at, found });
        }
        if local.is_empty() || local.len() > 64 || local.split('.').any(str::is_empty) {
            return Err(EmailError::Local);
        }
        let host = host.parse().map_err(EmailError::Host)?;
        Ok(Self {
            local: local.to_owned(),
            host,
        })
    }
}

/// RFC 5321 `atext` and the dots between atoms.
fn is_local(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.host)
    }
}

/// Why a text is not an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmailError {
    /// A character that the part before the `@` cannot have.
    #[error(
        "{found:?} at byte {at} is not allowed; write the bare address, like user@example.com, without a display name or brackets"
    )]
    Character {
        /// Byte offset.
        at: usize,
        /// The character.
        found: char,
    },
    /// The host is not a DNS name.
    #[error("the part behind '@' is not a DNS name")]
    Host(#[source] DnsNameError),
    /// The part before the `@` is empty, longer than 64 bytes or has a misplaced dot.
    #[error("the part before '@' must have 1 to 64 bytes and no leading, trailing or doubled dots")]
    Local,
    /// There is no `@`.
    #[error("an e-mail address needs an '@', like user@example.com")]
    NoAt,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for good in ["user@example.com", "a.b+c@x.org", "o'neil@example.com"] {
            assert_eq!(good.parse::<Email>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "user",
            "@example.com",
            "user@",
            "A <a@example.com>",
            "<a@example.com>",
            "a..b@example.com",
            ".a@example.com",
            "a b@example.com",
            "u\u{fc}@example.com",
        ] {
            assert!(bad.parse::<Email>().is_err(), "{bad}");
        }
    }
}
