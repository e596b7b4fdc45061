//! The figures this crate is measured by, one per line:
//! `RATIO name value goal`, or `WATCH name value note` without a goal.
//!
//! Times are CPU time of the thread, best of the rounds, rounds of both sides interleaved; with two
//! threads, elapsed time. Instructions and allocations are counted by valgrind in a child of this
//! program, as the difference between N and 2N repetitions.

#![allow(clippy::unwrap_used, reason = "a bench reports nothing else")]

use core::num::NonZeroU32;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration as StdDuration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self as raw, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use aws_lc_rs::{digest, pbkdf2};
use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding, RsaSize};
use certwright_cert_model::name_constraints::{NameConstraints, Subtrees};
use certwright_cert_model::output::Pkcs12Profile;
use certwright_cert_model::subject::{Attribute, Rdn, Subject};
use certwright_issuance::csr::Request;
use certwright_issuance::keystore::{Contents, Jks, KeyEntry, Pkcs12};
use certwright_issuance::name_constraints::{ChainConstraints, ConstraintLevel};
use certwright_issuance::profile::Preflight;
use certwright_issuance::{
    Certificate, CertificateAuthority, CsrPolicy, KeyPair, Profile, Serial, SignedBundle,
    ToBeSigned, VerifiedCsr, self_signed,
};
use rcgen::{
    CertificateParams, DnType, DnValue, IsCa, Issuer, KeyIdMethod, PublicKeyData, SigningKey,
};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use time::{Duration, OffsetDateTime};

const P256: KeyAlgorithm = KeyAlgorithm::Ecdsa(Curve::P256);
const RSA: KeyAlgorithm = KeyAlgorithm::Rsa(RsaSize::MIN);
const ROUNDS: usize = 9;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|one| one == "--constraints") {
        constraints(arguments[2].parse().unwrap());
        return;
    }
    if arguments.get(1).is_some_and(|one| one == "--encode") {
        let stage = Stage::new(P256);
        for _ in 0..arguments[2].parse().unwrap() {
            drop(black_box(stage.prepare(Serial::random().unwrap())));
        }
        return;
    }
    signing();
    preflight();
    requests();
    keystores();
    two_threads();
    let name = "constraint_check_10_names_3_cas_50_subtrees_instructions";
    match counted(
        &["--tool=callgrind", "--callgrind-out-file=/dev/null"],
        "Collected :",
        2_000,
    ) {
        Some(value) => println!("RATIO {name} {value:.0} <=20000"),
        None => println!("WATCH {name} - valgrind is not installed"),
    }
    let name = "constraint_check_allocations";
    match counted(&["--tool=memcheck"], "total heap usage:", 200) {
        Some(value) => println!("RATIO {name} {value:.0} <=0"),
        None => println!("WATCH {name} - valgrind is not installed"),
    }
}

/// One CA with five subtrees, and what it signs: two DNS names.
struct Stage {
    ca: CertificateAuthority,
    ca_der: Vec<u8>,
    key: KeyPair,
    csr: VerifiedCsr,
    profile: Profile,
}

impl Stage {
    fn new(algorithm: KeyAlgorithm) -> Self {
        let ca_key = KeyPair::generate(algorithm).unwrap();
        let ca_der = ca_key.to_der(KeyEncoding::Pkcs8).unwrap().to_vec();
        let csr = verified(&constrained("ca", 5), &ca_key);
        let bundle = self_signed(&csr, &ca_key, &ca_profile(), now()).unwrap();
        let chain = vec![bundle.certificate().unwrap()];
        let key = KeyPair::generate(P256).unwrap();
        let mut request = request("leaf");
        for name in ["www.zone1.example", "*.zone2.example"] {
            request.names.dns.push(name.parse().unwrap());
        }
        Self {
            ca: CertificateAuthority::new(chain, ca_key, now()).unwrap(),
            ca_der,
            csr: verified(&request, &key),
            key,
            profile: leaf_profile(Preflight::Off),
        }
    }

    fn sign(&self) -> SignedBundle {
        self.ca.sign(&self.csr, &self.profile, now()).unwrap()
    }

