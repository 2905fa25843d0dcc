//! What a redis speaks (RESP2), as far as it is needed here: commands, and answers of a bounded size.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite,
    AsyncWriteExt as _, BufStream,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::Redis;

/// So long a connection, or an answer, may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of an answer, with what each part of it costs.
const ANSWER_MAX: usize = 4 << 20;
const PART: usize = 64;
const LINE_MAX: usize = 64 << 10;
/// Lists in lists.
const DEPTH_MAX: usize = 4;
/// Characters of an error that are told.
const TOLD_MAX: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Text(Vec<u8>),
    Number(i64),
    List(Vec<Reply>),
    Nothing,
    /// What it says of a command that it did not carry out.
    Error(String),
}

/// What an answer begins with.
enum Part {
    Whole(Reply),
    List(usize),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One that was greeted, in its database.
pub(super) struct Connection {
    stream: BufStream<Box<dyn Stream>>,
}

impl Connection {
    /// The error says what is wrong, without a secret.
    pub(super) async fn open(redis: &Redis) -> Result<Self, String> {
        let opened = tokio::time::timeout(ANSWER, connect(redis)).await;
        let stream = opened.map_err(|_late| "it does not answer".to_owned())??;
        let mut connection = Self {
            stream: BufStream::new(stream),
        };
        connection.greet(redis).await?;
        Ok(connection)
    }

    async fn greet(&mut self, redis: &Redis) -> Result<(), String> {
        if let Some(file) = &redis.password {
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("{}: it cannot be read: {error}", file.display()))?;
            let password = text.trim_end_matches(['\r', '\n']);
            let username = redis.username.as_deref();
            let words = ["AUTH"].into_iter().chain(username).chain([password]);
            let words: Vec<&[u8]> = words.map(str::as_bytes).collect();
            match self.ask(&words).await {
                Ok(_) => {}
                // Some repeat what they do not know, and with it the password.
                Err(problem) => {
                    let kind = problem.split(' ').next().unwrap_or_default();
                    return Err(format!(
                        "it does not take the password of {}: {kind}",
                        file.display()
                    ));
                }
            }
        }
        if redis.database != 0 {
            let number = redis.database.to_string();
            self.ask(&[b"SELECT", number.as_bytes()]).await?;
        }
        Ok(())
    }

    /// What it answers to a command; what it says against it is the error.
    pub(super) async fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, String> {
        let asked = tokio::time::timeout(ANSWER, self.exchange(words)).await;
        match asked.map_err(|_late| "it does not answer".to_owned())?? {
            Reply::Error(told) => Err(shown(&told)),
            reply => Ok(reply),
        }
    }

    async fn exchange(&mut self, words: &[&[u8]]) -> Result<Reply, String> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend(format!("${}\r\n", word.len()).into_bytes());
            command.extend(*word);
            command.extend(b"\r\n");
        }
        let stream = &mut self.stream;
        let sent = async {
            stream.write_all(&command).await?;
            stream.flush().await
        };
        sent.await
            .map_err(|error| format!("it cannot be asked: {error}"))?;
        answer(stream).await
    }
}

async fn connect(redis: &Redis) -> Result<Box<dyn Stream>, String> {
    let Redis { host, port, ca, .. } = redis;
    let stream = TcpStream::connect((&**host, *port))
        .await
        .map_err(|error| format!("it cannot be reached: {error}"))?;
    if !redis.is_tls {
        return Ok(Box::new(stream));
    }
    let mut more = Vec::new();
    if let Some(file) = ca {
        let unread = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = std::fs::read(file).map_err(|error| unread(&error))?;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            more.push(certificate.map_err(|error| unread(&error))?);
        }
    }
    let untrusted = |error: &dyn std::fmt::Display| format!("TLS: {error}");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(more, Arc::clone(&provider));
    let verifier = verifier.map_err(|error| untrusted(&error))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| untrusted(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let name = ServerName::try_from(host.clone()).map_err(|error| untrusted(&error))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
    Ok(Box::new(
        connected.await.map_err(|error| untrusted(&error))?,
    ))
}

