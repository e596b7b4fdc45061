//! PEM text (RFC 7468): blocks with their label, position and bytes.
//!
//! The reader skips text between blocks, names the line of whatever is wrong, and wipes the
//! bytes it decoded when they are dropped: a block may hold a private key.

use core::fmt;

use base64ct::{Base64, Encoding};
use zeroize::{Zeroize, Zeroizing};

/// One block: what stood between a `BEGIN` and its `END`.
pub struct Block {
    label: String,
    index: usize,
    line: usize,
    der: Zeroizing<Vec<u8>>,
}

impl Block {
    /// The label, for example `CERTIFICATE`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The block's position among all blocks of the text, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The line of the `BEGIN`, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The decoded bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The decoded bytes, wiped when dropped.
    pub fn into_der(self) -> Zeroizing<Vec<u8>> {
        self.der
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("label", &self.label)
            .field("index", &self.index)
            .field("line", &self.line)
            .field("der", &format_args!("{} bytes", self.der.len()))
            .finish()
    }
}

/// Reads every block of a text.
///
/// # Errors
///
/// The first thing that is wrong: a `BEGIN` without its `END` or the reverse, another label at the
/// end, or text that is not base64. A text without any block is an empty list.
pub fn read(text: &[u8]) -> Result<Vec<Block>, PemError> {
    let mut blocks = Vec::new();
    // Or the first block would pass for a comment.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut lines = text.split(|b| *b == b'\n').zip(1..);
    let mut body: Vec<&[u8]> = Vec::new();
    while let Some((content, line)) = lines.next() {
        let Some(label) = boundary(content, b"-----BEGIN ") else {
            if let Some(label) = boundary(content, b"-----END ") {
                return Err(PemError::Unopened { line, label });
            }
            continue;
        };
        body.clear();
        loop {
            let Some((content, line)) = lines.next() else {
                return Err(PemError::Open { line, label });
            };
            match boundary(content, b"-----END ") {
                None => body.push(content),
                Some(end) if end == label => break,
                Some(end) => {
                    return Err(PemError::Label {
                        line,
                        begin: label,
                        end,
                    });
                }
            }
        }
        let Some(der) = decode(&body) else {
            return Err(PemError::Base64 { line, label });
        };
        blocks.push(Block {
            label,
            index: blocks.len(),
            line,
            der,
        });
    }
    Ok(blocks)
}

/// What the lines of a block say.
fn decode(lines: &[&[u8]]) -> Option<Zeroizing<Vec<u8>>> {
    // Sized once for the block: growing would leave copies of a key behind.
    let size = lines.iter().map(|line| line.len()).sum();
    let mut body = Zeroizing::new(Vec::with_capacity(size));
    for line in lines {
        body.extend_from_slice(line.trim_ascii());
    }
    let length = match Base64::decode_in_place(&mut body) {
        Ok(bytes) => bytes.len(),
        // Space inside a line is rare enough to be looked for only now.
        Err(_) => {
            body.clear();
            for part in lines
                .iter()
                .flat_map(|line| line.split(u8::is_ascii_whitespace))
            {
                body.extend_from_slice(part);
            }
            Base64::decode_in_place(&mut body).ok()?.len()
        }
    };
    body.truncate(length);
    Some(body)
}

/// [`read`] for a text from outside, which may be as long as somebody likes.
///
/// # Errors
///
/// A text of more than `max` bytes, before anything else is looked at; otherwise as [`read`].
pub fn read_at_most(text: &[u8], max: usize) -> Result<Vec<Block>, PemError> {
    if text.len() > max {
        return Err(PemError::TooLong {
            found: text.len(),
            max,
        });
    }
    read(text)
}

/// The label of a boundary line, if `line` is one.
fn boundary(line: &[u8], prefix: &[u8]) -> Option<String> {
    let label = line
        .trim_ascii()
        .strip_prefix(prefix)?
        .strip_suffix(b"-----")?;
    String::from_utf8(label.to_vec()).ok()
}

