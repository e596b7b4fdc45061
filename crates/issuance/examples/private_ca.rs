//! A private CA in a directory: a root for example.com, an intermediate, two leaves. Nothing that is there is replaced.
//!
//! `cargo run -p certwright-issuance --example private_ca -- [DIRECTORY]`

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use certwright_cert_model::TlsSecret;
use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding};
use certwright_cert_model::name_constraints::{NameConstraints, Subtrees};
use certwright_cert_model::secret::{CA_CRT, TLS_CRT, TLS_KEY};
use certwright_cert_model::subject::{Attribute, Rdn, Subject};
use certwright_cert_model::usage::Usages;
use certwright_issuance::csr::Request;
use certwright_issuance::{
    CertificateAuthority, CsrPolicy, KeyPair, Profile, SignedBundle, VerifiedCsr, self_signed,
};
use time::{Duration, OffsetDateTime};

fn main() -> Result<(), Box<dyn Error>> {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = given.unwrap_or_else(|| PathBuf::from("private-ca"));
    let now = OffsetDateTime::now_utc();

    let mut permitted = Subtrees::default();
    permitted.dns.push("example.com".parse()?);
    let mut request = request("Private Root")?;
    request.constraints = NameConstraints::new(true, permitted, Subtrees::default());
    let (csr, key) = ask(&request)?;
    let bundle = self_signed(&csr, &key, &ca(3650, 1)?, now)?;
    let root = store(&folder.join("root"), bundle, key, now)?;

    let (csr, key) = ask(&self::request("Private Issuing CA")?)?;
    let bundle = root.sign(&csr, &ca(365, 0)?, now)?;
    let issuing = store(&folder.join("issuing"), bundle, key, now)?;

    for name in ["www.example.com", "*.apps.example.com", "www.example.org"] {
        let mut request = Request::default();
        request.names.dns.push(name.parse()?);
        let (csr, key) = ask(&request)?;
        match issuing.sign(&csr, &leaf()?, now) {
            Ok(bundle) => write(&folder.join(name.replace('*', "_")), bundle, &key)?,
            Err(refusal) => println!("{name}: {refusal}"),
        }
    }
    println!(
        "check: openssl verify -x509_strict -CAfile {0}/root/tls.crt -untrusted {0}/issuing/tls.crt {0}/www.example.com/tls.crt",
        folder.display()
    );
    Ok(())
}

fn request(name: &str) -> Result<Request, Box<dyn Error>> {
    let mut request = Request::default();
    let attribute = Attribute::new("2.5.4.3".parse()?, name);
    request.subject = Subject::new(Rdn::new(vec![attribute]).into_iter().collect());
    Ok(request)
}

fn ask(request: &Request) -> Result<(VerifiedCsr, KeyPair), Box<dyn Error>> {
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256))?;
    let csr = request.sign(&key)?.verify(&CsrPolicy::default())?;
    Ok((csr, key))
}

fn usages(names: &[&str]) -> Result<Usages, Box<dyn Error>> {
    let usages = names.iter().map(|name| name.parse());
    Ok(usages.collect::<Result<_, _>>()?)
}

fn ca(days: i64, below: u8) -> Result<Profile, Box<dyn Error>> {
    let usages = usages(&["cert sign", "crl sign"])?;
    Ok(Profile::ca(usages, Duration::days(days), Some(below)))
}

fn leaf() -> Result<Profile, Box<dyn Error>> {
    let usages = usages(&["digital signature", "server auth"])?;
    Ok(Profile::leaf(usages, Duration::days(90)))
}

/// Writes a CA to disk and loads it from there, as the next run would.
fn store(
    folder: &Path,
    bundle: SignedBundle,
    key: KeyPair,
    now: OffsetDateTime,
) -> Result<CertificateAuthority, Box<dyn Error>> {
    write(folder, bundle, &key)?;
    drop(key);
    let mut chain = fs::read(folder.join(TLS_CRT))?;
    chain.extend(fs::read(folder.join(CA_CRT))?);
    let key = fs::read(folder.join(TLS_KEY))?;
    Ok(CertificateAuthority::from_pem(&chain, &key, now)?)
}

fn write(folder: &Path, bundle: SignedBundle, key: &KeyPair) -> Result<(), Box<dyn Error>> {
    let warnings: Vec<String> = bundle.warnings().iter().map(ToString::to_string).collect();
    let secret = TlsSecret::new("default", folder.to_string_lossy());
    let secret = bundle.into_secret(secret, key, KeyEncoding::Pkcs8, &[])?;
    fs::create_dir_all(folder)?;
    for (name, bytes) in secret.data() {
        let path = folder.join(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if name == TLS_KEY {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let file = options.open(&path);
        let mut file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        file.write_all(bytes)?;
    }
    println!("{}: written {}", folder.display(), warnings.join("; "));
    Ok(())
}
