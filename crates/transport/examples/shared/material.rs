//! A transport's document and what it refers to, from a directory: `NAMESPACE/NAME/KEY` for Secrets and ConfigMaps,
//! other files under the path the transport names them by.

use std::error::Error;
use std::path::{Path, PathBuf};

use certwright_cert_model::TlsSecret;
use certwright_cert_model::document::{Format, Strictness, parse};
use certwright_transport::material::Source;
use certwright_transport::{Material, ServersTransport, Upstream};

/// Reads and validates a ServersTransport resource.
pub(crate) fn load(path: &Path) -> Result<Upstream, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let document = parse(&text, Format::Yaml)
        .into_iter()
        .next()
        .ok_or("the file has no document")??;
    let transport = ServersTransport::decode(&document.root, Strictness::Strict);
    transport
        .and_then(ServersTransport::validate)
        .map_err(|violations| format!("{}:\n{violations}", path.display()).into())
}

/// Reads what a transport refers to; what is not there is found missing when it is used.
pub(crate) fn material<'a>(
    directory: &Path,
    sources: impl Iterator<Item = &'a Source>,
) -> Material {
    let mut material = Material::default();
    for source in sources {
        match source {
            Source::Secret { namespace, name } => {
                let mut secret = TlsSecret::new(namespace, name);
                for (key, bytes) in keys(directory.join(namespace).join(name)) {
                    secret.insert(key, bytes);
                }
                material.insert_secret(secret);
            }
            Source::ConfigMap { namespace, name } => {
                let found = keys(directory.join(namespace).join(name));
                let data = found.map(|(key, bytes)| (key.to_owned(), bytes)).collect();
                material.insert_config_map(namespace, name, data);
            }
            Source::File(path) => {
                if let Ok(bytes) = std::fs::read(directory.join(path)) {
                    material.insert_file(path, bytes);
                }
            }
            _ => {}
        }
    }
    material
}

fn keys(folder: PathBuf) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    ["tls.ca", "ca.crt", "tls.crt", "tls.key"]
        .into_iter()
        .filter_map(move |key| Some((key, std::fs::read(folder.join(key)).ok()?)))
}
