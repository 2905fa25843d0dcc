use std::os::unix::fs::MetadataExt as _;
use std::{fs, io};

use super::*;
use crate::collection::gate::{self, Facts, Permit};
use crate::collection::item::Class;
use crate::gc::refusal::Code;
use crate::oci::digest::Digest;
use crate::vault::{Lock, Vault};

const NOW: i64 = 1_795_312_800;

struct Tree {
    directory: tempfile::TempDir,
    vault: Vault,
}

impl Tree {
    /// Some items, each where a registry has it.
    fn new(items: &[Item]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::filesystem(directory.path()).unwrap();
        let tree = Self { directory, vault };
        for item in items {
            tree.push(item);
        }
        tree
    }

    fn push(&self, item: &Item) {
        let path = self.directory.path().join(item.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![b'x'; usize::try_from(item.bytes).unwrap()]).unwrap();
        let at = fs::FileTimes::new().set_modified(
            std::time::UNIX_EPOCH
                + std::time::Duration::from_secs(item.modified.unwrap().get().unsigned_abs()),
        );
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_times(at).unwrap();
    }

    fn live(&self, item: &Item) -> bool {
        self.directory.path().join(item.path()).exists()
    }

    fn held(&self, item: &Item) -> bool {
        let below = format!("{}/{}", quarantine(run()), item.path());
        self.directory.path().join(below).exists()
    }

    fn lock(&self) -> Lock {
        self.vault.lock("a test", Second::new(NOW)).unwrap()
    }
}

fn disk(tree: &Tree) -> &super::Vault {
    match &tree.vault {
        Vault::Filesystem(vault) => vault,
        Vault::Bucket(_) => unreachable!(),
    }
}

fn run() -> RunId {
    RunId {
        began: Second::new(NOW),
        epoch: 1,
    }
}

fn items(count: u32) -> Vec<Item> {
    let item = |number: u32| Item {
        class: if number.is_multiple_of(2) {
            Class::LayerLink
        } else {
            Class::Blob
        },
        digest: Digest::of(&(number / 2).to_be_bytes()),
        repository: (number.is_multiple_of(2)).then(|| "team/app".into()),
        tag: None,
        bytes: 71,
        modified: Some(Second::new(NOW - 100_000)),
        version: None,
        reason: "untagged".to_owned(),
    };
    (0..count).map(item).collect()
}

fn permit(epoch: u32) -> Permit {
    let mut facts = Facts::default();
    for code in Code::ALL {
        facts.met(code);
    }
    gate::decide(&facts, epoch, Second::new(NOW + 60)).unwrap()
}

#[test]
fn what_was_taken_is_held_and_goes_back_where_it_was() {
    let items = items(4);
    let tree = Tree::new(&items);
    let inodes: Vec<u64> = items
        .iter()
        .map(|item| {
            fs::metadata(tree.directory.path().join(item.path()))
                .unwrap()
                .ino()
        })
        .collect();
    let lock = tree.lock();
    let moved = tree
        .vault
        .take(&lock, run(), &items, &permit(1), Second::new(NOW));
    assert!(moved.failed.is_none(), "{:?}", moved.failed);
    assert_eq!(moved.outcomes, [Outcome::Held; 4]);
    assert!(items.iter().all(|item| tree.held(item) && !tree.live(item)));
    assert_eq!(tree.vault.look(run(), &items).outcomes, [Outcome::Held; 4]);

    let moved = tree.vault.put_back(run(), &items);
    assert_eq!(moved.outcomes, [Outcome::Live; 4]);
    for (item, inode) in items.iter().zip(inodes) {
        let told = fs::metadata(tree.directory.path().join(item.path())).unwrap();
        assert_eq!((told.ino(), told.nlink()), (inode, 1));
        assert!(!tree.held(item));
    }
    // Twice is once.
    assert_eq!(
        tree.vault.put_back(run(), &items).outcomes,
        [Outcome::Live; 4]
    );
    tree.vault.prune(run()).unwrap();
    assert!(!tree.directory.path().join(quarantine(run())).exists());
}

