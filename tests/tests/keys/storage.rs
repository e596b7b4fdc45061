//! Stores, what is in them, and what guards them.

use std::fs;

use certwright_storage::certmagic;
use certwright_storage::key_wrap::{KeyRing, SealedStorage, WrappingKey};
use certwright_storage::{
    Change, EtcdOptions, EtcdStorage, EtcdUser, Event, FileOptions, FileStorage, Key,
    MemoryStorage, Revision, Storage as _, Txn, Value, Watch as StorageWatch,
};
use zeroize::Zeroizing;

use super::watch::Watch;
use super::{Given, PASSWORD};

pub(crate) async fn look(watch: &mut Watch, given: &Given) {
    let value = Value::from(given.pem.as_bytes());
    watch.look(&value);
    let place = Key::new("/a").unwrap();
    let txn = Txn::new().put(place.clone(), value.clone());
    watch.look(&txn);

    let memory = MemoryStorage::default();
    memory.txn(txn.clone()).await.unwrap();
    watch.look(&memory);
    let listing = memory.list("/").await.unwrap();
    watch.look(&listing);
    watch.look(&listing.entries[0]);
    let change = Change::Put(listing.entries[0].clone());
    watch.look(&change);
    watch.look(&Event::Changed {
        revision: listing.revision,
        changes: vec![change],
    });
    let changes: StorageWatch = memory.watch("/", Revision::default()).await.unwrap();
    watch.look(&changes);
    let directory = tempfile::tempdir().unwrap();
    let files = FileStorage::open(directory.path(), FileOptions::default()).unwrap();
    files.txn(txn.clone()).await.unwrap();
    watch.look(&files);

    let mut mac = Zeroizing::new([0; 32]);
    mac.copy_from_slice(&given.mac);
    let wrapping = WrappingKey::new("one", &mac).unwrap();
    watch.look(&wrapping);
    let ring = KeyRing::new(wrapping);
    watch.look(&ring);
    let sealed = SealedStorage::new(memory.clone(), ring);
    sealed.txn(txn).await.unwrap();
    watch.look(&sealed);

    let user = EtcdUser {
        name: "root".to_owned(),
        password: Zeroizing::new(PASSWORD.to_owned()),
    };
    watch.look(&user);
    let mut options = EtcdOptions::new(["http://etcd.test:2379"]);
    watch.look(&EtcdStorage::new(options.clone()).unwrap());
    options.user = Some(user);
    watch.look(&options);
    // A password is not sent in clear.
    watch.refused(EtcdStorage::new(options));

    imported(watch, given);
}

fn imported(watch: &mut Watch, given: &Given) {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("certificates/le/a/a.crt", &given.chain);
    write("certificates/le/a/a.key", &given.pem);
    write("certificates/le/a/a.json", r#"{"sans":["localhost"]}"#);
    write("acme/le/users/a/a.key", &given.pem);
    write("acme/le/users/a/a.json", r#"{"status":"valid"}"#);
    // A key where the metadata should be.
    write("acme/le/users/b/b.key", &given.pem);
    write("acme/le/users/b/b.json", &given.pem);
    let imported = certmagic::read(directory.path()).unwrap();
    watch.look(&imported);
    watch.look(&imported.certificates[0]);
    watch.look(&imported.accounts[0]);
    watch.look(&imported.left_out[0]);
}
