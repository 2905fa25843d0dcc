//! Which files a path stands for. Links are followed, since a mounted `ConfigMap` consists of them,
//! each directory once.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{DEPTH_MAX, FILES_MAX};

/// The files, sorted, and what could not be looked at. A file that is given by name is read
/// whatever its ending.
pub(super) fn below(path: &Path) -> (Vec<PathBuf>, Vec<String>) {
    let mut walk = Walk::default();
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            walk.directory(path, 0);
            // Fail closed: a volume that was not mounted is an empty directory, not an empty list.
            if walk.files.is_empty() && walk.problems.is_empty() {
                walk.problem(path, "there is no .yaml, .yml or .json file below it");
            }
        }
        Ok(_) => walk.files.push(path.to_owned()),
        Err(error) => walk.problem(path, &error.to_string()),
    }
    walk.files.sort_unstable();
    (walk.files, walk.problems)
}

#[derive(Default)]
struct Walk {
    files: Vec<PathBuf>,
    problems: Vec<String>,
    /// Directories by their real path: a loop of links ends here.
    seen: HashSet<PathBuf>,
}

impl Walk {
    fn directory(&mut self, path: &Path, depth: usize) {
        if depth > DEPTH_MAX {
            self.problem(path, &format!("it is nested deeper than {DEPTH_MAX}"));
            return;
        }
        if let Err(error) = self.try_directory(path, depth) {
            self.problem(path, &error.to_string());
        }
    }

    fn try_directory(&mut self, path: &Path, depth: usize) -> std::io::Result<()> {
        if !self.seen.insert(path.canonicalize()?) {
            return Ok(());
        }
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            // `.git`, and the `..data` of a mounted ConfigMap, whose files are linked beside it.
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            match std::fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.directory(&path, depth + 1),
                Ok(_) if is_manifest(&path) => self.file(path),
                Ok(_) => {}
                // Whatever its name, it may be a link to a directory that is not there now.
                Err(error) => self.problem(&path, &error.to_string()),
            }
        }
        Ok(())
    }

    fn file(&mut self, path: PathBuf) {
        if self.files.len() == FILES_MAX {
            self.problem(&path, &format!("it is one more than {FILES_MAX} files"));
        }
        if self.files.len() <= FILES_MAX {
            self.files.push(path);
        }
    }

    fn problem(&mut self, path: &Path, problem: &str) {
        self.problems.push(format!("{}: {problem}", path.display()));
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"))
}
