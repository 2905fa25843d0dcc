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
    AtFlags, FlockOperation, Mode, OFlags, fdatasync, flock, fstat, fsync, openat, renameat,
    statat, unlinkat,
};
use rustix::io::Errno;

use super::drill::{self, Canary, expect, failed};
use super::{Found, LockError, Moved, OWN, ended, journal, quarantine};
use crate::collection::item::{Item, RunId};
use crate::collection::run::Outcome;
use crate::oci::digest::Digest;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::second::Second;
use crate::storage::layout;

mod below;
mod lock;
mod moving;

pub(super) use lock::Lock;
use moving::Moving;

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

    /// A directory below the root.
    fn directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        below::directory(self.top.as_fd(), path)
    }

    fn within(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        below::open(self.top.as_fd(), path, flags)
    }

    /// The directory of a path, made where it is not there and that is wanted, and the file's name.
    fn parent(&self, path: &str, makes: bool) -> Result<(OwnedFd, String), Errno> {
        let (directory, file) = path.rsplit_once('/').ok_or(Errno::INVAL)?;
        let opened = match self.directory(directory) {
            Err(Errno::NOENT) if makes => self.make(directory),
            opened => opened,
        };
        Ok((opened?, file.to_owned()))
    }

    /// A directory, made where it is not there.
    fn make(&self, directory: &str) -> Result<OwnedFd, Errno> {
        below::made(self.top.as_fd(), directory).map(|(made, _)| made)
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

#[cfg(test)]
mod tests;