    /// What `sign` hands to the signature.
    fn prepare(&self, serial: Serial) -> ToBeSigned {
        self.ca
            .prepare(&self.csr, &self.profile, now(), serial)
            .unwrap()
    }

    /// The same certificate by rcgen.
    fn rcgen(&self) -> Rcgen<rcgen::KeyPair> {
        Rcgen::new(
            self,
            rcgen::KeyPair::try_from(self.ca_der.as_slice()).unwrap(),
        )
    }
}

struct Rcgen<K: SigningKey> {
    issuer: Issuer<'static, K>,
    params: CertificateParams,
    key: rcgen::SubjectPublicKeyInfo,
}

impl<K: SigningKey> Rcgen<K> {
    fn new(stage: &Stage, ca_key: K) -> Self {
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name = rcgen::DistinguishedName::new();
        // As our encoder writes it: webpki compares names byte for byte.
        let name = DnValue::PrintableString("ca".try_into().unwrap());
        issuer.distinguished_name.push(DnType::CommonName, name);
        let issuer_id = stage
            .ca
            .chain()
            .certificate()
            .subject_key_id()
            .unwrap()
            .to_vec();
        issuer.key_identifier_method = KeyIdMethod::PreSpecified(issuer_id);
        let names = ["www.zone1.example", "*.zone2.example"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.not_before = now();
        params.not_after = now() + Duration::days(90);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let key = rcgen::SubjectPublicKeyInfo::from_der(stage.key.public_key().spki_der());
        Self {
            issuer: Issuer::new(issuer, ca_key),
            params,
            key: key.unwrap(),
        }
    }

    fn sign(&mut self) -> CertificateDer<'static> {
        let mut serial = [0; 16];
        aws_lc_rs::rand::fill(&mut serial).unwrap();
        self.sign_with(serial)
    }

    fn sign_with(&mut self, mut serial: [u8; 16]) -> CertificateDer<'static> {
        serial[0] = (serial[0] & 0x3f) | 0x40;
        self.params.serial_number = Some(serial.to_vec().into());
        let signed = self.params.signed_by(&self.key, &self.issuer).unwrap();
        signed.der().clone()
    }
}

/// Random octets, drawn many at a time.
struct Pool {
    octets: Vec<[u8; 16]>,
}

impl Pool {
    fn new() -> Self {
        Self { octets: Vec::new() }
    }

    fn next(&mut self) -> [u8; 16] {
        if self.octets.is_empty() {
            let mut drawn = [0; 16 * 1024];
            aws_lc_rs::rand::fill(&mut drawn).unwrap();
            self.octets = drawn
                .chunks_exact(16)
                .map(|one| one.try_into().unwrap())
                .collect();
        }
        self.octets.pop().unwrap()
    }
}

/// Signs in no time.
struct NullKey(Vec<u8>);

impl PublicKeyData for NullKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for NullKey {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![0x30; 71])
    }
}

