//! Would this server be accepted? `upstream TRANSPORT.yaml HOST:PORT [--material DIR] [--bundle DOMAIN=FILE]`
//!
//! TRANSPORT is a ServersTransport resource. `--material DIR` holds its Secrets and ConfigMaps as
//! `DIR/NAMESPACE/NAME/KEY`. `--bundle` gives the roots of a SPIFFE trust domain: a bundle in JSON, or PEM.

#[path = "shared/material.rs"]
mod material;

use std::error::Error;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_cert_model::name::TrustDomain;
use certwright_transport::bundle::Bundle;
use certwright_transport::material::Source;
use certwright_transport::{Material, PeerError, Roots, Upstream, platform};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{ClientConfig, ClientConnection};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", chain(&*error));
            ExitCode::from(2)
        }
    }
}

struct Options {
    transport: PathBuf,
    target: String,
    directory: Option<PathBuf>,
    bundles: Vec<(TrustDomain, PathBuf)>,
}

/// Whether the server was accepted.
fn run() -> Result<bool, Box<dyn Error>> {
    let options = options()?;
    let upstream = material::load(&options.transport)?;
    for warning in &upstream.settings().warnings {
        println!("warning    {warning}");
    }
    let (host, _) = options
        .target
        .rsplit_once(':')
        .ok_or("the target is HOST:PORT")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let provider = default_provider();
    let clock = Arc::new(DefaultTimeProvider);
    let (config, name) = match &upstream {
        Upstream::Verified(verified) => {
            println!("transport  accepts {}", verified.policy());
            let material = material(&options, verified.sources())?;
            (
                verified.client_config(&provider, clock, &material)?,
                verified.server_name(host)?,
            )
        }
        Upstream::Danger(unverified) => {
            println!("transport  DANGER: insecureSkipVerify accepts anyone");
            let material = material(&options, unverified.sources())?;
            (
                unverified.client_config(&provider, clock, &material)?,
                unverified.server_name(host)?,
            )
        }
    };
    let socket = connect(&options.target, upstream.settings().timeouts.dial)?;
    socket.set_read_timeout(upstream.settings().timeouts.tls_handshake)?;
    handshake(config, name, socket)
}

fn material<'a>(
    options: &Options,
    sources: impl Iterator<Item = &'a Source>,
) -> Result<Material, Box<dyn Error>> {
    let mut sources = sources.peekable();
    let mut material = match (&options.directory, sources.peek()) {
        (Some(directory), _) => material::material(directory, sources),
        (None, Some(Source::Secret { .. } | Source::ConfigMap { .. })) => {
            return Err(
                "the transport refers to Secrets: say where they are with --material".into(),
            );
        }
        (None, _) => material::material(Path::new("."), sources),
    };
    for (domain, path) in &options.bundles {
        let text = std::fs::read_to_string(path)?;
        let bundle = match text.trim_start().starts_with('{') {
            true => Bundle::from_json(&text)?,
            false => Roots::from_pem(text.as_bytes())?.into(),
        };
        material.bundles.insert(domain, bundle);
    }
    if let Ok(found) = platform::roots() {
        material.system_roots = Some(found.roots);
    }
    Ok(material)
}

fn connect(target: &str, limit: Option<Duration>) -> Result<TcpStream, Box<dyn Error>> {
    let mut last = None;
    for address in target.to_socket_addrs()? {
        let start = Instant::now();
        let socket = match limit {
            Some(limit) => TcpStream::connect_timeout(&address, limit),
            None => TcpStream::connect(address),
        };
        match socket {
            Ok(socket) => {
                println!("connected  {address} in {:.1?}", start.elapsed());
                return Ok(socket);
            }
            Err(error) => last = Some(format!("{address}: {error}")),
        }
    }
    Err(last
        .unwrap_or_else(|| format!("{target} has no address"))
        .into())
}

fn handshake(
    config: ClientConfig,
    name: rustls::pki_types::ServerName<'static>,
    mut socket: TcpStream,
) -> Result<bool, Box<dyn Error>> {
    let mut connection = ClientConnection::new(Arc::new(config), name)?;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut socket) {
            let refusal = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref())
                .and_then(PeerError::from_rustls);
            let Some(refusal) = refusal else {
                return Err(error.into());
            };
            println!("refused    {}: {}", refusal.code(), chain(&refusal));
            return Ok(false);
        }
    }
    let text = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    println!(
        "accepted   {}, {}, protocol {}",
        text(
            connection
                .protocol_version()
                .map(|version| format!("{version:?}"))
        ),
        text(
            connection
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite()))
        ),
        text(
            connection
                .alpn_protocol()
                .map(|name| name.escape_ascii().to_string())
        ),
    );
    Ok(true)
}

fn options() -> Result<Options, Box<dyn Error>> {
    let usage = "upstream TRANSPORT.yaml HOST:PORT [--material DIR] [--bundle DOMAIN=FILE]...";
    let mut plain = Vec::new();
    let (mut directory, mut bundles) = (None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(usage);
        match argument.as_str() {
            "--material" => directory = Some(PathBuf::from(value()?)),
            "--bundle" => {
                let value = value()?;
                let (domain, path) = value.split_once('=').ok_or(usage)?;
                bundles.push((domain.parse()?, PathBuf::from(path)));
            }
            _ => plain.push(argument),
        }
    }
    let [transport, target] = <[String; 2]>::try_from(plain).map_err(|_| usage)?;
    Ok(Options {
        transport: transport.into(),
        target,
        directory,
        bundles,
    })
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