#[test]
fn what_was_pushed_again_stays() {
    let mut all = items(2);
    all[0].modified = Some(Second::new(NOW - 100_000));
    let tree = Tree::new(&all);
    let mut planned = all.clone();
    // The plan saw an older one, and one of another size.
    planned[0].modified = Some(Second::new(NOW - 100_001));
    planned[1].bytes = 70;
    let lock = tree.lock();
    let moved = tree
        .vault
        .take(&lock, run(), &planned, &permit(1), Second::new(NOW));
    assert_eq!(moved.outcomes, [Outcome::Live; 2]);
    assert!(all.iter().all(|item| tree.live(item) && !tree.held(item)));
}

#[test]
fn nothing_is_overwritten_by_what_goes_back() {
    let items = items(2);
    let tree = Tree::new(&items);
    let lock = tree.lock();
    tree.vault
        .take(&lock, run(), &items, &permit(1), Second::new(NOW));
    // The same was pushed again, and something else.
    tree.push(&items[0]);
    let other = tree.directory.path().join(items[1].path());
    fs::write(&other, b"something else").unwrap();
    assert_eq!(tree.vault.look(run(), &items).outcomes, [Outcome::Held; 2]);
    assert_eq!(
        tree.vault.put_back(run(), &items).outcomes,
        [Outcome::Live; 2]
    );
    assert_eq!(fs::read(&other).unwrap(), b"something else");
    // What differs is not thrown away.
    assert!(!tree.held(&items[0]) && tree.held(&items[1]));
}

#[test]
fn what_is_made_in_the_registrys_tree_is_the_registrys() {
    use std::os::unix::fs::PermissionsExt as _;
    let items = items(1);
    let tree = Tree::new(&items);
    let lock = tree.lock();
    tree.vault
        .take(&lock, run(), &items, &permit(1), Second::new(NOW));
    let path = tree.directory.path().join(items[0].path());
    let (leaf, above) = (path.parent().unwrap(), path.ancestors().nth(2).unwrap());
    fs::remove_dir(leaf).unwrap();
    fs::set_permissions(above, fs::Permissions::from_mode(0o2775)).unwrap();
    assert_eq!(tree.vault.put_back(run(), &items).outcomes, [Outcome::Live]);
    let told = fs::metadata(leaf).unwrap();
    assert_eq!(told.permissions().mode() & 0o7777, 0o2775);
    assert_eq!(told.uid(), fs::metadata(above).unwrap().uid());
}

#[test]
fn what_died_between_its_two_names_is_found_live() {
    let items = items(1);
    let tree = Tree::new(&items);
    let lock = tree.lock();
    tree.vault
        .take(&lock, run(), &items, &permit(1), Second::new(NOW));
    let held = tree
        .directory
        .path()
        .join(quarantine(run()))
        .join(items[0].path());
    fs::hard_link(held, tree.directory.path().join(items[0].path())).unwrap();
    assert_eq!(tree.vault.look(run(), &items).outcomes, [Outcome::Live]);
    assert!(tree.live(&items[0]) && !tree.held(&items[0]));
}

#[test]
fn without_a_permit_that_holds_nothing_is_touched() {
    let items = items(2);
    let tree = Tree::new(&items);
    let lock = tree.lock();
    for (permit, now) in [(permit(2), NOW), (permit(1), NOW + 60)] {
        let now = Second::new(now);
        let moved = tree.vault.take(&lock, run(), &items, &permit, now);
        assert_eq!(moved.outcomes, [Outcome::Unknown; 2]);
        assert!(moved.failed.is_some());
        assert!(items.iter().all(|item| tree.live(item)));
    }
    tree.vault
        .take(&lock, run(), &items, &permit(1), Second::new(NOW));
    let purged = tree
        .vault
        .purge(&lock, run(), &items, &permit(2), Second::new(NOW));
    assert_eq!(purged.outcomes, [Outcome::Unknown; 2]);
    assert!(items.iter().all(|item| tree.held(item)));
    let purged = tree
        .vault
        .purge(&lock, run(), &items, &permit(1), Second::new(NOW));
    assert_eq!(purged.outcomes, [Outcome::Gone; 2]);
    assert!(
        items
            .iter()
            .all(|item| !tree.held(item) && !tree.live(item))
    );
}

