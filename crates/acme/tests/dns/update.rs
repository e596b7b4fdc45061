//! RFC 2136, signed by TSIG, through the provider of that name.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use certwright_acme::challenge::dns01::providers::NamedProvider;
use certwright_acme::challenge::dns01::{DnsError, DnsProvider, DnsView, Propagation, TxtRecord};

use crate::world::{KEY_NAME, NS1, SECRET, World, txt};

const NAME: &str = "_acme-challenge.www.z.test";

fn record(name: &str, value: &str) -> TxtRecord {
    TxtRecord {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

fn provider(world: &World, secret: &[u8], zones: Propagation) -> NamedProvider {
    let server = world.at(NS1).to_string();
    let secret = Base64::encode_string(secret);
    let get = |name: &str| match name {
        "RFC2136_NAMESERVER" => Some(server.clone()),
        "RFC2136_TSIG_KEY" => Some(KEY_NAME.to_owned()),
        "RFC2136_TSIG_SECRET" => Some(secret.clone()),
        "RFC2136_TSIG_ALGORITHM" => Some("hmac-sha256.".to_owned()),
        "RFC2136_TTL" => Some("30".to_owned()),
        _ => None,
    };
    NamedProvider::from_environment("rfc2136", get, zones).unwrap()
}

fn texts(world: &World) -> Vec<String> {
    let texts = world.ns1.texts(NAME);
    texts.into_iter().map(|(value, _)| value).collect()
}

#[tokio::test]
async fn values_come_and_go_one_by_one() {
    let world = World::new().await;
    // Nobody but the server itself tells the zone.
    let provider = provider(&world, SECRET, Propagation::new(Vec::new()));
    world.ns1.add(NAME, txt("somebody else's"));
    let (one, two) = (record(NAME, "one"), record(NAME, "two"));
    provider.append(&one).await.unwrap();
    provider.append(&two).await.unwrap();
    assert_eq!(texts(&world), ["one", "somebody else's", "two"]);
    assert_eq!(world.ns1.texts(NAME)[0], ("one".to_owned(), 30));
    assert_eq!(provider.ttl(), Some(Duration::from_secs(30)));
    // Again, as after a crash.
    provider.append(&two).await.unwrap();
    assert_eq!(texts(&world), ["one", "somebody else's", "two"]);
    provider.remove(&one).await.unwrap();
    assert_eq!(texts(&world), ["somebody else's", "two"]);
    provider.remove(&one).await.unwrap();
    provider.remove(&two).await.unwrap();
    assert_eq!(texts(&world), ["somebody else's"]);
    assert_eq!(world.ns1.updates(), 6);
}

#[tokio::test]
async fn a_wrong_key_changes_nothing() {
    let world = World::new().await;
    let provider = provider(&world, b"another secret", Propagation::new(Vec::new()));
    let error = provider.append(&record(NAME, "one")).await.unwrap_err();
    let DnsError::Provider { provider, name, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((provider.as_str(), name.as_str()), ("rfc2136", NAME));
    assert_eq!((texts(&world).len(), world.ns1.updates()), (0, 0));
}

#[tokio::test]
async fn a_zone_of_somebody_else() {
    let mut world = World::new().await;
    let resolvers = Propagation::new(vec![world.recursive(false).await]);
    let provider = provider(&world, SECRET, resolvers);
    let elsewhere = record("_acme-challenge.other.test", "one");
    let error = provider.append(&elsewhere).await.unwrap_err();
    assert!(matches!(error, DnsError::Provider { .. }), "{error:?}");
    assert_eq!(world.ns1.updates(), 0);
}

#[tokio::test]
async fn written_here_and_seen_there() {
    let mut world = World::new().await;
    let mut view = Propagation::new(vec![world.recursive(false).await]);
    view.authoritative_port = world.port;
    let provider = provider(&world, SECRET, view.clone());
    let shown = record(NAME, "one");
    provider.append(&shown).await.unwrap();
    // The other server has no transfer of it yet.
    let lacking = view.lacks(&shown).await.unwrap().unwrap();
    assert!(lacking.starts_with("ns2.z.test"), "{lacking}");
    world.ns2.add(NAME, txt("one"));
    assert_eq!(view.lacks(&shown).await.unwrap(), None);
    assert_eq!(view.ttl(NAME).await.unwrap(), Some(Duration::from_secs(30)));
}
