//! The vocabulary's name constraints, from DER.

use core::net::IpAddr;

use certwright_cert_model::name_constraints::{NameConstraints, Subtrees};

use crate::decode::{DerError, Reader, SEQUENCE, context};
use crate::general_name::GeneralName;

/// Reads the value of a nameConstraints extension into the terms of a specification, as cert-manager
/// does: DNS names, IP ranges, e-mail addresses and URI hosts only.
///
/// # Errors
///
/// Not DER, no subtree at all, another form of name, a mask that is not a prefix, or a subtree that
/// breaks its form's grammar.
pub fn name_constraints_from_der(
    critical: bool,
    value: &[u8],
) -> Result<NameConstraints, NameConstraintsError> {
    let mut outer = Reader::new(value);
    let sequence = outer.expect(SEQUENCE, "expected a NameConstraints SEQUENCE")?;
    let mut lists = outer.inside(&sequence);
    outer.finish()?;
    let mut sides = [Subtrees::default(), Subtrees::default()];
    for (tag, subtrees) in [0, 1].into_iter().zip(&mut sides) {
        if let Some(list) = lists.optional(context(tag))? {
            read_list(lists.inside(&list), subtrees)?;
        }
    }
    lists.finish()?;
    let [permitted, excluded] = sides;
    NameConstraints::new(critical, permitted, excluded).ok_or(NameConstraintsError::Empty)
}

fn read_list(mut list: Reader<'_>, subtrees: &mut Subtrees) -> Result<(), NameConstraintsError> {
    while !list.is_empty() {
        let subtree = list.expect(SEQUENCE, "expected a GeneralSubtree SEQUENCE")?;
        let mut fields = list.inside(&subtree);
        let base = fields.any()?;
        fields.clone().finish()?;
        let content = base.content(list.input());
        let grammar = |found: &str| NameConstraintsError::Grammar {
            found: found.to_owned(),
        };
        match GeneralName::read(base.tag, content, fields.inside(&base))? {
            GeneralName::Dns(text) => subtrees.dns.push(text.parse().map_err(|_| grammar(text))?),
            GeneralName::Email(text) => {
                subtrees
                    .email
                    .push(text.parse().map_err(|_| grammar(text))?);
            }
            GeneralName::Uri(text) => subtrees.uri.push(text.parse().map_err(|_| grammar(text))?),
            GeneralName::Ip(octets) => {
                let text = range(octets).ok_or_else(|| grammar(&format!("{octets:02x?}")))?;
                subtrees.ip.push(text.parse().map_err(|_| grammar(&text))?);
            }
            _ => {
                return Err(NameConstraintsError::Form {
                    tag: base.tag & 0x1f,
                });
            }
        }
    }
    Ok(())
}

/// Address and mask in CIDR notation.
fn range(octets: &[u8]) -> Option<String> {
    let (address, mask) = octets.split_at(octets.len() / 2);
    let address = match octets.len() {
        8 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        32 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        _ => return None,
    };
    let ones: u32 = mask.iter().map(|octet| octet.count_ones()).sum();
    let leading = mask
        .iter()
        .position(|octet| *octet != 0xff)
        .map_or(ones, |at| {
            u32::try_from(at).unwrap_or(0) * 8 + mask[at].leading_ones()
        });
    (ones == leading).then(|| format!("{address}/{ones}"))
}

/// Why a nameConstraints extension cannot be put in a specification's terms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameConstraintsError {
    /// Not DER, or not NameConstraints.
    #[error("the name constraints are not valid DER")]
    Der(#[from] DerError),
    /// No subtree on either list.
    #[error("the name constraints have no subtree")]
    Empty,
    /// A form of name that specifications do not have.
    #[error(
        "the name constraints have a subtree of form [{tag}], which a specification cannot say"
    )]
    Form {
        /// The tag number of the GeneralName.
        tag: u8,
    },
    /// A subtree that breaks its form's grammar.
    #[error("the subtree {found} is not valid for its form")]
    Grammar {
        /// The subtree.
        found: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::extension::name_constraints_to_der;

    #[test]
    fn what_is_written_reads_back() {
        let mut permitted = Subtrees::default();
        permitted.dns.push(".example.com".parse().unwrap());
        permitted.ip.push("192.168.1.0/24".parse().unwrap());
        permitted.ip.push("2001:db8::/33".parse().unwrap());
        permitted.ip.push("0.0.0.0/0".parse().unwrap());
        permitted.email.push("user@example.com".parse().unwrap());
        let mut excluded = Subtrees::default();
        excluded.uri.push("example.org".parse().unwrap());
        let constraints = NameConstraints::new(false, permitted, excluded).unwrap();
        let der = name_constraints_to_der(&constraints);
        assert_eq!(name_constraints_from_der(false, &der), Ok(constraints));
    }

    #[test]
    fn others_are_refused() {
        for hex in [
            "3000",
            "3004a000a100",
            "300ea00c300a87080a0a000000ff00ff",
            "3008a0063004a4023000",
            "300ea00c300a87080a0a0000ffff000000",
            "300aa0083006820480818283",
            "300ba0093007870500000000ff",
        ] {
            let der: Vec<u8> = (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
                .collect();
            assert!(name_constraints_from_der(true, &der).is_err(), "{hex}");
        }
    }
}
