//! From the commit of a challenge until the last of more and more replicas has heard of it, in milliseconds of wall time,
//! through one etcd member on loopback; and the commit alone.

#[path = "../../../../crates/storage/tests/support/cluster.rs"]
#[allow(dead_code, reason = "the tests of storage use more of it")]
mod cluster;

use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_storage::{EtcdOptions, EtcdStorage, Event, Key, Revision, Storage, Txn, Value};
use tokio::sync::mpsc;

use self::cluster::Cluster;
use crate::point;

const CHALLENGES: usize = 200;

pub(crate) fn measure() {
    let Some(cluster) = Cluster::start(1) else {
        println!("WATCH replicas - etcd is not installed");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    for replicas in [1, 2, 4, 8, 16, 32] {
        let (commit, last) = runtime.block_on(fan_out(&cluster, replicas));
        point("replicas", "commit", replicas, commit.as_secs_f64() * 1e3);
        point(
            "replicas",
            "last-replica",
            replicas,
            last.as_secs_f64() * 1e3,
        );
    }
}

/// Medians: the commit, and from its start until the last watch reported it.
async fn fan_out(cluster: &Cluster, replicas: usize) -> (Duration, Duration) {
    let connect = || EtcdStorage::new(EtcdOptions::new(cluster.endpoints())).unwrap();
    let writer = connect();
    let start = writer.list("v1/challenge/").await.unwrap().revision;
    let (heard, mut hears) = mpsc::unbounded_channel::<Revision>();
    let mut watching = Vec::new();
    for _ in 0..replicas {
        let (replica, heard) = (Arc::new(connect()), heard.clone());
        let mut watch = replica.watch("v1/challenge/", start).await.unwrap();
        watching.push(tokio::spawn(async move {
            let _kept = replica;
            while let Some(Ok(event)) = watch.next().await {
                if let Event::Changed { revision, .. } = event
                    && heard.send(revision).is_err()
                {
                    return;
                }
            }
        }));
    }
    let (mut commits, mut lasts) = (Vec::new(), Vec::new());
    for at in 0..CHALLENGES {
        let key = Key::new(&format!("v1/challenge/{at:05}")).unwrap();
        let begun = Instant::now();
        let txn = Txn::new().put(key, Value::from(vec![7; 87]));
        let revision = writer.txn(txn).await.unwrap();
        commits.push(begun.elapsed());
        for _ in 0..replicas {
            assert_eq!(hears.recv().await, Some(revision));
        }
        lasts.push(begun.elapsed());
    }
    for task in watching {
        task.abort();
    }
    (median(commits), median(lasts))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
