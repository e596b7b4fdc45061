//! When is a certificate renewed? Only the renewal crate is asked.

use certwright_renewal::{Agenda, Lifetime, RenewalPolicy};
use time::Duration;
use time::macros::datetime;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issued = datetime!(2026-01-01 00:00 UTC);
    let life = Lifetime::new(issued, issued + Duration::days(90))?;
    let schedule = RenewalPolicy::Before(Duration::days(15)).schedule(life)?;
    assert_eq!(schedule.due(), datetime!(2026-03-17 00:00 UTC));
    println!("{}", schedule.explain());

    let mut agenda = Agenda::new();
    agenda.insert("web", schedule.due());
    assert_eq!(agenda.next_wake(), Some(schedule.due()));
    assert_eq!(agenda.pop_due(issued), None);
    assert_eq!(
        agenda.pop_due(schedule.due()),
        Some(("web", schedule.due()))
    );

    let refused = RenewalPolicy::Percent(99.try_into()?)
        .schedule(Lifetime::new(issued, issued + Duration::MINUTE)?);
    println!("{}", refused.expect_err("would renew in a loop"));
    Ok(())
}
