//! A small world of name servers: a parent zone, a child with two servers, another zone,
//! and recursive servers that walk down from the parent as real ones do.
//!
//! NS records have no ports: all servers listen on one port that the system chose, each on
//! an address of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_resolver::proto::rr::rdata::{A, CNAME, NS, SOA, TXT};
use hickory_resolver::proto::rr::{
    DNSClass, Name, RData, Record, RecordType, TSigResponseContext, TSigner,
};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

pub(crate) const PARENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
pub(crate) const NS1: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
pub(crate) const NS2: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
pub(crate) const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

pub(crate) const KEY_NAME: &str = "update-key.";
pub(crate) const SECRET: &[u8] = b"thirty-two bytes of shared secret";

/// A name server of some zones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    zones: Vec<Name>,
    records: Vec<Record>,
    broken: Vec<(Name, ResponseCode)>,
    lame: bool,
    /// Every question, in order.
    asked: Vec<(String, RecordType)>,
    /// Updates that were applied.
    updates: usize,
}

pub(crate) fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}

pub(crate) fn txt(value: &str) -> RData {
    RData::TXT(TXT::new(vec![value.to_owned()]))
}

pub(crate) fn alias(target: &str) -> RData {
    RData::CNAME(CNAME(name(target)))
}

pub(crate) fn ns(target: &str) -> RData {
    RData::NS(NS(name(target)))
}

pub(crate) fn a(address: Ipv4Addr) -> RData {
    RData::A(A(address))
}

fn soa() -> RData {
    let main = name("ns1.z.test");
    RData::SOA(SOA::new(main.clone(), main, 1, 3600, 600, 86400, 60))
}

impl Server {
    pub(crate) fn of(zones: &[&str]) -> Self {
        let server = Self::default();
        for zone in zones {
            let zone = name(zone);
            let soa = soa();
            let mut state = server.0.lock().unwrap();
            state
                .records
                .push(Record::from_rdata(zone.clone(), 60, soa));
            state.zones.push(zone);
        }
        server
    }

    pub(crate) fn add(&self, owner: &str, data: RData) -> &Self {
        self.add_for(owner, 60, data)
    }

    pub(crate) fn add_for(&self, owner: &str, ttl: u32, data: RData) -> &Self {
        let record = Record::from_rdata(name(owner), ttl, data);
        self.0.lock().unwrap().records.push(record);
        self
    }

    /// The code for everything at this name and below.
    pub(crate) fn break_at(&self, owner: &str, code: ResponseCode) {
        self.0.lock().unwrap().broken.push((name(owner), code));
    }

    /// It answers, and is no authority any more.
    pub(crate) fn make_lame(&self) {
        self.0.lock().unwrap().lame = true;
    }

    pub(crate) fn asked(&self) -> Vec<(String, RecordType)> {
        self.0.lock().unwrap().asked.clone()
    }

    pub(crate) fn updates(&self) -> usize {
        self.0.lock().unwrap().updates
    }

    /// The values of a TXT record, in order, and their TTLs.
    pub(crate) fn texts(&self, owner: &str) -> Vec<(String, u32)> {
        let owner = name(owner);
        let state = self.0.lock().unwrap();
        let records = state.records.iter().filter(|one| one.name == owner);
        let values = records.filter_map(|one| match &one.data {
            RData::TXT(txt) => Some((String::from_utf8(txt.txt_data.concat()).ok()?, one.ttl)),
            _ => None,
        });
        let mut values: Vec<_> = values.collect();
        values.sort();
        values
    }

