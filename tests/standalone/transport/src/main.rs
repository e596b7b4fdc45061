//! A ServersTransport becomes a rustls configuration, or an error that says what is wrong.

use std::sync::Arc;

use certwright_cert_model::document::{Format, Strictness, parse};
use certwright_transport::{Material, ServersTransport, Upstream};
use rustls::crypto::aws_lc_rs;
use rustls::time_provider::DefaultTimeProvider;

fn transport(spec: &str) -> Result<Upstream, Box<dyn std::error::Error>> {
    let text = format!(
        "apiVersion: traefik.io/v1alpha1\nkind: ServersTransport\nmetadata: {{name: web, namespace: ns}}\nspec: {spec}\n"
    );
    let document = parse(&text, Format::Yaml).remove(0)?;
    let decoded = ServersTransport::decode(&document.root, Strictness::Strict);
    Ok(decoded.and_then(ServersTransport::validate)?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = aws_lc_rs::default_provider();
    let Upstream::Verified(upstream) = transport("{spiffe: {trustDomain: example.org}}")? else {
        return Err("it verifies".into());
    };
    let clock = Arc::new(DefaultTimeProvider);
    let nobody = upstream.client_config(&provider, clock, &Material::default());
    println!(
        "{}",
        nobody.expect_err("no bundle, so nobody could be accepted")
    );

    let skipped = transport("{insecureSkipVerify: true}")?;
    assert!(matches!(skipped, Upstream::Danger(_)));

    let wrong = transport("{spiffe: {ids: ['spiffe://Example.org/a']}, serverNam: x}");
    let report = wrong.expect_err("two mistakes").to_string();
    assert_eq!(report.lines().count(), 2, "{report}");
    println!("{report}");
    Ok(())
}