fn signing() {
    let random = SystemRandom::new();
    let stage = Stage::new(P256);
    let message = stage.prepare(Serial::random().unwrap()).bytes().to_vec();
    let key =
        EcdsaKeyPair::from_pkcs8(&raw::ECDSA_P256_SHA256_ASN1_SIGNING, &stage.ca_der).unwrap();
    let mut theirs = stage.rcgen();
    let mut null = Rcgen::new(&stage, NullKey(vec![4; 65]));
    let [ours, bare, rcgen] = best([
        (1_000, &mut || drop(black_box(stage.sign()))),
        (1_000, &mut || {
            black_box(key.sign(&random, &message).unwrap());
        }),
        (1_000, &mut || drop(black_box(theirs.sign()))),
    ]);
    println!(
        "RATIO p256_sign_rate_vs_raw_signature {:.2} >=0.93",
        bare / ours
    );
    println!("RATIO p256_rate_vs_rcgen {:.2} >=1.10", rcgen / ours);
    println!("WATCH p256_sign_microseconds {:.1} one thread", ours * 1e6);
    // The system's generator takes as long as our encoder; both sides get their serial numbers
    // from one large draw, so that it is the encoders that are compared.
    let (mut ours_pool, mut their_pool) = (Pool::new(), Pool::new());
    let [ours, rcgen] = best([
        (10_000, &mut || {
            // The signature and the outer SEQUENCE, as rcgen's null signer has them copied.
            let waiting = stage.prepare(Serial::from_random(ours_pool.next()));
            let mut der = Vec::with_capacity(waiting.bytes().len() + 96);
            der.extend_from_slice(waiting.bytes());
            der.extend_from_slice(&[0x30; 90]);
            drop(black_box(der));
        }),
        (10_000, &mut || {
            drop(black_box(null.sign_with(their_pool.next())));
        }),
    ]);
    println!(
        "RATIO encode_null_signer_rate_vs_rcgen {:.2} >=4.0",
        rcgen / ours
    );
    println!(
        "WATCH encode_microseconds {:.2} decision and encoding",
        ours * 1e6
    );

    let stage = Stage::new(KeyAlgorithm::Ed25519);
    let message = stage.prepare(Serial::random().unwrap()).bytes().to_vec();
    let key = Ed25519KeyPair::from_pkcs8(&stage.ca_der).unwrap();
    let [ours, bare] = best([
        (2_000, &mut || drop(black_box(stage.sign()))),
        (2_000, &mut || {
            black_box(key.sign(&message));
        }),
    ]);
    println!("RATIO ed25519_sign_rate_vs_raw {:.2} >=0.90", bare / ours);

    let stage = Stage::new(RSA);
    let message = stage.prepare(Serial::random().unwrap()).bytes().to_vec();
    let key = RsaKeyPair::from_pkcs8(&stage.ca_der).unwrap();
    let [ours, bare] = best([
        (60, &mut || drop(black_box(stage.sign()))),
        (60, &mut || {
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(&raw::RSA_PKCS1_SHA256, &random, &message, &mut signature)
                .unwrap();
            drop(black_box(signature));
        }),
    ]);
    println!("RATIO rsa2048_sign_rate_vs_raw {:.2} >=0.97", bare / ours);
}

fn preflight() {
    let mut stage = Stage::new(P256);
    stage.profile.preflight = Preflight::Full;
    let mut theirs = stage.rcgen();
    let root = stage.ca.chain().certificate().der().clone();
    let anchor = webpki::anchor_from_trusted_cert(&root).unwrap().to_owned();
    let [ours, rcgen] = best([
        (400, &mut || drop(black_box(stage.sign()))),
        (400, &mut || verify(&theirs.sign(), &anchor, &[])),
    ]);
    println!(
        "RATIO preflight_full_rate_vs_rcgen_plus_webpki_two_tier {:.2} >=0.95",
        rcgen / ours
    );

    let root_key = KeyPair::generate(P256).unwrap();
    let csr = verified(&request("root"), &root_key);
    let root = self_signed(&csr, &root_key, &ca_profile(), now()).unwrap();
    let root =
        CertificateAuthority::new(vec![root.certificate().unwrap()], root_key, now()).unwrap();
    let key = KeyPair::from_der(&stage.ca_der).unwrap();
    let below = root
        .sign(&verified(&constrained("ca", 5), &key), &ca_profile(), now())
        .unwrap();
    let chain = vec![
        below.certificate().unwrap(),
        root.chain().certificate().clone(),
    ];
    stage.ca = CertificateAuthority::new(chain, key, now()).unwrap();
    let mut theirs = stage.rcgen();
    let anchor = webpki::anchor_from_trusted_cert(root.chain().certificate().der())
        .unwrap()
        .to_owned();
    let intermediate = [below.leaf().clone()];
    let [ours, rcgen] = best([
        (400, &mut || drop(black_box(stage.sign()))),
        (400, &mut || verify(&theirs.sign(), &anchor, &intermediate)),
    ]);
    println!(
        "RATIO preflight_full_rate_three_tier {:.2} >=1.3",
        rcgen / ours
    );
}

