//! Keys as paths: readable, one to one, and never outside the directory.

use std::path::{Path, PathBuf};

use crate::Key;

/// What the files of values end with.
pub(crate) const SUFFIX: &str = ".rec";
/// File systems allow names of 255 bytes; the suffix and a `%` must fit as well.
const MAX_NAME: usize = 200;

/// The path of a key's file below the directory of values.
///
/// A slash separates directories. Small letters, digits and `-_+=@,.` stand for
/// themselves; everything else is `%XX`, as is a dot that starts a part or belongs to
/// `.rec` at its end. Capitals are among everything else: where case does not count, two
/// keys would be one file. An empty part is `%00`, a byte no key has. A part too long for a name is cut
/// into directories that end with a bare `%`.
pub(crate) fn of_key(key: &Key) -> PathBuf {
    let mut path = PathBuf::new();
    let mut parts = key.as_str().split('/').peekable();
    while let Some(part) = parts.next() {
        let encoded = encode(part);
        let mut rest = encoded.as_str();
        while rest.len() > MAX_NAME {
            let (name, after) = rest.split_at(cut(rest));
            path.push(format!("{name}%"));
            rest = after;
        }
        match parts.peek() {
            Some(_) => path.push(rest),
            None => path.push(format!("{rest}{SUFFIX}")),
        }
    }
    path
}

/// The key whose path this is, if it is one's.
pub(crate) fn to_key(path: &Path) -> Option<Key> {
    let encoded = path.to_str()?.strip_suffix(SUFFIX)?;
    // A bare `%` before a slash is a cut, not an end.
    let parts: Option<Vec<String>> = encoded.replace("%/", "").split('/').map(decode).collect();
    let key = Key::new(&parts?.join("/")).ok()?;
    // Only the one spelling: two files must not mean the same key.
    (of_key(&key) == path).then_some(key)
}

fn encode(part: &str) -> String {
    if part.is_empty() {
        return "%00".to_owned();
    }
    let ending = part.ends_with(SUFFIX).then(|| part.len() - SUFFIX.len());
    let mut name = String::with_capacity(part.len());
    for (at, byte) in part.bytes().enumerate() {
        let plain = match byte {
            b'.' => at > 0 && Some(at) != ending,
            b'-' | b'_' | b'+' | b'=' | b'@' | b',' => true,
            _ => byte.is_ascii_lowercase() || byte.is_ascii_digit(),
        };
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

fn decode(name: &str) -> Option<String> {
    if name == "%00" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match (first, rest) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                let digits = [*high, *low];
                u8::from_str_radix(core::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            (b'%', _) => return None,
            (plain, _) => *plain,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Where to cut a name that is too long: never inside a `%XX`.
fn cut(name: &str) -> usize {
    let tail = &name.as_bytes()[MAX_NAME - 2..MAX_NAME];
    match tail {
        [b'%', _] => MAX_NAME - 2,
        [_, b'%'] => MAX_NAME - 1,
        _ => MAX_NAME,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn readable_and_safe() {
        for (key, path) in [
            ("v1/cert/web/current", "v1/cert/web/current.rec"),
            ("/v1", "%00/v1.rec"),
            ("a", "a.rec"),
            ("a.rec", "a%2Erec.rec"),
            ("a.rec/b", "a%2Erec/b.rec"),
            ("a/", "a/%00.rec"),
            ("..", "%2E..rec"),
            ("../a", "%2E./a.rec"),
            (".new", "%2Enew.rec"),
            ("*.example.org", "%2A.example.org.rec"),
            ("ü", "%C3%BC.rec"),
            ("%", "%25.rec"),
            ("Web-1", "%57eb-1.rec"),
        ] {
            let key = Key::new(key).unwrap();
            assert_eq!(of_key(&key), Path::new(path));
            assert_eq!(to_key(Path::new(path)), Some(key));
        }
        for path in [
            "a",
            "a%.rec",
            "%61.rec",
            "A.rec",
            "a//b.rec",
            "%c3%bc.rec",
            ".rec",
            "a.rec.rec",
        ] {
            assert_eq!(to_key(Path::new(path)), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn one_to_one(text in "([aA/.%*\\u{fc}]|rec|REC|[a-zA-Z%]{60}){1,6}") {
            let key = Key::new(&text)?;
            let path = of_key(&key);
            let names: Vec<_> = path.iter().map(|name| name.to_str().unwrap()).collect();
            prop_assert!(names.iter().all(|name| name.len() <= 255 && !name.starts_with('.')));
            // Where case does not count, as well.
            let text = path.to_str().unwrap();
            let capitals = text.split('%').skip(1).flat_map(|part| part.chars().skip(2));
            prop_assert!(!capitals.chain(text.split('%').next().unwrap().chars()).any(char::is_uppercase));
            prop_assert_eq!(to_key(&path), Some(key));
        }
    }
}