    fn answer(&self, query: &Query) -> Message {
        let mut state = self.0.lock().unwrap();
        let (owner, kind) = (query.name(), query.query_type());
        state.asked.push((owner.to_ascii(), kind));
        let mut answer = Message::response(0, OpCode::Query);
        let broken = state.broken.iter().find(|(at, _)| at.zone_of(owner));
        if let Some((_, code)) = broken {
            answer.metadata.response_code = *code;
            return answer;
        }
        let zones = state.zones.iter().filter(|zone| zone.zone_of(owner));
        let Some(zone) = zones.max_by_key(|zone| zone.num_labels()) else {
            answer.metadata.response_code = ResponseCode::Refused;
            return answer;
        };
        // A delegation below the zone's own name.
        let cuts = state.records.iter().filter(|one| {
            one.record_type() == RecordType::NS
                && one.name != *zone
                && zone.zone_of(&one.name)
                && one.name.zone_of(owner)
        });
        let cuts: Vec<Record> = cuts.cloned().collect();
        if !cuts.is_empty() {
            for cut in &cuts {
                if let RData::NS(server) = &cut.data {
                    let glue = state.records.iter().filter(|one| one.name == server.0);
                    answer.add_additionals(glue.cloned().collect::<Vec<_>>());
                }
            }
            answer.add_authorities(cuts);
            return answer;
        }
        answer.metadata.authoritative = !state.lame;
        let here = state.records.iter().filter(|one| one.name == *owner);
        let found = here
            .clone()
            .filter(|one| one.record_type() == kind || one.record_type() == RecordType::CNAME);
        answer.add_answers(found.cloned().collect::<Vec<_>>());
        if answer.answers.is_empty() {
            let exists = state.records.iter().any(|one| owner.zone_of(&one.name));
            if !exists {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            answer.add_authority(Record::from_rdata(zone.clone(), 60, soa()));
        }
        answer
    }

    /// RFC 2136, with a TSIG of the one key, and signed in return.
    fn update(&self, bytes: &[u8], request: &Message) -> Vec<u8> {
        let signer = TSigner::new(
            SECRET.to_vec(),
            TsigAlgorithm::HmacSha256,
            name(KEY_NAME),
            300,
        )
        .unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap().as_secs();
        let mut answer = Message::response(request.metadata.id, OpCode::Update);
        answer.add_queries(request.queries.clone());
        let context = match signer.verify_message_byte(bytes, None, true) {
            Ok((mac, _, valid)) if valid.contains(&now) => {
                answer.metadata.response_code = self.apply(request);
                TSigResponseContext::new(request.metadata.id, now, signer, mac, None::<TsigError>)
            }
            _ => {
                answer.metadata.response_code = ResponseCode::NotAuth;
                TSigResponseContext::bad_signature(request.metadata.id, now, signer)
            }
        };
        let signature = context.sign(&answer.to_vec().unwrap()).unwrap();
        answer.set_signature(signature);
        answer.to_vec().unwrap()
    }

    fn apply(&self, request: &Message) -> ResponseCode {
        let mut state = self.0.lock().unwrap();
        let zone = request.queries.first().map(Query::name);
        let ours = |zone: &&Name| state.zones.contains(zone);
        let Some(zone) = zone.filter(ours).cloned() else {
            return ResponseCode::NotAuth;
        };
        for record in &request.authorities {
            if !zone.zone_of(&record.name) {
                return ResponseCode::NotZone;
            }
            match record.dns_class {
                DNSClass::IN => {
                    let there = |one: &Record| one.name == record.name && one.data == record.data;
                    if !state.records.iter().any(there) {
                        state.records.push(record.clone());
                    }
                }
                // Section 2.5.4: one record out of a set.
                DNSClass::NONE => state
                    .records
                    .retain(|one| one.name != record.name || one.data != record.data),
                // Sections 2.5.2 and 2.5.3: a whole set, which nobody may ask for here.
                _ => return ResponseCode::Refused,
            }
        }
        state.updates += 1;
        ResponseCode::NoError
    }
}

/// A server that listens, until it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn run(socket: UdpSocket, reply: impl AsyncReply) -> Running {
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let Ok(request) = Message::from_vec(&buffer[..length]) else {
                continue;
            };
            let answer = reply.reply(&buffer[..length], &request).await;
            let _ = socket.send_to(&answer, peer).await;
        }
    });
    Running { address, task }
}

trait AsyncReply: Send + Sync + 'static {
    fn reply(&self, bytes: &[u8], request: &Message) -> impl Future<Output = Vec<u8>> + Send;
}

fn reply_to(request: &Message, mut answer: Message) -> Vec<u8> {
    answer.metadata.id = request.metadata.id;
    answer.metadata.message_type = MessageType::Response;
    answer.add_queries(request.queries.clone());
    answer.to_vec().unwrap()
}

impl AsyncReply for Server {
    async fn reply(&self, bytes: &[u8], request: &Message) -> Vec<u8> {
        match (request.metadata.op_code, request.queries.first()) {
            (OpCode::Update, _) => self.update(bytes, request),
            (_, Some(query)) => reply_to(request, self.answer(query)),
            (_, None) => Vec::new(),
        }
    }
}

/// A recursive server, which walks down from the parent and follows aliases.
#[derive(Clone, Debug)]
struct Recursive {
    port: u16,
    /// What it has kept too long: it has no TXT records.
    stale: bool,
}

