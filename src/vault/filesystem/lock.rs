//! The storage's own lock: one collector at a time, each with a number of its own.
//!
//! `flock` falls with the process that holds it, also where that is killed, and a call of its that had not
//! ended by then has. That is so on this machine's own disks only: elsewhere a rename may still arrive after
//! its sender died, and whoever comes next waits for it, unless the lock was given back.

use std::io::{self, Read as _, Seek as _};
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use super::{
    Errno, FlockOperation, LockError, OFlags, OWN, Second, Vault, flock, fstat, mode, openat,
    statat, write_at,
};
use rustix::fs::{AtFlags, fdatasync, fstatfs};

/// So long after its last sign of life nothing of a holder's arrives any more, in seconds.
const DRAIN: i64 = 60;

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: OwnedFd,
    state: State,
    drained_at: Option<Second>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// How many there were before, and this one.
    epoch: u32,
    /// Who has it, for people.
    holder: String,
    renewed: Second,
    released: bool,
}

impl Lock {
    pub fn epoch(&self) -> u32 {
        self.state.epoch
    }

    /// When nothing of the holder before can arrive any more; `None` where nothing can.
    pub fn drained_at(&self) -> Option<Second> {
        self.drained_at
    }

    /// Whether it is still ours: the file is the one that was locked, and nobody else has written in it.
    pub fn renew(&mut self, vault: &Vault, now: Second) -> io::Result<bool> {
        let own = fstat(&self.file)?;
        let path = format!("{OWN}/lock");
        let there = match statat(&vault.top, &*path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => there,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if (own.st_ino, own.st_dev) != (there.st_ino, there.st_dev) {
            return Ok(false);
        }
        match read(&self.file)? {
            Some(Ok(state)) if state.epoch == self.state.epoch => {}
            _ => return Ok(false),
        }
        // Once a second is enough to tell whether somebody lives.
        if self.state.renewed != now {
            self.state.renewed = now;
            self.write()?;
        }
        Ok(true)
    }

    /// Gives it back: whoever comes next need not wait.
    pub fn release(mut self) -> io::Result<()> {
        self.state.released = true;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let mut text = serde_json::to_vec(&self.state).expect("it is text and numbers");
        text.push(b'\n');
        // Never longer than before by a part of what was there: a line is read up to its end.
        let file = std::fs::File::from(self.file.try_clone()?);
        write_at(&file, 0, &text)?;
        file.set_len(text.len() as u64)?;
        Ok(fdatasync(&file)?)
    }
}

impl Vault {
    /// Takes the lock, or says who has it.
    pub fn lock(&self, holder: &str, now: Second) -> Result<Lock, LockError> {
        let parent = self.make(OWN).map_err(io::Error::from)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&parent, "lock", flags, mode()).map_err(io::Error::from)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let holder = match read(&file)? {
                    Some(Ok(state)) => state.holder,
                    _ => "another process".to_owned(),
                };
                return Err(LockError::Held(holder));
            }
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let before = match read(&file)? {
            None => None,
            Some(Ok(state)) => Some(state),
            Some(Err(text)) => return Err(LockError::Damaged(text)),
        };
        let epoch = before.as_ref().map_or(0, |before| before.epoch);
        let lock = Lock {
            state: State {
                epoch: epoch.saturating_add(1),
                holder: holder.to_owned(),
                renewed: now,
                released: false,
            },
            drained_at: match before {
                Some(before) if !before.released && !self.is_local()? => {
                    Some(Second::new(before.renewed.get().saturating_add(DRAIN)))
                }
                _ => None,
            },
            file,
        };
        lock.write()?;
        Ok(lock)
    }

    /// Whether what a dead process sent has arrived: the disk is this machine's own.
    fn is_local(&self) -> io::Result<bool> {
        // statfs(2): ext4, xfs, btrfs, tmpfs, overlayfs, zfs, f2fs.
        const LOCAL: [u64; 7] = [
            0xEF53,
            0x5846_5342,
            0x9123_683E,
            0x0102_1994,
            0x794C_7630,
            0x2FC1_2FC1,
            0xF2F5_2010,
        ];
        let kind = u64::try_from(fstatfs(&self.top)?.f_type).unwrap_or_default();
        Ok(LOCAL.contains(&kind))
    }
}

/// What is in it: nothing, what somebody wrote, or something else.
fn read(file: &OwnedFd) -> io::Result<Option<Result<State, String>>> {
    let mut file = std::fs::File::from(file.try_clone()?);
    file.rewind()?;
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(
        serde_json::from_str(line).map_err(|_not_ours| line.chars().take(80).collect()),
    ))
}