#[test]
fn no_path_leads_through_a_symbolic_link() {
    let items = items(2);
    let tree = Tree::new(&items);
    let elsewhere = tempfile::tempdir().unwrap();
    let top = tree.directory.path();
    let repository = top.join("docker/registry/v2/repositories/team");
    fs::rename(&repository, elsewhere.path().join("team")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("team"), &repository).unwrap();
    let lock = tree.lock();
    let moved = tree
        .vault
        .take(&lock, run(), &items, &permit(1), Second::new(NOW));
    assert_eq!(
        moved.outcomes,
        [Outcome::Unknown; 2],
        "nothing after the first error"
    );
    assert!(moved.failed.is_some() && tree.live(&items[0]) && tree.live(&items[1]));
    // And by the way that is gone name by name.
    let path = "docker/registry/v2/repositories/team";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let stepwise = |path| below::stepwise(disk(&tree).top.as_fd(), path, flags);
    assert!(stepwise(path).is_err());
    assert!(stepwise("docker/registry").is_ok());
    assert!(stepwise("docker/../docker").is_err());
}

#[test]
fn one_process_has_the_lock_and_each_has_its_number() {
    let tree = Tree::new(&[]);
    let mut first = tree.lock();
    assert_eq!((first.epoch(), first.drained_at()), (1, None));
    assert!(first.renew(&tree.vault, Second::new(NOW + 5)).unwrap());
    let refused = tree.vault.lock("another", Second::new(NOW)).unwrap_err();
    assert!(matches!(refused, LockError::Held(holder) if holder == "a test"));
    first.release().unwrap();
    let second = tree.vault.lock("another", Second::new(NOW)).unwrap();
    assert_eq!((second.epoch(), second.drained_at()), (2, None));
    drop(second);
    // It died: on this machine's own disk nothing of it can still arrive.
    let mut third = tree.lock();
    assert_eq!(third.epoch(), 3);
    // Somebody took the file away, and has a lock of their own.
    fs::remove_file(tree.directory.path().join("pullproof/lock")).unwrap();
    let fourth = tree.lock();
    assert!(!third.renew(&tree.vault, Second::new(NOW)).unwrap());
    drop(fourth);
    fs::write(tree.directory.path().join("pullproof/lock"), "mine").unwrap();
    let damaged = tree.vault.lock("another", Second::new(NOW)).unwrap_err();
    assert!(matches!(damaged, LockError::Damaged(_)), "{damaged}");
}

#[test]
fn a_journal_is_gone_on_with_after_what_is_whole() {
    let tree = Tree::new(&[]);
    let file = tree.directory.path().join(journal(run()));
    tree.vault.append(run(), 0, 0, b"one\n").unwrap();
    tree.vault.append(run(), 1, 4, b"two\n").unwrap();
    fs::write(&file, b"one\ntwo\nthr").unwrap();
    tree.vault.append(run(), 2, 8, b"three\n").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"one\ntwo\nthree\n");
    // What somebody wrote who took the lock since is not cut off, and no hole is made.
    for (lines, whole) in [(2, 8), (4, 20)] {
        let told = tree.vault.append(run(), lines, whole, b"other\n");
        assert_eq!(told.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"one\ntwo\nthree\n");
    }
    let whole = b"one\ntwo\nthree\n".to_vec();
    let found = tree.vault.journals().unwrap();
    assert_eq!((found.open, found.ended), (vec![(run(), whole.clone())], 0));
    // Once it is over, it is there for people.
    for _ in 0..2 {
        tree.vault.retire(run()).unwrap();
        let found = tree.vault.journals().unwrap();
        assert_eq!((found.open, found.ended), (Vec::new(), 1));
    }
    let aside = tree.directory.path().join(ended(run()));
    assert_eq!(fs::read(aside).unwrap(), whole);
    assert!(disk(&tree).names("nothing").unwrap().is_empty());
    tree.vault.write("pause", b"why").unwrap();
    assert!(tree.vault.has("pause").unwrap());
    assert_eq!(tree.vault.read("pause").unwrap().unwrap(), b"why");
    tree.vault.remove("pause").unwrap();
    tree.vault.remove("pause").unwrap();
    assert!(!tree.vault.has("pause").unwrap() && tree.vault.read("pause").unwrap().is_none());
}
