//! Asks another pullproof for what it reads itself.

use std::error::Error;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use flate2::read::MultiGzDecoder;
use futures::StreamExt as _;
use reqwest::header;
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::mpsc;

use super::PeerOptions;
use super::answer::{self, Answer};
use super::judge::{Look, Refused, judge};
use crate::clock::Clock;
use crate::inventory::SourceState;
use crate::oci::digest::Digest;
use crate::oci::reference::shown;

const PATH: &str = "/api/v1/keepset";
const CONNECT_BOUND: Duration = Duration::from_secs(5);
/// Without a byte for so long, nothing more comes. A large keep-set takes a while to be put together.
const IDLE_BOUND: Duration = Duration::from_secs(60);
const TOTAL_BOUND: Duration = Duration::from_secs(600);
/// The longest keep-set that is read, as it is before it is compressed. One of 100,000 references with
/// three users each has some 100 MiB.
const BODY_BYTES_MAX: u64 = 512 << 20;
const ERROR_BYTES_MAX: usize = 4 << 10;
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Pieces of a body that wait to be read.
const PIECES_WAITING: usize = 4;

/// Reads one peer again and again.
#[derive(Debug)]
pub struct Reader {
    options: PeerOptions,
    /// With the digest of the authorities that it trusts.
    client: Option<(Option<Digest>, Client)>,
    settling: Option<Digest>,
}

impl Reader {
    pub fn new(options: PeerOptions) -> Self {
        Self {
            options,
            client: None,
            settling: None,
        }
    }

    /// What the peer says now, given what it said before: that stays where it cannot be had anew.
    pub async fn read(&mut self, before: &SourceState, clock: &Arc<dyn Clock>) -> SourceState {
        let asked = clock.now();
        let told = before.peer.as_deref().and_then(|told| told.mark.as_ref());
        let answered = self.ask(told.map(|mark| mark.content)).await;
        let look = Look {
            max_age: self.options.max_age,
            asked,
            now: clock.now(),
            settling: self.settling,
        };
        let judged = match answered {
            // Of a large one this takes a while.
            Ok(answer) => {
                let before = before.clone();
                let judged = tokio::task::spawn_blocking(move || judge(answer, &before, look));
                let failed = |panic| Err(Refused::For(format!("reading it failed: {panic}")));
                judged.await.unwrap_or_else(failed)
            }
            Err(problem) => Err(Refused::For(problem)),
        };
        match judged {
            Ok(state) => {
                self.settling = None;
                state
            }
            Err(refused) => {
                if let Refused::Settling(configuration) = refused {
                    self.settling = Some(configuration);
                }
                SourceState {
                    incomplete: Some(format!("{}: {refused}", self.options.url)),
                    is_awaited: false,
                    ..before.clone()
                }
            }
        }
    }

    async fn ask(&mut self, held: Option<Digest>) -> Result<Answer, String> {
        let token = secret(&self.options.token).await?;
        let mut url = format!("{}{PATH}?firstHand=true", self.options.url);
        if let Some(held) = held {
            url.push_str(&format!("&unless={held}"));
        }
        let request = self
            .client()
            .await?
            .get(url)
            .bearer_auth(token.expose_secret())
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_ENCODING, "gzip");
        let response = request.send().await.map_err(root)?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(refusal(status, response).await);
        }
        let of_header = |name| {
            let value = response.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let kind = of_header(header::CONTENT_TYPE).unwrap_or_default();
        if !kind.starts_with("application/json") {
            let kind = shown(&kind);
            return Err(format!(
                "it answers `{kind}` and no JSON: it is no pullproof's page"
            ));
        }
        let is_compressed = match of_header(header::CONTENT_ENCODING).as_deref() {
            None | Some("identity") => false,
            Some("gzip") => true,
            Some(other) => return Err(format!("it answers in `{}`, unasked", shown(other))),
        };
        parse(response, is_compressed).await
    }

    /// Authorities may be renewed at any time.
    async fn client(&mut self) -> Result<&Client, String> {
        let authorities = match &self.options.ca {
            None => None,
            Some(file) => Some(content(file).await?),
        };
        let digest = authorities.as_ref().map(|pem| Digest::of(pem));
        if self.client.as_ref().is_none_or(|(of, _)| *of != digest) {
            self.client = Some((digest, self.options.build(authorities.as_deref())?));
        }
        let (_, client) = self.client.as_ref().expect("there is one now");
        Ok(client)
    }
}

