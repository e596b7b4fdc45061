//! A disk that crashes at any step and forgets what was not synced, and what the store
//! makes of it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use zeroize::Zeroizing;

use super::disk::{Disk, Named};
use super::tree::{Closed, Tree};
use crate::{Entry, Key, Revision, StorageError, Txn, Write};

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}

/// What a name meant since its directory was synced, the last one what it means now.
type Meanings = Vec<Option<usize>>;

#[derive(Debug)]
enum Node {
    Dir(BTreeMap<String, Meanings>),
    File { synced: Vec<u8>, seen: Vec<u8> },
}

/// What goes wrong, counted in steps of the disk.
#[derive(Debug)]
enum Fate {
    Dies(usize),
    Full(usize),
    Lives,
}

#[derive(Debug)]
struct Platter {
    nodes: Vec<Node>,
    fate: Fate,
}

#[derive(Clone, Debug)]
struct Simulated(Arc<Mutex<Platter>>);

impl Simulated {
    fn new() -> Self {
        let nodes = vec![Node::Dir(BTreeMap::new())];
        let fate = Fate::Lives;
        Self(Arc::new(Mutex::new(Platter { nodes, fate })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    /// Power cut: of every name and every file some state since the last sync survives.
    fn power_cut(&self, random: &mut Random) {
        for node in &mut self.platter().nodes {
            match node {
                Node::Dir(names) => {
                    for meanings in names.values_mut() {
                        let survivor = meanings[random.below(meanings.len())];
                        *meanings = vec![survivor];
                    }
                }
                Node::File { synced, seen } if synced != seen => {
                    let keep = random.below(seen.len() + 1);
                    let mut torn = seen[..keep].to_vec();
                    if random.below(2) == 0 {
                        torn.resize(seen.len(), 0);
                    }
                    *synced = torn.clone();
                    *seen = torn;
                }
                Node::File { .. } => {}
            }
        }
    }
}

impl Platter {
    /// One step of the disk, if it still takes one.
    fn step(&mut self) -> io::Result<()> {
        match &mut self.fate {
            Fate::Dies(0) => Err(io::Error::other("dead")),
            Fate::Dies(left) => {
                *left -= 1;
                Ok(())
            }
            Fate::Full(_) | Fate::Lives => Ok(()),
        }
    }

    fn room(&mut self) -> io::Result<()> {
        match &mut self.fate {
            Fate::Full(0) => Err(io::ErrorKind::StorageFull.into()),
            Fate::Full(left) => {
                *left -= 1;
                Ok(())
            }
            Fate::Dies(_) | Fate::Lives => Ok(()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = 0;
        for name in path {
            let Node::Dir(names) = &self.nodes[at] else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            let meanings = names.get(name.to_str().unwrap());
            let now = meanings.and_then(|meanings| *meanings.last().unwrap());
            at = now.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    fn names(&mut self, dir: &Path) -> io::Result<&mut BTreeMap<String, Meanings>> {
        let at = self.find(dir)?;
        match &mut self.nodes[at] {
            Node::Dir(names) => Ok(names),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn mean(&mut self, path: &Path, meaning: Option<usize>) -> io::Result<()> {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let names = self.names(path.parent().unwrap())?;
        names
            .entry(name)
            .or_insert_with(|| vec![None])
            .push(meaning);
        Ok(())
    }

    fn create(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        if self.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.nodes.push(node);
        let made = self.nodes.len() - 1;
        self.mean(path, Some(made))?;
        Ok(made)
    }
}

impl Disk for Simulated {
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, Named)>> {
        let mut platter = self.platter();
        platter.step()?;
        let there: Vec<(String, usize)> = platter
            .names(dir)?
            .iter()
            .filter_map(|(name, meanings)| Some((name.clone(), (*meanings.last()?)?)))
            .collect();
        let with_kind = there.into_iter().map(|(name, at)| {
            let named = match platter.nodes[at] {
                Node::Dir(_) => Named::Directory,
                Node::File { .. } => Named::File,
            };
            (name, named)
        });
        Ok(with_kind.collect())
    }

    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut platter = self.platter();
        platter.step()?;
        let at = platter.find(path)?;
        match &platter.nodes[at] {
            Node::File { seen, .. } => Ok(Zeroizing::new(seen.clone())),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn create_dir(&mut self, dir: &Path) -> io::Result<bool> {
        let mut platter = self.platter();
        platter.step()?;
        match platter.create(dir, Node::Dir(BTreeMap::new())) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn create_synced(&mut self, path: &Path, parts: [&[u8]; 2]) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step()?;
        let (synced, seen) = (Vec::new(), Vec::new());
        let at = platter.create(path, Node::File { synced, seen })?;
        for part in parts {
            platter.step()?;
            let room = platter.room();
            let Node::File { seen, .. } = &mut platter.nodes[at] else {
                unreachable!("made as a file");
            };
            let fits = if room.is_ok() {
                part.len()
            } else {
                part.len() / 2
            };
            seen.extend_from_slice(&part[..fits]);
            room?;
        }
        platter.step()?;
        if let Node::File { synced, seen } = &mut platter.nodes[at] {
            synced.clone_from(seen);
        }
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step()?;
        let at = platter.find(from)?;
        platter.mean(to, Some(at))?;
        platter.mean(from, None)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step()?;
        platter.find(path)?;
        platter.mean(path, None)
    }

    fn remove_dir(&mut self, dir: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step()?;
        let names = platter.names(dir)?;
        let empty = names
            .values()
            .all(|meanings| meanings.last() == Some(&None));
        if !empty {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        platter.mean(dir, None)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step()?;
        for meanings in platter.names(dir)?.values_mut() {
            meanings.drain(..meanings.len() - 1);
        }
        Ok(())
    }

    fn sync_all(&mut self) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step()?;
        for node in &mut platter.nodes {
            match node {
                Node::Dir(names) => {
                    for meanings in names.values_mut() {
                        meanings.drain(..meanings.len() - 1);
                    }
                }
                Node::File { synced, seen } => synced.clone_from(seen),
            }
        }
        Ok(())
    }
}

type Contents = BTreeMap<String, Vec<u8>>;

/// The store after a crash or a refusal: it must be one of the two.
struct Expected {
    before: Contents,
    after: Contents,
}

fn contents(entries: &[Entry]) -> Contents {
    let each = entries.iter().map(|entry| {
        let bytes = entry.value.as_bytes().to_vec();
        (entry.key.to_string(), bytes)
    });
    each.collect()
}

fn with(mut contents: Contents, writes: &[Write]) -> Contents {
    for write in writes {
        match write {
            Write::Delete(key) => contents.remove(key.as_str()),
            Write::Put(key, value) => contents.insert(key.to_string(), value.as_bytes().to_vec()),
        };
    }
    contents
}

/// Some writes to a few keys in a few directories; deletes of what is there only.
fn some_writes(random: &mut Random, contents: &Contents) -> Vec<Write> {
    const KEYS: [&str; 8] = ["a", "a/b", "a/c", "d/e/f", "d/e/g", "d/h", "i/j", "/k"];
    let count = if random.below(2) == 0 {
        1
    } else {
        2 + random.below(3)
    };
    let start = random.below(KEYS.len());
    let keys = (0..count).map(|at| KEYS[(start + at) % KEYS.len()]);
    let mut txn = Txn::new();
    for name in keys {
        let key = Key::new(name).unwrap();
        txn = if contents.contains_key(name) && random.below(3) == 0 {
            txn.delete(key)
        } else {
            let len = random.below(40);
            let byte = u8::try_from(random.below(256)).unwrap();
            txn.put(key, vec![byte; len])
        };
    }
    txn.into_writes()
}

fn open(disk: &Simulated) -> Result<(Tree<Simulated>, Vec<Entry>), StorageError> {
    Tree::open(disk.clone(), Path::new("/store"), Closed::Unknown)
}

/// Opens after a crash, crashing again while opening now and then.
fn recover(disk: &Simulated, random: &mut Random) -> (Tree<Simulated>, Vec<Entry>) {
    loop {
        // The process dies, and the machine with it or not.
        if random.below(3) > 0 {
            disk.power_cut(random);
        }
        disk.platter().fate = match random.below(3) {
            0 => Fate::Dies(random.below(30)),
            _ => Fate::Lives,
        };
        match open(disk) {
            Ok(opened) => return opened,
            Err(StorageError::Io { .. } | StorageError::Indeterminate { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn ten_thousand_crashes_lose_and_tear_nothing() {
    let mut random = Random(11);
    let disk = Simulated::new();
    let (mut tree, _) = open(&disk).unwrap();
    let mut now = Contents::new();
    let mut revision = Revision::default();
    let (mut kept, mut crashes) = (0, 0);
    while crashes < 10_000 {
        disk.platter().fate = Fate::Dies(random.below(60));
        let expected = loop {
            let writes = some_writes(&mut random, &now);
            let after = with(now.clone(), &writes);
            revision = revision.next();
            match tree.commit(&writes, revision) {
                // A journal that could not be finished ends in a crash as well.
                Ok(()) if tree.is_settled() => now = after,
                Ok(()) => {
                    let before = after.clone();
                    break Expected { before, after };
                }
                Err(_) => break Expected { before: now, after },
            }
        };
        crashes += 1;
        let (recovered, entries) = recover(&disk, &mut random);
        let found = contents(&entries);
        assert!(
            found == expected.before || found == expected.after,
            "crash {crashes}: {found:?} is neither {:?} nor {:?}",
            expected.before,
            expected.after
        );
        kept += usize::from(found == expected.after);
        assert!(recovered.reserved() >= revision || found == expected.before);
        let newest = entries.iter().map(|entry| entry.revision).max();
        assert!(newest <= Some(recovered.reserved()));
        (tree, now) = (recovered, found);
        revision = revision.max(tree.reserved());
        // Nodes nobody can reach any more are of no interest.
        if crashes % 20 == 0 {
            tree = rewrite(&disk, &now, revision);
        }
    }
    // Both outcomes must have been tried.
    assert!((500..9_500).contains(&kept), "{kept}");
}

/// The same contents on an empty disk.
fn rewrite(disk: &Simulated, now: &Contents, revision: Revision) -> Tree<Simulated> {
    let fresh = Simulated::new();
    std::mem::swap(&mut *disk.platter(), &mut *fresh.platter());
    let (mut tree, _) = open(disk).unwrap();
    for (name, value) in now {
        let put = Write::Put(Key::new(name).unwrap(), value.clone().into());
        tree.commit(&[put], revision).unwrap();
    }
    tree
}

#[test]
fn a_full_disk_keeps_the_old_values() {
    let mut random = Random(7);
    let mut refused = 0;
    for _ in 0..500 {
        let disk = Simulated::new();
        let (mut tree, _) = open(&disk).unwrap();
        let mut now = Contents::new();
        let mut revision = Revision::default();
        disk.platter().fate = Fate::Full(random.below(80));
        for step in 0..40 {
            if step == 30 {
                disk.platter().fate = Fate::Lives;
            }
            let writes = some_writes(&mut random, &now);
            revision = revision.next();
            match tree.commit(&writes, revision) {
                Ok(()) => now = with(now, &writes),
                Err(StorageError::Io { source, .. }) => {
                    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
                    assert!(step < 30);
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        disk.power_cut(&mut random);
        let (_, entries) = open(&disk).unwrap();
        assert_eq!(contents(&entries), now);
    }
    assert!(refused > 500, "{refused}");
}
