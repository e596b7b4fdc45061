//! Serves the certificates of a directory, and reads it again every minute:
//! `cargo run -p certwright-sni-store --example tokio_server -- DIRECTORY 127.0.0.1:8443`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use certwright_sni_store::{PairLoader, Resolver};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("expected a directory and an address to listen on".into());
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (resolver, report) = Resolver::from_dir(&directory, provider.clone())?;
    println!("{report:#}");

    let store = resolver.store().clone();
    let loader = PairLoader::new(provider.clone());
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let (store, loader, directory) = (store.clone(), loader.clone(), directory.clone());
            let reload = tokio::task::spawn_blocking(move || {
                Ok::<_, certwright_sni_store::DirError>(
                    store.replace_all(loader.load_dir(&store, directory)?),
                )
            });
            match reload.await {
                Ok(Ok(report)) => println!("{report:#}"),
                failed => println!("{failed:?}"),
            }
        }
    });

    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    let acceptor = TlsAcceptor::from(Arc::new(config));
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
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let served = async {
                let mut stream = acceptor.accept(stream).await?;
                let hello =
                    b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nhello\n";
                stream.write_all(hello).await?;
                stream.shutdown().await
            };
            if let Err(error) = served.await {
                println!("{peer}: {error}");
            }
        });
    }
}
