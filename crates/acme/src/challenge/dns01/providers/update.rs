//! Updates by RFC 2136, signed by TSIG (RFC 8945).

use std::net::{SocketAddr, ToSocketAddrs};

use base64ct::{Base64, Encoding};
use dns_update::{DnsUpdater, TsigAlgorithm};
use zeroize::Zeroizing;

use super::super::ProviderError;
use super::Made;
use super::credentials::Credentials;
use crate::config::Nameserver;

pub(super) fn make(credentials: &Credentials<'_>) -> Result<Made, ProviderError> {
    let server = address(credentials)?;
    let key = match credentials.optional(FILE) {
        Some(_) => from_file(&credentials.file_at(FILE)?)
            .ok_or_else(|| credentials.wrong(FILE, NO_KEY_FILE.to_owned()))?,
        None => from_variables(credentials)?,
    };
    let algorithm = match key
        .algorithm
        .trim_end_matches('.')
        .to_ascii_lowercase()
        .as_str()
    {
        "hmac-sha256" => TsigAlgorithm::HmacSha256,
        "hmac-sha384" => TsigAlgorithm::HmacSha384,
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        _ => {
            let reason = format!(
                "{:?} is none of hmac-sha256, hmac-sha384 and hmac-sha512; give the server a key of one of these",
                key.algorithm
            );
            return Err(credentials.wrong(key.algorithm_from, reason));
        }
    };
    let secret = Base64::decode_vec(&key.secret).map(Zeroizing::new);
    let secret =
        secret.map_err(|_| credentials.wrong(key.secret_from, "it is not base64".to_owned()))?;
    let to = format!("udp://{server}");
    let updater = DnsUpdater::new_rfc2136_tsig(to, &key.name, secret.to_vec(), algorithm);
    let updater = updater.map_err(|error| credentials.unusable(&error))?;
    Ok(Made {
        updater,
        primary: Some(server),
    })
}

fn address(credentials: &Credentials<'_>) -> Result<SocketAddr, ProviderError> {
    let text = credentials.text(SERVER);
    let server = text.parse::<Nameserver>();
    let server = server.map_err(|error| credentials.wrong(SERVER, error.to_string()))?;
    let mut found = (server.host(), server.port())
        .to_socket_addrs()
        .map_err(|error| credentials.wrong(SERVER, format!("{text:?}: {error}")))?;
    let found = found.next();
    found.ok_or_else(|| credentials.wrong(SERVER, format!("{text:?} has no address")))
}

struct Key {
    name: String,
    secret: Zeroizing<String>,
    secret_from: &'static str,
    algorithm: String,
    algorithm_from: &'static str,
}

fn from_variables(credentials: &Credentials<'_>) -> Result<Key, ProviderError> {
    let needed = |name| {
        let missing = || credentials.wrong(name, NOT_SET.to_owned());
        credentials.optional(name).ok_or_else(missing)
    };
    Ok(Key {
        name: needed(KEY)?.to_owned(),
        secret: Zeroizing::new(needed(SECRET)?.to_owned()),
        secret_from: SECRET,
        // lego's default is SHA-1, which nothing here computes.
        algorithm: credentials
            .optional(ALGORITHM)
            .unwrap_or("hmac-sha256")
            .to_owned(),
        algorithm_from: ALGORITHM,
    })
}

/// The key in a file as `tsig-keygen` writes it:
/// `key "name" { algorithm hmac-sha256; secret "..."; };`
fn from_file(text: &str) -> Option<Key> {
    let (start, rest) = text.split_once('{')?;
    let name = start.trim().strip_prefix("key")?.trim().trim_matches('"');
    let (body, _) = rest.split_once('}')?;
    let field = |wanted: &str| {
        let mut fields = body.split(';').filter_map(|field| {
            let (name, value) = field.trim().split_once(char::is_whitespace)?;
            (name == wanted).then(|| value.trim().trim_matches('"').to_owned())
        });
        fields.next()
    };
    Some(Key {
        name: Some(name).filter(|name| !name.is_empty())?.to_owned(),
        secret: Zeroizing::new(field("secret")?),
        secret_from: FILE,
        algorithm: field("algorithm")?,
        algorithm_from: FILE,
    })
}

const SERVER: &str = "RFC2136_NAMESERVER";
const KEY: &str = "RFC2136_TSIG_KEY";
const SECRET: &str = "RFC2136_TSIG_SECRET";
const ALGORITHM: &str = "RFC2136_TSIG_ALGORITHM";
const FILE: &str = "RFC2136_TSIG_FILE";
const NOT_SET: &str = "it is not set; updates are always signed here, with RFC2136_TSIG_KEY and RFC2136_TSIG_SECRET, or RFC2136_TSIG_FILE";
const NO_KEY_FILE: &str = "it is not a key as tsig-keygen writes it";
