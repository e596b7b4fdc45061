//! Which host is served by whom, and over which transport.

use std::collections::HashMap;
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use certwright_cert_model::name::TrustDomain;
use certwright_transport::bundle::Bundle;
use certwright_transport::upstream::Verified;
use certwright_transport::{Connector, Material, Roots, Rotating, Upstream, UpstreamClient};
use hyper::Uri;
use hyper::body::Incoming;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::time_provider::DefaultTimeProvider;

use crate::material;

#[derive(Default)]
pub(crate) struct Routes(HashMap<String, Route>);

#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) origin: Uri,
    pub(crate) client: UpstreamClient<Incoming>,
    rotating: Arc<Rotating>,
    /// What the material was made of.
    stamp: u64,
}

impl Routes {
    pub(crate) fn get(&self, host: &str) -> Option<&Route> {
        self.0.get(host)
    }

    /// Reads everything again. A route whose transport is the same keeps its client, which forgets what new
    /// material made invalid; another transport is another client.
    pub(crate) fn reload(&self, directory: &Path) -> Result<Self, Box<dyn Error>> {
        let mut routes = HashMap::new();
        for line in std::fs::read_to_string(directory.join("routes"))?.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let [host, transport, origin] = words.as_slice() else {
                return Err(format!("{line:?} is not HOST TRANSPORT https://UPSTREAM").into());
            };
            let path = directory
                .join("transports")
                .join(format!("{transport}.yaml"));
            let Upstream::Verified(upstream) = material::load(&path)? else {
                return Err(
                    format!("{}: insecureSkipVerify verifies nobody", path.display()).into(),
                );
            };
            let stamp = stamp(directory)?;
            let kept = self.0.get(*host);
            let kept = kept.filter(|route| *route.rotating.upstream() == upstream);
            let route = match kept {
                Some(route) if route.stamp == stamp => route.clone(),
                Some(route) => {
                    let number = route.rotating.update(&load(directory, &upstream)?)?;
                    println!("{host}: generation {number}");
                    Route {
                        stamp,
                        ..route.clone()
                    }
                }
                None => Route::new(directory, upstream, stamp)?,
            };
            let origin = origin.parse()?;
            routes.insert((*host).to_owned(), Route { origin, ..route });
        }
        Ok(Self(routes))
    }
}

impl Route {
    fn new(directory: &Path, upstream: Verified, stamp: u64) -> Result<Self, Box<dyn Error>> {
        let material = load(directory, &upstream)?;
        println!("accepts {}", upstream.policy());
        let rotating = Arc::new(Rotating::new(
            upstream,
            Arc::new(default_provider()),
            Arc::new(DefaultTimeProvider),
            &material,
        )?);
        Ok(Self {
            origin: Uri::default(),
            client: UpstreamClient::new(Connector::new(Arc::clone(&rotating))),
            rotating,
            stamp,
        })
    }
}

fn load(directory: &Path, upstream: &Verified) -> Result<Material, Box<dyn Error>> {
    let mut material = material::material(directory, upstream.sources());
    let Ok(bundles) = std::fs::read_dir(directory.join("bundles")) else {
        return Ok(material);
    };
    for entry in bundles {
        let entry = entry?;
        let domain: TrustDomain = entry.file_name().to_string_lossy().parse()?;
        let text = std::fs::read_to_string(entry.path())?;
        let bundle = match text.trim_start().starts_with('{') {
            true => Bundle::from_json(&text)?,
            false => Roots::from_pem(text.as_bytes())?.into(),
        };
        material.bundles.insert(&domain, bundle);
    }
    Ok(material)
}

/// Whether anything but the routes themselves changed: the contents of all files below `directory`.
fn stamp(directory: &Path) -> Result<u64, Box<dyn Error>> {
    let mut hasher = DefaultHasher::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        if path.ends_with("front") || path.ends_with("transports") || path.ends_with("routes") {
            continue;
        }
        if path.is_dir() {
            let mut entries = std::fs::read_dir(&path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()?;
            entries.sort();
            left.extend(entries);
        } else {
            path.hash(&mut hasher);
            std::fs::read(&path)?.hash(&mut hasher);
        }
    }
    Ok(hasher.finish())
}
