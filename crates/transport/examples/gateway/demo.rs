//! The gateway with everything around it, on this machine.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use certwright_transport::servers_transport::RootCa;
use certwright_transport::{
    Connector, Material, Rotating, ServersTransport, Upstream, UpstreamClient,
};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::time_provider::DefaultTimeProvider;
use tokio::net::TcpListener;

use crate::Gateway;
use crate::server::{Demo, Hello, TRANSPORT};

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let write = |name: &str, text: &str| -> std::io::Result<()> {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        std::fs::write(path, text)
    };
    let front = |serial: &str| -> Result<String, Box<dyn Error>> {
        let pair = rcgen::generate_simple_self_signed(["www.demo.test".to_owned()])?;
        write("front/www.crt", &pair.cert.pem())?;
        write("front/www.key", &pair.signing_key.serialize_pem())?;
        println!("{serial} certificate in front");
        Ok(pair.cert.pem())
    };
    let behind = Demo::new()?;
    let address = behind.serve(Hello).await?;
    let first = front("first")?;
    write("bundles/demo.test", behind.root())?;
    write("transports/demo.yaml", TRANSPORT)?;
    write("routes", &format!("www.demo.test demo https://{address}\n"))?;

    let gateway = Arc::new(Gateway::new(directory.path())?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let serving = Arc::clone(&gateway);
    tokio::spawn(async move {
        serving.serve(listener).await.ok();
    });

    ask(&first, port).await?;
    let second = front("second")?;
    gateway.reload();
    ask(&second, port).await?;
    println!("the server behind is revoked");
    write("bundles/demo.test", r#"{"keys": []}"#)?;
    gateway.reload();
    ask(&second, port).await?;
    println!("and accepted again");
    write("bundles/demo.test", behind.root())?;
    gateway.reload();
    ask(&second, port).await
}

/// As a client that trusts this certificate and no other.
async fn ask(root: &str, port: u16) -> Result<(), Box<dyn Error>> {
    let mut roots = RootCa::default();
    roots.file = Some(root.to_owned());
    let mut transport = ServersTransport::default();
    transport.root_cas = vec![roots];
    transport.server_name = Some("www.demo.test".to_owned());
    transport.disable_http2 = true;
    let Upstream::Verified(upstream) = transport.validate()? else {
        return Err("it verifies nobody".into());
    };
    let rotating = Rotating::new(
        upstream,
        Arc::new(default_provider()),
        Arc::new(DefaultTimeProvider),
        &Material::default(),
    )?;
    let client = UpstreamClient::new(Connector::new(Arc::new(rotating)));
    let request =
        Request::get(format!("https://127.0.0.1:{port}/")).header("host", "www.demo.test");
    let response = client
        .request(request.body(Full::<Bytes>::default())?)
        .await?;
    println!("  {}", response.status());
    Ok(())
}
