//! The few objects that a listing does not explain, and what their content says. Pure.

use std::sync::Arc;

use crate::oci::digest::Digest;
use crate::second::Second;
use crate::storage::{Listed, layout};

/// `sha256:` and 64 digits. What is of another size holds no digest.
pub(super) const LINK_BYTES: u64 = 71;

/// A small object that has to be read, since the listing does not say what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// A link; what it says if it holds what its path says.
    Link(Listed),
    Current {
        repository: Arc<str>,
        tag: Arc<str>,
    },
    Started {
        repository: Arc<str>,
        id: Arc<str>,
    },
}

impl Question {
    /// Of the object, below the root.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Link(listed) => link_path(listed),
            Self::Current { repository, tag } => layout::current(repository, tag),
            Self::Started { repository, id } => {
                format!("repositories/{repository}/_uploads/{id}/startedat")
            }
        }
    }

    /// What is there by the object's content, or by its absence: it was there when it was listed, and the
    /// registry has taken it away since.
    pub(super) fn answer(self, content: Option<&[u8]>, found: &mut Vec<Listed>) {
        let path = self.path();
        match self {
            Self::Link(listed) => {
                let Some(content) = content else {
                    return;
                };
                let own = digest_mut(&mut listed.clone()).copied();
                match digest_in(content) {
                    Ok(named) if Some(named) == own => found.push(listed),
                    Ok(named) => {
                        let mut other = listed.clone();
                        if let Some(digest) = digest_mut(&mut other) {
                            *digest = named;
                        }
                        let own = own.map_or_else(String::new, |own| own.to_string());
                        let problem = format!("it names {named}, and its path {own}");
                        // Both may be meant, and both are kept.
                        found.extend([damage(&listed, path, problem), listed, other]);
                    }
                    Err(problem) => found.extend([damage(&listed, path, problem), listed]),
                }
            }
            Self::Current { repository, tag } => {
                let content = content.map(digest_in).transpose();
                let listed = Listed::Tag {
                    repository,
                    tag,
                    current: content.as_ref().ok().copied().flatten(),
                };
                if let Err(problem) = content {
                    found.push(damage(&listed, path, problem));
                }
                found.push(listed);
            }
            Self::Started { repository, .. } => {
                let text = content.and_then(|content| std::str::from_utf8(content).ok());
                let since = text.and_then(|text| text.trim().parse::<jiff::Timestamp>().ok());
                found.push(Listed::Upload {
                    repository,
                    since: since.map(Second::from),
                });
            }
        }
    }

    /// What is there as far as the path says, where too many would have to be read.
    pub(super) fn unasked(self) -> Result<Listed, Self> {
        match self {
            Self::Link(listed) => Ok(listed),
            Self::Started { repository, .. } => Ok(Listed::Upload {
                repository,
                since: None,
            }),
            Self::Current { .. } => Err(self),
        }
    }
}

/// Why an object of this size holds no digest.
pub(super) fn no_digest(size: u64) -> Option<String> {
    match size {
        0 => Some("it is empty".to_owned()),
        LINK_BYTES => None,
        _ => Some("it holds no digest".to_owned()),
    }
}

fn digest_in(content: &[u8]) -> Result<Digest, String> {
    let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
    if let Some(problem) = no_digest(size) {
        return Err(problem);
    }
    let text = std::str::from_utf8(content).unwrap_or_default();
    text.parse()
        .map_err(|_shown| "it holds no digest".to_owned())
}

pub(super) fn damage(of: &Listed, path: String, problem: String) -> Listed {
    let repository = match of {
        Listed::Layer { repository, .. }
        | Listed::Revision { repository, .. }
        | Listed::Tag { repository, .. }
        | Listed::TagHistory { repository, .. }
        | Listed::Upload { repository, .. } => Some(Arc::clone(repository)),
        Listed::Blob { .. } | Listed::Damage { .. } => None,
    };
    Listed::Damage {
        repository,
        path,
        problem,
    }
}

fn digest_mut(listed: &mut Listed) -> Option<&mut Digest> {
    match listed {
        Listed::Layer { digest, .. }
        | Listed::Revision { digest, .. }
        | Listed::TagHistory { digest, .. } => Some(digest),
        _ => None,
    }
}

fn link_path(listed: &Listed) -> String {
    match listed {
        Listed::Layer {
            repository, digest, ..
        } => layout::layer(repository, digest),
        Listed::Revision {
            repository, digest, ..
        } => layout::revision(repository, digest),
        Listed::TagHistory {
            repository,
            tag,
            digest,
            ..
        } => layout::history(repository, tag, digest),
        _ => String::new(),
    }
}
