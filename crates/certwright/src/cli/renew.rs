//! `renew`: asks for a new certificate.

use std::error::Error;
use std::time::{Duration, Instant};

use certwright::{ResourceName, SecretDir};
use certwright_cert_model::TlsSecret;
use certwright_cert_model::issuer::IssuerSpec;
use certwright_cert_model::secret::TLS_CRT;
use clap::Args;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::runtime::Runtime;

use super::output::Output;
use super::place::{Manifests, Place, Scope, World, runtime};
use super::run::duration;
use super::run::requests::{Request, Requests, anchors, key_of};
use super::{Answer, Exit, one_line};

/// Asks whoever runs for a new certificate, whatever the old one is, like cmctl renew.
///
/// The request is kept beside the Secrets until it is done: a process that is not running now does it when it starts.
#[derive(Args, Debug)]
pub(crate) struct Renew {
    /// NAME, or NAMESPACE/NAME, of a Certificate.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// With a new key, even under rotationPolicy: Never. For keys that others may know.
    #[arg(long)]
    new_key: bool,
    /// Ends the trust in the earlier certificates of a CA as soon as it has the new one: for CAs whose key others may
    /// know. What they signed is refused until it is issued again, which begins at once.
    #[arg(long, requires = "new_key")]
    drop_old_anchors: bool,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    manifests: Manifests,
    #[command(flatten)]
    place: Place,
    /// Waits until it is done, at most so long: ends with 1 if it is not done by then.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
}

/// A request, and the certificate there was when it was made.
struct Asked {
    request: Request,
    target: ResourceName,
    before: Option<CertificateDer<'static>>,
}

impl Renew {
    pub(crate) fn run(self, output: &mut Output) -> Answer {
        let now = OffsetDateTime::now_utc();
        // A request is made although something is wrong elsewhere.
        let world = World::read_telling(&self.manifests, &self.place, now, output, Output::warn)?;
        let requests = match self.place.etcd.wanted() {
            true => Requests::Shared {
                storage: self.place.etcd.storage()?,
                prefix: self.place.etcd.etcd_prefix.clone(),
            },
            false => Requests::Dir(SecretDir::new(&self.place.secrets)),
        };
        let runtime = runtime()?;
        let mut asked = Vec::new();
        for name in &self.names {
            let certificate = world.certificate(name, self.scope.namespace.as_deref())?;
            if self.drop_old_anchors {
                has_anchors(&world, &certificate)?;
            }
            asked.extend(self.request(certificate, &world, &requests, &runtime)?);
        }
        for Asked { request, .. } in &mut asked {
            *request = runtime.block_on(requests.make(request)).map_err(plain)?;
            if output.json {
                output.object(&json!({
                    "kind": "RenewalRequest",
                    "namespace": request.certificate.namespace,
                    "name": request.certificate.name,
                    "at": request.at.format(&Rfc3339).ok(),
                    "newKey": request.old_key.is_some(),
                    "dropOldAnchors": request.drop_old_anchors,
                }))?;
            } else {
                let name = one_line(&request.certificate.to_string());
                let key = request.old_key.as_ref().map(|_| " with a new key");
                let anchors = request
                    .drop_old_anchors
                    .then_some(", and its old anchors are to be dropped");
                let (key, anchors) = (key.unwrap_or_default(), anchors.unwrap_or_default());
                output.line(&format!(
                    "Certificate {name} is to be renewed{key}{anchors}."
                ))?;
            }
        }
        let Some(patience) = self.wait else {
            return Ok(Exit::Done);
        };
        output.flush()?;
        let began = Instant::now();
        for one in &asked {
            let name = &one.request.certificate;
            // Whoever issues alone knows what it began when, and takes away what is done.
            while runtime
                .block_on(requests.find(name))
                .map_err(plain)?
                .is_some()
            {
                if began.elapsed() > patience {
                    let what = "was not renewed in time; the request stays, and run does it";
                    return Err(format!("Certificate {name} {what}").into());
                }
                std::thread::sleep(Duration::from_millis(200));
            }
            let stored = runtime.block_on(requests.secret(&one.target));
            if !one.is_done(stored.map_err(plain)?.as_ref()) {
                let what = "was not renewed: somebody gave up the request";
                return Err(format!("Certificate {name} {what}").into());
            }
            if !output.json {
                let name = one_line(&name.to_string());
                let anchors = one
                    .request
                    .drop_old_anchors
                    .then_some(", and no bundle holds its old anchors");
                let anchors = anchors.unwrap_or_default();
                output.line(&format!("Certificate {name} is renewed{anchors}."))?;
            }
        }
        Ok(Exit::Done)
    }

    /// What is asked for a Certificate.
    fn request(
        &self,
        certificate: ResourceName,
        world: &World,
        requests: &Requests,
        runtime: &Runtime,
    ) -> Result<Option<Asked>, Box<dyn Error>> {
        let Some(target) = world.manager.inventory().target(&certificate) else {
            return Ok(None);
        };
        let mut request = Request::new(certificate, target.name.clone(), OffsetDateTime::now_utc());
        let stored = runtime.block_on(requests.secret(&target));
        let stored = match self.new_key {
            // Whether another key is new is known by the old one.
            true => stored.map_err(plain)?,
            false => stored.unwrap_or_default(),
        };
        if self.new_key {
            let key = stored.as_ref().and_then(key_of);
            request.old_key = Some(key.unwrap_or_default());
            request.drop_old_anchors = self.drop_old_anchors;
        }
        Ok(Some(Asked {
            request,
            target,
            before: stored.as_ref().and_then(leaf),
        }))
    }
}

impl Asked {
    /// Whether a Secret holds what was asked for, if nobody asks for it any more.
    fn is_done(&self, stored: Option<&TlsSecret>) -> bool {
        let request = &self.request;
        stored.is_some_and(|stored| {
            let leaf = leaf(stored);
            leaf.is_some()
                && leaf != self.before
                && request.has_new_key(stored)
                && (!request.drop_old_anchors || anchors(stored) <= 1)
        })
    }
}

/// That a Certificate is one whose old certificates others trust.
fn has_anchors(world: &World, name: &ResourceName) -> Result<(), Box<dyn Error>> {
    let inventory = world.manager.inventory();
    let Some(spec) = inventory.certificate(name) else {
        return Ok(());
    };
    if !spec.is_ca() {
        let what =
            "is no CA (spec.isCA): nothing trusts it as an anchor; leave out --drop-old-anchors";
        return Err(format!("Certificate {name} {what}").into());
    }
    let reference = spec.issuer_ref();
    let signs_itself = inventory.issuers().any(|(namespace, found, issuer)| {
        let near = namespace.is_none_or(|namespace| namespace == name.namespace);
        near && found == *reference && matches!(issuer, IssuerSpec::SelfSigned(_))
    });
    if signs_itself {
        return Ok(());
    }
    let (kind, issuer) = (reference.kind(), &reference.name);
    Err(format!(
        "Certificate {name} is signed by {kind} {issuer}, and it is a CA above it that is trusted: a new key of this one ends \
         no trust; revoke its old certificate, and leave out --drop-old-anchors"
    )
    .into())
}

/// The certificate of a Secret.
fn leaf(secret: &TlsSecret) -> Option<CertificateDer<'static>> {
    let mut chain = CertificateDer::pem_slice_iter(secret.get(TLS_CRT)?);
    chain.next()?.ok()
}

fn plain(error: Box<dyn Error + Send + Sync>) -> Box<dyn Error> {
    error
}
