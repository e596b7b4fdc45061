//! The subtrees of one nameConstraints extension, read from DER, per form.

use core::fmt;

use super::dns::HostBase;
use super::mailbox::MailboxBase;
use super::tree::HostTree;
use crate::decode::{DerError, Reader, SEQUENCE, context, context_primitive};
use crate::general_name::GeneralName;
use crate::name::{self, Fold};

/// Which list a subtree is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Permitted,
    Excluded,
}

/// What a subtree says about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hit {
    Inside,
    Malformed,
    Outside,
}

impl From<bool> for Hit {
    fn from(inside: bool) -> Self {
        if inside { Self::Inside } else { Self::Outside }
    }
}

/// The subtrees of one list.
#[derive(Clone, Debug, Default)]
pub(super) struct Subtrees {
    pub(super) dns: HostTree,
    pub(super) email: Vec<MailboxBase>,
    pub(super) uri: Vec<HostBase>,
    pub(super) ip: Vec<AddressBase>,
    pub(super) directory: Vec<DirectoryBase>,
    /// Forms whose matching RFC 5280 does not define, one bit per tag number.
    pub(super) undefined: u16,
}

/// An iPAddress subtree.
#[derive(Clone, Debug)]
pub(super) struct AddressBase(Box<[u8]>);

/// A directoryName subtree: the DER of a Name.
#[derive(Clone, Debug)]
pub(super) struct DirectoryBase(Box<[u8]>);

/// Reads the value of a nameConstraints extension: permitted, excluded.
pub(super) fn read(value: &[u8]) -> Result<(Subtrees, Subtrees), DerError> {
    let mut outer = Reader::new(value);
    let sequence = outer.expect(SEQUENCE, "expected a NameConstraints SEQUENCE")?;
    let mut lists = outer.inside(&sequence);
    outer.finish()?;
    if lists.is_empty() {
        return Err(DerError {
            at: lists.at(),
            problem: "name constraints need at least one list of subtrees",
        });
    }
    let mut sides = [Subtrees::default(), Subtrees::default()];
    for (tag, subtrees) in [0, 1].into_iter().zip(&mut sides) {
        if let Some(list) = lists.optional(context(tag))? {
            let mut list = lists.inside(&list);
            if list.is_empty() {
                return Err(DerError {
                    at: list.at(),
                    problem: "a list of subtrees cannot be empty",
                });
            }
            while !list.is_empty() {
                subtrees.read_one(&mut list)?;
            }
        }
    }
    lists.finish()?;
    let [permitted, excluded] = sides;
    Ok((permitted, excluded))
}

impl Subtrees {
    fn read_one(&mut self, list: &mut Reader<'_>) -> Result<(), DerError> {
        let subtree = list.expect(SEQUENCE, "expected a GeneralSubtree SEQUENCE")?;
        let mut fields = list.inside(&subtree);
        let base = fields.any()?;
        // RFC 5280: minimum is 0, so DER leaves it out; maximum is absent.
        if [context_primitive(0), context_primitive(1)]
            .map(Some)
            .contains(&fields.peek())
        {
            return Err(DerError {
                at: fields.at(),
                problem: "a subtree cannot have minimum or maximum (RFC 5280, 4.2.1.10)",
            });
        }
        fields.clone().finish()?;
        let content = base.content(list.input());
        match GeneralName::read(base.tag, content, fields.inside(&base))? {
            GeneralName::Dns(base) => self.dns.insert(base),
            GeneralName::Email(base) => self.email.push(MailboxBase::read(base)),
            GeneralName::Uri(base) => self.uri.push(HostBase::read(base)),
            GeneralName::Ip(base) => self.ip.push(AddressBase(base.into())),
            GeneralName::Directory(base) => self.directory.push(DirectoryBase(base.into())),
            GeneralName::Other { .. }
            | GeneralName::X400
            | GeneralName::EdiParty
            | GeneralName::RegisteredId(_) => self.undefined |= 1 << (base.tag & 0x0f),
        }
        Ok(())
    }
}

