//! gRPC over our client, and over a channel with our connector:
//! `cargo run -p certwright-transport --example with_tonic`.

#[path = "shared/demo.rs"]
mod demo;

use std::error::Error;
use std::sync::Arc;

use certwright_transport::{Connector, Rotating, UpstreamClient};
use demo::Demo;
use hyper::Uri;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::time_provider::DefaultTimeProvider;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let demo = Demo::new()?;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("demo", tonic_health::ServingStatus::Serving)
        .await;
    let origin: Uri = format!("https://{}", demo.serve(health).await?).parse()?;
    let rotating = Arc::new(Rotating::new(
        demo.upstream()?,
        Arc::new(default_provider()),
        Arc::new(DefaultTimeProvider),
        &demo.material()?,
    )?);
    let question = || HealthCheckRequest {
        service: "demo".to_owned(),
    };

    // Our client is a transport for generated code: it follows every update by itself.
    let client = UpstreamClient::new(Connector::new(Arc::clone(&rotating)));
    let mut health = HealthClient::with_origin(client, origin.clone());
    let answer = health.check(question()).await?;
    println!("over our client: {:?}", answer.get_ref().status());
    rotating.update(&demo.material()?)?;
    let answer = health.check(question()).await?;
    println!("after an update: {:?}", answer.get_ref().status());

    // A channel keeps its one connection; make a new channel after a revocation.
    let endpoint = Endpoint::from(origin);
    let channel = endpoint
        .connect_with_connector(Connector::new(rotating))
        .await?;
    let answer = HealthClient::new(channel).check(question()).await?;
    println!("over a channel: {:?}", answer.get_ref().status());
    Ok(())
}
