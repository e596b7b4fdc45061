use core::fmt::{self, Write};
use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};
use zeroize::{Zeroize, Zeroizing};

use super::TlsSecret;
use crate::quote::{Quoted, is_long};

impl TlsSecret {
    /// The Secret as a YAML manifest, private key included: the one way to write keys out.
    pub fn to_manifest(&self) -> Zeroizing<String> {
        let data: usize = self
            .data()
            .map(|(key, bytes)| key.len() + bytes.len())
            .sum();
        // Room for all of it at once: a text that grew would leave copies of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(4096 + 2 * data));
        let result = self.write(&mut text);
        debug_assert!(result.is_ok(), "writing to a String does not fail");
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        text.write_str("apiVersion: v1\nkind: Secret\nmetadata:\n")?;
        writeln!(text, "  name: {}", Quoted(&self.name))?;
        if !self.namespace.is_empty() {
            writeln!(text, "  namespace: {}", Quoted(&self.namespace))?;
        }
        write_map(text, "annotations", &self.annotations)?;
        write_map(text, "labels", &self.labels)?;
        writeln!(text, "type: {}", Quoted(&self.kind))?;
        if self.data().next().is_some() {
            text.write_str("data:\n")?;
        }
        for (key, bytes) in self.data() {
            let mut base64 = Zeroizing::new(vec![0; Base64::encoded_len(bytes)]);
            let encoded = Base64::encode(bytes, &mut base64).map_err(|_| fmt::Error)?;
            write_key(text, 2, key)?;
            // In quotes: no octets at all, and those whose base64 is `null` or a number, are texts too.
            writeln!(text, "\"{encoded}\"")?;
            base64.zeroize();
        }
        Ok(())
    }

    /// What the Secret holds, without any value: its name, type and the size of each key, like
    /// `kubectl describe secret`.
    pub fn describe(&self) -> String {
        let mut text = format!(
            "Name:       {}\nNamespace:  {}\nType:       {}\n\nData\n====\n",
            self.name, self.namespace, self.kind
        );
        let width = self
            .data()
            .map(|(key, _)| key.len())
            .max()
            .unwrap_or_default()
            + 1;
        for (key, bytes) in self.data() {
            let line = format!("{:<width$}  {} bytes\n", format!("{key}:"), bytes.len());
            text.push_str(&line);
        }
        text
    }
}

fn write_map(text: &mut String, name: &str, map: &BTreeMap<String, String>) -> fmt::Result {
    if !map.is_empty() {
        writeln!(text, "  {name}:")?;
    }
    for (key, value) in map {
        write_key(text, 4, key)?;
        writeln!(text, "{}", Quoted(value))?;
    }
    Ok(())
}

/// A key and what stands in front of its value, on a line of its own if the key is long.
fn write_key(text: &mut String, indent: usize, key: &str) -> fmt::Result {
    match is_long(key) {
        true => write!(text, "{:indent$}? {}\n{:indent$}: ", "", Quoted(key), ""),
        false => write!(text, "{:indent$}{}: ", "", Quoted(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TLS_CRT, TLS_KEY};
    use super::*;

    fn secret() -> TlsSecret {
        let mut secret = TlsSecret::new("default", "web-tls");
        secret.insert(TLS_CRT, b"certificate".to_vec());
        secret.insert(TLS_KEY, b"key".to_vec());
        let annotation = ("a/b".to_owned(), "x: \"y\"\n\u{1}".to_owned());
        secret.annotations.extend([annotation]);
        secret
    }

    #[test]
    fn a_manifest_has_everything() {
        assert_eq!(
            *secret().to_manifest(),
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: \"web-tls\"\n  namespace: \"default\"\n  annotations:\n    \"a/b\": \"x: \\\"y\\\"\\n\\u0001\"\ntype: \"kubernetes.io/tls\"\ndata:\n  \"tls.crt\": \"Y2VydGlmaWNhdGU=\"\n  \"tls.key\": \"a2V5\"\n"
        );
    }

    #[test]
    fn a_manifest_reads_back() {
        use crate::document::{Format, Strictness};
        let text = secret().to_manifest();
        let manifests = crate::manifest::read(&text, Format::Yaml, Strictness::Strict);
        let [Ok(crate::Manifest::Secret(read))] = manifests.as_slice() else {
            panic!("{manifests:?}");
        };
        assert_eq!(*read, secret());
    }

    #[test]
    fn a_manifest_of_any_octets_reads_back() {
        use crate::document::{Format, Strictness};
        // The last three have the base64 `null`, `1234` and `true`.
        for octets in [&b""[..], b"\x9e\xe9\x65", b"\xd7\x6d\xf8", b"\xb6\xbb\x9e"] {
            let mut secret = TlsSecret::new("default", "any");
            secret.insert("any", octets.to_vec());
            let read =
                crate::manifest::read(&secret.to_manifest(), Format::Yaml, Strictness::Strict);
            let [Ok(crate::Manifest::Secret(read))] = read.as_slice() else {
                panic!("{octets:?}: {read:?}");
            };
            assert_eq!(*read, secret);
        }
    }

    #[test]
    fn a_manifest_with_long_keys_reads_back() {
        use crate::document::{Format, Strictness};
        // On both sides of the limit; what is quoted is longer than the key.
        for key in [160, 990, 997, 998, 999, 1022, 1023, 1024, 1025, 5000].map(|n| "k".repeat(n)) {
            for key in [
                key.clone(),
                key.replace('k', "\u{fc}"),
                key.replace('k', "\u{1}"),
            ] {
                let mut secret = secret();
                secret.insert(key.as_str(), b"bytes".to_vec());
                secret.labels.insert(key.clone(), "x: y".to_owned());
                secret.annotations.insert(key.clone(), String::new());
                let text = secret.to_manifest();
                let read = crate::manifest::read(&text, Format::Yaml, Strictness::Strict);
                let Ok(crate::Manifest::Secret(read)) = &read[0] else {
                    panic!("{}: {read:?}", key.len());
                };
                assert_eq!(*read, secret);
            }
        }
    }

    #[test]
    fn a_description_has_sizes_only() {
        assert_eq!(
            secret().describe(),
            "Name:       web-tls\nNamespace:  default\nType:       kubernetes.io/tls\n\nData\n====\ntls.crt:  11 bytes\ntls.key:  3 bytes\n"
        );
    }
}
