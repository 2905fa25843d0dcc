//! Lists of references: one a line, `#` for comments, blank lines.
//!
//! A malformed line is kept as a use whose reference is an error: somebody wanted to keep
//! something, and must be told. A list that cannot be read is incomplete, never empty.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::extract::fitting;
use super::{Class, ImageUse, SourceState, TopOwner, User, Via};
use crate::oci::digest::{Digest, Hasher};
use crate::oci::reference::Sharing;

/// The longest list that is read.
pub const LIST_BYTES_MAX: u64 = 64 << 20;
/// How much of a list is looked at at a time to tell whether it changed.
const PIECE_BYTES: usize = 64 << 10;

/// Reads a list from a file.
pub fn read(name: &str, path: &Path, now: Timestamp) -> SourceState {
    Reader::default().read(name, path, now)
}

/// Reads a list again and again. While its text is the same, so are its uses, in the same place: a
/// second copy of a long list would say nothing new.
#[derive(Debug, Default)]
pub struct Reader {
    /// The digest of the text that was read last, and what it says.
    last: Option<(Digest, Arc<[ImageUse]>)>,
}

impl Reader {
    pub fn read(&mut self, name: &str, path: &Path, now: Timestamp) -> SourceState {
        if let Some((last, uses)) = &self.last
            && digest_of(path).is_ok_and(|digest| digest == *last)
        {
            return complete(name, Arc::clone(uses), now);
        }
        match read_file(path, LIST_BYTES_MAX) {
            Ok(text) => {
                let uses = uses_of(name, &text);
                self.last = Some((Digest::of(text.as_bytes()), Arc::clone(&uses)));
                complete(name, uses, now)
            }
            Err(problem) => SourceState {
                incomplete: Some(format!("{}: {problem}", path.display())),
                is_awaited: false,
                ..SourceState::unread(name)
            },
        }
    }
}

/// Reads a list that is already here, as from standard input.
pub fn read_text(name: &str, text: &str, now: Timestamp) -> SourceState {
    complete(name, uses_of(name, text), now)
}

fn complete(name: &str, uses: Arc<[ImageUse]>, now: Timestamp) -> SourceState {
    SourceState {
        incomplete: None,
        is_awaited: false,
        complete_at: Some(now),
        uses,
        ..SourceState::unread(name)
    }
}

fn uses_of(name: &str, text: &str) -> Arc<[ImageUse]> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = || {
        (1_u32..)
            .zip(text.lines().map(without_comment))
            .filter(|(_, written)| !written.is_empty())
    };
    let mut sharing = Sharing::default();
    let owner = Arc::new(TopOwner {
        cluster: None,
        namespace: "".into(),
        kind: "List".into(),
        name: name.into(),
    });
    let container: Arc<str> = "".into();
    let pull_secrets: Arc<[Arc<str>]> = [].into();
    let constraint = Arc::default();
    // Counted first: of a known number the uses are made in the place where they stay.
    let mut rest = lines();
    (0..lines().count())
        .map(|_| {
            let (number, written) = rest.next().expect("the lines were counted");
            ImageUse {
                user: Arc::new(User {
                    owner: Arc::clone(&owner),
                    container: Arc::clone(&container),
                    image: fitting(written).into(),
                    class: Class::Listed,
                    via: Some(Via::Line(number)),
                    since: None,
                    idle: None,
                }),
                reference: match written.parse() {
                    Ok(reference) => Ok(sharing.share(reference)),
                    Err(invalid) => Err(Box::new(invalid)),
                },
                pull_secrets: Arc::clone(&pull_secrets),
                constraint: Arc::clone(&constraint),
            }
        })
        .collect()
}

/// A `#` begins a comment at the start of a line or after a space; no reference holds one.
fn without_comment(line: &str) -> &str {
    let end = line
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| {
            line.get(..*at)
                .is_some_and(|before| before.is_empty() || before.ends_with(char::is_whitespace))
        })
        .unwrap_or(line.len());
    line.get(..end).unwrap_or(line).trim()
}

