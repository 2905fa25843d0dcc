//! Against the real file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

use super::*;
use crate::images::{ImageKey, PullerKey};
use crate::remembered::RememberedImage;
use crate::verify::change::Change;
use crate::verify::finding::{Code, Report, Verdict};
use crate::verify::target::Needs;

fn changed(verdict: Verdict) -> Change {
    Change {
        at: Second::new(verdict as i64),
        verdict,
        code: (verdict == Verdict::Broken).then_some(Code::LayerMissing),
    }
}

#[test]
fn manifests_and_proofs_survive_and_one_process_has_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sub/state.redb");
    let body = Bytes::from_static(b"{}");
    let digest = Digest::of(&body);
    let store = Store::open(&path).unwrap();
    store.put(&digest, &body);
    let image = RememberedImage {
        needs: Needs::These(["linux/arm64".parse().unwrap()].into()),
        report: Arc::new(Report::only(Code::LayerMissing, "gone".to_owned())),
        proven_at: None,
        since: jiff::Timestamp::UNIX_EPOCH.into(),
        asked_at: jiff::Timestamp::UNIX_EPOCH,
        platforms: None,
        changes: [Verdict::Pullable, Verdict::Broken].map(changed).into(),
    };
    let salt = store.remembered().unwrap().salt;
    assert_ne!(salt, Digest::default());
    let mut unsaved = Unsaved::default();
    unsaved.proven.push(("a".into(), Second::new(7)));
    unsaved.images.push((digest, image.clone()));
    unsaved
        .registries
        .insert("r.example".into(), RegistryMemory::default());
    store.remember(&unsaved).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::InUse(_))));
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.get(&digest), Some(body));
    let remembered = store.remembered().unwrap();
    assert_eq!(remembered.salt, salt, "names stay what they were");
    assert_eq!(remembered.proven, [("a".into(), Second::new(7))]);
    assert_eq!(remembered.images, [(digest, image)].into());
    assert_eq!(
        store.registry("r.example").unwrap(),
        Some(RegistryMemory::default())
    );
    let mut unsaved = Unsaved::default();
    unsaved.forgotten.push(digest);
    store.remember(&unsaved).unwrap();
    assert!(store.remembered().unwrap().images.is_empty());
    drop(store);
    std::fs::write(
        &path,
        "garbage that is long enough to be read as a header of something else",
    )
    .unwrap();
    assert!(
        Store::open(&path)
            .unwrap_err()
            .to_string()
            .contains("remove the file")
    );
}

/// A file on a disk that is full now and then.
#[derive(Debug)]
struct Disk {
    file: redb::backends::FileBackend,
    is_full: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> std::io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.room()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.room()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.room()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> std::io::Result<()> {
        self.file.close()
    }
}

/// A store on such a disk.
pub(crate) fn on_disk(path: &Path, is_full: &Arc<AtomicBool>) -> Store {
    let (path, is_full) = (path.to_owned(), Arc::clone(is_full));
    Store::open_by(move || {
        let mut options = std::fs::OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).unwrap();
        Database::builder().create_with_backend(Disk {
            file: redb::backends::FileBackend::new(file)?,
            is_full: Arc::clone(&is_full),
        })
    })
    .unwrap()
}

#[test]
fn after_a_full_disk_all_is_written_that_could_not_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let is_full = Arc::new(AtomicBool::new(false));
    let store = on_disk(&path, &is_full);
    let proven = |name: &str| {
        let mut unsaved = Unsaved::default();
        unsaved.proven.push((name.into(), Second::new(7)));
        unsaved
    };
    store.remember(&proven("before")).unwrap();

    is_full.store(true, Ordering::SeqCst);
    let body = Bytes::from_static(b"{}");
    store.put(&Digest::of(&body), &body);
    assert!(store.remember(&proven("meanwhile")).is_err());
    // From now on redb would refuse everything, reads too.
    assert!(store.remember(&proven("meanwhile")).is_err());

    is_full.store(false, Ordering::SeqCst);
    let names = |store: &Store| -> Vec<String> {
        let proven = store.remembered().unwrap().proven;
        proven.iter().map(|(name, _)| name.to_string()).collect()
    };
    assert_eq!(names(&store), ["before"]);
    store.remember(&proven("after")).unwrap();
    assert_eq!(names(&store), ["after", "before"]);
    assert_eq!(store.get(&Digest::of(&body)), Some(body.clone()));
    drop(store);
    assert_eq!(on_disk(&path, &is_full).get(&Digest::of(&body)), Some(body));
}

