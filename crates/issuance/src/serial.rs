//! Serial numbers (RFC 5280, 4.1.2.2).

use core::fmt;

use aws_lc_rs::rand;

/// A certificate's serial number: 1 to 20 octets, positive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Serial {
    octets: [u8; 20],
    length: usize,
}

impl Serial {
    /// 16 octets with 126 random bits from the system: never zero, never negative, always the same
    /// length, and no need to remember those already given.
    ///
    /// # Errors
    ///
    /// The system gave no randomness.
    pub fn random() -> Result<Self, SerialError> {
        let mut octets = [0; 16];
        rand::fill(&mut octets).map_err(|_| SerialError::Random)?;
        Ok(Self::from_random(octets))
    }

    /// The serial number made of these random octets; for a source of randomness of your own.
    pub fn from_random(mut octets: [u8; 16]) -> Self {
        octets[0] = (octets[0] & 0x3f) | 0x40;
        Self::new(&octets)
    }

    /// A serial number of your choice, big endian; leading zeros do not count. Never use one twice
    /// under the same issuer.
    ///
    /// # Errors
    ///
    /// Zero, or more than 159 bits.
    pub fn from_be_bytes(octets: &[u8]) -> Result<Self, SerialError> {
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        let octets = &octets[zeros..];
        match octets {
            [] => Err(SerialError::Zero),
            [0x80..=0xff, ..] if octets.len() >= 20 => Err(SerialError::TooLong),
            _ if octets.len() > 20 => Err(SerialError::TooLong),
            _ => Ok(Self::new(octets)),
        }
    }

    /// `magnitude` has at most 20 octets.
    fn new(magnitude: &[u8]) -> Self {
        let mut octets = [0; 20];
        octets[..magnitude.len()].copy_from_slice(magnitude);
        Self {
            octets,
            length: magnitude.len(),
        }
    }

    /// The magnitude, big endian, without leading zeros.
    pub fn as_be_bytes(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

/// Octets in hexadecimal with colons between them, as `openssl x509 -text` has them.
impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, octet) in self.as_be_bytes().iter().enumerate() {
            let colon = if i > 0 { ":" } else { "" };
            write!(f, "{colon}{octet:02x}")?;
        }
        Ok(())
    }
}

/// Why there is no such serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SerialError {
    /// The system gave no randomness.
    #[error("the system's random number generator failed")]
    Random,
    /// More than 20 octets in DER.
    #[error("a serial number has at most 159 bits (RFC 5280, 4.1.2.2)")]
    TooLong,
    /// Zero.
    #[error("a serial number is positive (RFC 5280, 4.1.2.2)")]
    Zero,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(Serial::from_be_bytes(&[0, 0]), Err(SerialError::Zero));
        assert_eq!(Serial::from_be_bytes(&[0, 7]).unwrap().as_be_bytes(), [7]);
        let text = Serial::from_be_bytes(&[0, 0x0a, 0xff]).unwrap().to_string();
        assert_eq!(text, "0a:ff");
        assert!(Serial::from_be_bytes(&[0x7f; 20]).is_ok());
        assert_eq!(
            Serial::from_be_bytes(&[0x80; 20]),
            Err(SerialError::TooLong)
        );
        assert_eq!(Serial::from_be_bytes(&[1; 21]), Err(SerialError::TooLong));
        for octets in [[0; 16], [0xff; 16]] {
            assert!((0x40..0x80).contains(&Serial::from_random(octets).as_be_bytes()[0]));
        }
    }
}
