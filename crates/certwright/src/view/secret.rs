use core::fmt;
use std::collections::BTreeMap;

use certwright_cert_model::TlsSecret;
use serde_json::{Value, json};

use super::certificate::metadata;

/// A Secret without its values: the names of its keys and how many bytes each has.
///
/// Like `kubectl describe`, it leaves out the annotation in which `kubectl apply` keeps the whole document: that holds
/// every value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretView {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its type, for example `kubernetes.io/tls`.
    pub kind: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, but for the document that was applied.
    pub annotations: BTreeMap<String, String>,
    /// The size of each key in bytes.
    pub sizes: BTreeMap<String, usize>,
}

/// Where `kubectl apply` keeps a copy of the document, with all of its data.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl SecretView {
    /// What may be seen of a Secret.
    pub fn of(secret: &TlsSecret) -> Self {
        let sizes = secret
            .data()
            .map(|(key, bytes)| (key.to_owned(), bytes.len()));
        let mut annotations = secret.annotations.clone();
        annotations.remove(LAST_APPLIED);
        Self {
            namespace: secret.namespace.clone(),
            name: secret.name.clone(),
            kind: secret.kind.clone(),
            labels: secret.labels.clone(),
            annotations,
            sizes: sizes.collect(),
        }
    }

    /// The same as JSON. It is no Secret's document: `sizes` stands where that has `data`.
    pub fn to_json(&self) -> Value {
        let mut metadata = metadata(&self.namespace, &self.name, None);
        metadata["labels"] = json!(self.labels);
        metadata["annotations"] = json!(self.annotations);
        json!({"kind": "SecretDescription", "metadata": metadata, "type": self.kind, "sizes": self.sizes})
    }
}

impl fmt::Display for SecretView {
    /// Writes it as `kubectl describe secret` does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Name:         {}", self.name.escape_debug())?;
        writeln!(f, "Namespace:    {}", self.namespace.escape_debug())?;
        for (title, map) in [
            ("Labels:", &self.labels),
            ("Annotations:", &self.annotations),
        ] {
            if map.is_empty() {
                writeln!(f, "{title:<13} <none>")?;
            }
            for (i, (key, value)) in map.iter().enumerate() {
                let title = if i == 0 { title } else { "" };
                let (key, value) = (key.escape_debug(), value.escape_debug());
                writeln!(f, "{title:<13} {key}={value}")?;
            }
        }
        writeln!(f, "\nType:  {}\n\nData\n====", self.kind.escape_debug())?;
        let width = self.sizes.keys().map(|key| key.chars().count()).max();
        let width = width.unwrap_or_default() + 1;
        for (key, size) in &self.sizes {
            let key = format!("{}:", key.escape_debug());
            writeln!(f, "{key:<width$}  {size} bytes")?;
        }
        Ok(())
    }
}
