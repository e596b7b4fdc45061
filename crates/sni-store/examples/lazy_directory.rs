//! A hundred thousand names in a directory, of which memory holds those that clients ask for:
//! `cargo run --release -p certwright-sni-store --example lazy_directory -- [NAMES]`.
//!
//! Makes the directory first, a file `NAME.pem` for each name, with certificate and key in it.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use certwright_sni_store::{
    CertStore, Entry, EntryId, Lazy, LazyError, LazyOptions, LazySource, PairLoader, PemPair,
    Query, SelectionPolicy,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

/// The names of the directory's files, and what it takes to load one.
struct Directory {
    root: PathBuf,
    ids: HashMap<String, EntryId>,
    loader: PairLoader,
}

impl Directory {
    fn list(root: &Path, loader: PairLoader) -> io::Result<Self> {
        let mut ids = HashMap::new();
        for file in fs::read_dir(root)? {
            let file = file?.file_name().into_string().unwrap_or_default();
            if let Some(name) = file.strip_suffix(".pem") {
                ids.insert(name.to_owned(), name.into());
            }
        }
        Ok(Self {
            root: root.to_owned(),
            ids,
            loader,
        })
    }
}

impl LazySource<CertifiedKey> for Directory {
    fn identify(&self, name: &str) -> Option<EntryId> {
        let wildcard = || {
            let (_, zone) = name.split_once('.')?;
            self.ids.get(&format!("*.{zone}"))
        };
        self.ids.get(name).or_else(wildcard).cloned()
    }

    fn load(&self, id: &EntryId) -> Result<Vec<Entry<CertifiedKey>>, Box<dyn Error + Send + Sync>> {
        let text = match fs::read(self.root.join(format!("{id}.pem"))) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let both = PemPair {
            chain: &text,
            key: &text,
        };
        Ok(vec![self.loader.load(id.clone(), both)?])
    }

    fn size(&self, payload: &CertifiedKey) -> usize {
        payload
            .cert
            .iter()
            .map(|certificate| certificate.len())
            .sum::<usize>()
            + LOADED_KEY
    }

    fn failed(&self, id: &EntryId, error: &LazyError) {
        println!("{id}: {error}");
    }
}

/// About what aws-lc-rs keeps of an elliptic curve key.
const LOADED_KEY: usize = 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let names: usize = match std::env::args().nth(1) {
        Some(number) => number.parse()?,
        None => 100_000,
    };
    let root = tempfile::tempdir()?;
    let start = Instant::now();
    for n in 0..names {
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new([name(n)])?.self_signed(&key)?;
        let file = root.path().join(format!("{}.pem", name(n)));
        fs::write(file, leaf.pem() + &key.serialize_pem())?;
    }
    println!("{names} certificates made in {:.1?}", start.elapsed());

    let start = Instant::now();
    let loader = PairLoader::new(Arc::new(aws_lc_rs::default_provider()));
    let directory = Directory::list(root.path(), loader)?;
    let mut settings = LazyOptions::default();
    settings.max_entries = 5_000;
    let store = CertStore::new(SelectionPolicy::Best);
    let lazy = Lazy::new(store, directory, &settings);
    println!("ready to serve them after {:.1?}", start.elapsed());

    // Clients ask for a few names often, and for all names now and then.
    let popular = names.clamp(1, 100);
    for round in ["first", "second"] {
        let start = Instant::now();
        for n in 0..popular {
            ask(&lazy, &name(n)).await?;
        }
        let each = start.elapsed() / u32::try_from(popular)?;
        println!("{round} use of a popular name: {each:.1?}");
    }
    let start = Instant::now();
    for n in 0..names {
        ask(&lazy, &name(n)).await?;
        ask(&lazy, &name(n % popular)).await?;
    }
    println!("each name asked for in {:.1?}", start.elapsed());
    let (kept, bytes) = lazy.kept();
    println!("{kept} of {names} kept, counted as {} KiB", bytes / 1024);
    println!("{:?}", lazy.counts());
    Ok(())
}

async fn ask(lazy: &Lazy<CertifiedKey>, name: &str) -> Result<(), Box<dyn Error>> {
    let query = Query::new(name, OffsetDateTime::now_utc());
    let found = lazy.ready(&query).await;
    found
        .map(drop)
        .ok_or_else(|| format!("{name} is not there").into())
}

fn name(n: usize) -> String {
    format!("shop{n:06}.example.com")
}
