//! Says which certificate of a directory serves a name, and why:
//! `cargo run -p certwright-sni-store --example explain -- DIRECTORY NAME`.

use std::error::Error;
use std::sync::Arc;

use certwright_sni_store::{Query, Resolver};
use rustls::crypto::aws_lc_rs;
use time::OffsetDateTime;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("expected a directory and a server name".into());
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (resolver, report) = Resolver::from_dir(directory, provider)?;
    for rejection in &report.rejected {
        println!("{rejection}: {}", rejection.error);
    }
    for warning in &report.warnings {
        println!("{warning}");
    }
    let query = Query::new(&name, OffsetDateTime::now_utc());
    println!("{}", resolver.store().current().explain(&query));
    Ok(())
}
