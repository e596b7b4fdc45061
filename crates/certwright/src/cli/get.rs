//! `get`: tables of what there is.

use certwright::annotation::ISSUED_AT;
use certwright::view::{self, Age, CertificateView, IssuerTree, IssuerView, SecretView};
use certwright_cert_model::TlsSecret;
use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Answer;
use super::output::{Output, columns};
use super::place::{Clock, Manifests, Place, Scope, World};

/// Lists certificates, issuers or Secrets, like kubectl get.
#[derive(Debug, Subcommand)]
pub(crate) enum Get {
    /// Lists Certificates: whether they are ready, their Secret and issuer, when they are renewed.
    #[command(visible_aliases = ["certificate", "certs"])]
    Certificates(List),
    /// Lists Issuers and ClusterIssuers.
    #[command(visible_alias = "issuer")]
    Issuers(List),
    /// Lists Secrets: how many keys they have and whose they are; never a value.
    #[command(visible_alias = "secret")]
    Secrets(List),
    /// Shows who signs whom.
    Tree(List),
}

/// What is listed.
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only those of these names.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    clock: Clock,
    #[command(flatten)]
    manifests: Manifests,
    #[command(flatten)]
    place: Place,
}

impl List {
    fn has(&self, namespace: &str, name: &str) -> bool {
        let full = format!("{namespace}/{name}");
        let named = self.names.is_empty() || self.names.iter().any(|n| n == name || *n == full);
        named && self.scope.has(namespace)
    }
}

impl Get {
    pub(crate) fn run(self, output: &mut Output) -> Answer {
        let (Self::Certificates(list)
        | Self::Issuers(list)
        | Self::Secrets(list)
        | Self::Tree(list)) = &self;
        let mut world = World::read(&list.manifests, &list.place, list.clock.now(), output)?;
        let now = world.now;
        match self {
            Self::Certificates(list) => {
                let mut views = certificates(&mut world);
                views.retain(|view| list.has(&view.namespace, &view.name));
                views.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
                if output.json {
                    output.document(&view::list(views.iter().map(CertificateView::to_document)))?;
                } else if views.is_empty() {
                    output.line("There is no Certificate.")?;
                } else {
                    output.text(&view::certificates(&views, now).to_string())?;
                }
            }
            Self::Issuers(list) => {
                let mut views = world.manager.issuer_views(now);
                views.retain(|view| list.has(&view.namespace, &view.name));
                if output.json {
                    output.document(&view::list(views.iter().map(IssuerView::to_document)))?;
                } else if views.is_empty() {
                    output.line("There is no issuer.")?;
                } else {
                    output.text(&view::issuers(&views, now).to_string())?;
                }
            }
            Self::Secrets(list) => secrets(&list, &world, output)?,
            Self::Tree(list) => {
                let mut views = certificates(&mut world);
                views.retain(|view| list.has(&view.namespace, &view.name));
                let mut issuers = world.manager.issuer_views(now);
                issuers.retain(|view| view.namespace.is_empty() || list.scope.has(&view.namespace));
                let tree = IssuerTree::new(&issuers, &views);
                match output.json {
                    true => output.document(&tree.to_json())?,
                    false => output.text(&tree.to_string())?,
                }
            }
        }
        Ok(world.exit())
    }
}

/// Every Certificate as its Secret tells; the Secret also tells its age.
pub(crate) fn certificates(world: &mut World) -> Vec<CertificateView> {
    // The CAs behind the issuers are part of what makes a certificate ready.
    world.manager.issuer_views(world.now);
    let mut views = world.manager.certificate_views(world.now);
    for view in &mut views {
        let name = certwright::ResourceName::new(&view.namespace, &view.name);
        let secret = world.manager.secret_of(&name);
        view.created = secret.and_then(issued_at).or(view.status.not_before);
    }
    views
}

pub(crate) fn issued_at(secret: &TlsSecret) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(secret.annotations.get(ISSUED_AT)?, &Rfc3339).ok()
}

fn secrets(list: &List, world: &World, output: &mut Output) -> std::io::Result<()> {
    let shown: Vec<_> = world
        .manager
        .secrets()
        .filter(|secret| list.has(&secret.namespace, &secret.name))
        .collect();
    let orphans: Vec<_> = world
        .manager
        .orphans()
        .map(|s| (&s.namespace, &s.name))
        .collect();
    if output.json {
        let described = shown.iter().map(|secret| SecretView::of(secret).to_json());
        return output.document(&view::list(described));
    }
    if shown.is_empty() {
        return output.line("There is no Secret.");
    }
    let headings = ["NAMESPACE", "NAME", "DATA", "CERTIFICATE", "AGE"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    for secret in shown {
        let of = secret
            .annotations
            .get(certwright_cert_model::secret::annotation::CERTIFICATE_NAME);
        let of = match of {
            Some(of) if orphans.contains(&(&secret.namespace, &secret.name)) => {
                format!("{of} (gone)")
            }
            Some(of) => of.clone(),
            None => "-".to_owned(),
        };
        let age = issued_at(secret).map(|at| Age(world.now - at).to_string());
        rows.push(vec![
            secret.namespace.clone(),
            secret.name.clone(),
            secret.data().count().to_string(),
            of,
            age.unwrap_or_else(|| "<unknown>".to_owned()),
        ]);
    }
    output.text(&columns(&rows))
}