impl AddressBase {
    /// Whether an address of 4 or 16 octets lies in the block; families never mix.
    pub(super) fn test(&self, address: &[u8]) -> Hit {
        if !matches!(self.0.len(), 8 | 32) {
            return Hit::Malformed;
        }
        let (base, mask) = self.0.split_at(self.0.len() / 2);
        let mut open = false;
        for octet in mask {
            let ones = octet.leading_ones();
            if ones + octet.trailing_zeros().min(8) < 8 || (open && *octet != 0) {
                return Hit::Malformed;
            }
            open |= ones < 8;
        }
        let same = base
            .iter()
            .zip(mask)
            .zip(address)
            .all(|((base, mask), octet)| base & mask == octet & mask);
        Hit::from(base.len() == address.len() && same)
    }

    /// Whether webpki and we agree that this is a block of addresses.
    pub(super) fn is_well_formed(&self) -> bool {
        self.test(&[]) != Hit::Malformed
    }
}

impl fmt::Display for AddressBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use core::net::IpAddr;
        if !self.is_well_formed() {
            return write!(f, "{:02x?}", self.0);
        }
        let (base, mask) = self.0.split_at(self.0.len() / 2);
        let prefix: u32 = mask.iter().map(|octet| octet.count_ones()).sum();
        let v4 = <[u8; 4]>::try_from(base).map(IpAddr::from);
        let v6 = <[u8; 16]>::try_from(base).map(IpAddr::from);
        match v4.or(v6) {
            Ok(address) => write!(f, "{address}/{prefix}"),
            Err(_) => write!(f, "{:02x?}", self.0),
        }
    }
}

impl DirectoryBase {
    /// Whether the RDNs of the subtree are the first of `name`'s. Of two ways to compare letters the
    /// stricter is taken on each side.
    pub(super) fn test(&self, name: &[u8], side: Side) -> Hit {
        let fold = match side {
            Side::Permitted => Fold::Ascii,
            Side::Excluded => Fold::Unicode,
        };
        let mut rdns = name::rdns(name);
        let inside =
            name::rdns(&self.0).all(|base| rdns.next().is_some_and(|rdn| base.matches(rdn, fold)));
        Hit::from(inside)
    }
}

impl fmt::Display for DirectoryBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name::display(&self.0))
    }
}

/// Whether OpenSSL takes a common name for a host name: letters, digits, `_`, `-` and dots inside,
/// with at least one dot. An IPv4 address is one, too. So is a name with `*`: OpenSSL holds hosts
/// against it, though it does not hold it against constraints.
pub(super) fn host_like(text: &[u8]) -> bool {
    let mut labels = text.split(|byte| *byte == b'.');
    let is_label = |label: &[u8]| {
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'*');
        let edges = [label.first(), label.last()];
        label.iter().all(good)
            && edges
                .iter()
                .all(|edge| edge.is_some_and(|byte| *byte != b'-'))
    };
    text.contains(&b'.') && labels.all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_in_common_names() {
        for (text, like) in [
            ("www.example.com", true),
            ("10.0.0.1", true),
            ("a_b.c-d", true),
            ("leaf", false),
            ("Jane Doe", false),
            ("a..b", false),
            (".a.b", false),
            ("a.b.", false),
            ("-a.b", false),
            ("a.-b", false),
            ("*.a.b", true),
            ("a*.b", true),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(host_like(text.as_bytes()), like, "{text}");
        }
    }

    #[test]
    fn address_blocks() {
        let base = |octets: &[u8]| AddressBase(octets.into());
        let ten = base(&[10, 0, 0, 0, 255, 0, 0, 0]);
        assert_eq!(ten.test(&[10, 1, 2, 3]), Hit::Inside);
        assert_eq!(ten.test(&[11, 1, 2, 3]), Hit::Outside);
        assert_eq!(ten.test(&[0; 16]), Hit::Outside);
        assert_eq!(ten.to_string(), "10.0.0.0/8");
        for bad in [
            &[10, 0, 0, 0, 255, 0, 255, 0][..],
            &[10, 0, 0, 0, 0b1010_0000, 0, 0, 0],
            &[10, 0, 0, 0],
            &[],
        ] {
            assert_eq!(base(bad).test(&[10, 1, 2, 3]), Hit::Malformed, "{bad:?}");
        }
        assert_eq!(base(&[0; 8]).test(&[1, 2, 3, 4]), Hit::Inside);
        assert_eq!(
            base(&[10, 16, 0, 0, 255, 240, 0, 0]).test(&[10, 31, 0, 1]),
            Hit::Inside
        );
    }
}