impl Recursive {
    async fn walk(&self, owner: &Name, kind: RecordType) -> Result<Message, ResponseCode> {
        let mut servers = vec![PARENT];
        for _ in 0..8 {
            let mut next = Err(ResponseCode::ServFail);
            for server in &servers {
                let at = SocketAddr::new(IpAddr::V4(*server), self.port);
                if let Some(answer) = ask(at, owner, kind).await
                    && [ResponseCode::NoError, ResponseCode::NXDomain]
                        .contains(&answer.metadata.response_code)
                {
                    next = Ok(answer);
                    break;
                }
            }
            let answer = next?;
            let referral = !answer.metadata.authoritative && answer.answers.is_empty();
            let glue = answer.additionals.iter().filter_map(|one| match &one.data {
                RData::A(address) => Some(address.0),
                _ => None,
            });
            let glue: Vec<Ipv4Addr> = glue.collect();
            if !referral || glue.is_empty() {
                return Ok(answer);
            }
            servers = glue;
        }
        Err(ResponseCode::ServFail)
    }
}

impl AsyncReply for Recursive {
    async fn reply(&self, _: &[u8], request: &Message) -> Vec<u8> {
        let query = request.queries.first().unwrap();
        let kind = query.query_type();
        let mut owner = query.name().clone();
        let mut whole = Message::response(0, OpCode::Query);
        for _ in 0..8 {
            match self.walk(&owner, kind).await {
                Ok(found) => {
                    whole.metadata.response_code = found.metadata.response_code;
                    whole.add_answers(found.answers.clone());
                    let alias = found.answers.iter().find_map(|one| match &one.data {
                        RData::CNAME(target) => Some(target.0.clone()),
                        _ => None,
                    });
                    match alias.filter(|_| kind != RecordType::CNAME) {
                        Some(target) => owner = target,
                        None => break,
                    }
                }
                Err(code) => {
                    whole.metadata.response_code = code;
                    break;
                }
            }
        }
        if self.stale {
            whole
                .answers
                .retain(|one| one.record_type() != RecordType::TXT);
        }
        reply_to(request, whole)
    }
}

async fn ask(server: SocketAddr, owner: &Name, kind: RecordType) -> Option<Message> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()?;
    let mut message = Message::query();
    message.add_query(Query::query(owner.clone(), kind));
    socket.send_to(&message.to_vec().ok()?, server).await.ok()?;
    let mut buffer = vec![0; 4096];
    let received = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer));
    let length = received.await.ok()?.ok()?;
    Message::from_vec(&buffer[..length]).ok()
}

/// The world: everything runs until it is dropped.
pub(crate) struct World {
    pub(crate) port: u16,
    pub(crate) parent: Server,
    pub(crate) ns1: Server,
    pub(crate) ns2: Server,
    pub(crate) other: Server,
    running: Vec<Running>,
}

impl World {
    /// The zone `test` with `z.test` delegated to two servers, and `other.test` to a third.
    pub(crate) async fn new() -> Self {
        let parent = Server::of(&["test"]);
        parent.add("test", ns("ns.test")).add("ns.test", a(PARENT));
        let delegation = |server: &Server| {
            server
                .add("z.test", ns("ns1.z.test"))
                .add("z.test", ns("ns2.z.test"));
            server.add("ns1.z.test", a(NS1)).add("ns2.z.test", a(NS2));
        };
        delegation(&parent);
        parent
            .add("other.test", ns("ns.other.test"))
            .add("ns.other.test", a(OTHER));
        let (ns1, ns2) = (Server::of(&["z.test"]), Server::of(&["z.test"]));
        delegation(&ns1);
        delegation(&ns2);
        let other = Server::of(&["other.test"]);
        other
            .add("other.test", ns("ns.other.test"))
            .add("ns.other.test", a(OTHER));
        let servers = [&parent, &ns1, &ns2, &other];
        let addresses = [PARENT, NS1, NS2, OTHER];
        let sockets = sockets(addresses).await;
        let port = sockets[0].local_addr().unwrap().port();
        let running = sockets.into_iter().zip(servers);
        let running = running
            .map(|(socket, server)| run(socket, server.clone()))
            .collect();
        Self {
            port,
            parent,
            ns1,
            ns2,
            other,
            running,
        }
    }

    /// Another recursive server.
    pub(crate) async fn recursive(&mut self, stale: bool) -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = self.port;
        let running = run(socket, Recursive { port, stale });
        let address = running.address;
        self.running.push(running);
        address
    }

    pub(crate) fn at(&self, server: Ipv4Addr) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(server), self.port)
    }
}

/// Sockets on these addresses with one port, which is free on all of them.
async fn sockets(addresses: [Ipv4Addr; 4]) -> Vec<UdpSocket> {
    'port: loop {
        let mut sockets: Vec<UdpSocket> = Vec::new();
        for address in addresses {
            let first = sockets.first().map(|one| one.local_addr().unwrap().port());
            match UdpSocket::bind((address, first.unwrap_or_default())).await {
                Ok(socket) => sockets.push(socket),
                Err(error) if first.is_some() => {
                    eprintln!("{address}: {error}");
                    continue 'port;
                }
                Err(error) => panic!("{error}"),
            }
        }
        return sockets;
    }
}
