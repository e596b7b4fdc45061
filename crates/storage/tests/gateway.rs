//! The store in etcd, answered by something that is not quite etcd.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use certwright_storage::{
    EtcdOptions, EtcdStorage, EtcdUser, Event, Key, Revision, Storage, StorageError, Txn,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const OF_ONE: &str = r#"{"header":{"cluster_id":"1","revision":"7"}}"#;
const OF_TWO: &str = r#"{"header":{"cluster_id":"2","revision":"7"}}"#;

/// Answers each path with its texts in turn, the last one for ever.
struct Gateway {
    endpoint: String,
    asked: Arc<AtomicUsize>,
}

impl Gateway {
    async fn start(answers: &[(&'static str, &[&str])]) -> Self {
        let answers: HashMap<String, Vec<String>> = answers
            .iter()
            .map(|(path, texts)| {
                let texts = texts.iter().map(|text| (*text).to_owned());
                ((*path).to_owned(), texts.rev().collect())
            })
            .collect();
        let answers = Arc::new(std::sync::Mutex::new(answers));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, counter) = (Arc::clone(&answers), Arc::clone(&counter));
                tokio::spawn(async move {
                    serve(stream, |path| {
                        counter.fetch_add(1, Ordering::SeqCst);
                        let mut answers = answers.lock().unwrap();
                        let texts = answers.get_mut(path).unwrap();
                        let last = texts.len() == 1;
                        let next = texts.last().cloned().unwrap();
                        if !last {
                            texts.pop();
                        }
                        next
                    })
                    .await
                });
            }
        });
        Self { endpoint, asked }
    }

    fn options(&self) -> EtcdOptions {
        let mut options = EtcdOptions::new([self.endpoint.as_str()]);
        options.total_timeout = Duration::from_secs(2);
        options
    }

    fn storage(&self) -> EtcdStorage {
        EtcdStorage::new(self.options()).unwrap()
    }
}

