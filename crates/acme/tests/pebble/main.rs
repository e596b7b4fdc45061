//! Orders at Let's Encrypt's test server, `pebble`, with `pebble-challtestsrv` as the
//! world's DNS; both from Debian's package `pebble`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod account;
mod alpn;
mod dns;
#[path = "../cluster/failpoint.rs"]
mod failpoint;
#[path = "../fake/server.rs"]
#[allow(dead_code, reason = "its own tests use more of it")]
mod fake;
mod kill;
mod lego;
mod order;
mod server;
