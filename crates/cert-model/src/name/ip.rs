use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// Reads an IP address as Go's `net.ParseIP` does: no zone, no leading zeros, no prefix length.
///
/// An IPv4-mapped IPv6 address (`::ffff:1.2.3.4`) is the IPv4 address, in certificates 4 octets.
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    Some(text.parse::<IpAddr>().ok()?.to_canonical())
}

/// A block of IP addresses in CIDR notation, `10.10.0.0/16`; the bits behind the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The first address of the block.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The number of leading bits that count: 0..=32 or 0..=128.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The mask, of the address's family.
    pub fn mask(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(mask_v4(self.prefix))),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(mask_v6(self.prefix))),
        }
    }

    /// Whether the block holds `address`; families never mix.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                address.to_bits() & mask_v4(self.prefix) == block.to_bits()
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                address.to_bits() & mask_v6(self.prefix) == block.to_bits()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// Reads `address/prefix`; bits behind the prefix are cleared, as Go's `net.ParseCIDR` does.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = text.split_once('/').ok_or(CidrError::NoPrefix)?;
        let address: IpAddr = address.parse().map_err(|_| CidrError::Address {
            found: address.to_owned(),
        })?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let plain = prefix == "0" || !prefix.starts_with(['0', '+']);
        let prefix = match prefix.parse::<u8>() {
            Ok(prefix) if plain && prefix <= bits => prefix,
            _ => {
                return Err(CidrError::Prefix {
                    found: prefix.to_owned(),
                    max: bits,
                });
            }
        };
        let address = match address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask_v4(prefix))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(prefix))),
        };
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Why a text is not a block of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidrError {
    /// The part before the `/` is no IP address.
    #[error("{found:?} is not an IP address")]
    Address {
        /// The part as written.
        found: String,
    },
    /// There is no `/`.
    #[error("write a range in CIDR notation, like 10.10.0.0/16")]
    NoPrefix,
    /// The prefix length is no number or too large.
    #[error("prefix length {found:?} must be a number from 0 to {max}")]
    Prefix {
        /// The prefix as written.
        found: String,
        /// The longest prefix of the family.
        max: u8,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks() {
        let block: Cidr = "10.10.3.4/16".parse().unwrap();
        assert_eq!(block.to_string(), "10.10.0.0/16");
        assert_eq!(block.mask().to_string(), "255.255.0.0");
        for (address, inside) in [
            ("10.10.255.1", true),
            ("10.11.0.1", false),
            ("::ffff:10.10.0.1", false),
        ] {
            assert_eq!(
                block.contains(address.parse().unwrap()),
                inside,
                "{address}"
            );
        }
        let all: Cidr = "::/0".parse().unwrap();
        assert!(all.contains("2001:db8::1".parse().unwrap()));
        for bad in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "x/8",
            "fe80::1%eth0/64",
            "::/129",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(parse_ip("::ffff:1.2.3.4"), Some("1.2.3.4".parse().unwrap()));
        for bad in ["1.2.3", "01.2.3.4", "fe80::1%eth0", "10.0.0.0/8", ""] {
            assert_eq!(parse_ip(bad), None, "{bad}");
        }
    }
}
