//! What the keys of a bucket say, and what only their content can. Pure.
//!
//! A listing gives sizes, times and ETags. The ETag of a small object is the MD5 of its content, unless it
//! is encrypted by a key of KMS or was written in parts. So a link whose ETag is the MD5 of what its path
//! says holds that; and a tag's `current` holds the one digest of its history whose MD5 its ETag is. Only
//! what is not proven so has to be read.

use std::sync::Arc;

use md5::{Digest as _, Md5};

use super::page::Object;
use super::question::{LINK_BYTES, Question, damage, no_digest};
use crate::oci::digest::Digest;
use crate::storage::Listed;
use crate::storage::layout::{self, Entry};

/// What one range of keys holds.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) listed: Vec<Listed>,
    /// Links that may hold something else than their paths say.
    links: Vec<Listed>,
    tags: Vec<Tag>,
    uploads: Vec<Upload>,
}

#[derive(Debug)]
struct Tag {
    repository: Arc<str>,
    name: Arc<str>,
    current: Option<Current>,
    history: Vec<Digest>,
}

#[derive(Debug)]
struct Current {
    size: u64,
    md5: Option<[u8; 16]>,
}

#[derive(Debug, PartialEq, Eq)]
struct Upload {
    repository: Arc<str>,
    id: Arc<str>,
    has_start: bool,
}

/// Reads keys in their order. The names of neighbours are kept once.
#[derive(Debug)]
pub(super) struct Reader {
    /// What all keys begin with.
    root: Arc<str>,
    repository: Arc<str>,
    tag: Arc<str>,
    pub(super) gathered: Gathered,
    pub(super) has_blobs: bool,
    pub(super) has_repositories: bool,
}

impl Reader {
    pub(super) fn new(root: &Arc<str>) -> Self {
        Self {
            root: Arc::clone(root),
            repository: "".into(),
            tag: "".into(),
            gathered: Gathered::default(),
            has_blobs: false,
            has_repositories: false,
        }
    }

    pub(super) fn take(&mut self, object: &Object) {
        let root = Arc::clone(&self.root);
        let path = object.key.strip_prefix(&*root).unwrap_or(&object.key);
        self.has_blobs |= path.starts_with("blobs/");
        self.has_repositories |= path.starts_with("repositories/");
        let (size, modified) = (object.size, object.modified);
        // A directory that a program made, of which S3 knows nothing.
        if size == 0 && (path.is_empty() || path.ends_with('/')) {
            return;
        }
        if !is_plain(path) {
            self.odd(None, path);
            return;
        }
        match Entry::parse(path) {
            Entry::Blob(digest) => self.gathered.listed.push(Listed::Blob {
                digest,
                size,
                modified,
            }),
            Entry::Layer { repository, digest } => {
                let repository = known(&mut self.repository, repository);
                let layer = Listed::Layer {
                    repository,
                    digest,
                    modified,
                };
                self.link(path, object, layer, &digest);
            }
            Entry::Revision { repository, digest } => {
                let repository = known(&mut self.repository, repository);
                let revision = Listed::Revision {
                    repository,
                    digest,
                    modified,
                };
                self.link(path, object, revision, &digest);
            }
            Entry::Tag { repository, tag } => {
                let current = Current {
                    size,
                    md5: object.md5,
                };
                self.tag(repository, tag).current = Some(current);
            }
            Entry::TagHistory {
                repository,
                tag,
                digest,
            } => {
                let named = self.tag(repository, tag);
                named.history.push(digest);
                let history = Listed::TagHistory {
                    repository: Arc::clone(&named.repository),
                    tag: Arc::clone(&named.name),
                    digest,
                    modified,
                };
                self.link(path, object, history, &digest);
            }
            Entry::Upload {
                repository,
                id,
                is_start,
            } => self.upload(repository, id, is_start),
            Entry::Leftover => {}
            Entry::Unknown { repository } => self.odd(repository, path),
        }
    }

    /// What a registry does not write there.
    fn odd(&mut self, repository: Option<&str>, path: &str) {
        let repository = repository.map(|name| known(&mut self.repository, name));
        let problem = "it is a file that no registry writes".to_owned();
        self.gathered.listed.push(Listed::Damage {
            repository,
            path: path.to_owned(),
            problem,
        });
    }