/// One answer, whole.
async fn answer(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Reply, String> {
    let mut left = ANSWER_MAX;
    let mut open: Vec<(usize, Vec<Reply>)> = Vec::new();
    loop {
        let mut reply = match part(reader, &mut left).await? {
            Part::Whole(reply) => reply,
            Part::List(0) => Reply::List(Vec::new()),
            Part::List(_) if open.len() == DEPTH_MAX => {
                return Err("its answer is lists in lists in lists".to_owned());
            }
            Part::List(count) => {
                open.push((count, Vec::new()));
                continue;
            }
        };
        while let Some((count, mut items)) = open.pop() {
            items.push(reply);
            if items.len() < count {
                open.push((count, items));
                reply = Reply::Nothing;
                break;
            }
            reply = Reply::List(items);
        }
        if open.is_empty() {
            return Ok(reply);
        }
    }
}

async fn part(reader: &mut (impl AsyncBufRead + Unpin), left: &mut usize) -> Result<Part, String> {
    let line = line(reader).await?;
    charge(left, PART + line.len())?;
    let (kind, rest) = line.split_at_checked(1).ok_or_else(not_redis)?;
    let number = || rest.parse::<i64>().map_err(|_text| not_redis());
    let length = || -> Result<Option<usize>, String> {
        match number()? {
            -1 => Ok(None),
            length => usize::try_from(length)
                .map(Some)
                .map_err(|_negative| not_redis()),
        }
    };
    let reply = match kind {
        "+" => Reply::Text(rest.as_bytes().to_vec()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Number(number()?),
        "$" => match length()? {
            None => Reply::Nothing,
            Some(length) => {
                charge(left, length)?;
                let mut text = vec![0; length + 2];
                let read = reader.read_exact(&mut text).await;
                read.map_err(|error| format!("its answer ends too early: {error}"))?;
                text.truncate(length);
                Reply::Text(text)
            }
        },
        "*" => match length()? {
            None => Reply::Nothing,
            Some(count) => return Ok(Part::List(count)),
        },
        _ => return Err(not_redis()),
    };
    Ok(Part::Whole(reply))
}

async fn line(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<String, String> {
    let mut line = Vec::new();
    let mut bounded = reader.take(LINE_MAX as u64);
    let read = bounded.read_until(b'\n', &mut line).await;
    read.map_err(|error| format!("its answer ends too early: {error}"))?;
    let text = line.strip_suffix(b"\r\n").ok_or_else(|| {
        if line.is_empty() {
            "it closed the connection".to_owned()
        } else {
            not_redis()
        }
    })?;
    // Of text only errors are shown, and those need not be exact.
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn charge(left: &mut usize, bytes: usize) -> Result<(), String> {
    *left = left
        .checked_sub(bytes)
        .ok_or_else(|| format!("its answer is longer than {ANSWER_MAX} bytes"))?;
    Ok(())
}

fn not_redis() -> String {
    "what it answers is not what a redis does".to_owned()
}

fn shown(told: &str) -> String {
    told.chars()
        .take(TOLD_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut text: &[u8]) -> Result<Reply, String> {
        answer(&mut text).await
    }

    fn text(text: &str) -> Reply {
        Reply::Text(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn each_kind_of_answer_is_read_as_the_protocol_has_it() {
        for (bytes, expected) in [
            (&b"+PONG\r\n"[..], text("PONG")),
            (b":12\r\n", Reply::Number(12)),
            (b"$-1\r\n", Reply::Nothing),
            (b"*-1\r\n", Reply::Nothing),
            (b"$4\r\na\r\nb\r\n", text("a\r\nb")),
            (b"*0\r\n", Reply::List(Vec::new())),
            (
                b"*2\r\n$2\r\n17\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n+more\r\n",
                Reply::List(vec![text("17"), Reply::List(vec![text("a"), text("b")])]),
            ),
            (
                b"*2\r\n*0\r\n:1\r\n",
                Reply::List(vec![Reply::List(Vec::new()), Reply::Number(1)]),
            ),
            (b"-READONLY no\r\n", Reply::Error("READONLY no".to_owned())),
        ] {
            assert_eq!(read(bytes).await, Ok(expected));
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_or_too_long_a_one_is_an_error() {
        let endless = [b"+".to_vec(), vec![b'a'; LINE_MAX]].concat();
        let many = [b"*1000000\r\n".to_vec(), b":1\r\n".repeat(100_000)].concat();
        let deep = b"*1\r\n".repeat(DEPTH_MAX + 1);
        for (bytes, expected) in [
            (&b""[..], "it closed the connection"),
            (b"HTTP/1.1 400 Bad Request\r\n", "not what a redis does"),
            (b"\r\n", "not what a redis does"),
            (b":many\r\n", "not what a redis does"),
            (b"$-2\r\n", "not what a redis does"),
            (b"$5\r\nab", "ends too early"),
            (b"*2\r\n:1\r\n", "it closed the connection"),
            (b"$99999999999\r\n", "longer than 4194304 bytes"),
            (&many, "longer than 4194304 bytes"),
            (&endless, "not what a redis does"),
            (&deep, "lists in lists"),
        ] {
            let problem = read(bytes).await.unwrap_err();
            assert!(problem.contains(expected), "{expected}: {problem}");
        }
    }
}
