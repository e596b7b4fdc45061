//! Several Certificates that name one Secret.

use certwright::ownership::{Claim, Ownership, ownership};
use time::Duration;

use crate::world::NOW;

#[test]
fn the_annotated_one_owns_or_else_the_oldest_or_else_the_first_by_name() {
    type Case<'a> = (
        &'a [(&'a str, Option<i64>)],
        Option<&'a str>,
        Option<&'a str>,
    );
    let cases: &[Case<'_>] = &[
        (&[], None, None),
        (&[], Some("a"), None),
        (&[("a", Some(0))], None, Some("a")),
        (&[("a", Some(1)), ("b", Some(0))], None, Some("b")),
        (&[("b", Some(0)), ("a", Some(0))], None, Some("a")),
        (&[("b", None), ("a", None)], None, Some("a")),
        (&[("b", Some(5)), ("a", None)], None, Some("b")),
        (&[("a", Some(0)), ("b", Some(1))], Some("b"), Some("b")),
        (&[("a", Some(0)), ("b", Some(1))], Some("gone"), Some("a")),
    ];
    for (claims, annotated, owner) in cases {
        let claim = |(name, age): &(&'static str, Option<i64>)| {
            Claim::new(name, age.map(|seconds| NOW + Duration::seconds(seconds)))
        };
        let claims: Vec<_> = claims.iter().map(claim).collect();
        let found = ownership(claims.iter().copied(), *annotated);
        assert_eq!(found.as_ref().map(Ownership::owner), *owner);
        let reversed = ownership(claims.into_iter().rev(), *annotated);
        assert_eq!(found, reversed, "whatever order they come in");
    }
}

#[test]
fn both_are_told() {
    let claims = [Claim::new("a", None), Claim::new("b", None)];
    let found = ownership(claims, None).unwrap();
    assert_eq!(
        found.conflict("a", "tls").unwrap().to_string(),
        "Secret tls is also wanted by Certificate b, which issues nothing; give each its own spec.secretName"
    );
    assert_eq!(
        found.conflict("b", "tls").unwrap().to_string(),
        "Secret tls belongs to Certificate a, so nothing is issued; give each its own spec.secretName"
    );
    assert_eq!(found.others("b").collect::<Vec<_>>(), ["a"]);
    let alone = ownership([Claim::new("a", None)], None).unwrap();
    assert_eq!(alone.conflict("a", "tls"), None);
}