    fn link(&mut self, path: &str, object: &Object, listed: Listed, digest: &Digest) {
        if let Some(problem) = no_digest(object.size) {
            let damage = damage(&listed, path.to_owned(), problem);
            self.gathered.listed.extend([listed, damage]);
        } else if object.md5 == Some(md5_of(digest)) {
            self.gathered.listed.push(listed);
        } else {
            self.gathered.links.push(listed);
        }
    }

    /// The tag that was seen last, or a new one.
    fn tag(&mut self, repository: &str, tag: &str) -> &mut Tag {
        let repository = known(&mut self.repository, repository);
        let tag = known(&mut self.tag, tag);
        let tags = &mut self.gathered.tags;
        let is_last = tags
            .last()
            .is_some_and(|last| last.repository == repository && last.name == tag);
        if !is_last {
            tags.push(Tag {
                repository,
                name: tag,
                current: None,
                // Most have one, and there may be a tag for each image.
                history: Vec::with_capacity(1),
            });
        }
        tags.last_mut().expect("there is one, or was pushed")
    }

    fn upload(&mut self, repository: &str, id: &str, is_start: bool) {
        let repository = known(&mut self.repository, repository);
        let uploads = &mut self.gathered.uploads;
        match uploads.last_mut() {
            Some(last) if last.repository == repository && *last.id == *id => {
                last.has_start |= is_start;
            }
            _ => uploads.push(Upload {
                repository,
                id: id.into(),
                has_start: is_start,
            }),
        }
    }
}

impl Gathered {
    /// What ranges in order of their keys hold, with the questions that are left. A tag or an upload may
    /// lie in two of them.
    pub(super) fn resolve(all: Vec<Self>) -> (Vec<Vec<Listed>>, Vec<Question>) {
        let (mut listed, mut questions) = (Vec::new(), Vec::new());
        let (mut tags, mut uploads): (Vec<Tag>, Vec<Upload>) = (Vec::new(), Vec::new());
        for range in all {
            listed.push(range.listed);
            questions.extend(range.links.into_iter().map(Question::Link));
            for tag in range.tags {
                match tags.last_mut() {
                    Some(last) if last.repository == tag.repository && last.name == tag.name => {
                        last.current = last.current.take().or(tag.current);
                        last.history.extend(tag.history);
                    }
                    _ => tags.push(tag),
                }
            }
            for upload in range.uploads {
                match uploads.last_mut() {
                    Some(last) if last.repository == upload.repository && last.id == upload.id => {
                        last.has_start |= upload.has_start;
                    }
                    _ => uploads.push(upload),
                }
            }
        }
        let mut found = Vec::with_capacity(tags.len());
        for tag in tags {
            tag.resolve(&mut found, &mut questions);
        }
        for upload in uploads {
            let Upload {
                repository,
                id,
                has_start,
            } = upload;
            if has_start {
                questions.push(Question::Started { repository, id });
            } else {
                found.push(Listed::Upload {
                    repository,
                    since: None,
                });
            }
        }
        listed.push(found);
        (listed, questions)
    }
}

impl Tag {
    fn resolve(self, found: &mut Vec<Listed>, questions: &mut Vec<Question>) {
        let Self {
            repository,
            name: tag,
            current,
            history,
        } = self;
        let proven = current.as_ref().and_then(|current| {
            let md5 = current.md5.filter(|_| current.size == LINK_BYTES)?;
            history.iter().find(|digest| md5_of(digest) == md5)
        });
        let listed = Listed::Tag {
            repository: Arc::clone(&repository),
            tag: Arc::clone(&tag),
            current: proven.copied(),
        };
        match current {
            Some(_) if proven.is_some() => found.push(listed),
            None => found.push(listed),
            Some(Current { size, .. }) => match no_digest(size) {
                Some(problem) => {
                    let path = layout::current(&repository, &tag);
                    found.extend([damage(&listed, path, problem), listed]);
                }
                None => questions.push(Question::Current { repository, tag }),
            },
        }
    }
}

/// Whether each part of a path is a name: others lead elsewhere when they are asked for.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The same text, in the place of one that is kept already.
fn known(kept: &mut Arc<str>, name: &str) -> Arc<str> {
    if **kept != *name {
        *kept = name.into();
    }
    Arc::clone(kept)
}

fn md5_of(digest: &Digest) -> [u8; 16] {
    let mut md5 = Md5::new();
    md5.update(b"sha256:");
    md5.update(digest.hex());
    md5.finalize().into()
}

#[cfg(test)]
mod tests;
