//! A batch of items, moved one after the other.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Mode, OFlags, fsync, linkat, openat, renameat, statat, syncfs, unlinkat,
};
use rustix::io::Errno;

use super::{Moved, Vault, below, quarantine};
use crate::collection::item::{Item, RunId};
use crate::collection::run::Outcome;
use crate::second::Second;

/// So many directories are kept open: a process may have a thousand files.
const OPENED_MAX: usize = 64;

/// A batch that is being moved.
pub(super) struct Moving<'a> {
    vault: &'a Vault,
    quarantine: String,
    /// Directories that many paths go through, opened once.
    opened: HashMap<String, Rc<OwnedFd>>,
    outcomes: Vec<Outcome>,
    failed: Option<io::Error>,
}

impl<'a> Moving<'a> {
    pub(super) fn new(vault: &'a Vault, run: RunId) -> Self {
        Self {
            vault,
            quarantine: quarantine(run),
            opened: HashMap::new(),
            outcomes: Vec::new(),
            failed: None,
        }
    }

    /// Does it to each, whatever comes of the others.
    pub(super) fn each(
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
    pub(super) fn until_one_fails(
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

    pub(super) fn take(&mut self, item: &Item) -> io::Result<Outcome> {
        let path = item.path();
        let held = format!("{}/{path}", self.quarantine);
        let (near, rest) = match self.near(&path, false) {
            Err(Errno::NOENT) => return Ok(Outcome::Gone),
            near => near?,
        };
        let (directory, name) = rest.rsplit_once('/').ok_or(Errno::INVAL)?;
        let from = match below::directory(near.as_fd(), directory) {
            Err(Errno::NOENT) => return Ok(Outcome::Gone),
            opened => opened?,
        };
        let (near, _) = self.near(&held, true)?;
        let (to, is_new) = below::made(near.as_fd(), directory)?;
        if !is_new && is_there(&to, name)? {
            let problem = format!("{held} is there already");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
        }
        match renameat(&from, name, &to, name) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Outcome::Gone),
            Err(error) => return Err(error.into()),
        }
        let told = statat(&to, name, AtFlags::SYMLINK_NOFOLLOW)?;
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

    /// The directory of all digests that a path leads through, opened once in a batch, and the rest of the path.
    fn near<'p>(&mut self, path: &'p str, makes: bool) -> Result<(Rc<OwnedFd>, &'p str), Errno> {
        const ALGORITHM: &str = "/sha256";
        let at = path.rfind("/sha256/").ok_or(Errno::INVAL)? + ALGORITHM.len();
        let (directory, rest) = path.split_at_checked(at).ok_or(Errno::INVAL)?;
        let rest = rest.trim_start_matches('/');
        if let Some(opened) = self.opened.get(directory) {
            return Ok((Rc::clone(opened), rest));
        }
        let opened = match self.vault.directory(directory) {
            Err(Errno::NOENT) if makes => self.vault.make(directory),
            opened => opened,
        };
        let opened = Rc::new(opened?);
        // A batch through many repositories.
        if self.opened.len() >= OPENED_MAX {
            self.opened.clear();
        }
        self.opened.insert(directory.to_owned(), Rc::clone(&opened));
        Ok((opened, rest))
    }

    pub(super) fn put_back(&mut self, path: &str) -> io::Result<Outcome> {
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
                if !is_there(&to, &name)? {
                    renameat(&from, &*name, &to, &*name)?;
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

    pub(super) fn purge(&mut self, item: &Item) -> io::Result<Outcome> {
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

    pub(super) fn look(&mut self, path: &str) -> io::Result<Outcome> {
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

fn is_there(directory: &OwnedFd, name: &str) -> io::Result<bool> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
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
