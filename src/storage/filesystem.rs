//! The tree on a disk.
//!
//! Directories are opened from their parents and never through a symbolic link, and what lies on another
//! file system is not entered: nothing leads outside the tree. Blobs are told by their directory, and
//! asked for their size; links are read, since what is in one may not be what its path says.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, StatxFlags, fstat, fstatvfs, openat,
    openat2, statat, statx,
};
use rustix::io::Errno;

use super::layout::{ROOT, data};
use super::{Listed, Seen, Unlisted, pool};
use crate::clock::{Clock as _, SystemClock};
use crate::oci::digest::Digest;
use crate::second::Second;

/// A link has 71 bytes; what is longer is none.
const LINK_BYTES_MAX: usize = 128;

/// Of a repository's links and tags a thread reads so many before others may.
const ENTRIES_AT_ONCE: usize = 256;

/// What a registry writes into a link.
const DIGEST_BYTES: usize = "sha256:".len() + 64;

/// Of a directory's entries so much is asked for at once.
const ENTRIES_BYTES: usize = 32 << 10;

/// A directory that is to be read. Of those that are many only the name is kept until then: a process may
/// have 1,024 files open.
enum Task {
    /// `blobs/sha256/ab`
    Shard(Arc<Place>, CString),
    /// A part of a repository's name, or the whole.
    Names(Arc<Place>, CString),
    /// All layers, revisions or tags of a repository.
    All(Kind, Arc<str>, Place),
    /// Some of them, where they are many.
    Some(Kind, Arc<str>, Arc<Place>, Vec<Entry>),
    Uploads(Arc<str>, Place),
}

/// What a repository has.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Layers,
    Revisions,
    Tags,
}

/// What is in a directory.
type Entry = (CString, FileType);

/// A directory, and its path below the root.
struct Place {
    directory: OwnedFd,
    path: String,
}

/// A tree on a disk.
#[derive(Debug)]
pub struct Filesystem {
    /// The registry's `rootdirectory`.
    top: OwnedFd,
    /// Below it, where the tree begins.
    root: OwnedFd,
    /// Of the root's own file system.
    device: u64,
}

