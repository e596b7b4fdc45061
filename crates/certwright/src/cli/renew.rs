//! `renew`: asks for a new certificate.

use std::time::{Duration, Instant};

use certwright::SecretDir;
use clap::Args;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::output::Output;
use super::place::{Manifests, Place, Scope, World, runtime};
use super::run::duration;
use super::run::requests::{Request, Requests};
use super::{Answer, Exit, one_line};

/// Asks whoever runs for a new certificate, whatever the old one is, like cmctl renew.
///
/// The request is kept beside the Secrets until it is done: a process that is not running now does it when it starts.
#[derive(Args, Debug)]
pub(crate) struct Renew {
    /// NAME, or NAMESPACE/NAME, of a Certificate.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
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

impl Renew {
    pub(crate) fn run(self, output: &mut Output) -> Answer {
        let world = World::read(
            &self.manifests,
            &self.place,
            OffsetDateTime::now_utc(),
            output,
        )?;
        let requests = match self.place.etcd.wanted() {
            true => Requests::Shared {
                storage: self.place.etcd.storage()?,
                prefix: self.place.etcd.etcd_prefix.clone(),
            },
            false => Requests::Dir(SecretDir::new(&self.place.secrets)),
        };
        let mut asked = Vec::new();
        for name in &self.names {
            let certificate = world.certificate(name, self.scope.namespace.as_deref())?;
            let Some(target) = world.manager.inventory().target(&certificate) else {
                continue;
            };
            asked.push(Request {
                certificate,
                secret: target.name,
                at: OffsetDateTime::now_utc(),
            });
        }
        let runtime = runtime()?;
        for request in &asked {
            runtime
                .block_on(requests.make(request))
                .map_err(|error| -> Box<dyn std::error::Error> { error })?;
            if output.json {
                output.object(&json!({
                    "kind": "RenewalRequest",
                    "namespace": request.certificate.namespace,
                    "name": request.certificate.name,
                    "at": request.at.format(&Rfc3339).ok(),
                }))?;
            } else {
                output.line(&format!(
                    "Certificate {} is to be renewed.",
                    one_line(&request.certificate.to_string())
                ))?;
            }
        }
        let Some(patience) = self.wait else {
            return Ok(Exit::Done);
        };
        output.flush()?;
        let began = Instant::now();
        for request in &asked {
            let is_done = || runtime.block_on(requests.is_done(request));
            while !is_done().map_err(|error| -> Box<dyn std::error::Error> { error })? {
                if began.elapsed() > patience {
                    let name = &request.certificate;
                    let what = "was not renewed in time; the request stays, and run does it";
                    return Err(format!("Certificate {name} {what}").into());
                }
                std::thread::sleep(Duration::from_millis(200));
            }
            if !output.json {
                let name = one_line(&request.certificate.to_string());
                output.line(&format!("Certificate {name} is renewed."))?;
            }
        }
        Ok(Exit::Done)
    }
}