impl PeerOptions {
    fn build(&self, authorities: Option<&[u8]>) -> Result<Client, String> {
        let mut builder = Client::builder()
            .user_agent(concat!("pullproof/", env!("CARGO_PKG_VERSION")))
            // The token goes to this host and no other.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_BOUND)
            .read_timeout(IDLE_BOUND)
            .timeout(TOTAL_BOUND);
        if self.is_local {
            builder = builder.no_proxy();
        }
        if let Some(pem) = authorities {
            let file = self.ca.as_deref().unwrap_or(Path::new("")).display();
            let problem = |error: reqwest::Error| format!("{file}: {}", root(error));
            for certificate in reqwest::Certificate::from_pem_bundle(pem).map_err(problem)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder.build().map_err(root)
    }
}

/// What an answer without a keep-set says.
async fn refusal(status: StatusCode, response: Response) -> String {
    let number = status.as_u16();
    if status.is_redirection() {
        return format!("it answers {number}: it leads elsewhere, and that is not followed");
    }
    let why = match status {
        StatusCode::UNAUTHORIZED => {
            "it does not know our token; `token` has to hold what its http.token does"
        }
        StatusCode::FORBIDDEN => "it serves no keep-set to anybody, or not to us",
        StatusCode::NOT_FOUND => "there is no pullproof's page",
        _ => "it cannot say what is kept",
    };
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(Ok(piece)) = pieces.next().await
        && body.len() < ERROR_BYTES_MAX
    {
        body.extend_from_slice(&piece);
    }
    let text = String::from_utf8_lossy(&body);
    match text
        .lines()
        .next()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        Some(line) => format!("it answers {number}: {why} ({})", shown(line)),
        None => format!("it answers {number}: {why}"),
    }
}

/// Reads a body while it comes.
async fn parse(response: Response, is_compressed: bool) -> Result<Answer, String> {
    let (pieces, waiting) = mpsc::channel(PIECES_WAITING);
    let parse = tokio::task::spawn_blocking(move || {
        let body = Body::of(waiting);
        let body: Box<dyn Read> = if is_compressed {
            Box::new(MultiGzDecoder::new(body))
        } else {
            Box::new(body)
        };
        answer::read(Bounded::new(body, BODY_BYTES_MAX))
    });
    let feed = async move {
        let mut body = response.bytes_stream();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| format!("it was cut: {}", root(error)));
            // Whoever reads has seen enough: what it says of that is the answer.
            if pieces.send(Some(piece)).await.is_err() {
                return;
            }
        }
        pieces.send(None).await.ok();
    };
    let ((), parsed) = futures::join!(feed, parse);
    match parsed {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.is_io() => Err(format!("its answer cannot be read: {error}")),
        Ok(Err(error)) => Err(format!("its answer is no keep-set: {error}")),
        Err(panic) => Err(format!("reading its answer failed: {panic}")),
    }
}

/// A body as it comes; `None` is its end.
struct Body {
    waiting: mpsc::Receiver<Option<Result<Bytes, String>>>,
    piece: Bytes,
    has_ended: bool,
}

