//! What is below a directory: through no symbolic link, and on no other file system.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, fchmod, fchown, fstat, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

/// A directory.
pub(super) fn directory(top: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    open(top, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

pub(super) fn open(top: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let bounds = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match openat2(top, path, flags, Mode::empty(), bounds) {
        // An old kernel, or a sandbox that does not let it through.
        Err(Errno::NOSYS | Errno::PERM) => stepwise(top, path, flags),
        opened => opened,
    }
}

/// As [`open`], name by name.
pub(super) fn stepwise(top: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let device = fstat(top)?.st_dev;
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
        let parent = at.as_ref().map_or(top, OwnedFd::as_fd);
        let opened = openat(parent, name, flags, Mode::empty())?;
        if fstat(&opened)?.st_dev != device {
            return Err(Errno::XDEV);
        }
        at = Some(opened);
    }
    at.ok_or(Errno::INVAL)
}

/// A directory, made with what is missing above it where it is not there: mostly nothing is. Whether it was made.
pub(super) fn made(top: BorrowedFd<'_>, path: &str) -> Result<(OwnedFd, bool), Errno> {
    let (above, name) = match path.rsplit_once('/') {
        Some((above, name)) => {
            let opened = match directory(top, above) {
                Err(Errno::NOENT) => made(top, above).map(|(made, _)| made),
                opened => opened,
            };
            (Some(opened?), name)
        }
        None => (None, path),
    };
    let above = above.as_ref().map_or(top, OwnedFd::as_fd);
    match mkdirat(above, name, MODE) {
        Ok(()) => {}
        // Whoever made it, it may be anything.
        Err(Errno::EXIST) => return Ok((directory(top, path)?, false)),
        Err(error) => return Err(error),
    }
    // The registry has to write into its directories, whoever made them: as into the one above.
    let wanted = fstat(above)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let new = openat(above, name, flags, Mode::empty())?;
    let is = fstat(&new)?;
    if (is.st_uid, is.st_gid) != (wanted.st_uid, wanted.st_gid) {
        let (owner, group) = (Uid::from_raw(wanted.st_uid), Gid::from_raw(wanted.st_gid));
        match fchown(&new, Some(owner), Some(group)) {
            // Only root may give away what is its own.
            Ok(()) | Err(Errno::PERM) => {}
            Err(error) => return Err(error),
        }
    }
    if is.st_mode != wanted.st_mode {
        fchmod(&new, Mode::from_raw_mode(wanted.st_mode))?;
    }
    Ok((new, true))
}

/// Of what is made, before it is as what is above it.
const MODE: Mode = Mode::RWXU
    .union(Mode::RGRP)
    .union(Mode::XGRP)
    .union(Mode::ROTH)
    .union(Mode::XOTH);
