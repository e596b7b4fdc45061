//! Signs requests from files with a CA whose key is elsewhere: a stand-in for an HSM that is slow
//! and fails now and then.
//!
//! `cargo run -p certwright-issuance --example csr_server -- CA.crt CA.key REQUEST.pem…`
//!
//! Without arguments it makes a CA and three requests of its own, one of them for a name outside the
//! CA's constraints.

use std::error::Error;
use std::fs;
use std::time::Duration as StdDuration;

use certwright_cert_model::key::{KeyAlgorithm, KeyEncoding, SignatureAlgorithm};
use certwright_cert_model::name_constraints::{NameConstraints, Subtrees};
use certwright_cert_model::subject::{Attribute, Rdn, Subject};
use certwright_cert_model::usage::Usages;
use certwright_issuance::csr::Request;
use certwright_issuance::profile::UsageRule;
use certwright_issuance::{CaChain, CsrPolicy, KeyPair, Profile, Serial, VerifiedCsr, self_signed};
use time::{Duration, OffsetDateTime};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let now = OffsetDateTime::now_utc();
    let (chain, key, requests) = match arguments.as_slice() {
        [] => demonstration(now)?,
        [chain, key, requests @ ..] => {
            let read = |path: &String| Ok((path.clone(), fs::read(path)?));
            let requests = requests
                .iter()
                .map(read)
                .collect::<Result<_, std::io::Error>>()?;
            (fs::read(chain)?, fs::read(key)?, requests)
        }
        [_] => return Err("usage: csr_server CA.crt CA.key REQUEST.pem…".into()),
    };
    // The process that decides never has the key.
    let ca = CaChain::from_pem(&chain, now)?;
    let mut hsm = RemoteSigner {
        key: KeyPair::from_pem(&key)?,
        calls: 0,
    };
    let usages: Vec<_> = [
        "digital signature",
        "key encipherment",
        "server auth",
        "client auth",
    ]
    .iter()
    .map(|name| name.parse())
    .collect::<Result<_, _>>()?;
    let within: Usages = usages.into_iter().collect();
    let mut profile = Profile::leaf(within.clone(), Duration::days(30));
    // Requests may ask for less than this, and for nothing else.
    profile.usages = UsageRule::Requested { within };

    for (path, text) in requests {
        match answer(&ca, &mut hsm, &profile, &text, now) {
            Ok(pem) => println!("# {path}\n{pem}"),
            Err(refusal) => println!("# {path}: refused: {}\n", with_causes(&*refusal)),
        }
    }
    Ok(())
}

fn answer(
    ca: &CaChain,
    hsm: &mut RemoteSigner,
    profile: &Profile,
    text: &[u8],
    now: OffsetDateTime,
) -> Result<String, Box<dyn Error>> {
    let csr = VerifiedCsr::from_pem(text, &CsrPolicy::default())?;
    let waiting = ca.prepare(&csr, profile, now, Serial::random()?)?;
    let mut attempts = 0;
    let signature = loop {
        attempts += 1;
        match hsm.sign(waiting.algorithm(), waiting.bytes()) {
            Ok(signature) => break signature,
            Err(error) if attempts < 5 => println!("# signer: {error}, once more"),
            Err(error) => return Err(error.into()),
        }
    };
    // Whatever came over the wire is verified before it is believed.
    Ok(waiting.complete(&signature)?.chain_pem())
}

/// Takes its time, and fails every third time.
struct RemoteSigner {
    key: KeyPair,
    calls: u32,
}

impl RemoteSigner {
    fn sign(&mut self, algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.calls += 1;
        std::thread::sleep(StdDuration::from_millis(20));
        if self.calls % 3 == 2 {
            return Err("connection reset".to_owned());
        }
        self.key
            .sign(algorithm, bytes)
            .map_err(|error| error.to_string())
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

type Demonstration = (Vec<u8>, Vec<u8>, Vec<(String, Vec<u8>)>);

fn demonstration(now: OffsetDateTime) -> Result<Demonstration, Box<dyn Error>> {
    let key = KeyPair::generate(KeyAlgorithm::Ed25519)?;
    let mut permitted = Subtrees::default();
    permitted.dns.push("example.com".parse()?);
    let mut request = Request::default();
    let name = Attribute::new("2.5.4.3".parse()?, "Demonstration CA");
    request.subject = Subject::new(Rdn::new(vec![name]).into_iter().collect());
    request.constraints = NameConstraints::new(true, permitted, Subtrees::default());
    let csr = request.sign(&key)?.verify(&CsrPolicy::default())?;
    let usages = std::iter::once("cert sign".parse()?).collect();
    let ca = self_signed(
        &csr,
        &key,
        &Profile::ca(usages, Duration::days(365), None),
        now,
    )?;
    let mut requests = Vec::new();
    for name in ["www.example.com", "api.example.com", "www.example.org"] {
        let mut request = Request::default();
        request.names.dns.push(name.parse()?);
        let key = KeyPair::generate(KeyAlgorithm::Ed25519)?;
        requests.push((name.to_owned(), request.sign(&key)?.to_pem().into_bytes()));
    }
    let key = key.to_pem(KeyEncoding::Pkcs8)?.as_bytes().to_vec();
    Ok((ca.chain_pem().into_bytes(), key, requests))
}
