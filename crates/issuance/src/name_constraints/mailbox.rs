//! rfc822Name subtrees.

use core::fmt;

use super::dns::Host;
use super::subtree::Hit;

/// A mailbox, split at its last `@`.
pub(super) struct Mailbox<'a> {
    local: &'a str,
    host: Host,
}

impl<'a> Mailbox<'a> {
    pub(super) fn new(text: &'a str) -> Option<Self> {
        let (local, host) = text.rsplit_once('@')?;
        let host = Host::new(host.as_bytes())?;
        // RFC 5321, 4.1.2: outside quotes there is no second '@'.
        let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
        let plain = !local.is_empty() && !local.contains(['@', ' ', '"']);
        (quoted || plain).then_some(Self { local, host })
    }
}

/// An rfc822Name constraint.
#[derive(Clone, Debug)]
pub(super) enum MailboxBase {
    /// `.example.com`: every mailbox at a host below this one.
    Below(Box<[u8]>),
    /// `example.com`: every mailbox at this host.
    Host(Box<[u8]>),
    /// `user@example.com`: one mailbox; the part before the `@` compares with regard to case.
    Mailbox(Box<str>, Box<[u8]>),
    /// Anything else.
    Malformed(Box<str>),
}

impl MailboxBase {
    pub(super) fn read(text: &str) -> Self {
        if let Some(mailbox) = Mailbox::new(text) {
            return Self::Mailbox(mailbox.local.into(), mailbox.host.as_bytes().into());
        }
        let below = text.strip_prefix('.');
        match (Host::new(below.unwrap_or(text).as_bytes()), below) {
            (Some(host), Some(_)) => Self::Below(host.as_bytes().into()),
            (Some(host), None) => Self::Host(host.as_bytes().into()),
            (None, _) => Self::Malformed(text.into()),
        }
    }

    pub(super) fn test(&self, mailbox: &Mailbox<'_>) -> Hit {
        let host = mailbox.host.as_bytes();
        Hit::from(match self {
            Self::Malformed(_) => return Hit::Malformed,
            Self::Below(base) => host
                .strip_suffix(&**base)
                .is_some_and(|labels| labels.ends_with(b".")),
            Self::Host(base) => host == &**base,
            Self::Mailbox(local, base) => mailbox.local == &**local && host == &**base,
        })
    }
}

impl fmt::Display for MailboxBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(base) => write!(f, ".{}", String::from_utf8_lossy(base)),
            Self::Host(base) => f.write_str(&String::from_utf8_lossy(base)),
            Self::Mailbox(local, base) => write!(f, "{local}@{}", String::from_utf8_lossy(base)),
            Self::Malformed(text) => write!(f, "{text:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtrees() {
        use Hit::{Inside, Malformed, Outside};
        for (base, name, hit) in [
            ("u@example.com", "u@example.com", Inside),
            ("u@example.com", "u@EXAMPLE.com", Inside),
            ("u@example.com", "U@example.com", Outside),
            ("example.com", "u@example.com", Inside),
            ("example.com", "u@s.example.com", Outside),
            (".example.com", "u@s.example.com", Inside),
            (".example.com", "u@example.com", Outside),
            (".example.com", "u@badexample.com", Outside),
            ("@example.com", "u@example.com", Malformed),
            ("", "u@example.com", Malformed),
        ] {
            let mailbox = Mailbox::new(name).unwrap();
            assert_eq!(MailboxBase::read(base).test(&mailbox), hit, "{base} {name}");
        }
        for bad in [
            "example.com",
            "@example.com",
            "u@",
            "u@[10.0.0.1]",
            "u@10.0.0.1",
            "u@v@example.com",
        ] {
            assert!(Mailbox::new(bad).is_none(), "{bad}");
        }
    }
}
