//! Writing DER back to front: every length is known when it is written, nothing is copied twice.

pub(crate) mod crl;
pub(crate) mod extension;
pub(crate) mod name;
pub(crate) mod tbs;

use certwright_cert_model::oid::Oid;

use crate::decode::OID;

/// A buffer that grows towards its front. What comes last in the DER is written first.
pub(crate) struct Writer {
    buffer: Vec<u8>,
    head: usize,
}

impl Writer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            buffer: vec![0; capacity],
            head: capacity,
        }
    }

    /// The number of bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.head
    }

    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if self.head < bytes.len() {
            self.grow(bytes.len());
        }
        let start = self.head - bytes.len();
        self.buffer[start..self.head].copy_from_slice(bytes);
        self.head = start;
    }

    #[cold]
    fn grow(&mut self, count: usize) {
        let written = self.len();
        let mut larger = vec![0; 2 * (self.buffer.len() + count)];
        let head = larger.len() - written;
        larger[head..].copy_from_slice(&self.buffer[self.head..]);
        self.buffer = larger;
        self.head = head;
    }

    /// Puts a header before everything written since the writer held `mark` bytes.
    pub(crate) fn close(&mut self, tag: u8, mark: usize) {
        let length = self.len() - mark;
        if let Ok(short @ 0..0x80) = u8::try_from(length) {
            self.bytes(&[tag, short]);
            return;
        }
        let octets = length.to_be_bytes();
        let significant = octets.len() - length.leading_zeros() as usize / 8;
        self.bytes(&octets[octets.len() - significant..]);
        self.bytes(&[tag, 0x80 | significant.to_le_bytes()[0]]);
    }

    /// An element whose content `write` writes.
    pub(crate) fn nest<R>(&mut self, tag: u8, write: impl FnOnce(&mut Self) -> R) -> R {
        let mark = self.len();
        let result = write(self);
        self.close(tag, mark);
        result
    }

    /// An element with this content.
    pub(crate) fn element(&mut self, tag: u8, content: &[u8]) {
        let mark = self.len();
        self.bytes(content);
        self.close(tag, mark);
    }

    /// An INTEGER of this magnitude, big endian.
    pub(crate) fn unsigned(&mut self, magnitude: &[u8]) {
        let mark = self.len();
        let zeros = magnitude.iter().take_while(|octet| **octet == 0).count();
        let significant = &magnitude[zeros..];
        self.bytes(significant);
        if significant.first().is_none_or(|octet| *octet >= 0x80) {
            self.bytes(&[0]);
        }
        self.close(crate::decode::INTEGER, mark);
    }

    /// An object identifier.
    pub(crate) fn oid(&mut self, oid: &Oid) {
        self.element(OID, &oid_content(oid));
    }

    /// What was written.
    pub(crate) fn written(&self) -> &[u8] {
        &self.buffer[self.head..]
    }

    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        self.buffer.drain(..self.head);
        self.buffer
    }
}

/// The content octets of an object identifier (X.690, 8.19).
pub(crate) fn oid_content(oid: &Oid) -> Vec<u8> {
    let mut content = Vec::with_capacity(16);
    let mut arcs = oid.arcs().map(u64::from);
    // The first two arcs share one number; `Oid` has at least two.
    let first = arcs.next().unwrap_or_default() * 40 + arcs.next().unwrap_or_default();
    for arc in core::iter::once(first).chain(arcs) {
        let groups = (64 - arc.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let bits = (arc >> (7 * group)).to_le_bytes()[0] & 0x7f;
            content.push(if group > 0 { bits | 0x80 } else { bits });
        }
    }
    content
}

/// One whole element around `content`.
#[cfg(test)]
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(content.len() + 8);
    writer.element(tag, content);
    writer.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Reader, SEQUENCE, dotted};

    #[test]
    fn lengths_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 65535, 65536] {
            let content = vec![7; length];
            let der = element(SEQUENCE, &content);
            let mut reader = Reader::new(&der);
            let read = reader.any().unwrap();
            assert_eq!(read.content(&der), content, "{length}");
            reader.finish().unwrap();
        }
    }

    #[test]
    fn integers_are_minimal_and_positive() {
        for (magnitude, der) in [
            (&[][..], &[2, 1, 0][..]),
            (&[0, 0], &[2, 1, 0]),
            (&[0, 1], &[2, 1, 1]),
            (&[0x80], &[2, 2, 0, 0x80]),
        ] {
            let mut writer = Writer::with_capacity(0);
            writer.unsigned(magnitude);
            assert_eq!(writer.written(), der);
        }
    }

    #[test]
    fn oids_agree_with_der() {
        for text in [
            "2.5.4.3",
            "1.2.840.113549.1.9.1",
            "2.999.4294967295",
            "0.9.2342.19200300.100.1.25",
        ] {
            let content = oid_content(&text.parse().unwrap());
            assert_eq!(dotted(&content), text);
            let model = der::asn1::ObjectIdentifier::new(text);
            if let Ok(model) = model {
                assert_eq!(content, model.as_bytes());
            }
        }
    }
}