/// One request after another on one connection; bodies are short.
async fn serve(mut stream: TcpStream, answer: impl Fn(&str) -> String) -> Option<()> {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let end = loop {
            let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
            if let Some(head) = text.find("\r\n\r\n") {
                let len = text.split_once("content-length: ")?.1;
                let end = head + 4 + len.split("\r\n").next()?.parse::<usize>().ok()?;
                if request.len() >= end {
                    break end;
                }
            }
            let len = stream.read(&mut buffer).await.ok().filter(|len| *len > 0)?;
            request.extend_from_slice(&buffer[..len]);
        };
        let text = String::from_utf8_lossy(&request).into_owned();
        let body = answer(text.split(' ').nth(1)?);
        let (status, body) = match body.split_once('!') {
            Some((status, body)) => (status.to_owned(), body.to_owned()),
            None => ("200".to_owned(), body),
        };
        let head = format!(
            "HTTP/1.1 {status} -\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(body.as_bytes()).await.ok()?;
        request.drain(..end);
    }
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// An empty object is what many a server says, and must not mean that nothing is there.
#[tokio::test]
async fn answers_that_are_not_etcds_are_no_answers() {
    for answer in ["{}", r#"{"header":{}}"#, "[]", "", "\u{0}", "{\"header\":"] {
        let gateway = Gateway::start(&[
            ("/v3/kv/range", &[answer]),
            ("/v3/kv/txn", &[answer]),
            ("/v3/lease/grant", &[answer]),
        ])
        .await;
        let storage = gateway.storage();
        let got = storage.get(&key("a")).await;
        assert!(matches!(got, Err(StorageError::Corrupt { .. })), "{got:?}");
        let listed = storage.list("").await;
        assert!(
            matches!(listed, Err(StorageError::Corrupt { .. })),
            "{listed:?}"
        );
        let written = storage.txn(Txn::new().put(key("a"), "1")).await;
        let open = matches!(written, Err(StorageError::Indeterminate { .. }));
        assert!(open, "{answer}: {written:?}");
    }
}

#[tokio::test]
async fn a_refusal_without_its_reason_is_no_conflict() {
    let refused = r#"{"header":{"cluster_id":"1","revision":"7"},"responses":[{}]}"#;
    let gateway = Gateway::start(&[("/v3/kv/txn", &[refused, OF_ONE])]).await;
    let storage = gateway.storage();
    for _ in 0..2 {
        let txn = Txn::new().if_unchanged(key("a"), Revision::new(3));
        let written = storage.txn(txn.delete(key("a"))).await;
        let open = matches!(written, Err(StorageError::Indeterminate { .. }));
        assert!(open, "{written:?}");
    }
}

#[tokio::test]
async fn listings_that_do_not_get_on_end() {
    // `certwright/k/a` and `certwright/k/b`.
    let entry = |last: &str| format!(r#"{{"key":"Y2VydHdyaWdodC9rL{last}","mod_revision":"5"}}"#);
    let page = |kvs: &str| {
        format!(r#"{{"header":{{"cluster_id":"1","revision":"7"}},"kvs":[{kvs}],"more":true}}"#)
    };
    let (a, b) = (entry("2E="), entry("2I="));
    for (pages, entries) in [
        (vec![page("")], Some(0)),
        (vec![page(&a), page(&b), page("")], Some(2)),
        (vec![page(&b), page(&a)], None),
        (vec![page(&format!("{b},{a}"))], None),
        (vec![page(&a)], None),
    ] {
        let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
        let gateway = Gateway::start(&[("/v3/kv/range", &pages)]).await;
        let listed = timeout(Duration::from_secs(5), async {
            gateway.storage().list("").await
        });
        let listed = listed.await.unwrap();
        assert_eq!(listed.ok().map(|listed| listed.entries.len()), entries);
    }
    let compacted =
        r#"400!{"code":11,"message":"etcdserver: mvcc: required revision has been compacted"}"#;
    let gateway = Gateway::start(&[("/v3/kv/range", &[compacted])]).await;
    let listed = timeout(Duration::from_secs(5), async {
        gateway.storage().list("").await
    });
    let listed = listed.await.unwrap();
    assert!(
        matches!(listed, Err(StorageError::Refused { .. })),
        "{listed:?}"
    );
}

#[tokio::test]
async fn leases_that_are_none_are_not_taken() {
    for granted in ["{}", r#"{"ID":"0","TTL":"5"}"#, r#"{"ID":"5"}"#] {
        let gateway =
            Gateway::start(&[("/v3/kv/range", &[OF_ONE]), ("/v3/lease/grant", &[granted])]).await;
        let asked = gateway.storage();
        let asked = asked
            .acquire(&key("lock"), "one", Duration::from_secs(5))
            .await;
        assert!(
            matches!(asked, Err(StorageError::Corrupt { .. })),
            "{asked:?}"
        );
    }
    let taken = r#"{"header":{"cluster_id":"1","revision":"8"},"succeeded":true}"#;
    let for_ever = format!(r#"{{"ID":"5","TTL":"{}"}}"#, u64::MAX);
    let gateway = Gateway::start(&[
        ("/v3/kv/range", &[OF_ONE]),
        ("/v3/kv/txn", &[taken]),
        ("/v3/lease/grant", &[&for_ever]),
    ])
    .await;
    let storage = gateway.storage();
    let name = key("lock");
    let asked = storage.acquire(&name, "one", Duration::from_secs(5));
    let lease = asked.await.unwrap().granted().unwrap();
    assert_eq!(lease.token().get(), 8);
}

#[tokio::test]
async fn another_cluster_is_not_taken_for_ours() {
    let created = r#"{"result":{"header":{"cluster_id":"2","revision":"7"},"created":true}}"#;
    let gateway = Gateway::start(&[
        ("/v3/kv/range", &[OF_ONE, OF_TWO]),
        (
            "/v3/kv/txn",
            &[r#"{"header":{"cluster_id":"2","revision":"7"},"succeeded":true}"#],
        ),
        ("/v3/watch", &[&format!("{created}\n")]),
    ])
    .await;
    let storage = gateway.storage();
    assert_eq!(storage.get(&key("a")).await.unwrap(), None);
    let error = storage.get(&key("a")).await.unwrap_err().to_string();
    let expected = "it is of cluster 2, this store began with cluster 1; \
        name members of one cluster only, or open the store anew if etcd was restored";
    assert!(error.ends_with(expected), "{error}");
    let written = storage.txn(Txn::new().put(key("a"), "1")).await;
    let open = matches!(written, Err(StorageError::Indeterminate { .. }));
    assert!(open, "{written:?}");
    let mut watch = storage.watch("", Revision::new(7)).await.unwrap();
    let event = watch.next().await.unwrap();
    assert!(
        matches!(event, Err(StorageError::Corrupt { .. })),
        "{event:?}"
    );
}

#[tokio::test]
async fn transactions_over_several_messages_are_whole() {
    let line = |fields: &str, keys: &[(&str, u64)]| {
        let events: Vec<String> = keys
            .iter()
            .map(|(last, revision)| {
                format!(
                    r#"{{"kv":{{"key":"Y2VydHdyaWdodC9rL{last}","mod_revision":"{revision}"}}}}"#
                )
            })
            .collect();
        let events = events.join(",");
        format!(
            "{{\"result\":{{\"header\":{{\"cluster_id\":\"1\",\"revision\":\"9\"}}{fields},\"events\":[{events}]}}}}\n"
        )
    };
    let (a, b) = ("2E=", "2I=");
    let cut_off = line(r#","created":true"#, &[]) + &line(r#","fragment":true"#, &[(a, 8), (a, 9)]);
    let whole = line(r#","created":true"#, &[])
        + &line(r#","fragment":true"#, &[(a, 9)])
        + &line("", &[(b, 9)]);
    let gateway = Gateway::start(&[("/v3/watch", &[&cut_off, &whole])]).await;
    let mut options = gateway.options();
    options.watch_idle = Duration::from_millis(300);
    let storage = EtcdStorage::new(options).unwrap();
    let mut watch = storage.watch("", Revision::new(7)).await.unwrap();
    for (expected, count) in [(8, 1), (9, 2)] {
        let Event::Changed { revision, changes } = watch.next().await.unwrap().unwrap() else {
            panic!("compacted");
        };
        assert_eq!((revision.get(), changes.len()), (expected, count));
    }
}

#[tokio::test]
async fn a_message_without_end_ends_the_watch() {
    let endless = "x".repeat(17 << 20);
    let gateway = Gateway::start(&[("/v3/watch", &[&endless])]).await;
    let storage = gateway.storage();
    let mut watch = storage.watch("", Revision::new(7)).await.unwrap();
    let event = timeout(Duration::from_secs(20), watch.next()).await;
    let event = event.unwrap().unwrap();
    assert!(
        matches!(event, Err(StorageError::Corrupt { .. })),
        "{event:?}"
    );
}

#[tokio::test]
async fn tokens_are_renewed_after_rights_changed_and_are_not_shown() {
    let gateway = Gateway::start(&[
        (
            "/v3/auth/authenticate",
            &[r#"{"token":"first"}"#, r#"{"token":"second"}"#],
        ),
        (
            "/v3/kv/txn",
            &[
                r#"400!{"code":3,"message":"etcdserver: revision of auth store is old"}"#,
                r#"{"header":{"cluster_id":"1","revision":"8"},"succeeded":true}"#,
            ],
        ),
    ])
    .await;
    let mut options = gateway.options();
    options.user = Some(EtcdUser {
        name: "root".to_owned(),
        password: "password".to_owned().into(),
    });
    let storage = EtcdStorage::new(options).unwrap();
    let written = storage.txn(Txn::new().put(key("a"), "1")).await.unwrap();
    assert_eq!(
        (written.get(), gateway.asked.load(Ordering::SeqCst)),
        (8, 4)
    );
    let shown = format!("{storage:?}");
    assert!(
        !shown.contains("second") && !shown.contains("password"),
        "{shown}"
    );
}

#[tokio::test]
async fn reasons_are_not_longer_than_a_message() {
    let long = format!(r#"403!{{"code":7,"message":"{}"}}"#, "ü".repeat(1 << 16));
    let gateway = Gateway::start(&[("/v3/kv/range", &[&long])]).await;
    let error = gateway.storage().get(&key("a")).await.unwrap_err();
    assert!(error.to_string().chars().count() < 400);
}
