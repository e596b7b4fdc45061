//! Three replicas on three etcd nodes, and Let's Encrypt's test server: killed, stopped,
//! cut off, with etcd's leader, quorum or history taken away.
//!
//! What CI runs is a part of it; `CLUSTER=all` runs every moment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../examples/cluster/balancer.rs"]
mod balancer;
#[allow(dead_code, reason = "more than these tests need")]
#[path = "../../../storage/tests/support/cluster.rs"]
mod etcd;
#[allow(dead_code, reason = "more than these tests need")]
mod failpoint;
mod fault;
mod figure;
#[allow(dead_code, reason = "more than these tests need")]
#[path = "../../examples/cluster/process.rs"]
mod process;
#[allow(dead_code, reason = "more than these tests need")]
#[path = "../../../storage/tests/support/proxy.rs"]
mod proxy;
#[path = "../../examples/cluster/replica.rs"]
mod replica;
#[allow(dead_code, reason = "more than these tests need")]
#[path = "../pebble/server.rs"]
mod server;
mod stage;