impl Body {
    fn of(waiting: mpsc::Receiver<Option<Result<Bytes, String>>>) -> Self {
        Self {
            waiting,
            piece: Bytes::new(),
            has_ended: false,
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.has_ended {
            match self.waiting.blocking_recv() {
                Some(Some(piece)) => self.piece = piece.map_err(io::Error::other)?,
                Some(None) => self.has_ended = true,
                // Nobody said that it ended.
                None => return Err(io::Error::other("it was cut")),
            }
        }
        let length = buffer.len().min(self.piece.len());
        if let Some(part) = buffer.get_mut(..length) {
            self.piece.copy_to_slice(part);
        }
        Ok(length)
    }
}

/// No more than so many bytes: what has more is an error, and never cut.
struct Bounded<R> {
    inner: R,
    most: u64,
    left: u64,
}

impl<R> Bounded<R> {
    fn new(inner: R, most: u64) -> Self {
        Self {
            inner,
            most,
            left: most,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(length as u64).ok_or_else(|| {
            let most = self.most;
            io::Error::other(format!(
                "it is larger than {most} bytes, the most that is read"
            ))
        })?;
        Ok(length)
    }
}

/// What is in a file, without the end of its last line.
async fn secret(path: &Path) -> Result<SecretString, String> {
    let content = secrecy::zeroize::Zeroizing::new(content(path).await?);
    let text = std::str::from_utf8(&content).map(str::trim);
    match text {
        Ok(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(text.into())
        }
        Ok(_) | Err(_) => Err(format!(
            "{}: it holds no token; expected one word of letters, digits and marks",
            path.display()
        )),
    }
}

async fn content(path: &Path) -> Result<Vec<u8>, String> {
    let problem = |what: String| format!("{}: {what}", path.display());
    let metadata = tokio::fs::metadata(path)
        .await
        .map_err(|error| problem(format!("it cannot be read: {error}")))?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(problem("it is not a file of at most 4 MiB".to_owned()));
    }
    let content = tokio::fs::read(path).await;
    content.map_err(|error| problem(format!("it cannot be read: {error}")))
}

/// The innermost cause says what happened; those around it, that something did.
fn root(error: reqwest::Error) -> String {
    let error = error.without_url();
    let is_timeout = error.is_timeout();
    let mut cause: &dyn Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if is_timeout {
        return format!("it did not answer in time ({cause})");
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_an_error_and_never_cut() {
        let read = |most| {
            let mut text = String::new();
            let mut bounded = Bounded::new(&b"0123456789"[..], most);
            bounded.read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(read(10).unwrap(), "0123456789");
        let problem = read(9).unwrap_err().to_string();
        assert!(problem.contains("larger than 9 bytes"), "{problem}");
    }

    #[tokio::test]
    async fn a_body_that_does_not_say_that_it_ended_was_cut() {
        let read = async |says_so: bool| {
            let (pieces, waiting) = mpsc::channel(4);
            for piece in ["[1,", "", "2]"] {
                pieces.send(Some(Ok(piece.into()))).await.unwrap();
            }
            if says_so {
                pieces.send(None).await.unwrap();
            }
            drop(pieces);
            let read = tokio::task::spawn_blocking(move || {
                let mut text = String::new();
                let mut body = Body::of(waiting);
                // Whoever looks again after the end sees that it is the end.
                let read = body.read_to_string(&mut text);
                read.and_then(|_| body.read(&mut [0])).map(|_| text)
            });
            read.await.unwrap().map_err(|error| error.to_string())
        };
        assert_eq!(read(true).await.unwrap(), "[1,2]");
        assert_eq!(read(false).await.unwrap_err(), "it was cut");
    }

    #[tokio::test]
    async fn a_token_is_one_word() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        for (text, is_one) in [
            ("s3cret\n", true),
            ("", false),
            ("two words", false),
            ("é", false),
        ] {
            std::fs::write(&file, text).unwrap();
            let read = secret(&file).await;
            assert_eq!(read.is_ok(), is_one, "{text:?}");
            if let Err(problem) = read {
                assert!(problem.contains("it holds no token"), "{problem}");
                assert!(text.is_empty() || !problem.contains(text), "{problem}");
            }
        }
        let problem = secret(&directory.path().join("missing")).await.unwrap_err();
        assert!(problem.contains("missing: it cannot be read"), "{problem}");
    }
}
