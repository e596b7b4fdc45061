//! One question to one name server, and nobody's cache in between.

use core::net::SocketAddr;
use std::io;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::DnsError;

/// Whether the server is to ask others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recursion {
    Desired,
    None,
}

/// What a server says about a name: records, or that there are none.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Whether it says so of its own knowledge.
    pub(super) authoritative: bool,
    records: Vec<Record>,
}

impl Answer {
    /// The records in it, those at the end of aliases too.
    pub(super) fn all(&self) -> impl Iterator<Item = &RData> {
        self.records.iter().map(|record| &record.data)
    }

    /// The records of the name itself.
    pub(super) fn of<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Record> {
        let name = name.to_owned();
        let records = self.records.iter();
        records.filter(move |record| plain(&record.name.to_ascii()) == name)
    }
}

/// Asks over UDP, twice, and over TCP if the answer does not fit.
pub(super) async fn query(
    server: SocketAddr,
    name: &str,
    kind: RecordType,
    recursion: Recursion,
) -> Result<Answer, DnsError> {
    let failed = |reason: String| DnsError::Query {
        name: name.to_owned(),
        server: server.to_string(),
        reason,
    };
    let mut owner = Name::from_ascii(name).map_err(|error| failed(error.to_string()))?;
    owner.set_fqdn(true);
    let mut question = Message::query();
    question.metadata.recursion_desired = recursion == Recursion::Desired;
    question.add_query(Query::query(owner, kind));
    let bytes = question
        .to_vec()
        .map_err(|error| failed(error.to_string()))?;
    let mut answer = None;
    for _ in 0..ATTEMPTS {
        match tokio::time::timeout(TIMEOUT, over_udp(server, &question, &bytes)).await {
            Ok(Ok(found)) => {
                answer = Some(found);
                break;
            }
            Ok(Err(error)) => return Err(failed(error.to_string())),
            // A datagram may be lost.
            Err(_) => {}
        }
    }
    let mut answer = answer.ok_or_else(|| failed(format!("nothing came within {TIMEOUT:?}")))?;
    if answer.metadata.truncation {
        let whole = tokio::time::timeout(TIMEOUT, over_tcp(server, &question, &bytes)).await;
        let whole = whole.map_err(|_| failed(format!("nothing came within {TIMEOUT:?}")))?;
        answer = whole.map_err(|error| failed(error.to_string()))?;
    }
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(Answer {
            authoritative: answer.metadata.authoritative,
            records: answer.answers,
        }),
        code => Err(failed(format!("it says {code}"))),
    }
}

async fn over_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Whatever else arrives is somebody's guess.
        if let Some(answer) = fitting(question, buffer.get(..length).unwrap_or_default()) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut sent = length.to_be_bytes().to_vec();
    sent.extend_from_slice(bytes);
    stream.write_all(&sent).await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut buffer).await?;
    let answer = fitting(question, &buffer);
    answer.ok_or_else(|| io::Error::other("what came is not an answer to the question"))
}

fn fitting(question: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let fits = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries;
    fits.then_some(answer)
}

/// A name as our records have it.
pub(super) fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

const ATTEMPTS: usize = 2;
const TIMEOUT: Duration = Duration::from_secs(3);
const MAX_DATAGRAM: usize = 4096;
