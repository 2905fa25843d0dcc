//! Whose a storage is: where another program decides what is garbage, nothing is planned.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::Storage;

/// The registry's own tree lies there, and a marker beside it says whose it is.
const MARKERS: [(&str, Owner); 2] = [
    // `registry/proxy/scheduler`: what was pulled through expires by it.
    ("scheduler-state.json", Owner::ProxyCache),
    // GitLab's container registry with its metadata database.
    (
        "docker/registry/lockfiles/database-in-use",
        Owner::GitLabDatabase,
    ),
];

/// Who else decides what is garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A pull-through cache of distribution.
    ProxyCache,
    GitLabDatabase,
    Zot,
    Harbor,
}

impl Owner {
    /// Why nothing is planned there, and what to do instead.
    pub fn words(self) -> &'static str {
        match self {
            Self::ProxyCache => {
                "it is a pull-through cache (scheduler-state.json): its own scheduler deletes what was not \
                 pulled within `proxy.ttl`, also while the registry is read-only; set that, and verify the \
                 cache as a mirror"
            }
            Self::GitLabDatabase => {
                "its content is in GitLab's metadata database (lockfiles/database-in-use): that collects \
                 online by itself; set its `gc` in GitLab, and what sweeps the storage beside it loses images"
            }
            Self::Zot => {
                "it is zot's, which keeps an OCI layout for each repository and links blobs between them: use \
                 zot's own `storage.gc` and retention"
            }
            Self::Harbor => {
                "it is Harbor's, whose database says what is garbage: run Harbor's own garbage collection \
                 (Administration, Clean Up)"
            }
        }
    }
}

/// Who a storage that can be opened belongs to, besides a plain registry.
pub fn of(storage: &Storage) -> io::Result<Option<Owner>> {
    for (path, owner) in MARKERS {
        if storage.has(path)? {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}

/// Directories in which a repository of zot is looked for.
const LOOKS_MAX: usize = 1000;
/// The same in a bucket, where each is a request.
const REQUESTS_MAX: usize = 50;
/// zot's repositories lie so deep below its root, mostly.
const DEPTH_MAX: usize = 4;

/// Whether zot keeps its content in a bucket: a repository is an OCI layout there too. What cannot be read
/// is none of its signs.
pub fn is_zots_bucket(storage: &Storage) -> bool {
    let Storage::S3(s3, runtime) = storage else {
        return false;
    };
    let mut waiting = VecDeque::from([(String::new(), 0)]);
    for _ in 0..REQUESTS_MAX {
        let Some((path, depth)) = waiting.pop_front() else {
            return false;
        };
        let Ok(found) = runtime.block_on(s3.directory(&path)) else {
            return false;
        };
        let has = |name: &str| found.files.iter().any(|it| it == name);
        if has("oci-layout") && has("index.json") {
            return true;
        }
        if depth < DEPTH_MAX {
            let inner = found.directories.iter();
            waiting.extend(inner.map(|name| (format!("{path}{name}"), depth + 1)));
        }
    }
    false
}

/// Whether zot keeps its content there. What cannot be read is none of its signs.
pub fn is_zot(root: &Path) -> bool {
    let mut waiting = vec![(root.to_owned(), 0)];
    let mut looks = 0;
    while let Some((directory, depth)) = waiting.pop() {
        looks += 1;
        if looks > LOOKS_MAX {
            return false;
        }
        if directory.join("oci-layout").is_file() && directory.join("index.json").is_file() {
            return true;
        }
        if depth < DEPTH_MAX
            && let Ok(entries) = std::fs::read_dir(&directory)
        {
            let entries = entries.filter_map(Result::ok);
            // Not through links: `file_type` is the entry's own.
            let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            waiting.extend(inner.map(|entry| (entry.path(), depth + 1)));
        }
    }
    false
}
