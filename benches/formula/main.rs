//! A registry made of a formula: any number of references and no disk, for the benchmark of growth.
//!
//! Each repository has 5 tags, each tag is an index of two platforms, each image has a config, three
//! layers of its own, five that all images of its platform share in the repository, and one that all
//! images of the repository share. So 5 references are 15 manifests and 51 blobs, and 100,000
//! references are 1,020,000 distinct blobs. Digests of manifests are those of their bytes.
//!
//! `formula list REFERENCES HOST` prints the references, `formula serve REFERENCES ADDRESS` answers
//! HEAD and GET for them over plain HTTP/1.1 until it is killed, and says `ready` when it does.
//! It is compiled alone, by `rustc`, so it has no dependencies.

mod content;
mod sha256;

use std::collections::HashMap;
use std::env;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use content::{Digest, INDEX, MANIFEST, Object, TAGS};

struct Registry {
    repositories: u32,
    objects: HashMap<Digest, Object>,
    indexes: Vec<Digest>,
}

impl Registry {
    fn new(repositories: u32) -> Self {
        let mut registry = Self {
            repositories,
            objects: HashMap::new(),
            indexes: Vec::new(),
        };
        for repository in 0..repositories {
            for tag in 0..TAGS {
                registry.add(repository, tag);
            }
        }
        registry
    }

    fn add(&mut self, repository: u32, tag: u32) {
        let children = [0, 1].map(|platform| {
            let body = content::image(repository, tag, platform);
            let digest = sha256::of(body.as_bytes());
            let size = content::length(&body);
            let image = Object::Image {
                repository,
                tag,
                platform,
                size,
            };
            self.objects.insert(digest, image);
            for (digest, size) in content::blobs(repository, tag, platform) {
                self.objects
                    .insert(digest, Object::Blob { repository, size });
            }
            (digest, body.len())
        });
        let body = content::index(&children);
        let digest = sha256::of(body.as_bytes());
        let size = content::length(&body);
        self.objects.insert(
            digest,
            Object::Index {
                repository,
                tag,
                size,
            },
        );
        self.indexes.push(digest);
    }

    /// Writes the answer to one request.
    fn answer(&self, method: &str, path: &str, to: &mut impl Write) -> io::Result<()> {
        if path == "/v2/" || path == "/v2" {
            return to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        }
        let is_head = method == "HEAD";
        // No layer has bytes here; who reads one reads its last, and gets one.
        if !is_head
            && let Some((_, object @ Object::Blob { size, .. })) = self.find(path)
            && content::content(object).is_none()
        {
            let last = size.saturating_sub(1);
            return write!(
                to,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {last}-{last}/{size}\r\nContent-Length: 1\r\n\r\nx"
            );
        }
        let found = self.find(path).and_then(|(digest, object)| {
            let (media_type, size) = match object {
                Object::Index { size, .. } => (INDEX, size),
                Object::Image { size, .. } => (MANIFEST, size),
                Object::Blob { size, .. } => ("application/octet-stream", size),
            };
            let body = if is_head {
                Some(String::new())
            } else {
                content::content(object)
            };
            Some((digest, media_type, size, body?))
        });
        match found {
            Some((digest, media_type, size, body)) => write!(
                to,
                "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nDocker-Content-Digest: sha256:{}\r\nContent-Length: {size}\r\n\r\n{body}",
                content::hex(&digest)
            ),
            None => {
                let problem = r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;
                let size = problem.len();
                let body = if is_head { "" } else { problem };
                write!(
                    to,
                    "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n{body}"
                )
            }
        }
    }

    /// `/v2/bench/app-N/(manifests|blobs)/(TAG|sha256:HEX)`
    fn find(&self, path: &str) -> Option<(Digest, Object)> {
        let (repository, rest) = path.strip_prefix("/v2/bench/app-")?.split_once('/')?;
        let repository: u32 = repository.parse().ok()?;
        let (kind, name) = rest.split_once('/')?;
        let digest = match name.strip_prefix("sha256:") {
            Some(hex) => content::from_hex(hex)?,
            None => {
                let tag: u32 = name.strip_prefix("v1.")?.parse().ok()?;
                let is_ours = repository < self.repositories && tag < TAGS;
                let at = is_ours.then_some((repository * TAGS + tag) as usize)?;
                *self.indexes.get(at)?
            }
        };
        let object = *self.objects.get(&digest)?;
        let is_blob = matches!(object, Object::Blob { .. });
        (object.repository() == repository && is_blob == (kind == "blobs"))
            .then_some((digest, object))
    }

    /// Answers one connection's requests, which have no bodies.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut to = BufWriter::new(stream.try_clone()?);
        let mut from = BufReader::new(stream);
        let (mut first, mut header) = (String::new(), String::new());
        loop {
            first.clear();
            if from.read_line(&mut first)? == 0 {
                return Ok(());
            }
            while header != "\r\n" {
                header.clear();
                if from.read_line(&mut header)? == 0 {
                    return Ok(());
                }
            }
            header.clear();
            let mut words = first.split(' ');
            if let (Some(method), Some(path)) = (words.next(), words.next()) {
                self.answer(method, path, &mut to)?;
            }
            if from.buffer().is_empty() {
                to.flush()?;
            }
        }
    }
}

fn list(repositories: u32, host: &str) -> io::Result<()> {
    let mut to = BufWriter::new(io::stdout().lock());
    for repository in 0..repositories {
        for tag in 0..TAGS {
            writeln!(to, "{host}/bench/app-{repository:05}:v1.{tag}")?;
        }
    }
    to.flush()
}

fn serve(repositories: u32, address: &str) -> io::Result<()> {
    let registry = Arc::new(Registry::new(repositories));
    let listener = TcpListener::bind(address)?;
    writeln!(io::stdout(), "ready")?;
    loop {
        let (stream, _) = listener.accept()?;
        let registry = Arc::clone(&registry);
        // A client that goes away in the middle is its own affair.
        thread::spawn(move || registry.serve(stream).ok());
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [what @ ("list" | "serve"), references, place] => {
            let repositories = references.parse::<u32>().ok().map(|count| count / TAGS);
            match (*what, repositories) {
                ("list", Some(repositories)) => list(repositories, place),
                (_, Some(repositories)) => serve(repositories, place),
                (_, None) => Err(io::Error::other(format!("`{references}` is no number"))),
            }
        }
        _ => {
            eprintln!("usage: formula list REFERENCES HOST | formula serve REFERENCES ADDRESS");
            return ExitCode::from(64);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("formula: {error}");
            ExitCode::FAILURE
        }
    }
}
