//! Bytes: requests from them, answers into them, and every way of not doing that properly.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::Seen;
use super::answer::{Reply, Wire};

/// A connection with or without TLS.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Ends it so that the client sees a reset.
    fn reset(self) {
        let socket = match &self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        };
        // It fails where the client was faster.
        socket.set_zero_linger().ok();
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

/// Reads one request. `None` when the client has no more.
pub(crate) async fn read(stream: &mut Stream, connection: usize) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        // A TLS handshake, for instance: as real servers do it.
        if !bytes[0].is_ascii_uppercase() {
            let refusal = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
            stream.write_all(refusal).await.ok()?;
            stream.shutdown().await.ok()?;
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let get = |wanted: &str| {
        headers
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.clone())
    };
    // A proxy is told the whole URL.
    let (host, target) = match target
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((host, rest)) => (host.to_owned(), format!("/{rest}")),
        None => (get("host").unwrap_or_default(), target.to_owned()),
    };
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let length: usize = get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen {
        connection,
        host,
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
    })
}

/// Sends an answer. `None` when nothing more can be sent on the connection.
pub(crate) async fn write(mut stream: Stream, reply: Reply, is_head: bool) -> Option<Stream> {
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    let Reply {
        status,
        headers,
        body,
        wire,
        ..
    } = reply;
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let has_length = headers.iter().any(|(name, _)| name == "content-length");
    let body = if is_head { body.slice(..0) } else { body };
    let body_end = |at: usize| at.min(body.len());
    match wire {
        Wire::Whole => {
            let must_close = !has_length && !is_head;
            if must_close {
                head.push_str("connection: close\r\n");
            }
            head.push_str("\r\n");
            let whole = [head.as_bytes(), &body].concat();
            stream.write_all(&whole).await.ok()?;
            if must_close {
                stream.shutdown().await.ok();
                return None;
            }
            return Some(stream);
        }
        Wire::Cut(at) | Wire::ResetIn(at) | Wire::HangIn(at) => {
            head.push_str("\r\n");
            let part = [head.as_bytes(), &body[..body_end(at)]].concat();
            stream.write_all(&part).await.ok()?;
            match wire {
                Wire::ResetIn(_) => stream.reset(),
                Wire::HangIn(_) => hang(&mut stream).await,
                _ => stream.shutdown().await.ok()?,
            }
        }
        Wire::Reset => stream.reset(),
        Wire::HalfClose => {
            stream.shutdown().await.ok()?;
            hang(&mut stream).await;
        }
        Wire::Hang => hang(&mut stream).await,
        Wire::DripHead(every) => {
            head.push_str("x-more: ");
            drip(&mut stream, head.as_bytes(), every).await?;
            while drip(&mut stream, b"x", every).await.is_some() {}
        }
        Wire::DripBody(every) => {
            head.push_str("\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            drip(&mut stream, &body, every).await?;
            return Some(stream);
        }
        Wire::Endless => {
            head = head.replace("content-length", "x-length");
            head.push_str("transfer-encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
            while !is_head && stream.write_all(&chunk).await.is_ok() {}
        }
        Wire::Raw(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            stream.shutdown().await.ok()?;
        }
    }
    None
}

/// Says nothing until the client goes away.
async fn hang(stream: &mut Stream) {
    let mut ignored = [0; 1024];
    while matches!(stream.read(&mut ignored).await, Ok(1..)) {}
}

async fn drip(stream: &mut Stream, bytes: &[u8], every: std::time::Duration) -> Option<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await.ok()?;
        stream.flush().await.ok()?;
        tokio::time::sleep(every).await;
    }
    Some(())
}
