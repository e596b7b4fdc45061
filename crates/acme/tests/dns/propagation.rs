//! What `Propagation` sees of a zone with two servers, and of others.

use std::time::Duration;

use certwright_acme::challenge::dns01::{
    Aliases, Authoritative, DnsError, DnsView, Propagation, Require, TxtRecord,
};
use hickory_resolver::proto::op::ResponseCode;

use crate::world::{NS1, NS2, OTHER, World, a, alias, ns, txt};

const NAME: &str = "_acme-challenge.z.test";

fn record(value: &str) -> TxtRecord {
    TxtRecord {
        name: NAME.to_owned(),
        value: value.to_owned(),
    }
}

async fn view(world: &mut World) -> Propagation {
    let mut view = Propagation::new(vec![world.recursive(false).await]);
    view.authoritative_port = world.port;
    view
}

#[tokio::test]
async fn all_servers_of_the_zone_must_have_it() {
    let mut world = World::new().await;
    let view = view(&mut world).await;
    let (ns1, ns2) = (world.at(NS1), world.at(NS2));
    let lacks = async || view.lacks(&record("v")).await.unwrap();
    assert_eq!(lacks().await, Some(format!("ns1.z.test ({ns1})")));
    world.ns1.add(NAME, txt("v"));
    // The second lags behind, and the first would have done for a recursive server.
    assert_eq!(lacks().await, Some(format!("ns2.z.test ({ns2})")));
    world.ns2.add(NAME, txt("an older value"));
    assert_eq!(lacks().await, Some(format!("ns2.z.test ({ns2})")));
    world.ns2.add(NAME, txt("v"));
    assert_eq!(lacks().await, None);
    // The zone's servers were asked, not the parent's.
    let asked = world.parent.asked();
    assert!(
        asked.iter().all(|(name, _)| name.ends_with("test.")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_lagging_server_does_not_matter_when_authorities_are_skipped() {
    let mut world = World::new().await;
    let mut view = view(&mut world).await;
    world.ns1.add(NAME, txt("v"));
    assert!(view.lacks(&record("v")).await.unwrap().is_some());
    let before = world.ns2.asked().len();
    // `disableANSChecks`: the first recursive server decides.
    view.authoritative = Authoritative::Skip;
    assert_eq!(view.lacks(&record("v")).await.unwrap(), None);
    assert!(view.lacks(&record("w")).await.unwrap().is_some());
    assert_eq!(
        world.ns2.asked().len(),
        before,
        "recursive servers ask the first"
    );
}

#[tokio::test]
async fn all_recursive_servers_if_so_required() {
    let mut world = World::new().await;
    let mut view = view(&mut world).await;
    world.ns1.add(NAME, txt("v"));
    world.ns2.add(NAME, txt("v"));
    let stale = world.recursive(true).await;
    view.recursive.push(stale);
    for authoritative in [Authoritative::Ask, Authoritative::Skip] {
        view.authoritative = authoritative;
        view.require = Require::First;
        assert_eq!(view.lacks(&record("v")).await.unwrap(), None);
        view.require = Require::All;
        let lacking = view.lacks(&record("v")).await.unwrap();
        assert_eq!(lacking, Some(stale.to_string()), "{authoritative:?}");
    }
}

#[tokio::test]
async fn servers_that_are_no_help() {
    let mut world = World::new().await;
    let view = view(&mut world).await;
    world.ns1.add(NAME, txt("v"));
    world.ns2.add(NAME, txt("v"));
    let (ns2, lacks) = (world.at(NS2), async || {
        view.lacks(&record("v")).await.unwrap()
    });
    // A lame delegation: it has the value, and no authority over the zone.
    world.ns2.make_lame();
    let lame = format!("ns2.z.test ({ns2}), which is no authority for z.test");
    assert_eq!(lacks().await, Some(lame));
    world.ns2.break_at("z.test", ResponseCode::ServFail);
    let failing = lacks().await.unwrap();
    let start = format!("ns2.z.test ({ns2}), which fails: it says ");
    assert!(failing.starts_with(&start), "{failing}");
    // One that nobody can find.
    let mut world = World::new().await;
    let mut view = Propagation::new(vec![world.recursive(false).await]);
    view.authoritative_port = world.port;
    for server in [&world.ns1, &world.ns2] {
        server.add(NAME, txt("v")).add("z.test", ns("ns3.z.test"));
    }
    let lacking = view.lacks(&record("v")).await.unwrap();
    assert_eq!(lacking.as_deref(), Some("ns3.z.test, which has no address"));
}

#[tokio::test]
async fn an_alias_leads_to_another_zone_and_its_servers() {
    let mut world = World::new().await;
    let mut view = view(&mut world).await;
    for server in [&world.ns1, &world.ns2] {
        server.add(NAME, alias("Z.Challenges.other.test"));
    }
    let there = view.canonical(NAME).await.unwrap();
    assert_eq!(there, "z.challenges.other.test");
    let mut shown = record("v");
    shown.name = there;
    let other = world.at(OTHER);
    let lacking = view.lacks(&shown).await.unwrap();
    assert_eq!(lacking, Some(format!("ns.other.test ({other})")));
    world.other.add("z.challenges.other.test", txt("v"));
    assert_eq!(view.lacks(&shown).await.unwrap(), None);
    view.aliases = Aliases::Ignore;
    assert_eq!(view.canonical(NAME).await.unwrap(), NAME);
}

/// The name for which a certificate is wanted may itself be an alias of something big,
/// whose servers know nothing about challenges.
#[tokio::test]
async fn an_alias_above_leads_nowhere_else() {
    let mut world = World::new().await;
    let view = view(&mut world).await;
    world.other.add("other.test", txt("unrelated"));
    for server in [&world.ns1, &world.ns2] {
        server
            .add("www.z.test", alias("other.test"))
            .add("_acme-challenge.www.z.test", txt("v"));
    }
    let mut shown = record("v");
    shown.name = "_acme-challenge.www.z.test".to_owned();
    assert_eq!(view.zone(&shown.name).await.unwrap(), "z.test");
    assert_eq!(view.lacks(&shown).await.unwrap(), None);
}

#[tokio::test]
async fn aliases_in_a_circle() {
    let mut world = World::new().await;
    let view = view(&mut world).await;
    for server in [&world.ns1, &world.ns2] {
        server
            .add(NAME, alias("a.z.test"))
            .add("a.z.test", alias("b.z.test"))
            .add("b.z.test", alias("a.z.test"));
    }
    let error = view.canonical(NAME).await.unwrap_err();
    let looped = DnsError::AliasLoop {
        name: NAME.to_owned(),
        count: 3,
    };
    assert_eq!(error, looped);
}

#[tokio::test]
async fn names_that_are_not_there_and_servers_that_fail() {
    let mut world = World::new().await;
    let view = view(&mut world).await;
    // NXDOMAIN is an answer: there is no alias, and the zone is above.
    assert_eq!(view.canonical(NAME).await.unwrap(), NAME);
    assert_eq!(view.zone("a.b.c.z.test").await.unwrap(), "z.test");
    assert_eq!(view.zone("nowhere.test").await.unwrap(), "test");
    // SERVFAIL is none: writing beside an alias that was not seen would fail later.
    for server in [&world.ns1, &world.ns2] {
        server.break_at(NAME, ResponseCode::ServFail);
    }
    let error = view.canonical(NAME).await.unwrap_err();
    assert!(matches!(error, DnsError::Query { .. }), "{error}");
    let error = view.lacks(&record("v")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(NAME) && text.contains("it says "), "{text}");
    // Outside of every zone.
    let error = view.zone("example.invalid").await.unwrap_err();
    assert!(matches!(error, DnsError::Query { .. }), "{error}");
}

#[tokio::test]
async fn the_next_recursive_server_is_asked_when_one_fails() {
    let mut world = World::new().await;
    let mut view = view(&mut world).await;
    // One that refuses everything but its own zones.
    view.recursive.insert(0, world.at(OTHER));
    assert_eq!(view.zone(NAME).await.unwrap(), "z.test");
    assert_eq!(
        world.other.asked().len(),
        2,
        "each question, before the other server"
    );
}

#[tokio::test]
async fn the_life_of_records() {
    let mut world = World::new().await;
    let mut view = view(&mut world).await;
    assert_eq!(view.ttl(NAME).await.unwrap(), None);
    for server in [&world.ns1, &world.ns2] {
        server.add_for(NAME, 3600, txt("v"));
    }
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(view.ttl(NAME).await.unwrap(), hour);
    view.authoritative = Authoritative::Skip;
    assert_eq!(view.ttl(NAME).await.unwrap(), hour);
}

#[tokio::test]
async fn addresses_at_the_end_of_aliases() {
    let mut world = World::new().await;
    let view = view(&mut world).await;
    world.ns1.add("www.z.test", alias("web.other.test"));
    world.other.add("web.other.test", a([192, 0, 2, 7].into()));
    let found = view.addresses("www.z.test").await.unwrap();
    let expected: Vec<std::net::IpAddr> = vec![[192, 0, 2, 7].into()];
    assert!(found.iter().eq(&expected), "{found:?}");
    assert!(view.addresses("none.z.test").await.unwrap().is_empty());
}
