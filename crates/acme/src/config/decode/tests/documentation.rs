//! The texts in the documentation.

use super::*;

/// The documentation's own example, in its four forms.
#[test]
fn the_example_of_the_documentation() {
    let yaml = r#"
entryPoints:
  web:
    address: ":80"

  websecure:
    address: ":443"

certificatesResolvers:
  myresolver:
    acme:
      email: your-email@example.com
      storage: acme.json
      httpChallenge:
        # used during the challenge
        entryPoint: web
"#;
    let toml = r#"
[entryPoints]
  [entryPoints.web]
    address = ":80"

  [entryPoints.websecure]
    address = ":443"

[certificatesResolvers.myresolver.acme]
  email = "your-email@example.com"
  storage = "acme.json"
  [certificatesResolvers.myresolver.acme.httpChallenge]
    # used during the challenge
    entryPoint = "web"
"#;
    let arguments = [
        "--entryPoints.web.address=:80",
        "--entryPoints.websecure.address=:443",
        "--certificatesresolvers.myresolver.acme.email=your-email@example.com",
        "--certificatesresolvers.myresolver.acme.storage=acme.json",
        "--certificatesresolvers.myresolver.acme.httpchallenge.entrypoint=web",
    ];
    let helm = r#"
# Traefik entryPoints configuration for HTTP and HTTPS.
entryPoints:
  web:
    address: ":80"
  websecure:
    address: ":443"
certificatesResolvers:
  myresolver:
    acme:
      email: "your-email@example.com"
      storage: "/data/acme.json"       # Path to store the certificate information.
      httpChallenge:
        # Entry point to use during the ACME HTTP-01 challenge.
        entryPoint: "web"
"#;
    for (form, document, storage) in [
        ("YAML", node(yaml, Format::Yaml), "acme.json"),
        ("TOML", node(toml, Format::Toml), "acme.json"),
        ("flags", flags(arguments).unwrap(), "acme.json"),
        ("Helm", node(helm, Format::Yaml), "/data/acme.json"),
    ] {
        let decoded = StaticConfig::decode(&document, Strictness::Strict);
        assert_eq!(decoded.warnings(), [], "{form}");
        let config = decoded.into_result().unwrap();
        let resolver = config.resolver("myresolver").unwrap();
        let email = resolver.email.as_ref().map(ToString::to_string);
        assert_eq!(email.as_deref(), Some("your-email@example.com"), "{form}");
        assert_eq!(resolver.storage.to_str(), Some(storage), "{form}");
        let entry = &resolver.http_challenge.as_ref().unwrap().entry_point;
        let port = config.entry_point(entry).map(|entry| entry.port);
        assert_eq!(port, Some(80), "{form}");
    }
}

/// The other snippets of the documentation, the switches of the TLS challenge and the binding.
#[test]
fn the_snippets_of_the_documentation() {
    let eab = "[certificatesResolvers.myresolver.acme]\n  email = \"a@example.com\"\n  [certificatesResolvers.myresolver.acme.eab]\n    kid = \"abc-keyID-xyz\"\n    hmacEncoded = \"abc-hmac-xyz\"\n  [certificatesResolvers.myresolver.acme.tlsChallenge]\n";
    let document = node(eab, Format::Toml);
    let config = StaticConfig::decode(&document, Strictness::Strict)
        .into_result()
        .unwrap();
    let resolver = &config.resolvers[0];
    assert_eq!(self::eab(resolver).0, "abc-keyID-xyz");
    assert!(resolver.tls_challenge.is_some());
    let arguments = flags([
        "--certificatesresolvers.myresolver.acme.email=a@example.com",
        "--certificatesresolvers.myresolver.acme.tlschallenge=true",
        "--certificatesresolvers.myresolver.acme.eab.kid=abc-keyID-xyz",
        "--certificatesresolvers.myresolver.acme.eab.hmacencoded=abc-hmac-xyz",
    ]);
    let arguments = arguments.unwrap();
    let other = StaticConfig::decode(&arguments, Strictness::Strict)
        .into_result()
        .unwrap();
    assert_eq!(format!("{other:?}"), format!("{config:?}"));
}
