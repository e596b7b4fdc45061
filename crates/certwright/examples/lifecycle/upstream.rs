//! The client side: each ServersTransport against the server it means, and in variants that must be refused.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use certwright::{Manager, ResourceName};
use certwright_cert_model::name::{SpiffeId, TrustDomain, Uri};
use certwright_cert_model::secret::{CA_CRT, TLS_CRT, TLS_KEY};
use certwright_cert_model::{Defaults, TlsSecret, ValidatedSpec};
use certwright_issuance::{Csr, CsrPolicy, KeyPair, Profile, self_signed};
use certwright_sni_store::{PairLoader, PemPair};
use certwright_transport::roots::Roots;
use certwright_transport::{Material, PeerError, ServersTransport, Upstream};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::sign::SingleCertAndKey;

use crate::clock::Clock;
use crate::report::{table, with_causes};
use crate::wire::{Server, connect};

/// A trust domain that is known, but not the servers'.
const OTHER: &str = "other.example";

/// Connects with every transport as it is written and in its variants, and prints the verdicts.
///
/// Returns what went otherwise than it must.
pub(crate) fn tour(
    manager: &Manager,
    transports: &[(ResourceName, ServersTransport)],
    clock: &Clock,
    provider: &Arc<CryptoProvider>,
) -> Result<Vec<String>, Box<dyn Error>> {
    let mut rows = vec![["TRANSPORT", "EXPECTS", "VERDICT"].map(str::to_owned)];
    let mut surprises = Vec::new();
    let stranger = stranger(clock)?;
    for (name, transport) in transports {
        let Some(secret) = answering(manager, transport) else {
            rows.push([
                name.to_string(),
                "-".to_owned(),
                "no Certificate here answers to it".to_owned(),
            ]);
            continue;
        };
        let server = serve(secret, clock, provider)?;
        for variant in variants(transport) {
            let stranger = variant.stranger.then_some(stranger.as_slice());
            let verdict = match variant.transport.validate()? {
                Upstream::Danger(_) => {
                    Err("verifies nobody; only code that names `danger` can use it".to_owned())
                }
                Upstream::Verified(upstream) => {
                    let material = material(manager, secret, stranger)?;
                    let host = upstream.server_name("backend.invalid")?;
                    match upstream.client_config(provider, Arc::new(clock.clone()), &material) {
                        Ok(config) => connect(server.address(), host, Arc::new(config))
                            .map(|_| "accepted".to_owned())
                            .map_err(|error| reason(&error)),
                        Err(error) => Err(with_causes(&error)),
                    }
                }
            };
            if verdict.is_ok() != variant.accepted {
                surprises.push(format!("{name}, {}: {verdict:?}", variant.label));
            }
            let verdict = verdict.unwrap_or_else(|reason| format!("refused: {reason}"));
            rows.push([name.to_string(), variant.label, verdict]);
        }
    }
    table(&rows);
    Ok(surprises)
}

/// A transport, perhaps changed, and what must come of it.
struct Variant {
    label: String,
    transport: ServersTransport,
    stranger: bool,
    accepted: bool,
}

fn variants(written: &ServersTransport) -> Vec<Variant> {
    let variant = |label: &str, change: &dyn Fn(&mut ServersTransport)| {
        let mut transport = written.clone();
        change(&mut transport);
        Variant {
            label: label.to_owned(),
            transport,
            stranger: false,
            accepted: false,
        }
    };
    // Names of the peer are verified in spite of insecureSkipVerify.
    let verifies = matches!(written.clone().validate(), Ok(Upstream::Verified(_)));
    let mut variants = vec![Variant {
        accepted: verifies,
        ..variant("as written", &|_| {})
    }];
    if written.spiffe.is_some() {
        variants.push(variant(&format!("trust domain {OTHER}"), &|transport| {
            if let Some(spiffe) = &mut transport.spiffe {
                spiffe.ids.clear();
                spiffe.trust_domain = Some(OTHER.to_owned());
            }
        }));
    }
    if let Some(uri) = &written.peer_cert_uri {
        let impostor = format!("{uri}-impostor");
        let label = format!("peer URI {impostor}");
        variants.push(variant(&label, &|transport| {
            transport.peer_cert_uri = Some(impostor.clone());
        }));
    }
    if verifies {
        variants.push(Variant {
            stranger: true,
            ..variant("the roots of a stranger", &|_| {})
        });
    }
    variants
}

