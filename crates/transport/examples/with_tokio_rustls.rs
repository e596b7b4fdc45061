//! A connection by hand, with tokio-rustls: `cargo run -p certwright-transport --example with_tokio_rustls`.

#[path = "shared/demo.rs"]
mod demo;

use std::error::Error;
use std::sync::Arc;

use certwright_transport::verify::spiffe_id;
use certwright_transport::{PeerError, Rotating};
use demo::{Demo, Hello};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::time_provider::DefaultTimeProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let demo = Demo::new()?;
    let address = demo.serve(Hello).await?;
    let rotating = Rotating::new(
        demo.upstream()?,
        Arc::new(default_provider()),
        Arc::new(DefaultTimeProvider),
        &demo.material()?,
    )?;

    // One generation, one configuration: ask for the current one before every dial.
    let mut config = (*rotating.current().config).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = rotating.upstream().server_name("api.demo.test")?;
    let stream = TcpStream::connect(address).await?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let mut stream = connecting.await.map_err(|error| {
        let refusal = error.get_ref().and_then(|inner| inner.downcast_ref());
        match refusal.and_then(PeerError::from_rustls) {
            Some(refusal) => format!("refused: {refusal}"),
            None => error.to_string(),
        }
    })?;

    let (_, tls) = stream.get_ref();
    let id = spiffe_id(tls.peer_certificates().unwrap_or_default())?;
    println!("connected to {id}");
    let request = b"GET / HTTP/1.1\r\nhost: api.demo.test\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    println!("{response}");
    Ok(())
}
