//! reqwest with our configuration: `cargo run -p certwright-transport --example with_reqwest`.
//!
//! reqwest asks for the host of the URL, not for the transport's `serverName`: put that into the URL, and say with
//! `resolve` where it is. It does not follow updates either: make a new client for each generation, as here.

#[path = "shared/demo.rs"]
mod demo;

use std::error::Error;
use std::sync::Arc;

use certwright_transport::Rotating;
use certwright_transport::upstream::{IdleConnections, Settings};
use demo::{Demo, Hello};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::time_provider::DefaultTimeProvider;

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
    for _ in 0..2 {
        let generation = rotating.current();
        let builder = client(rotating.upstream().settings(), &generation.config);
        let client = builder.resolve("api.demo.test", address).build()?;
        let url = format!("https://api.demo.test:{}/", address.port());
        let response = client.get(url).send().await?;
        println!(
            "generation {}: {} over {:?}",
            generation.number,
            response.status(),
            response.version()
        );
        rotating.update(&demo.material()?)?;
    }
    Ok(())
}

fn client(settings: &Settings, config: &Arc<ClientConfig>) -> reqwest::ClientBuilder {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured((**config).clone())
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_idle_timeout(settings.timeouts.idle_conn)
        .pool_max_idle_per_host(match settings.idle_per_host {
            IdleConnections::AtMost(count) => count,
            IdleConnections::None => 0,
        });
    if let Some(limit) = settings.timeouts.dial {
        builder = builder.connect_timeout(limit);
    }
    match settings.offers_http2 {
        true => builder,
        false => builder.http1_only(),
    }
}
