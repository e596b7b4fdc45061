//! PKCS#12's own way from a password to keys (RFC 7292, appendix B.2), which its old ciphers and its
//! plain MACs use.

use aws_lc_rs::digest::{self, Algorithm};
use zeroize::Zeroizing;

/// What the derived octets are for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// Fills `out` from a password in UTF-16 with its two zero octets at the end.
pub(super) fn derive(
    hash: &'static Algorithm,
    purpose: Purpose,
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    out: &mut [u8],
) {
    let block = hash.block_len();
    let filled = |octets: &[u8]| octets.len().div_ceil(block) * block;
    let diversifier = vec![purpose as u8; block];
    let mut input = Zeroizing::new(Vec::with_capacity(filled(salt) + filled(password)));
    for octets in [salt, password] {
        input.extend(octets.iter().cycle().take(filled(octets)));
    }
    for out in out.chunks_mut(hash.output_len()) {
        let mut context = digest::Context::new(hash);
        context.update(&diversifier);
        context.update(&input);
        let mut result = context.finish();
        for _ in 1..rounds {
            result = digest::digest(hash, result.as_ref());
        }
        out.copy_from_slice(&result.as_ref()[..out.len()]);
        for part in input.chunks_mut(block) {
            add(part, result.as_ref());
        }
    }
}

/// Adds `addend`, repeated to the length of `number`, and one to a big-endian number, without the carry
/// beyond its first octet.
fn add(number: &mut [u8], addend: &[u8]) {
    let mut carry = 1;
    let repeated = addend.iter().cycle().take(number.len());
    let addends: Zeroizing<Vec<u8>> = Zeroizing::new(repeated.copied().collect());
    for (digit, addend) in number.iter_mut().zip(addends.iter()).rev() {
        let [low, high] = (u16::from(*digit) + u16::from(*addend) + carry).to_le_bytes();
        *digit = low;
        carry = u16::from(high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        use Purpose::*;
        // The vectors that OpenSSL and Bouncy Castle test with.
        for (password, salt, rounds, purpose, expected) in [
            (
                "smeg",
                "0a58cf64530d823f",
                1,
                Key,
                "8aaae6297b6cb04642ab5b077851284eb7128f1a2a7fbca3",
            ),
            ("smeg", "0a58cf64530d823f", 1, Iv, "79993dfe048d3b76"),
            (
                "smeg",
                "642b99ab44fb4b1f",
                1,
                Key,
                "f3a95fec48d7711e985cfe67908c5ab79fa3d7c5caa5d966",
            ),
            ("smeg", "642b99ab44fb4b1f", 1, Iv, "c0a38d64a79bea1d"),
            (
                "smeg",
                "3d83c0e4546ac140",
                1,
                Mac,
                "8d967d88f6caa9d714800ab3d48051d63f73a312",
            ),
            (
                "queeg",
                "05dec959acff72f7",
                1000,
                Key,
                "ed2034e36328830ff09df1e1a07dd357185dac0d4f9eb3d4",
            ),
            ("queeg", "05dec959acff72f7", 1000, Iv, "11dedad7758d4860"),
            (
                "queeg",
                "263216fcc2fab31c",
                1000,
                Mac,
                "5ec4c7a80df652294c3925b6489a7ab857c83476",
            ),
        ] {
            let octets = |hex: &str| -> Vec<u8> {
                let digits: Vec<_> = hex
                    .chars()
                    .map(|digit| digit.to_digit(16).unwrap())
                    .collect();
                let pairs = digits.chunks(2);
                pairs
                    .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
                    .collect()
            };
            let expected = octets(expected);
            let password: Vec<u8> = super::super::utf16(password).chain([0, 0]).collect();
            let mut derived = vec![0; expected.len()];
            let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
            derive(
                hash,
                purpose,
                &password,
                &octets(salt),
                rounds,
                &mut derived,
            );
            assert_eq!(derived, expected, "{salt} {purpose:?}");
        }
    }
}
