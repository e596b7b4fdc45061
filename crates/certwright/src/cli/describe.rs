//! `describe`: everything about one certificate, issuer or Secret, but its keys.

use std::fs;
use std::path::PathBuf;

use certwright::ResourceName;
use certwright::view::{IssuerType, IssuerView, SecretView};
use certwright_cert_model::issuer_ref::IssuerKind;
use certwright_cert_model::status::ConditionStatus;
use certwright_renewal::Timeline;
use clap::{Args, Subcommand};

use super::get;
use super::output::Output;
use super::place::{Clock, Manifests, Place, Scope, World, one};
use super::{Answer, one_line};

/// Describes one certificate, issuer or Secret, like kubectl describe.
#[derive(Debug, Subcommand)]
pub(crate) enum Describe {
    /// Describes a Certificate: names, issuer, dates, conditions, and with --timeline its life as a picture.
    #[command(visible_alias = "cert")]
    Certificate {
        #[command(flatten)]
        what: What,
        /// Draws its life.
        #[arg(long)]
        timeline: bool,
        /// Writes the picture of its life to a file.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Describes an Issuer or ClusterIssuer.
    Issuer(What),
    /// Describes a Secret: the names and sizes of its keys, never a value.
    Secret(What),
}

/// What is described.
#[derive(Args, Debug)]
pub(crate) struct What {
    /// NAME, or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    clock: Clock,
    #[command(flatten)]
    manifests: Manifests,
    #[command(flatten)]
    place: Place,
}

impl Describe {
    pub(crate) fn run(self, output: &mut Output) -> Answer {
        let (Self::Certificate { what, .. } | Self::Issuer(what) | Self::Secret(what)) = &self;
        let mut world = World::read(&what.manifests, &what.place, what.clock.now(), output)?;
        match self {
            Self::Certificate {
                what,
                timeline,
                svg,
            } => {
                let name = world.certificate(&what.name, what.scope.namespace.as_deref())?;
                let of = |view: &certwright::view::CertificateView| {
                    view.namespace == name.namespace && view.name == name.name
                };
                let view = get::certificates(&mut world).into_iter().find(of);
                let Some(view) = view else {
                    return Err(format!("there is no Certificate {name}").into());
                };
                match output.json {
                    true => output.document(&view.to_document())?,
                    false => output.text(&view.describe(world.now))?,
                }
                let picture = world.manager.schedule(&name, world.now);
                let picture = picture.map(|schedule| Timeline::new(schedule).now(world.now));
                let none = || format!("Certificate {name} has no renewal to draw");
                if timeline && !output.json {
                    let picture = picture.as_ref().ok_or_else(none)?;
                    output.line("Timeline:")?;
                    output.text(&picture.text(72))?;
                }
                if let Some(file) = svg {
                    let picture = picture.as_ref().ok_or_else(none)?;
                    fs::write(&file, picture.svg())
                        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
                }
            }
            Self::Issuer(what) => {
                let views = world.manager.issuer_views(world.now);
                let names: Vec<_> = views
                    .iter()
                    .map(|view| ResourceName::new(&view.namespace, &view.name))
                    .collect();
                let namespace = what.scope.namespace.as_deref();
                // A ClusterIssuer is in no namespace.
                let found =
                    one("issuer", names.iter(), &what.name, namespace).or_else(|error| {
                        match namespace {
                            Some(_) => {
                                one("issuer", names.iter(), &what.name, Some("")).map_err(|_| error)
                            }
                            None => Err(error),
                        }
                    })?;
                for (view, _) in views.iter().zip(&names).filter(|(_, name)| **name == found) {
                    match output.json {
                        true => output.document(&view.to_document())?,
                        false => issuer(view, &world, output)?,
                    }
                }
            }
            Self::Secret(what) => {
                let names: Vec<_> = world
                    .manager
                    .secrets()
                    .map(|secret| ResourceName::new(&secret.namespace, &secret.name))
                    .collect();
                let namespace = what.scope.namespace.as_deref();
                let name = one("Secret", names.iter(), &what.name, namespace)?;
                if let Some(secret) = world.manager.secret(&name) {
                    let view = SecretView::of(secret);
                    match output.json {
                        true => output.document(&view.to_json())?,
                        false => output.text(&view.to_string())?,
                    }
                }
            }
        }
        Ok(world.exit())
    }
}

fn issuer(view: &IssuerView, world: &World, output: &mut Output) -> std::io::Result<()> {
    let kind = match &view.kind {
        IssuerKind::ClusterIssuer => "ClusterIssuer",
        IssuerKind::External { kind, .. } => kind,
        IssuerKind::Issuer => "Issuer",
    };
    output.line(&format!("Name:         {}", one_line(&view.name)))?;
    if !view.namespace.is_empty() {
        output.line(&format!("Namespace:    {}", one_line(&view.namespace)))?;
    }
    output.line(&format!("Kind:         {}", one_line(kind)))?;
    output.line(&format!("Issues:       {}", view.issues.name()))?;
    match &view.issues {
        IssuerType::Acme { server } => {
            output.line(&format!("Server:       {}", one_line(server)))?;
        }
        IssuerType::Ca { namespace, secret } => {
            output.line(&format!(
                "CA Secret:    {}/{}",
                one_line(namespace),
                one_line(secret)
            ))?;
        }
        _ => {}
    }
    for condition in &view.status.conditions {
        let status = match condition.status {
            ConditionStatus::False => "False",
            ConditionStatus::True => "True",
            ConditionStatus::Unknown => "Unknown",
        };
        let reason = condition.reason.as_deref().unwrap_or("-");
        let title = format!("{}:", one_line(&condition.kind));
        output.line(&format!("{title:<13} {status}, {}", one_line(reason)))?;
        if let Some(message) = &condition.message {
            output.line(&format!("              {}", one_line(message)))?;
        }
    }
    let named = world
        .manager
        .inventory()
        .certificates()
        .filter(|(name, spec)| {
            let reference = spec.issuer_ref();
            let here = view.namespace.is_empty() || view.namespace == name.namespace;
            reference.name == view.name && reference.kind == view.kind && here
        });
    output.line(&format!("Certificates: {}", named.count()))
}