fn verify(leaf: &CertificateDer<'_>, anchor: &TrustAnchor<'_>, above: &[CertificateDer<'_>]) {
    let seconds = now().unix_timestamp().unsigned_abs();
    webpki::EndEntityCert::try_from(leaf)
        .unwrap()
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            std::slice::from_ref(anchor),
            above,
            UnixTime::since_unix_epoch(StdDuration::from_secs(seconds)),
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .unwrap();
}

fn requests() {
    use x509_parser::prelude::{FromDer, X509CertificationRequest};
    let stage = Stage::new(P256);
    let der = stage.csr.der();
    let policy = CsrPolicy::default();
    let [ours, theirs] = best([
        (500, &mut || {
            drop(black_box(VerifiedCsr::from_der(der, &policy).unwrap()));
        }),
        (500, &mut || {
            let (rest, csr) = X509CertificationRequest::from_der(der).unwrap();
            assert!(rest.is_empty());
            let info = &csr.certification_request_info;
            raw::UnparsedPublicKey::new(
                &raw::ECDSA_P256_SHA256_ASN1,
                &info.subject_pki.subject_public_key.data,
            )
            .verify(info.raw, &csr.signature_value.data)
            .unwrap();
            drop(black_box(csr));
        }),
    ]);
    println!(
        "RATIO csr_read_verify_rate_vs_x509_parser_plus_aws_lc {:.2} >=1.0",
        theirs / ours
    );
}

fn keystores() {
    let stage = Stage::new(RSA);
    let chain = [
        stage.sign().certificate().unwrap(),
        stage.ca.chain().certificate().clone(),
    ];
    let entry = KeyEntry {
        alias: None,
        key: &stage.key,
        chain: &chain[..1],
        authorities: &chain[1..],
    };
    let (password, contents) = ("changeit", Contents::Key(entry));
    let store = Pkcs12 {
        profile: Pkcs12Profile::Modern2023,
        password,
        contents,
    };
    let rounds = NonZeroU32::new(2048).unwrap();
    let [ours, derivations] = best([
        (10, &mut || drop(black_box(store.write().unwrap()))),
        (10, &mut || {
            // A key for the certificates and one for the key.
            for _ in 0..2 {
                let (mut key, algorithm) = ([0; 32], pbkdf2::PBKDF2_HMAC_SHA256);
                pbkdf2::derive(algorithm, rounds, &[7; 16], password.as_bytes(), &mut key);
                black_box(key);
            }
            // One for the MAC, in PKCS#12's own way: over three blocks, then over each result.
            let mut hash = digest::digest(&digest::SHA256, &[3; 3 * 64]);
            for _ in 1..rounds.get() {
                hash = digest::digest(&digest::SHA256, hash.as_ref());
            }
            black_box(hash);
        }),
    ]);
    println!(
        "RATIO pkcs12_modern2023_vs_its_key_derivations {:.2} <=1.1",
        ours / derivations
    );
    let store = Jks { password, contents };
    let bytes = store.write(now()).unwrap();
    let [ours, sha1] = best([
        (1_000, &mut || drop(black_box(store.write(now()).unwrap()))),
        (1_000, &mut || {
            black_box(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &bytes));
        }),
    ]);
    println!(
        "WATCH jks_vs_sha1_of_same_bytes {:.1} with the export and the masking of the key",
        ours / sha1
    );
}

fn two_threads() {
    let stage = Stage::new(P256);
    let message = stage.prepare(Serial::random().unwrap()).bytes().to_vec();
    let key =
        EcdsaKeyPair::from_pkcs8(&raw::ECDSA_P256_SHA256_ASN1_SIGNING, &stage.ca_der).unwrap();
    let both = |work: &(dyn Fn() + Sync)| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..2_000).for_each(|_| work()));
            }
        });
        start.elapsed()
    };
    let mut fastest = [StdDuration::MAX; 2];
    for _ in 0..ROUNDS {
        let times = [
            both(&|| drop(black_box(stage.sign()))),
            both(&|| {
                let signature = key.sign(&SystemRandom::new(), &message).unwrap();
                black_box(signature.as_ref().len());
            }),
        ];
        fastest = [fastest[0].min(times[0]), fastest[1].min(times[1])];
    }
    println!(
        "RATIO bulk_two_threads_vs_two_threads_of_bare_signatures {:.2} >=0.95",
        fastest[1].as_secs_f64() / fastest[0].as_secs_f64()
    );
}

