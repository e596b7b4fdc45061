//! Traefik's `ServersTransport`, as it is written: custom resource and dynamic configuration alike.

mod decode;
mod validate;

use core::fmt;

use certwright_cert_model::FieldPath;
use zeroize::Zeroize;

/// How a proxy contacts servers: the fields as text, nothing checked yet.
///
/// [`ServersTransport::validate`] turns it into something that can be used, or says everything that is
/// wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServersTransport {
    /// The name of the resource, or the key in the dynamic configuration.
    pub name: String,
    /// The namespace of the resource, in which Secrets and ConfigMaps are looked up; `None` in the dynamic
    /// configuration.
    pub namespace: Option<String>,
    /// Where the fields stand in the document: `spec`, or `http.serversTransports.NAME`.
    pub path: FieldPath,
    /// `serverName`: the name to ask for and to verify; the host of the request without it.
    pub server_name: Option<String>,
    /// `insecureSkipVerify`: neither the chain nor the host name is verified; with peer names, the chain is.
    pub insecure_skip_verify: bool,
    /// `rootCAsSecrets`, deprecated: Secrets with roots under `tls.ca` or `ca.crt`.
    pub root_cas_secrets: Vec<String>,
    /// `rootCAs`: replaces the system's roots.
    pub root_cas: Vec<RootCa>,
    /// `certificatesSecrets`: Secrets with `tls.crt` and `tls.key` to show to the server.
    pub certificates_secrets: Vec<String>,
    /// `certificates`: files to show to the server.
    pub certificates: Vec<CertificateFiles>,
    /// `cipherSuites`: the suites of TLS 1.2 to offer, and of TLS 1.3 if any of those is named.
    pub cipher_suites: Vec<String>,
    /// `minVersion`: `VersionTLS12` or `VersionTLS13`.
    pub min_version: Option<String>,
    /// `maxVersion`: `VersionTLS12` or `VersionTLS13`.
    pub max_version: Option<String>,
    /// `maxIdleConnsPerHost`: 0 stands for 2, -1 for none, as every negative number in the dynamic
    /// configuration.
    pub max_idle_conns_per_host: Option<i64>,
    /// `forwardingTimeouts`.
    pub forwarding_timeouts: Option<ForwardingTimeouts>,
    /// `disableHTTP2`.
    pub disable_http2: bool,
    /// `peerCertURI`, deprecated: a URI name the server's certificate must have.
    pub peer_cert_uri: Option<String>,
    /// `peerCertSANs`: names of which the server's certificate must have one.
    pub peer_cert_sans: Vec<San>,
    /// `spiffe`: the server must show an X509-SVID.
    pub spiffe: Option<Spiffe>,
}

/// One entry of `rootCAs`; exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootCa {
    /// `configMap`: the name of a ConfigMap.
    pub config_map: Option<String>,
    /// In the dynamic configuration: the path of a file, or PEM text.
    pub file: Option<String>,
    /// `secret`: the name of a Secret.
    pub secret: Option<String>,
}

/// One entry of `certificates`: the paths of files, or PEM text, which is wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateFiles {
    /// `certFile`.
    pub cert_file: String,
    /// `keyFile`.
    pub key_file: String,
}

/// `forwardingTimeouts`: Go durations, or whole seconds without a unit; 0 stands for none. A custom resource
/// has neither signs nor fractions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardingTimeouts {
    /// `dialTimeout`; 30 s without it.
    pub dial_timeout: Option<String>,
    /// `responseHeaderTimeout`; none without it.
    pub response_header_timeout: Option<String>,
    /// `idleConnTimeout`; 90 s without it.
    pub idle_conn_timeout: Option<String>,
    /// `readIdleTimeout`; none without it.
    pub read_idle_timeout: Option<String>,
    /// `pingTimeout`; 15 s without it.
    pub ping_timeout: Option<String>,
}

/// One entry of `peerCertSANs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct San {
    /// `type`: `DNSName` or `URI`.
    pub kind: String,
    /// `value`.
    pub value: String,
}

/// `spiffe`: present but empty accepts every identity of every known trust domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spiffe {
    /// `ids`: the SPIFFE IDs that are accepted; given, `trust_domain` is not read.
    pub ids: Vec<String>,
    /// `trustDomain`: the trust domain whose identities are accepted.
    pub trust_domain: Option<String>,
}

impl ServersTransport {
    /// The name other providers refer to it by: `namespace-name`, other characters than letters and digits
    /// as dashes.
    pub fn id(&self) -> String {
        match &self.namespace {
            Some(namespace) => normalized(&format!("{namespace}-{}", self.name)),
            None => self.name.clone(),
        }
    }
}

/// As Traefik's `provider.Normalize`: letters and digits joined by single dashes.
pub(crate) fn normalized(name: &str) -> String {
    name.split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

impl Drop for CertificateFiles {
    fn drop(&mut self) {
        // Either may hold the key.
        self.cert_file.zeroize();
        self.key_file.zeroize();
    }
}

impl fmt::Debug for CertificateFiles {
    /// A key may stand here as text, so only paths are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| match is_pem(text) {
            true => "(PEM text)".to_owned(),
            false => text.to_owned(),
        };
        f.debug_struct("CertificateFiles")
            .field("cert_file", &shown(&self.cert_file))
            .field("key_file", &shown(&self.key_file))
            .finish()
    }
}

/// Whether a field that may hold a path holds the text itself.
///
/// A key with a mistyped first line is no path either, and must not be shown as one.
pub(crate) fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN ") || text.contains('\n')
}
