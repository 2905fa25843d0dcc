//! On a disk: a plain rename to the run's own path, and a link to put back.
//!
//! `renameat2` with flags is refused by NFS, CephFS and Gluster, so what may not be overwritten is linked
//! and then unlinked. Files are moved, never directories: a push into one that is being moved would lose
//! what it writes. No path leads through a symbolic link or to another file system.

use std::ffi::OsString;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, ResolveFlags, chmodat, chownat, fdatasync, flock, fstat,
    fsync, linkat, mkdirat, openat, openat2, renameat, statat, syncfs, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::drill::{self, Canary, expect, failed};
use super::{Found, LockError, Moved, OWN, ended, journal, quarantine};
use crate::collection::item::{Item, RunId};
use crate::collection::run::Outcome;
use crate::oci::digest::Digest;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::second::Second;
use crate::storage::layout;

mod lock;

pub(super) use lock::Lock;

/// A registry's `rootdirectory`, for whoever collects it.
#[derive(Debug)]
pub struct Vault {
    top: OwnedFd,
}

impl Vault {
    /// Opens a registry's `rootdirectory`. Nothing is written.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(root, flags, Mode::empty())?;
        Ok(Self { top })
    }

    /// Takes items to the quarantine of a run. What was written since it was planned stays where it is.
    /// After the first error nothing more is taken.
    pub fn take(&self, run: RunId, items: &[Item]) -> Moved {
        Moving::new(self, run).until_one_fails(items, Moving::take)
    }

    /// Puts items back from the quarantine of a run. Nothing is overwritten. One that cannot be does not
    /// keep the others from it.
    pub fn put_back(&self, run: RunId, items: &[Item]) -> Moved {
        Moving::new(self, run).each(items, |moving, item| moving.put_back(&item.path()))
    }

    /// Purges items from the quarantine of a run: they are gone. After the first error nothing more is.
    pub fn purge(&self, run: RunId, items: &[Item]) -> Moved {
        Moving::new(self, run).until_one_fails(items, Moving::purge)
    }

    /// Where items are.
    pub fn look(&self, run: RunId, items: &[Item]) -> Moved {
        Moving::new(self, run).each(items, |moving, item| moving.look(&item.path()))
    }

    /// The bytes of a blob that a run holds, if they are no more than a manifest's.
    pub fn read_held(&self, run: RunId, digest: &Digest) -> io::Result<Vec<u8>> {
        let path = format!(
            "{}/{}/{}",
            quarantine(run),
            layout::ROOT,
            layout::data(digest)
        );
        let file = self.within(&path, OFlags::RDONLY)?;
        let mut content = Vec::new();
        let most = MANIFEST_BYTES_MAX as u64 + 1;
        std::fs::File::from(file)
            .take(most)
            .read_to_end(&mut content)?;
        if content.len() > MANIFEST_BYTES_MAX {
            let problem = "it is longer than a manifest may be";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Ok(content)
    }

    /// Moves a canary of our own as what is garbage is moved, puts it back, and reads it whole. An error is
    /// what did not work. It lies in a repository of our own, and nothing of it stays.
    pub fn drill(&self, now: Second) -> Result<(), String> {
        let canary = Canary::new(now);
        let path = canary.item.path();
        self.clear_drill()
            .map_err(failed("what a drill before left cannot be removed"))?;
        let noted = format!("{} {path}", canary.run);
        self.write(drill::NOTE, noted.as_bytes())
            .map_err(failed("it could not be noted"))?;
        self.write_at_path(&path, canary.content.as_bytes())
            .map_err(failed("it could not be written"))?;
        let told = self.drilled(&canary);
        // Whatever came of it, nothing of it stays.
        let cleared = self.clear_drill();
        told?;
        cleared.map_err(failed("it could not be removed"))
    }

    /// Removes what a drill left whose process died.
    pub fn clear_drill(&self) -> io::Result<()> {
        let Some(noted) = self.read(drill::NOTE)? else {
            return Ok(());
        };
        let noted = String::from_utf8_lossy(&noted);
        let (run, path) = noted.split_once(' ').unwrap_or_default();
        // A run of epoch 0 is nobody's but a drill's.
        if let Ok(run) = run.parse::<RunId>()
            && run.epoch == 0
        {
            for path in [path.to_owned(), format!("{}/{path}", quarantine(run))] {
                match self.unlink(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
            self.prune(run)?;
        }
        self.remove(drill::NOTE)
    }

    fn drilled(&self, canary: &Canary) -> Result<(), String> {
        let path = &*canary.item.path();
        let mut moving = Moving::new(self, canary.run);
        expect("taking it", moving.take(&canary.item), Outcome::Held)?;
        expect("looking for it", moving.look(path), Outcome::Held)?;
        expect("putting it back", moving.put_back(path), Outcome::Live)?;
        let file = self.within(path, OFlags::RDONLY);
        let mut read = Vec::new();
        file.map_err(io::Error::from)
            .and_then(|file| std::fs::File::from(file).read_to_end(&mut read))
            .map_err(failed("reading it"))?;
        canary.came_back(Some(&read))
    }

    fn write_at_path(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent(path, true)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = std::fs::File::from(openat(&parent, &*name, flags, mode())?);
        file.write_all(content)?;
        Ok(fsync(&file)?)
    }

    /// Removes a file and its directory, where that is empty then.
    fn unlink(&self, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path, false)?;
        match unlinkat(&parent, &*name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let (directory, _) = path.rsplit_once('/').unwrap_or_default();
        let (above, name) = self.parent(directory, false)?;
        remove_empty(above.as_fd(), &name)
    }

    /// Removes what is empty of a run's quarantine. Whatever is in it stays.
    pub fn prune(&self, run: RunId) -> io::Result<()> {
        match self.directory(&quarantine(run)) {
            Ok(directory) => {
                prune(directory.as_fd())?;
                let all = self.directory(&format!("{OWN}/quarantine"))?;
                remove_empty(all.as_fd(), &run.to_string())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is such a file of ours.
    pub fn has(&self, name: &str) -> io::Result<bool> {
        self.stat(&format!("{OWN}/{name}")).map(|it| it.is_some())
    }

    /// A file of ours in full; `None` where there is none.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = format!("{OWN}/{name}");
        let file = match self.within(&path, OFlags::RDONLY) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut content = Vec::new();
        std::fs::File::from(file).read_to_end(&mut content)?;
        Ok(Some(content))
    }

    /// Writes a file of ours as a whole: it is there as it was or as it is to be, also after a crash.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = format!("{OWN}/{name}");
        let (parent, file) = self.parent(&path, true)?;
        let temporary = format!(".{file}.tmp");
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut new = std::fs::File::from(openat(&parent, &*temporary, flags, mode())?);
        new.write_all(content)?;
        fdatasync(&new)?;
        renameat(&parent, &*temporary, &parent, &*file)?;
        fsync(&parent)?;
        Ok(())
    }

    /// Removes a file of ours; one that is not there is removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let path = format!("{OWN}/{name}");
        let (parent, file) = match self.parent(&path, false) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match unlinkat(&parent, &*file, AtFlags::empty()) {
            Ok(()) => Ok(fsync(&parent)?),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in a directory of ours, in order; none where it is not there.
    pub fn names(&self, directory: &str) -> io::Result<Vec<String>> {
        let directory = match self.directory(&format!("{OWN}/{directory}")) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut names = Vec::new();
        for name in children(directory.as_fd())? {
            names.extend(name.into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The journals of all runs that have not ended. What people put there is theirs.
    pub fn journals(&self) -> io::Result<Found> {
        let run = |name: &str| name.strip_suffix(".jsonl")?.parse::<RunId>().ok();
        let over = self.names("ended")?;
        let mut open = Vec::new();
        for name in self.names("journal")? {
            let Some(run) = run(&name) else { continue };
            let text = self.read(&format!("journal/{name}"))?;
            open.push((run, text.unwrap_or_default()));
        }
        Ok(Found {
            open,
            left: Vec::new(),
            ended: over.iter().filter_map(|name| run(name)).count(),
        })
    }

    /// Puts the journal of a run that has ended aside. One that is not there was.
    pub fn retire(&self, run: RunId) -> io::Result<()> {
        let (from, name) = match self.parent(&journal(run), false) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (to, _) = self.parent(&ended(run), true)?;
        match renameat(&from, &*name, &to, &*name) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        // It may be at both after a crash, and says the same.
        fsync(&to)?;
        Ok(fsync(&from)?)
    }

    /// Appends to a run's journal, synced. What was torn before is cut off first; after an error it is as
    /// it was, or that is tried.
    pub fn append(&self, run: RunId, whole: u64, line: &[u8]) -> io::Result<()> {
        let path = journal(run);
        let (parent, name) = self.parent(&path, true)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = std::fs::File::from(openat(&parent, &*name, flags, mode())?);
        let length = file.metadata()?.len();
        if length < whole {
            return Err(others(&path, "is shorter than it was"));
        }
        if length > whole {
            let mut torn = Vec::new();
            file.seek(SeekFrom::Start(whole))?;
            file.read_to_end(&mut torn)?;
            // A line that is whole was written by somebody who took the lock since: it is not cut off.
            if torn.contains(&b'\n') {
                return Err(others(&path, "has lines of somebody else"));
            }
            file.set_len(whole)?;
        }
        let written = write_at(&file, whole, line).and_then(|()| Ok(fdatasync(&file)?));
        if let Err(error) = written {
            // It may be there, and then what it announces was not begun: whoever reads it looks.
            drop(file.set_len(whole));
            return Err(error);
        }
        if whole == 0 {
            fsync(&parent)?;
        }
        Ok(())
    }

    /// A directory below the root, through no symbolic link.
    fn directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.within(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn within(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let bounds = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match openat2(&self.top, path, flags, Mode::empty(), bounds) {
            // An old kernel, or a sandbox that does not let it through.
            Err(Errno::NOSYS | Errno::PERM) => self.stepwise(path, flags),
            opened => opened,
        }
    }

    /// As [`within`](Self::within), name by name.
    fn stepwise(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let device = fstat(&self.top)?.st_dev;
        let mut at: Option<OwnedFd> = None;
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            if matches!(name, "" | "." | "..") {
                return Err(Errno::INVAL);
            }
            let flags = match names.peek() {
                None => flags,
                Some(_) => OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            };
            let parent = at.as_ref().unwrap_or(&self.top);
            let opened = openat(parent, name, flags, Mode::empty())?;
            if fstat(&opened)?.st_dev != device {
                return Err(Errno::XDEV);
            }
            at = Some(opened);
        }
        at.ok_or(Errno::INVAL)
    }

    /// The directory of a path, made where it is not there and that is wanted, and the file's name.
    fn parent(&self, path: &str, makes: bool) -> Result<(OwnedFd, String), Errno> {
        let (directory, file) = path.rsplit_once('/').ok_or(Errno::INVAL)?;
        match self.directory(directory) {
            Err(Errno::NOENT) if makes => {
                for (at, _) in directory.match_indices('/') {
                    self.make(directory.get(..at).unwrap_or_default())?;
                }
                self.make(directory)?;
                Ok((self.directory(directory)?, file.to_owned()))
            }
            opened => Ok((opened?, file.to_owned())),
        }
    }

    fn make(&self, directory: &str) -> Result<(), Errno> {
        let (parent, name) = match directory.rsplit_once('/') {
            Some((parent, name)) => (Some(self.directory(parent)?), name),
            None => (None, directory),
        };
        let parent = parent.as_ref().unwrap_or(&self.top);
        match mkdirat(parent, name, directory_mode()) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(()),
            Err(error) => return Err(error),
        }
        // The registry has to write into its directories, whoever made them: as into the one above.
        let above = fstat(parent)?;
        let (owner, group) = (Uid::from_raw(above.st_uid), Gid::from_raw(above.st_gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        match chownat(parent, name, Some(owner), Some(group), flags) {
            // Only root may give away what is its own.
            Ok(()) | Err(Errno::PERM) => {}
            Err(error) => return Err(error),
        }
        let mode = Mode::from_raw_mode(above.st_mode);
        chmodat(parent, name, mode, AtFlags::empty())
    }

    /// What is at a path; `None` where nothing is.
    fn stat(&self, path: &str) -> io::Result<Option<rustix::fs::Stat>> {
        let (parent, file) = match self.parent(path, false) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match statat(&parent, &*file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(told) => Ok(Some(told)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A batch that is being moved.
struct Moving<'a> {
    vault: &'a Vault,
    quarantine: String,
    outcomes: Vec<Outcome>,
    failed: Option<io::Error>,
}

impl<'a> Moving<'a> {
    fn new(vault: &'a Vault, run: RunId) -> Self {
        Self {
            vault,
            quarantine: quarantine(run),
            outcomes: Vec::new(),
            failed: None,
        }
    }

    /// Does it to each, whatever comes of the others.
    fn each(
        mut self,
        items: &[Item],
        act: impl Fn(&mut Self, &Item) -> io::Result<Outcome>,
    ) -> Moved {
        for item in items {
            let outcome = act(&mut self, item).unwrap_or_else(|error| {
                self.failed.get_or_insert(error);
                Outcome::Unknown
            });
            self.outcomes.push(outcome);
        }
        self.finish(items.len())
    }

    /// Does it to each until something fails.
    fn until_one_fails(
        self,
        items: &[Item],
        act: impl Fn(&mut Self, &Item) -> io::Result<Outcome>,
    ) -> Moved {
        self.each(items, |moving, item| match moving.failed {
            Some(_) => Ok(Outcome::Unknown),
            None => act(moving, item),
        })
    }

    /// What was moved is on the disk when it is told.
    fn finish(mut self, count: usize) -> Moved {
        if let Err(error) = syncfs(&self.vault.top) {
            self.failed.get_or_insert(error.into());
            self.outcomes = vec![Outcome::Unknown; count];
        }
        Moved {
            outcomes: self.outcomes,
            failed: self.failed,
        }
    }

    fn take(&mut self, item: &Item) -> io::Result<Outcome> {
        let path = item.path();
        let held = format!("{}/{path}", self.quarantine);
        let (from, name) = match self.vault.parent(&path, false) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(Outcome::Gone),
            Err(error) => return Err(error.into()),
        };
        let (to, _) = self.vault.parent(&held, true)?;
        match statat(&to, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Ok(_) => {
                let problem = format!("{held} is there already");
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
            }
            Err(error) => return Err(error.into()),
        }
        match renameat(&from, &*name, &to, &*name) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Outcome::Gone),
            Err(error) => return Err(error.into()),
        }
        let told = statat(&to, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_planned = item
            .modified
            .is_none_or(|it| it == Second::new(told.st_mtime))
            && (!item.class.is_data() || u64::try_from(told.st_size) == Ok(item.bytes));
        if is_planned {
            return Ok(Outcome::Held);
        }
        // Somebody pushed it again since: it is not what nobody needs.
        self.put_back(&path)
    }

    fn put_back(&mut self, path: &str) -> io::Result<Outcome> {
        let held = format!("{}/{path}", self.quarantine);
        let (from, name) = match self.vault.parent(&held, false) {
            Ok(found) => found,
            Err(Errno::NOENT) => return self.look(path),
            Err(error) => return Err(error.into()),
        };
        let (to, _) = self.vault.parent(path, true)?;
        match linkat(&from, &*name, &to, &*name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return self.look(path),
            Err(Errno::EXIST) => {
                if !same(&from, &to, &name)? {
                    // Both stay: the one that the registry serves, and the one for whoever looks into it.
                    return Ok(Outcome::Live);
                }
            }
            // A file system without hard links.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                match statat(&to, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => renameat(&from, &*name, &to, &*name)?,
                    Ok(_) => return Ok(Outcome::Live),
                    Err(error) => return Err(error.into()),
                }
                return Ok(Outcome::Live);
            }
            Err(error) => return Err(error.into()),
        }
        // It is there by both names: it must be there for good before it loses one.
        fsync(&to)?;
        match unlinkat(&from, &*name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(Outcome::Live),
            Err(error) => Err(error.into()),
        }
    }

    fn purge(&mut self, item: &Item) -> io::Result<Outcome> {
        let held = format!("{}/{}", self.quarantine, item.path());
        let (from, name) = match self.vault.parent(&held, false) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(Outcome::Gone),
            Err(error) => return Err(error.into()),
        };
        match unlinkat(&from, &*name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(Outcome::Gone),
            Err(error) => Err(error.into()),
        }
    }

    fn look(&mut self, path: &str) -> io::Result<Outcome> {
        let held = format!("{}/{path}", self.quarantine);
        let live = self.vault.stat(path)?;
        let there = self.vault.stat(&held)?;
        Ok(match (live, there) {
            (None, None) => Outcome::Gone,
            (Some(_), None) => Outcome::Live,
            // It was being put back, and has both names still.
            (Some(live), Some(there)) if live.st_ino == there.st_ino => {
                let (from, name) = self.vault.parent(&held, false)?;
                unlinkat(&from, &*name, AtFlags::empty())?;
                Outcome::Live
            }
            // With or without one that was pushed since.
            (_, Some(_)) => Outcome::Held,
        })
    }
}

/// Whether two files have the same content.
fn same(one: &OwnedFd, other: &OwnedFd, name: &str) -> io::Result<bool> {
    let open = |parent: &OwnedFd| -> io::Result<std::fs::File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(parent, name, flags, Mode::empty())?.into())
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(true);
        }
        let right = right.get_mut(..read).unwrap_or_default();
        other.read_exact(right)?;
        if left.get(..read) != Some(&*right) {
            return Ok(false);
        }
    }
}

fn others(path: &str, problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, format!("{path} {problem}"))
}

fn write_at(file: &std::fs::File, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::pwrite(file, bytes, at)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        at += written as u64;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

fn children(directory: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(&*name, b"." | b"..") {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// Removes the empty directories below one.
fn prune(directory: BorrowedFd<'_>) -> io::Result<()> {
    for name in children(directory)? {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(directory, &*name, flags, Mode::empty()) {
            Ok(inner) => {
                prune(inner.as_fd())?;
                remove_empty(directory, &name.to_string_lossy())?;
            }
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn remove_empty(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn mode() -> Mode {
    Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH
}

fn directory_mode() -> Mode {
    Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH
}

#[cfg(test)]
mod tests;
