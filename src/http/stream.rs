//! A body that is sent while it is being written, so that it is never in memory as a whole.

use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use futures::StreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// What is sent at once.
const CHUNK_BYTES: usize = 64 << 10;
/// How many chunks wait for the reader. With those that are on their way this is all of a body that
/// is ever in memory.
const CHUNKS_WAITING: usize = 2;
/// A reader that takes longer holds a thread, and what the body is made from. Prometheus gives up
/// after 10 seconds unless it is told otherwise.
const READER_MAX: Duration = Duration::from_secs(60);
/// Bodies that are written at the same time; others wait.
const BODIES_MAX: usize = 16;

/// Writes bodies, a bounded number at a time.
#[derive(Debug, Clone)]
pub(super) struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_MAX)))
    }
}

impl Bodies {
    /// A body made of what `write` writes, on a thread where it may take its time. Where that fails,
    /// the body breaks off, so that no reader takes a part for the whole.
    pub(super) async fn body(
        &self,
        write: impl FnOnce(&mut dyn Write) -> fmt::Result + Send + 'static,
    ) -> Body {
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let (pieces, mut sent) = mpsc::channel(CHUNKS_WAITING);
        tokio::task::spawn_blocking(move || {
            let mut writer = Chunks {
                buffer: BytesMut::new(),
                pieces,
                runtime: Handle::current(),
                until: Instant::now() + READER_MAX,
            };
            // Otherwise there is no word that this is the end, and the body breaks off.
            if write(&mut writer).is_ok() {
                writer.end();
            }
            drop(turn);
        });
        let pieces = futures::stream::poll_fn(move |context| {
            Poll::Ready(match ready!(sent.poll_recv(context)) {
                Some(Piece::Chunk(chunk)) => Some(Ok(chunk)),
                Some(Piece::End) => None,
                None => Some(Err(io::Error::other(
                    "the body could not be written to its end",
                ))),
            })
        });
        // The end is the end, also for those who ask again, as compression does.
        Body::from_stream(pieces.fuse())
    }
}

enum Piece {
    Chunk(Bytes),
    End,
}

struct Chunks {
    buffer: BytesMut,
    pieces: mpsc::Sender<Piece>,
    runtime: Handle,
    until: Instant,
}

impl Chunks {
    fn flush(&mut self) -> fmt::Result {
        let chunk = self.buffer.split().freeze();
        // An empty chunk would be the end of a chunked body.
        if chunk.is_empty() {
            return Ok(());
        }
        self.put(Piece::Chunk(chunk))
    }

    fn end(&mut self) {
        let ended = self.flush().and_then(|()| self.put(Piece::End));
        if ended.is_err() {
            tracing::debug!("whoever asked has gone");
        }
    }

    fn put(&mut self, piece: Piece) -> fmt::Result {
        let left = self.until.saturating_duration_since(Instant::now());
        let send = self.pieces.send_timeout(piece, left);
        self.runtime.block_on(send).map_err(|_gone| fmt::Error)
    }
}

impl Write for Chunks {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.buffer.len() + text.len() > CHUNK_BYTES {
            self.flush()?;
            self.buffer.reserve(CHUNK_BYTES);
        }
        self.buffer.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "a line of sixteen\n";

    #[tokio::test]
    async fn a_large_body_comes_whole_and_in_bounded_chunks() {
        let count = 100_000;
        let body = Bodies::default()
            .body(move |to| (0..count).try_for_each(|_| to.write_str(LINE)))
            .await;
        let mut stream = body.into_data_stream();
        let mut chunks: Vec<Bytes> = Vec::new();
        while let Some(chunk) = stream.next().await {
            chunks.push(chunk.unwrap());
        }
        // Compression asks once more after the end.
        assert!(stream.next().await.is_none());
        assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
        assert!(chunks.concat() == LINE.repeat(count).as_bytes());
    }

    #[tokio::test]
    async fn a_body_that_cannot_be_written_breaks_off() {
        let body = Bodies::default()
            .body(|to| {
                to.write_str(LINE)?;
                Err(fmt::Error)
            })
            .await;
        assert!(axum::body::to_bytes(body, usize::MAX).await.is_err());
    }

    #[tokio::test]
    async fn whoever_goes_away_ends_the_writing() {
        let (told, ended) = tokio::sync::oneshot::channel();
        let body = Bodies::default()
            .body(move |to| {
                let result = loop {
                    if let Err(error) = to.write_str(LINE) {
                        break Err(error);
                    }
                };
                told.send(()).map_err(|()| fmt::Error)?;
                result
            })
            .await;
        drop(body);
        ended.await.unwrap();
    }
}