/// The Secret of a Certificate that is what a transport looks for.
fn answering<'m>(manager: &'m Manager, transport: &ServersTransport) -> Option<&'m TlsSecret> {
    let wanted = |spec: &ValidatedSpec| {
        let uris: Vec<_> = spec.names().uri.iter().map(Uri::as_str).collect();
        let ids = transport
            .spiffe
            .as_ref()
            .map(|spiffe| spiffe.ids.as_slice())
            .unwrap_or_default();
        let uri = transport.peer_cert_uri.as_ref();
        let name = transport.server_name.as_ref();
        if !ids.is_empty() || uri.is_some() {
            return ids
                .iter()
                .chain(uri)
                .any(|wanted| uris.contains(&wanted.as_str()));
        }
        name.is_some_and(|name| spec.names().dns.iter().any(|dns| dns.to_string() == *name))
    };
    let (name, _) = manager
        .inventory()
        .certificates()
        .find(|(_, spec)| wanted(spec))?;
    manager.secret_of(name)
}

fn serve(
    secret: &TlsSecret,
    clock: &Clock,
    provider: &Arc<CryptoProvider>,
) -> Result<Server, Box<dyn Error>> {
    let pair = PemPair {
        chain: secret.get(TLS_CRT).unwrap_or_default(),
        key: secret.get(TLS_KEY).unwrap_or_default(),
    };
    let key = PairLoader::new(provider.clone()).certified_key(pair)?;
    let config = ServerConfig::builder_with_details(provider.clone(), Arc::new(clock.clone()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    Ok(Server::start(Arc::new(config))?)
}

/// Everything a transport may refer to. A trust domain has the roots of whom it names, the system that of `server`;
/// with a stranger, his root stands wherever there is one.
fn material(
    manager: &Manager,
    server: &TlsSecret,
    stranger: Option<&[u8]>,
) -> Result<Material, Box<dyn Error>> {
    let mut material = Material::default();
    for secret in manager.secrets() {
        let mut secret = secret.clone_with_keys();
        if let Some(stranger) = stranger {
            secret.remove("tls.ca");
            secret.insert(CA_CRT, stranger);
        }
        material.insert_secret(secret);
    }
    let root = |secret: &TlsSecret| {
        let pem = stranger.or_else(|| secret.get(CA_CRT));
        pem.unwrap_or_default().to_vec()
    };
    let mut domains = BTreeMap::from([(OTHER.to_owned(), root(server))]);
    for (name, spec) in manager.inventory().certificates() {
        let uris = spec.names().uri.iter().map(Uri::as_str);
        for id in uris.filter_map(|uri| uri.parse::<SpiffeId>().ok()) {
            let roots = domains.entry(TrustDomain::from(&id).to_string());
            roots
                .or_default()
                .extend(manager.secret_of(name).map(root).unwrap_or_default());
        }
    }
    for (domain, roots) in domains {
        if !roots.is_empty() {
            material
                .bundles
                .insert(&domain.parse()?, Roots::from_pem(&roots)?);
        }
    }
    material.system_roots = Roots::from_pem(&root(server)).ok();
    Ok(material)
}

/// The certificate of a root nobody knows.
fn stranger(clock: &Clock) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut spec = certwright_cert_model::CertificateSpec::default();
    spec.secret_name = "stranger".to_owned();
    spec.issuer_ref.name = "itself".to_owned();
    spec.common_name = Some("Stranger".to_owned());
    spec.is_ca = true;
    spec.usages = vec!["cert sign".to_owned()];
    let spec = spec.validate(&Defaults::documented())?;
    let key = KeyPair::generate(certwright_cert_model::key::KeyAlgorithm::Ed25519)?;
    let csr = Csr::for_spec(&spec, &key)?.verify(&CsrPolicy::default())?;
    let bundle = self_signed(&csr, &key, &Profile::for_spec(&spec), clock.now())?;
    Ok(bundle.chain_pem().into_bytes())
}

/// Why a handshake failed, by the rule that was broken if the peer's certificate broke one.
fn reason(error: &std::io::Error) -> String {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls.and_then(PeerError::from_rustls) {
        Some(peer) => with_causes(&peer),
        None => with_causes(error),
    }
}
