//! The writes of a transaction over several files, until all of them are done.

use zeroize::Zeroizing;

use crate::{Key, MAX_TXN_LEN, MAX_TXN_OPS, Value, Write};

/// The writes, one after another: `put KEYLEN LEN`, or `delete KEYLEN`, a line feed,
/// then the bytes of key and value.
pub(crate) fn encode(writes: &[Write]) -> Zeroizing<Vec<u8>> {
    let len: usize = writes.iter().map(|write| 64 + size(write)).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(len));
    for write in writes {
        let key = write.key().as_str();
        let line = match write {
            Write::Delete(_) => format!("delete {}\n", key.len()),
            Write::Put(_, value) => format!("put {} {}\n", key.len(), value.len()),
        };
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(key.as_bytes());
        if let Write::Put(_, value) = write {
            bytes.extend_from_slice(value.as_bytes());
        }
    }
    bytes
}

/// The writes of a journal; or what does not fit.
pub(crate) fn decode(mut rest: &[u8]) -> Result<Vec<Write>, String> {
    let mut writes = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().take(64).position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| format!("write {} has no line", writes.len()))?;
        let line = core::str::from_utf8(&rest[..end]).unwrap_or_default();
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        let lens: Result<Vec<usize>, _> = words.map(str::parse).collect();
        rest = &rest[end + 1..];
        let write = match (verb, lens.as_deref()) {
            ("delete", Ok([key])) => Write::Delete(take_key(&mut rest, *key)?),
            ("put", Ok([key, value])) => {
                let key = take_key(&mut rest, *key)?;
                Write::Put(key, Value::from(take(&mut rest, *value)?))
            }
            _ => return Err(format!("write {} is neither put nor delete", writes.len())),
        };
        writes.push(write);
    }
    let len: usize = writes.iter().map(size).sum();
    if writes.len() > MAX_TXN_OPS || len > MAX_TXN_LEN {
        return Err(format!(
            "{} writes of {len} bytes are too many",
            writes.len()
        ));
    }
    Ok(writes)
}

fn take_key(rest: &mut &[u8], len: usize) -> Result<Key, String> {
    let text = core::str::from_utf8(take(rest, len)?).map_err(|_| "a key is no text")?;
    Key::new(text).map_err(|error| error.to_string())
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], String> {
    let (taken, after) = rest
        .split_at_checked(len)
        .ok_or_else(|| format!("{len} bytes are promised, {} are there", rest.len()))?;
    *rest = after;
    Ok(taken)
}

fn size(write: &Write) -> usize {
    let value = match write {
        Write::Delete(_) => 0,
        Write::Put(_, value) => value.len(),
    };
    write.key().as_str().len() + value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write() -> impl Strategy<Value = Write> {
        let key = "[a-z/\n ]{1,20}".prop_map(|text| Key::new(&text).unwrap());
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
        (key, value).prop_map(|(key, value)| match value {
            Some(value) => Write::Put(key, value.into()),
            None => Write::Delete(key),
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(writes in proptest::collection::vec(write(), 0..6)) {
            prop_assert_eq!(decode(&encode(&writes)), Ok(writes));
        }

        #[test]
        fn whatever_is_read_is_written_the_same(bytes in "(put [0-3] [0-3]\n|delete [0-2]\n|[a-c]){0,8}") {
            if let Ok(writes) = decode(bytes.as_bytes()) {
                prop_assert_eq!(&encode(&writes)[..], bytes.as_bytes());
            }
        }
    }

    #[test]
    fn refusals() {
        for (bytes, expected) in [
            ("put", "write 0 has no line"),
            ("set 1 1\nab", "write 0 is neither put nor delete"),
            ("put 1 5\nab", "5 bytes are promised, 1 are there"),
            ("delete 0\n", "a key must not be empty"),
            (
                "delete 1\naput 1 1 1\n",
                "write 1 is neither put nor delete",
            ),
        ] {
            assert_eq!(
                decode(bytes.as_bytes()),
                Err(expected.to_owned()),
                "{bytes}"
            );
        }
    }
}
