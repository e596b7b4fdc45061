//! Serves HTTP with hyper, and clients that send no server name by the address they connected to:
//! `cargo run -p certwright-sni-store --example hyper_server -- DIRECTORY 127.0.0.1:8443`.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use certwright_sni_store::Resolver;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("expected a directory and an address to listen on".into());
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (resolver, report) = Resolver::from_dir(directory, provider.clone())?;
    println!("{report:#}");

    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver.clone()));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // A client gone already, or too many of them for a while: no reason to stop serving.
                println!("{error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // The address a wildcard socket was reached at is known here only.
        let mut config = config.clone();
        config.cert_resolver = Arc::new(resolver.at_address(stream.local_addr()?.ip()));
        tokio::spawn(async move {
            if let Err(error) = serve(stream, config).await {
                println!("{peer}: {error}");
            }
        });
    }
}

async fn serve(stream: TcpStream, config: ServerConfig) -> Result<(), Box<dyn Error>> {
    let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
    let asked = stream.get_ref().1.server_name().unwrap_or("no name");
    let greeting = format!("hello, you asked for {asked}\n");
    let answer = |_: Request<Incoming>| {
        let response = Response::new(greeting.clone());
        async { Ok::<_, Infallible>(response) }
    };
    let connection =
        http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    Ok(connection.await?)
}