/// Writes one block: lines of 64 characters, ending with a newline.
pub fn write(label: &str, der: &[u8]) -> Zeroizing<String> {
    let mut base64 = Zeroizing::new(vec![0; Base64::encoded_len(der)]);
    let mut text = Zeroizing::new(String::with_capacity(
        base64.len() / 64 * 65 + 2 * label.len() + 48,
    ));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    if let Ok(encoded) = Base64::encode(der, &mut base64) {
        for line in encoded.as_bytes().chunks(64) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
    }
    base64.zeroize();
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// What is wrong with a PEM text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// The text of a block is not base64.
    #[error("the {label} block at line {line} is not base64")]
    Base64 {
        /// Line of the `BEGIN`.
        line: usize,
        /// The block's label.
        label: String,
    },
    /// A block ends with another label than it began with.
    #[error("line {line} ends {end}, but the block began as {begin}")]
    Label {
        /// Line of the `END`.
        line: usize,
        /// Label of the `BEGIN`.
        begin: String,
        /// Label of the `END`.
        end: String,
    },
    /// The text is longer than allowed.
    #[error("the text has {found} bytes, more than {max}")]
    TooLong {
        /// Its length.
        found: usize,
        /// The most that is read.
        max: usize,
    },
    /// A block has no end.
    #[error("the {label} block at line {line} has no END line")]
    Open {
        /// Line of the `BEGIN`.
        line: usize,
        /// The block's label.
        label: String,
    },
    /// An end without a block: its `BEGIN` is missing or misspelt.
    #[error(
        "line {line} ends {label}, but no line begins it; write -----BEGIN {label}----- alone on a line"
    )]
    Unopened {
        /// Line of the `END`.
        line: usize,
        /// Label of the `END`.
        label: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for length in [0, 1, 2, 3, 47, 48, 49, 500] {
            let der: Vec<u8> = (0..length)
                .map(|i| u8::try_from(i % 251).unwrap())
                .collect();
            let text = format!("comment\n{}tail\n", *write("CERTIFICATE", &der));
            let blocks = read(text.as_bytes()).unwrap();
            assert_eq!(blocks.len(), 1);
            assert_eq!(
                (blocks[0].label(), blocks[0].line(), blocks[0].der()),
                ("CERTIFICATE", 2, der.as_slice())
            );
        }
    }

    #[test]
    fn space_is_skipped_wherever_it_stands() {
        for text in [
            "-----BEGIN A-----\nAAECAwQF\n-----END A-----\n",
            "-----BEGIN A-----\r\nAAEC\r\nAwQF\r\n-----END A-----\r\n",
            " -----BEGIN A-----\n\n  AAEC\n\tAwQF \n-----END A-----  ",
            "-----BEGIN A-----\nAA EC\tAw\x0cQF\n-----END A-----\n",
        ] {
            let blocks = read(text.as_bytes()).unwrap();
            assert_eq!(blocks[0].der(), [0, 1, 2, 3, 4, 5], "{text:?}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        let open = "x\n-----BEGIN A-----\nAAAA\n";
        assert_eq!(
            read(open.as_bytes()).unwrap_err(),
            PemError::Open {
                line: 2,
                label: "A".to_owned()
            }
        );
        let other = "-----BEGIN A-----\n-----END B-----\n";
        assert_eq!(
            read(other.as_bytes()).unwrap_err().to_string(),
            "line 2 ends B, but the block began as A"
        );
        let garbage = "-----BEGIN A-----\n!!!!\n-----END A-----\n";
        assert_eq!(
            read(garbage.as_bytes()).unwrap_err(),
            PemError::Base64 {
                line: 1,
                label: "A".to_owned()
            }
        );
    }

    #[test]
    fn no_block_is_passed_over() {
        let marked = b"\xef\xbb\xbf-----BEGIN A-----\nAAAA\n-----END A-----\n";
        assert_eq!(read(marked).unwrap().len(), 1);
        for begin in [
            "-----BEGIN A----",
            "x -----BEGIN A-----",
            "----BEGIN A-----",
        ] {
            let text = format!(
                "{begin}
AAAA
-----END A-----
"
            );
            let label = "A".to_owned();
            let error = PemError::Unopened { line: 3, label };
            assert_eq!(read(text.as_bytes()).unwrap_err(), error, "{begin}");
        }
    }

    #[test]
    fn a_text_may_be_limited() {
        let text = write("A", b"abc");
        assert_eq!(read_at_most(text.as_bytes(), text.len()).unwrap().len(), 1);
        let error = read_at_most(text.as_bytes(), text.len() - 1).unwrap_err();
        assert!(matches!(error, PemError::TooLong { .. }), "{error}");
    }

    #[test]
    fn debug_shows_no_bytes() {
        let blocks = read(write("PRIVATE KEY", b"secret").as_bytes()).unwrap();
        assert_eq!(
            format!("{:?}", blocks[0]),
            "Block { label: \"PRIVATE KEY\", index: 0, line: 1, der: 6 bytes }"
        );
    }
}
