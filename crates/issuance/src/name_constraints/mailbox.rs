//! rfc822Name subtrees.

use core::fmt;

use super::dns::{Host, HostBase};
use super::subtree::Hit;

/// A mailbox, split at its last `@`.
pub(super) struct Mailbox<'a> {
    local: &'a str,
    host: Host,
}

impl<'a> Mailbox<'a> {
    pub(super) fn new(text: &'a str) -> Option<Self> {
        let (local, host) = text.rsplit_once('@').filter(|_| text.is_ascii())?;
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
    /// `example.com`: every mailbox at this host; `.example.com`: at the hosts below it.
    Host(HostBase),
    /// `user@example.com`: one mailbox; the part before the `@` compares with regard to case.
    Mailbox(Box<str>, HostBase),
    /// Anything else.
    Malformed(Box<str>),
}

impl MailboxBase {
    pub(super) fn read(text: &str) -> Self {
        if let Some(mailbox) = Mailbox::new(text) {
            let host = HostBase::Host(mailbox.host.key().into());
            return Self::Mailbox(mailbox.local.into(), host);
        }
        match HostBase::read(text) {
            HostBase::Malformed(text) => Self::Malformed(text),
            host => Self::Host(host),
        }
    }

    pub(super) fn test(&self, mailbox: &Mailbox<'_>) -> Hit {
        match self {
            Self::Host(base) => base.test(&mailbox.host),
            Self::Mailbox(local, base) if mailbox.local == &**local => base.test(&mailbox.host),
            Self::Mailbox(..) => Hit::Outside,
            Self::Malformed(_) => Hit::Malformed,
        }
    }
}

impl fmt::Display for MailboxBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(base) => base.fmt(f),
            Self::Mailbox(local, base) => write!(f, "{local}@{base}"),
            Self::Malformed(text) => f.write_str(text),
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
