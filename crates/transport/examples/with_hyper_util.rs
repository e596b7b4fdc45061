//! Our client, and our connector in hyper-util's: `cargo run -p certwright-transport --example with_hyper_util`.

#[path = "shared/demo.rs"]
mod demo;

use std::error::Error;
use std::sync::Arc;

use certwright_transport::connector::Peer;
use certwright_transport::{Connector, Rotating, UpstreamClient};
use demo::{Demo, Hello};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::time_provider::DefaultTimeProvider;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let demo = Demo::new()?;
    let url = format!("https://{}/", demo.serve(Hello).await?);
    let request = || Request::get(&url).body(Full::<Bytes>::default());

    let rotating = Arc::new(Rotating::new(
        demo.upstream()?,
        Arc::new(default_provider()),
        Arc::new(DefaultTimeProvider),
        &demo.material()?,
    )?);
    let connector = Connector::new(Arc::clone(&rotating));

    // Everything the transport says: pool, timeouts, protocols, and what an update of the material ends.
    let client = UpstreamClient::new(connector.clone());
    report("certwright", &client.request(request()?).await?);
    rotating.update(&demo.material()?)?;
    report("after an update", &client.request(request()?).await?);

    // Dialing and verification only: the pool's limits are set here, and it keeps what it has after an update.
    let settings = connector.settings().clone();
    let pool = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(settings.timeouts.idle_conn)
        .build(connector);
    report("hyper-util", &pool.request(request()?).await?);
    Ok(())
}

fn report<B>(client: &str, response: &Response<B>) {
    println!(
        "{client}: {} over {:?}",
        response.status(),
        response.version()
    );
    if let Some(peer) = response.extensions().get::<Peer>() {
        println!(
            "  from {}, generation {}",
            peer.identity(),
            peer.generation()
        );
    }
}