/// Checks ten names against three CAs of fifty subtrees, so many times.
fn constraints(repetitions: u64) {
    let mut chain: Vec<Certificate> = Vec::new();
    for ca in ["one", "two", "three"] {
        let key = KeyPair::generate(KeyAlgorithm::Ed25519).unwrap();
        let csr = verified(&constrained(ca, 50), &key);
        let bundle = self_signed(&csr, &key, &ca_profile(), now()).unwrap();
        chain.push(bundle.certificate().unwrap());
    }
    let constraints = ChainConstraints::of(&chain).unwrap();
    let key = KeyPair::generate(KeyAlgorithm::Ed25519).unwrap();
    let mut request = request("leaf");
    for number in 0..10 {
        let name = format!("host{number}.zone{number}.example");
        request.names.dns.push(name.parse().unwrap());
    }
    let csr = verified(&request, &key);
    for _ in 0..repetitions {
        let verdict = constraints.check(csr.subject_der(), csr.names(), ConstraintLevel::Interop);
        assert!(black_box(verdict).is_ok());
    }
}

/// A request of a CA with so many permitted and excluded subtrees.
fn constrained(name: &str, count: usize) -> Request {
    let mut permitted = Subtrees::default();
    let mut excluded = Subtrees::default();
    for number in 0..count {
        // Of five subtrees three permit and two exclude; of fifty, thirty and twenty.
        if number % 5 < 3 {
            permitted
                .dns
                .push(format!("zone{number}.example").parse().unwrap());
        } else {
            excluded
                .dns
                .push(format!("secret.zone{number}.example").parse().unwrap());
        }
    }
    // Whatever the names below, one of the permitted subtrees holds them.
    permitted.dns[0] = "example".parse().unwrap();
    let mut request = request(name);
    request.constraints = NameConstraints::new(true, permitted, excluded);
    request
}

fn request(name: &str) -> Request {
    let mut request = Request::default();
    let attribute = Attribute::new("2.5.4.3".parse().unwrap(), name);
    request.subject = Subject::new(vec![Rdn::new(vec![attribute]).unwrap()]);
    request
}

fn verified(request: &Request, key: &KeyPair) -> VerifiedCsr {
    request
        .sign(key)
        .unwrap()
        .verify(&CsrPolicy::default())
        .unwrap()
}

fn ca_profile() -> Profile {
    let usages = ["cert sign", "crl sign"]
        .iter()
        .map(|name| name.parse().unwrap());
    Profile::ca(usages.collect(), Duration::days(3650), None)
}

fn leaf_profile(preflight: Preflight) -> Profile {
    let usages = ["digital signature", "server auth"]
        .iter()
        .map(|name| name.parse().unwrap());
    let mut profile = Profile::leaf(usages.collect(), Duration::days(90));
    profile.preflight = preflight;
    profile
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap()
}

/// Seconds per repetition of each side, best of the rounds.
fn best<const N: usize>(mut sides: [(u32, &mut dyn FnMut()); N]) -> [f64; N] {
    let mut best = [f64::MAX; N];
    for _ in 0..ROUNDS {
        for (best, (count, work)) in best.iter_mut().zip(&mut sides) {
            let start = clock();
            (0..*count).for_each(|_| work());
            let spent = (clock() - start).as_secs_f64() / f64::from(*count);
            *best = best.min(spent);
        }
    }
    best
}

/// What valgrind counts for one repetition of `--constraints`.
fn counted(tool: &[&str], label: &str, repetitions: u64) -> Option<f64> {
    let count = |repetitions: u64| -> Option<f64> {
        let output = Command::new("valgrind")
            .args(tool)
            .arg(std::env::current_exe().ok()?)
            .args(["--constraints", &repetitions.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let figure = text.split(label).nth(1)?.split_whitespace().next()?;
        figure.replace(',', "").parse().ok()
    };
    let (once, twice) = (count(repetitions)?, count(repetitions * 2)?);
    Some((twice - once) / repetitions as f64)
}

#[cfg(unix)]
fn clock() -> StdDuration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    StdDuration::try_from(now).unwrap()
}

#[cfg(not(unix))]
fn clock() -> StdDuration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed()
}
