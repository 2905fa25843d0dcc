//! What references led to, told to a command that runs beside the daemon: the daemon alone may open its
//! database, so that the command asks it, by a socket in the state directory.
//!
//! Whoever may write to the socket's file may ask: whoever runs as the daemon does. An answer is lines of JSON,
//! one for each digest of each reference, and at its end how many they were: one that was cut is none.

use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::http::keepset::ReadLedTo;
use crate::inventory::keepset::LedTo;
use crate::oci::digest::Digest;

/// In the state directory.
const SOCKET: &str = "ledger.sock";
/// So long one answer may take.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// A line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    LedTo {
        reference: Box<str>,
        digest: Digest,
        last: Timestamp,
    },
    /// All was told: so many.
    End(usize),
    /// It cannot be told.
    Problem(String),
}

/// Answers until told to stop. Where there can be no socket, that is said, and whoever asks is refused.
pub fn serve(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    directory: &Path,
    read: &ReadLedTo,
    stop: &CancellationToken,
) {
    let path = directory.join(SOCKET);
    // Whoever has the database has the socket: one that is there is of a daemon that died.
    let bound = match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => UnixListener::bind(&path),
    };
    let listener = match bound {
        Ok(listener) => listener,
        Err(error) => {
            warn!(socket = %path.display(), %error, "commands beside this daemon cannot ask it what tags named before");
            return;
        }
    };
    let (read, stop) = (ReadLedTo::clone(read), stop.clone());
    tasks.spawn(async move {
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted.map(|(stream, _)| stream),
                () = stop.cancelled() => return Ok(()),
            };
            let answered = async { answer(stream?, &read).await };
            match tokio::time::timeout(ANSWER_MAX, answered).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "what tags named before was not told to the end"),
                Err(_elapsed) => warn!("whoever asks what tags named before reads too slowly"),
            }
        }
    });
}

async fn answer(mut stream: UnixStream, read: &ReadLedTo) -> io::Result<()> {
    let read = ReadLedTo::clone(read);
    let text = tokio::task::spawn_blocking(move || lines(read()))
        .await
        .map_err(io::Error::other)?;
    stream.write_all(&text).await?;
    stream.shutdown().await
}

fn lines(rows: Result<Vec<LedTo>, String>) -> Vec<u8> {
    let mut text = Vec::new();
    let mut say = |line: &Line| {
        serde_json::to_writer(&mut text, line).expect("it is text and numbers");
        text.push(b'\n');
    };
    match rows {
        Ok(rows) => {
            let count = rows.len();
            for LedTo {
                reference,
                digest,
                last,
            } in rows
            {
                say(&Line::LedTo {
                    reference,
                    digest,
                    last,
                });
            }
            say(&Line::End(count));
        }
        Err(problem) => say(&Line::Problem(problem)),
    }
    text
}

/// Asks the daemon whose state directory it is.
pub async fn ask(directory: &Path) -> Result<Vec<LedTo>, String> {
    let asked = async {
        let mut stream = UnixStream::connect(directory.join(SOCKET)).await?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await?;
        io::Result::Ok(text)
    };
    let text = match tokio::time::timeout(ANSWER_MAX, asked).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(format!("{SOCKET}: {error}")),
        Err(_elapsed) => {
            let seconds = ANSWER_MAX.as_secs();
            return Err(format!("{SOCKET}: no answer in {seconds} s"));
        }
    };
    told(&text)
}

fn told(text: &[u8]) -> Result<Vec<LedTo>, String> {
    let mut rows = Vec::new();
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    for line in lines {
        match serde_json::from_slice(line) {
            Ok(Line::LedTo {
                reference,
                digest,
                last,
            }) => rows.push(LedTo {
                reference,
                digest,
                last,
            }),
            Ok(Line::End(count)) if count == rows.len() => return Ok(rows),
            Ok(Line::End(count)) => {
                let found = rows.len();
                return Err(format!("the daemon told {found} of {count}"));
            }
            Ok(Line::Problem(problem)) => return Err(problem),
            Err(error) => return Err(format!("the daemon's answer is not understood: {error}")),
        }
    }
    Err("the daemon's answer was cut".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<LedTo> {
        let row = |name: &str| LedTo {
            reference: format!("registry.example/{name}:1").into(),
            digest: Digest::of(name.as_bytes()),
            last: Timestamp::UNIX_EPOCH,
        };
        vec![row("a"), row("b")]
    }

    #[test]
    fn an_answer_that_was_cut_is_none() {
        let text = lines(Ok(rows()));
        assert_eq!(told(&text).unwrap(), rows());
        for cut in 0..text.len() - 1 {
            told(text.get(..cut).unwrap()).unwrap_err();
        }
        let lost: Vec<u8> = text
            .split_inclusive(|it| *it == b'\n')
            .skip(1)
            .flatten()
            .copied()
            .collect();
        assert_eq!(told(&lost).unwrap_err(), "the daemon told 1 of 2");
        assert_eq!(
            told(&lines(Err("it is damaged".to_owned()))).unwrap_err(),
            "it is damaged"
        );
        assert_eq!(told(&lines(Ok(Vec::new()))).unwrap(), Vec::new());
    }
}
