//! A DNS provider that writes into `pebble-challtestsrv`.

use certwright_acme::Task;
use certwright_acme::challenge::dns01::{DnsError, DnsProvider, TxtRecord};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The management interface of `pebble-challtestsrv`, on this port of loopback.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChallTestSrv(pub(crate) u16);

impl ChallTestSrv {
    pub(crate) async fn post(&self, path: &str, body: serde_json::Value) -> Result<String, String> {
        let body = body.to_string();
        let request = format!(
            "POST /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let exchange = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.0)).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = exchange.await.map_err(|error| error.to_string())?;
        match answer.starts_with("HTTP/1.1 200") {
            true => Ok(answer),
            false => Err(answer),
        }
    }

    async fn change(&self, path: &str, record: &TxtRecord) -> Result<(), DnsError> {
        let host = format!("{}.", record.name);
        let body = serde_json::json!({ "host": host, "value": record.value });
        let done = self.post(path, body).await;
        done.map(drop).map_err(|reason| DnsError::Provider {
            provider: "pebble-challtestsrv".to_owned(),
            name: record.name.clone(),
            reason,
        })
    }
}

impl DnsProvider for ChallTestSrv {
    fn append<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
        // It appends.
        Box::pin(self.change("set-txt", record))
    }

    fn remove<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
        // It knows no removal of one value; names are not shared in these tests.
        Box::pin(self.change("clear-txt", record))
    }
}
