//! The form of every file: a line that says what follows, then the bytes.

use core::fmt;

use crate::Revision;

/// The longest first line.
const MAX_LINE: usize = 128;

/// What a file is: its first line says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The highest revision that may have been used.
    Head,
    /// A value.
    Record,
    /// The writes of a transaction.
    Txn,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "head",
            Self::Record => "record",
            Self::Txn => "txn",
        })
    }
}

/// The first line of a file of these bytes: `certwright record 1 rev=7 len=5 crc=…`.
///
/// The checksum is CRC-32 (IEEE) of the line up to it and the bytes.
pub(crate) fn line(kind: Kind, revision: Revision, body: &[u8]) -> String {
    let head = format!("certwright {kind} 1 rev={revision} len={}", body.len());
    let crc = crc(&head, body);
    format!("{head} crc={crc:08x}\n")
}

/// The revision of a file, and where its bytes start; or what does not fit.
pub(crate) fn read(kind: Kind, file: &[u8]) -> Result<(Revision, usize), String> {
    let end = file.iter().take(MAX_LINE).position(|byte| *byte == b'\n');
    let end = end.ok_or("it has no first line")?;
    let line = core::str::from_utf8(&file[..end]).map_err(|_| "its first line is no text")?;
    let (head, sum) = line
        .rsplit_once(" crc=")
        .ok_or("no crc in its first line")?;
    let prefix = format!("certwright {kind} 1 rev=");
    let numbers = head
        .strip_prefix(&prefix)
        .ok_or_else(|| format!("its first line does not start with \"certwright {kind} 1\""))?;
    let (revision, len) = numbers
        .split_once(" len=")
        .ok_or("no len in its first line")?;
    let revision: u64 = revision.parse().map_err(|_| "rev is no number")?;
    if i64::try_from(revision).is_err() {
        return Err("rev is greater than any revision".to_owned());
    }
    let len: usize = len.parse().map_err(|_| "len is no number")?;
    let body = &file[end + 1..];
    if body.len() != len {
        return Err(format!(
            "{len} bytes are promised, {} are there",
            body.len()
        ));
    }
    if format!("{:08x}", crc(head, body)) != sum {
        return Err("the checksum does not match".to_owned());
    }
    Ok((Revision::new(revision), end + 1))
}

fn crc(head: &str, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head.as_bytes());
    crc.update(body);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<u8> {
        let mut file = line(Kind::Record, Revision::new(7), text.as_bytes()).into_bytes();
        file.extend_from_slice(text.as_bytes());
        file
    }

    #[test]
    fn what_is_written_is_read() {
        let file = file("value");
        let line = String::from_utf8_lossy(&file);
        assert!(line.starts_with("certwright record 1 rev=7 len=5 crc="));
        let (revision, start) = read(Kind::Record, &file).unwrap();
        assert_eq!(
            (revision, &file[start..]),
            (Revision::new(7), &b"value"[..])
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = file("value");
        for at in 0..good.len() {
            assert!(read(Kind::Record, &good[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(read(Kind::Record, &bad).is_err(), "bit {bit} of byte {at}");
            }
        }
        assert!(read(Kind::Txn, &good).is_err());
        let too_new = line(Kind::Head, Revision::new(u64::MAX), &[]);
        assert!(read(Kind::Head, too_new.as_bytes()).is_err());
    }
}