/// The text of a regular file.
pub fn read_file(path: &Path, bytes_max: u64) -> Result<String, String> {
    let (file, length) = open(path)?;
    // The room for it at once: a text that grows is for a moment there twice.
    let length = length.min(bytes_max);
    let mut text = String::with_capacity(usize::try_from(length).unwrap_or_default());
    // One byte more than may be, so that a file that grows meanwhile is not cut silently.
    let read = file
        .take(bytes_max + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if read as u64 > bytes_max {
        return Err(format!("it is larger than {bytes_max} bytes"));
    }
    Ok(text)
}

/// Whatever the file holds, read piece by piece.
fn digest_of(path: &Path) -> Result<Digest, String> {
    let (file, _) = open(path)?;
    let mut hasher = Hasher::default();
    let mut reader = BufReader::with_capacity(PIECE_BYTES, file.take(LIST_BYTES_MAX + 1));
    loop {
        let piece = reader.fill_buf().map_err(|error| error.to_string())?;
        if piece.is_empty() {
            return Ok(hasher.finish());
        }
        hasher.update(piece);
        let length = piece.len();
        reader.consume(length);
    }
}

/// Opens a regular file, and says how long it is. A pipe or a device behind a link could block for ever.
fn open(path: &Path) -> Result<(File, u64), String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    Ok((file, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn one_reference_a_line_with_comments_and_blank_lines() {
        let text =
            "\u{feff}# keep\r\nnginx:1.27\r\n\n  registry.example/a:v1  # until May\n#x\n\tweb#1\n";
        let state = read_text("keep", text, NOW);
        let told: Vec<String> = state
            .uses
            .iter()
            .map(|image_use| {
                let by = &image_use.user;
                assert_eq!((&*by.kind, &*by.name, &*by.container), ("List", "keep", ""));
                assert_eq!(by.class, Class::Listed);
                let reference = match &image_use.reference {
                    Ok(reference) => reference.to_string(),
                    Err(invalid) => invalid.to_string(),
                };
                format!("{} {reference}", by.via.as_ref().unwrap())
            })
            .collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0], "line 2 docker.io/library/nginx:1.27");
        assert_eq!(told[1], "line 4 registry.example/a:v1");
        assert!(
            told[2].starts_with("line 6 `web#1` is not an image reference"),
            "{told:?}"
        );
        assert_eq!((state.incomplete, state.complete_at), (None, Some(NOW)));
    }

    #[test]
    fn a_list_that_did_not_change_is_kept_once() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("list");
        let mut reader = Reader::default();
        let mut read = |text: &str, second| {
            std::fs::write(&list, text).unwrap();
            let now = Timestamp::from_second(second).unwrap();
            let state = reader.read("keep", &list, now);
            assert_eq!(state.complete_at, Some(now));
            state.uses
        };
        let one = read("nginx", 1);
        assert!(Arc::ptr_eq(&one, &read("nginx", 2)));
        assert_eq!(
            *read("nginx\nredis", 3),
            *read_text("keep", "nginx\nredis", NOW).uses
        );
        assert_eq!(read("nginx", 4), one);
        std::fs::remove_file(&list).unwrap();
        assert!(reader.read("keep", &list, NOW).incomplete.is_some());
    }

    #[test]
    fn an_unreadable_list_is_incomplete_never_empty() {
        let directory = tempfile::tempdir().unwrap();
        let binary = directory.path().join("binary");
        std::fs::write(&binary, [0xff, 0xfe]).unwrap();
        for path in [
            directory.path().join("missing"),
            directory.path().to_owned(),
            binary,
        ] {
            let state = read("keep", &path, NOW);
            let reason = state.incomplete.unwrap();
            assert!(reason.starts_with(&*path.to_string_lossy()), "{reason}");
            assert_eq!(state.complete_at, None);
        }
        let list = directory.path().join("list");
        std::fs::write(&list, "nginx").unwrap();
        assert_eq!(read("keep", &list, NOW).uses.len(), 1);
        assert_eq!(
            read_file(&list, 4).unwrap_err(),
            "it is larger than 4 bytes"
        );
        assert_eq!(read_file(&list, 5).unwrap(), "nginx");
    }
}