#[test]
fn what_waits_for_a_disk_is_bounded_and_the_oldest_goes_first() {
    let mut pending = Pending::default();
    let body = Bytes::from(vec![0; BATCH_BYTES]);
    let digest = |number: usize| Digest::of(&number.to_be_bytes());
    for number in 0..40 {
        pending.push(digest(number), body.clone());
        assert!(pending.is_due());
        let unwritten = std::mem::take(&mut pending);
        pending.put_back(unwritten);
        assert!(!pending.is_due(), "not before there is more");
    }
    assert!(pending.bytes <= PENDING_BYTES_MAX);
    let (last, _) = pending.manifests.last().unwrap();
    assert_eq!(*last, digest(39));
    let bytes: usize = pending.manifests.iter().map(|(_, body)| body.len()).sum();
    assert_eq!(bytes, pending.bytes);
}

#[test]
fn a_reference_is_seen_from_its_first_time_to_its_last() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let store = Store::open(&path).unwrap();
    assert_eq!(store.seen().unwrap(), seen::Seen::default());
    let row = |name: &str, last: Option<i64>| seen::Row {
        reference: name.into(),
        last: last.map(Second::new),
    };
    let write = |at: i64, rows: &[seen::Row]| {
        let changes = seen::Changes {
            at: Some(Second::new(at)),
            rows: rows.to_vec(),
            ..seen::Changes::default()
        };
        store.write_seen(&changes).unwrap();
    };
    write(100, &[row("a", None), row("b", None)]);
    write(200, &[row("a", Some(200))]);
    // A clock that was set back.
    write(50, &[]);
    let seen = store.seen().unwrap();
    assert_eq!(seen.since, Some(Second::new(100)));
    assert_eq!(seen.alive, Some(Second::new(200)));
    assert_eq!(seen.rows, [row("a", Some(200)), row("b", None)]);

    let mut unsaved = Unsaved::default();
    for (name, digest, asked_at) in [("a", "1", 3600), ("a", "2", 90_000), ("b", "1", 7300)] {
        let report = Report {
            digest: Some(Digest::of(digest.as_bytes())),
            ..Report::only(Code::LayerMissing, "gone".to_owned())
        };
        let image = RememberedImage {
            needs: Needs::All,
            report: Arc::new(report),
            proven_at: None,
            since: jiff::Timestamp::UNIX_EPOCH.into(),
            asked_at: jiff::Timestamp::from_second(asked_at).unwrap(),
            platforms: None,
            changes: Box::default(),
        };
        unsaved.images.push((Digest::of(name.as_bytes()), image));
        let reference = format!("registry.example/{name}:1").parse().unwrap();
        unsaved.keys.push(Arc::new(ImageKey {
            reference,
            puller: Arc::new(PullerKey::Own),
        }));
    }
    store.remember(&unsaved).unwrap();
    let led_to = || {
        let rows = store.led_to().unwrap().into_iter();
        let row = |row: seen::LedTo| (row.reference.to_string(), row.first.get(), row.last.get());
        let mut rows: Vec<_> = rows.map(row).collect();
        rows.sort();
        rows
    };
    let of = |name: &str, at: i64| (format!("registry.example/{name}:1"), at, at);
    assert_eq!(led_to(), [of("a", 3600), of("a", 90_000), of("b", 7200)]);
    let expire = |expired: &str, before: i64| {
        let changes = seen::Changes {
            expired: vec![expired.into()],
            digests_before: Some(Second::new(before)),
            ..seen::Changes::default()
        };
        store.write_seen(&changes).unwrap();
    };
    expire("registry.example/b:1", 4000);
    assert_eq!(led_to(), [of("a", 90_000)]);
    assert_eq!(store.seen().unwrap().rows.len(), 2);
    expire("a", 0);
    assert_eq!(store.seen().unwrap().rows, [row("b", None)]);
}