impl Filesystem {
    /// Opens a registry's `rootdirectory`.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(root, flags, Mode::empty())?;
        let root = openat(&top, ROOT, flags, Mode::empty())?;
        let device = fstat(&root)?.st_dev;
        Ok(Self { top, root, device })
    }

    /// All that is there, in parts and in no order. Links are read, and no blob is.
    pub fn list(
        &self,
        threads: usize,
        take: &(dyn Fn(Vec<Listed>) + Sync),
    ) -> Result<(), Unlisted> {
        let mut first = Vec::new();
        let mut found = Vec::new();
        self.top(&mut first, &mut found)?;
        take(found);
        pool::run(threads, first, |task, more: &mut Vec<Task>| {
            let mut found = Vec::new();
            self.work(task, more, &mut found)?;
            take(found);
            Ok(())
        })
    }

    /// A blob's bytes, if they are no more than `most`; of kind `InvalidData` if they are.
    pub fn read(&self, digest: &Digest, most: u64) -> io::Result<Vec<u8>> {
        let file = openat(&self.root, data(digest), file_flags(), Mode::empty())?;
        let size = u64::try_from(fstat(&file)?.st_size).unwrap_or(u64::MAX);
        if size > most {
            let problem = format!("it has {size} bytes, and at most {most} are read");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or_default()];
        // What is cut meanwhile is not read as less than it was.
        io::Read::read_exact(&mut std::fs::File::from(file), &mut content)?;
        Ok(content)
    }

    /// The size of a blob; `None` where it is not there.
    pub fn blob(&self, digest: &Digest) -> io::Result<Option<Seen>> {
        let told = statat(&self.root, data(digest), AtFlags::SYMLINK_NOFOLLOW);
        match told {
            Ok(told) => {
                let now = SystemClock.now().as_second();
                // What is no file no push has written.
                let is_file = FileType::from_raw_mode(told.st_mode) == FileType::RegularFile;
                Ok(Some(Seen {
                    size: u64::try_from(told.st_size).unwrap_or_default(),
                    age: now.checked_sub(told.st_mtime).filter(|_| is_file),
                }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes that are free for whoever is not root.
    pub fn free_bytes(&self) -> Option<u64> {
        let told = fstatvfs(&self.root).ok()?;
        told.f_bavail.checked_mul(told.f_frsize)
    }

    /// Whether there is such a file or directory below the `rootdirectory`.
    pub fn has(&self, path: &str) -> io::Result<bool> {
        match statat(&self.top, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn top(&self, first: &mut Vec<Task>, found: &mut Vec<Listed>) -> Result<(), Unlisted> {
        // Fail closed: a root without one of them is no registry's, or not all of it is mounted.
        let repositories = self.enter(self.root.as_fd(), "", c"repositories")?;
        let blobs = self.enter(self.root.as_fd(), "", c"blobs")?;
        for (name, kind) in entries(&blobs)? {
            leads_nowhere(&blobs, &name, kind)?;
            if kind == FileType::Directory && name.as_c_str() == c"sha256" {
                let all = self.enter(blobs.directory.as_fd(), &blobs.path, &name)?;
                let all = Arc::new(all);
                for (name, kind) in entries(&all)? {
                    leads_nowhere(&all, &name, kind)?;
                    if kind == FileType::Directory {
                        first.push(Task::Shard(Arc::clone(&all), name));
                    } else {
                        found.push(odd(None, &all, &name, kind));
                    }
                }
            } else {
                found.push(odd(None, &blobs, &name, kind));
            }
        }
        self.names(repositories, first, found)
    }

    fn work(
        &self,
        task: Task,
        more: &mut Vec<Task>,
        found: &mut Vec<Listed>,
    ) -> Result<(), Unlisted> {
        match task {
            Task::Shard(parent, name) => self.shard(&self.inner(&parent, &name)?, found),
            Task::Names(parent, name) => self.names(self.inner(&parent, &name)?, more, found),
            Task::All(kind, repository, place) => {
                let mut all = entries(&place)?;
                if all.len() <= ENTRIES_AT_ONCE {
                    return self.some(kind, &repository, &place, all, found);
                }
                let place = Arc::new(place);
                while !all.is_empty() {
                    let some = all.split_off(all.len().saturating_sub(ENTRIES_AT_ONCE));
                    let (repository, place) = (Arc::clone(&repository), Arc::clone(&place));
                    more.push(Task::Some(kind, repository, place, some));
                }
                Ok(())
            }
            Task::Some(kind, repository, place, some) => {
                self.some(kind, &repository, &place, some, found)
            }
            Task::Uploads(repository, place) => self.uploads(&repository, &place, found),
        }
    }

    fn some(
        &self,
        kind: Kind,
        repository: &Arc<str>,
        place: &Place,
        some: Vec<Entry>,
        found: &mut Vec<Listed>,
    ) -> Result<(), Unlisted> {
        let repository_of = || Arc::clone(repository);
        match kind {
            Kind::Layers => self.links(repository, place, some, found, |digest, modified| {
                Listed::Layer {
                    repository: repository_of(),
                    digest,
                    modified,
                }
            }),
            Kind::Revisions => self.links(repository, place, some, found, |digest, modified| {
                Listed::Revision {
                    repository: repository_of(),
                    digest,
                    modified,
                }
            }),
            Kind::Tags => {
                for (name, kind) in some {
                    if kind == FileType::Directory {
                        let tag = self.inner(place, &name)?;
                        self.tag(repository, &tag, found)?;
                    } else {
                        found.push(odd(Some(repository), place, &name, kind));
                    }
                }
                Ok(())
            }
        }
    }

    /// Blobs are directories with their data in them.
    fn shard(&self, place: &Place, found: &mut Vec<Listed>) -> Result<(), Unlisted> {
        let shard = place.path.rsplit('/').next().unwrap_or_default().as_bytes();
        for (name, kind) in entries(place)? {
            leads_nowhere(place, &name, kind)?;
            let digest = digest(&name).filter(|_| name.to_bytes().starts_with(shard));
            let Some(digest) = digest.filter(|_| kind == FileType::Directory) else {
                found.push(odd(None, place, &name, kind));
                continue;
            };
            let data = joined(&name, "data");
            let wanted = StatxFlags::TYPE | StatxFlags::SIZE | StatxFlags::MTIME;
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
            match statx(&place.directory, data.as_c_str(), flags, wanted) {
                Ok(told)
                    if FileType::from_raw_mode(told.stx_mode.into()) != FileType::RegularFile =>
                {
                    let kind = FileType::from_raw_mode(told.stx_mode.into());
                    leads_nowhere(place, &data, kind)?;
                    found.push(odd(None, place, &data, kind));
                }
                Ok(told) => {
                    let device = rustix::fs::makedev(told.stx_dev_major, told.stx_dev_minor);
                    if device != self.device {
                        return Err(elsewhere(place, &data));
                    }
                    found.push(Listed::Blob {
                        digest,
                        size: told.stx_size,
                        modified: Some(Second::new(told.stx_mtime.tv_sec)),
                    });
                }
                // An upload that is being moved into its place, or a deletion that is half done.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(unlisted(place, &data, error.into())),
            }
        }
        Ok(())
    }

    /// A part of a name: what begins with `_` is of the repository that it names.
    fn names(
        &self,
        place: Place,
        more: &mut Vec<Task>,
        found: &mut Vec<Listed>,
    ) -> Result<(), Unlisted> {
        let name = place.path.strip_prefix("repositories").unwrap_or_default();
        let repository: Arc<str> = name.trim_start_matches('/').into();
        let place = Arc::new(place);
        for (entry, kind) in entries(&place)? {
            leads_nowhere(&place, &entry, kind)?;
            match entry.to_bytes() {
                _ if kind != FileType::Directory => {
                    found.push(odd(Some(&repository), &place, &entry, kind));
                }
                b"_layers" => {
                    let inner = self.inner(&place, &entry)?;
                    self.algorithms(&repository, &inner, Kind::Layers, more, found)?;
                }
                b"_manifests" => {
                    let inner = self.inner(&place, &entry)?;
                    self.manifests(&repository, &inner, more, found)?;
                }
                b"_uploads" => {
                    let inner = self.inner(&place, &entry)?;
                    more.push(Task::Uploads(Arc::clone(&repository), inner));
                }
                [b'_', ..] => found.push(odd(Some(&repository), &place, &entry, kind)),
                _ => more.push(Task::Names(Arc::clone(&place), entry)),
            }
        }
        Ok(())
    }

    fn manifests(
        &self,
        repository: &Arc<str>,
        place: &Place,
        more: &mut Vec<Task>,
        found: &mut Vec<Listed>,
    ) -> Result<(), Unlisted> {
        for (entry, kind) in entries(place)? {
            leads_nowhere(place, &entry, kind)?;
            let name = entry.to_bytes();
            if kind != FileType::Directory || !matches!(name, b"revisions" | b"tags") {
                found.push(odd(Some(repository), place, &entry, kind));
                continue;
            }
            let inner = self.inner(place, &entry)?;
            if name == b"tags" {
                more.push(Task::All(Kind::Tags, Arc::clone(repository), inner));
            } else {
                self.algorithms(repository, &inner, Kind::Revisions, more, found)?;
            }
        }
        Ok(())
    }

    /// The directory of links by sha256; other algorithms are not understood.
    fn algorithms(
        &self,
        repository: &Arc<str>,
        place: &Place,
        what: Kind,
        more: &mut Vec<Task>,
        found: &mut Vec<Listed>,
    ) -> Result<(), Unlisted> {
        for (entry, kind) in entries(place)? {
            leads_nowhere(place, &entry, kind)?;
            if kind == FileType::Directory && entry.as_c_str() == c"sha256" {
                let inner = self.inner(place, &entry)?;
                more.push(Task::All(what, Arc::clone(repository), inner));
            } else {
                found.push(odd(Some(repository), place, &entry, kind));
            }
        }
        Ok(())
    }

    /// Directories with a link in each, which names what its path names.
    fn links(
        &self,
        repository: &Arc<str>,
        place: &Place,
        all: Vec<Entry>,
        found: &mut Vec<Listed>,
        listed: impl Fn(Digest, Option<Second>) -> Listed,
    ) -> Result<(), Unlisted> {
        for (entry, kind) in all {
            let Some(digest) = digest(&entry).filter(|_| kind == FileType::Directory) else {
                found.push(odd(Some(repository), place, &entry, kind));
                continue;
            };
            let path = joined(&entry, "link");
            match self.link(place, &path)? {
                Some(Link {
                    content: Ok(named),
                    modified,
                }) => {
                    found.push(listed(digest, modified));
                    // Both may be meant, and both are kept.
                    if named != digest {
                        found.push(listed(named, modified));
                        let problem = format!("it names {named}, and its path {digest}");
                        found.push(damage(Some(repository), place, &path, problem));
                    }
                }
                Some(Link {
                    content: Err(problem),
                    modified,
                }) => {
                    found.push(listed(digest, modified));
                    found.push(damage(Some(repository), place, &path, problem));
                }
                // Its link was not written yet, or is gone already: the registry does not see it.
                None => {}
            }
        }
        Ok(())
    }

    fn tag(
        &self,
        repository: &Arc<str>,
        place: &Place,
        found: &mut Vec<Listed>,
    ) -> Result<(), Unlisted> {
        let tag: Arc<str> = place.path.rsplit('/').next().unwrap_or_default().into();
        let mut current = None;
        for (entry, kind) in entries(place)? {
            match entry.to_bytes() {
                b"current" if kind == FileType::Directory => {
                    let path = joined(&entry, "link");
                    match self.content(place, &path)? {
                        Some(Ok(named)) => current = Some(named),
                        Some(Err(problem)) => {
                            found.push(damage(Some(repository), place, &path, problem));
                        }
                        None => {}
                    }
                }
                b"index" if kind == FileType::Directory => {
                    self.history(repository, &tag, place, found)?;
                }
                _ => found.push(odd(Some(repository), place, &entry, kind)),
            }
        }
        found.push(Listed::Tag {
            repository: Arc::clone(repository),
            tag,
            current,
        });
        Ok(())
    }

    /// What a tag named. Of another algorithm there would be a revision too, and that is damage.
    fn history(
        &self,
        repository: &Arc<str>,
        tag: &Arc<str>,
        place: &Place,
        found: &mut Vec<Listed>,
    ) -> Result<(), Unlisted> {
        let name = c"index/sha256";
        match self.within(place.directory.as_fd(), name, directory_flags()) {
            Ok(directory) => {
                let path = at(place, name);
                let all = Place { directory, path };
                let listed = |digest, modified| Listed::TagHistory {
                    repository: Arc::clone(repository),
                    tag: Arc::clone(tag),
                    digest,
                    modified,
                };
                self.links(repository, &all, entries(&all)?, found, listed)
            }
            // Not written yet, or gone already.
            Err(Errno::NOENT) => Ok(()),
            Err(error @ (Errno::LOOP | Errno::NOTDIR)) => {
                let kind = match error {
                    Errno::LOOP => FileType::Symlink,
                    _ => FileType::RegularFile,
                };
                found.push(odd(Some(repository), place, name, kind));
                Ok(())
            }
            Err(error) => Err(unlisted(place, name, lost(error))),
        }
    }

    /// The registry takes uploads away whenever it likes, so that one which is gone meanwhile is no error.
    fn uploads(
        &self,
        repository: &Arc<str>,
        place: &Place,
        found: &mut Vec<Listed>,
    ) -> Result<(), Unlisted> {
        for (entry, kind) in entries(place)? {
            if kind != FileType::Directory {
                found.push(odd(Some(repository), place, &entry, kind));
                continue;
            }
            let path = joined(&entry, "startedat");
            let text = match self.small(place, &path)? {
                Small::Text(text, _) => String::from_utf8(text).unwrap_or_default(),
                Small::Symlink | Small::None => String::new(),
            };
            let since: Option<jiff::Timestamp> = text.trim().parse().ok();
            found.push(Listed::Upload {
                repository: Arc::clone(repository),
                since: since.map(Second::from),
            });
        }
        Ok(())
    }

    /// `None` where there is none.
    fn link(&self, place: &Place, path: &CStr) -> Result<Option<Link>, Unlisted> {
        Ok(match self.small(place, path)? {
            Small::Text(text, modified) => Some(Link {
                content: named(&text),
                modified: Some(modified),
            }),
            Small::Symlink => Some(Link {
                content: Err(format!("it is {SYMLINK}")),
                modified: None,
            }),
            Small::None => None,
        })
    }

    /// What a link names, whenever it was written.
    fn content(
        &self,
        place: &Place,
        path: &CStr,
    ) -> Result<Option<Result<Digest, String>>, Unlisted> {
        let failed = |error: Errno| unlisted(place, path, lost(error));
        match self.within(place.directory.as_fd(), path, file_flags()) {
            Ok(file) => Ok(Some(named(
                &first_bytes(&file, DIGEST_BYTES).map_err(failed)?,
            ))),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Ok(Some(Err(format!("it is {SYMLINK}")))),
            Err(error) => Err(failed(error)),
        }
    }

    /// The first bytes of a file, and when it was written.
    fn small(&self, place: &Place, path: &CStr) -> Result<Small, Unlisted> {
        let failed = |error: Errno| unlisted(place, path, lost(error));
        let file = match self.within(place.directory.as_fd(), path, file_flags()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Small::None),
            Err(Errno::LOOP) => return Ok(Small::Symlink),
            Err(error) => return Err(failed(error)),
        };
        let told = fstat(&file).map_err(failed)?;
        let size = usize::try_from(told.st_size).unwrap_or_default();
        let text = first_bytes(&file, size).map_err(failed)?;
        Ok(Small::Text(text, Second::new(told.st_mtime)))
    }

    /// Opens what is below a directory: through no symbolic link (`ELOOP`), and on the same file system
    /// (`EXDEV`).
    fn within(&self, parent: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
        // What a directory lists is never `..` nor absolute, so that it need not be kept below by the kernel:
        // `BENEATH` takes a lock of the whole machine for each call (`path_is_under`), and threads wait for it.
        let bounds = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match openat2(parent, path, flags, Mode::empty(), bounds) {
            // An old kernel, or a sandbox that does not let it through.
            Err(Errno::NOSYS | Errno::PERM) => self.stepwise(parent, path, flags),
            opened => opened,
        }
    }

    /// As [`within`](Self::within), name by name.
    fn stepwise(
        &self,
        parent: BorrowedFd<'_>,
        path: &CStr,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        let mut at: Option<OwnedFd> = None;
        let mut names = path.to_bytes().split(|byte| *byte == b'/').peekable();
        while let Some(name) = names.next() {
            let flags = match names.peek() {
                None => flags,
                Some(_) => directory_flags(),
            };
            let parent = at.as_ref().map_or(parent, AsFd::as_fd);
            let opened = match openat(parent, name, flags, Mode::empty()) {
                // A symbolic link is no directory.
                Err(Errno::NOTDIR) if is_symlink(parent, name) => return Err(Errno::LOOP),
                opened => opened?,
            };
            if fstat(&opened)?.st_dev != self.device {
                return Err(Errno::XDEV);
            }
            at = Some(opened);
        }
        at.ok_or(Errno::INVAL)
    }

    fn inner(&self, parent: &Place, name: &CStr) -> Result<Place, Unlisted> {
        self.enter(parent.directory.as_fd(), &parent.path, name)
    }

    /// A directory in another one, of the same file system.
    fn enter(&self, parent: BorrowedFd<'_>, path: &str, name: &CStr) -> Result<Place, Unlisted> {
        let shown = name.to_string_lossy();
        let path = match path {
            "" => shown.into_owned(),
            path => format!("{path}/{shown}"),
        };
        match self.within(parent, name, directory_flags()) {
            Ok(directory) => Ok(Place { directory, path }),
            Err(error) => Err(Unlisted {
                source: lost(error),
                path,
            }),
        }
    }
}

/// A small file.
enum Small {
    Text(Vec<u8>, Second),
    Symlink,
    None,
}

struct Link {
    content: Result<Digest, String>,
    modified: Option<Second>,
}

/// A registry follows links, and we do not: what lies behind one where a part of the tree should be is not
/// listed, and would be taken for garbage.
fn leads_nowhere(place: &Place, name: &CStr, kind: FileType) -> Result<(), Unlisted> {
    if kind == FileType::Symlink {
        let problem = format!("it is {SYMLINK}: put the directory itself there");
        return Err(unlisted(place, name, io::Error::other(problem)));
    }
    Ok(())
}

const SYMLINK: &str = "a symbolic link, which is not followed";
const ELSEWHERE: &str = "it is on another file system";

fn lost(error: Errno) -> io::Error {
    match error {
        Errno::XDEV => io::Error::other(ELSEWHERE),
        other => other.into(),
    }
}

fn file_flags() -> OFlags {
    // A pipe in the tree would keep us waiting.
    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK
}

fn directory_flags() -> OFlags {
    OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn is_symlink(parent: BorrowedFd<'_>, name: &[u8]) -> bool {
    let told = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    told.is_ok_and(|told| FileType::from_raw_mode(told.st_mode) == FileType::Symlink)
}

/// The first bytes of a file that is thought to have so many. A regular file gives less than it was asked
/// for at its end alone.
fn first_bytes(file: &OwnedFd, size: usize) -> Result<Vec<u8>, Errno> {
    let mut text = vec![0; LINK_BYTES_MAX];
    let mut length = 0;
    loop {
        let rest = text.get_mut(length..).unwrap_or_default();
        let more = rustix::io::read(file, rest)?;
        length += more;
        // Whoever has read all that a file has need not be told that there is no more.
        if more == 0 || length == size {
            break;
        }
    }
    text.truncate(length);
    Ok(text)
}

/// What the text of a link names.
fn named(text: &[u8]) -> Result<Digest, String> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse().map_err(|_shown_below| match text {
        "" => "it is empty".to_owned(),
        _ => "it holds no digest".to_owned(),
    })
}

/// What is in a directory, each by its own kind.
fn entries(place: &Place) -> Result<Vec<Entry>, Unlisted> {
    let failed = |error: Errno| Unlisted {
        path: place.path.clone(),
        source: error.into(),
    };
    let mut found = Vec::new();
    let mut buffer = Vec::with_capacity(ENTRIES_BYTES);
    let mut directory = RawDir::new(&place.directory, buffer.spare_capacity_mut());
    while let Some(entry) = directory.next() {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let told = statat(&place.directory, name, flags).map_err(failed)?;
            kind = FileType::from_raw_mode(told.st_mode);
        }
        found.push((name.to_owned(), kind));
    }
    Ok(found)
}

/// Of a directory's name.
fn digest(name: &CStr) -> Option<Digest> {
    let hex = name.to_str().ok().filter(|hex| hex.len() == 64)?;
    format!("sha256:{hex}").parse().ok()
}

fn joined(directory: &CStr, file: &str) -> CString {
    let path = [directory.to_bytes(), b"/", file.as_bytes()].concat();
    CString::new(path).expect("a name has no NUL")
}

fn at(place: &Place, name: &CStr) -> String {
    format!("{}/{}", place.path, name.to_string_lossy())
}

fn unlisted(place: &Place, name: &CStr, source: io::Error) -> Unlisted {
    Unlisted {
        path: at(place, name),
        source,
    }
}

fn elsewhere(place: &Place, name: &CStr) -> Unlisted {
    unlisted(place, name, io::Error::other(ELSEWHERE))
}

fn damage(repository: Option<&Arc<str>>, place: &Place, name: &CStr, problem: String) -> Listed {
    Listed::Damage {
        repository: repository.cloned(),
        path: at(place, name),
        problem,
    }
}

/// What a registry does not write there.
fn odd(repository: Option<&Arc<str>>, place: &Place, name: &CStr, kind: FileType) -> Listed {
    let what = match kind {
        FileType::Symlink => SYMLINK,
        FileType::Directory => "a directory that no registry makes",
        FileType::RegularFile => "a file that no registry writes",
        _ => "neither a file nor a directory",
    };
    let repository = repository.filter(|name| !name.is_empty());
    damage(repository, place, name, format!("it is {what}"))
}

#[cfg(test)]
mod tests;
