//! Signs 100,000 certificates (or as many as the argument says) on every core, and tells the rate.
//!
//! `cargo run --release -p certwright-issuance --example bulk -- [COUNT]`

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_cert_model::subject::{Attribute, Rdn, Subject};
use certwright_issuance::csr::Request;
use certwright_issuance::profile::Preflight;
use certwright_issuance::{
    CertificateAuthority, CsrPolicy, KeyPair, Profile, SignError, self_signed,
};
use indicatif::{ProgressBar, ProgressStyle};
use time::{Duration, OffsetDateTime};

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1);
    let count: u64 = count.map_or(Ok(100_000), |count| count.parse())?;
    let now = OffsetDateTime::now_utc();
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256))?;
    let mut request = Request::default();
    let name = Attribute::new("2.5.4.3".parse()?, "Bulk CA");
    request.subject = Subject::new(Rdn::new(vec![name]).into_iter().collect());
    let csr = request.sign(&key)?.verify(&CsrPolicy::default())?;
    let usages = std::iter::once("cert sign".parse()?).collect();
    let root = self_signed(
        &csr,
        &key,
        &Profile::ca(usages, Duration::days(365), None),
        now,
    )?;
    let ca = CertificateAuthority::new(vec![root.certificate()?], key, now)?;

    // One key and one request stand for all: what is measured is signing.
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256))?;
    let mut request = Request::default();
    request.names.dns.push("device.example.com".parse()?);
    let csr = request.sign(&key)?.verify(&CsrPolicy::default())?;
    let usages = std::iter::once("digital signature".parse()?).collect();
    let mut profile = Profile::leaf(usages, Duration::days(90));
    profile.preflight = Preflight::Off;

    let bar = ProgressBar::new(count);
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {human_pos}/{human_len} certificates, {per_sec}, {eta} left",
    )?);
    let threads = std::thread::available_parallelism()?.get();
    let next = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let work = || -> Result<(), SignError> {
            const BATCH: u64 = 500;
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if first >= count {
                    return Ok(());
                }
                let batch = BATCH.min(count - first);
                for _ in 0..batch {
                    ca.sign(&csr, &profile, now)?;
                }
                bar.inc(batch);
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = count as f64 / seconds;
    println!("{count} certificates in {seconds:.2} s on {threads} threads: {rate:.0} per second");
    Ok(())
}
