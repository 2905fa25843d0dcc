//! A bucket that is written to: through a man between by the one that is tested, and past him by somebody
//! else.

use pullproof::oci::digest::Digest;
use pullproof::storage::s3::{Etag, History, PutNew, Replaced, S3, VersionId};

use super::between::{Between, Fault};
use super::tree::Reader;
use crate::support;

pub(super) struct Bed {
    pub(super) server: support::s3::S3,
    pub(super) between: Between,
    pub(super) reader: Reader,
    /// Through the man between.
    pub(super) s3: S3,
    /// Past him.
    pub(super) other: S3,
    _other: Reader,
}

impl Bed {
    pub(super) async fn with_versions() -> Self {
        Self::of(support::s3::S3::start_with_versions().await, "")
    }

    pub(super) async fn without_versions() -> Self {
        Self::of(support::s3::S3::start().await, "deep/er")
    }

    /// Below a `rootdirectory`.
    fn of(server: support::s3::S3, prefix: &str) -> Self {
        let between = Between::start(&server.host());
        let mut reader = Reader::new(between.port());
        prefix.clone_into(&mut reader.settings.prefix);
        let mut other = Reader::new(server.host().rsplit(':').next().unwrap().parse().unwrap());
        prefix.clone_into(&mut other.settings.prefix);
        Self {
            s3: reader.open(),
            other: other.open(),
            _other: other,
            server,
            between,
            reader,
        }
    }

    /// Somebody writes it, whatever is there.
    pub(super) async fn push(&self, path: &str, content: &[u8]) -> Etag {
        if let PutNew::Written { etag } = self.other.put_new(path, content).await.unwrap() {
            return etag;
        }
        // For versitygw a marker is what it lies above.
        let history = self.history(path).await.unwrap();
        let newest = history.newest_content().unwrap().content.clone().unwrap();
        let etag = newest.etag.unwrap();
        match self.other.replace(path, content, &etag).await.unwrap() {
            Replaced::Written { etag } => etag,
            Replaced::Changed => panic!("nobody else writes {path}"),
        }
    }

    /// Somebody writes a blob; its path, and its version where there are any.
    pub(super) async fn push_blob(&self, content: &[u8]) -> String {
        let path = blob(content);
        self.push(&path, content).await;
        path
    }

    pub(super) async fn version(&self, path: &str) -> VersionId {
        let current = self.other.current(path).await.unwrap();
        current.unwrap().version.unwrap()
    }

    pub(super) async fn etag(&self, path: &str) -> Etag {
        let current = self.other.current(path).await.unwrap();
        current.unwrap().etag.unwrap()
    }

    pub(super) async fn content(&self, path: &str) -> Option<Vec<u8>> {
        let found = self.other.get(path, 64 << 20).await.unwrap();
        found.map(|object| object.bytes)
    }

    pub(super) async fn history(&self, path: &str) -> Option<History> {
        let all = self.other.history(path).await.unwrap();
        all.into_iter().find(|history| history.path == path)
    }

    /// The versions that are no markers, newest first.
    pub(super) async fn contents(&self, path: &str) -> Vec<VersionId> {
        let history = self.history(path).await;
        let versions = history.into_iter().flat_map(|history| history.versions);
        let contents = versions.filter(|version| !version.is_marker());
        contents.map(|version| version.id).collect()
    }

    /// How many requests of which this is true were put since this was last asked, or healed.
    pub(super) fn asked(&self, asked: impl Fn(&str, &str) -> bool) -> usize {
        let seen = self.between.take_seen();
        let matching = seen.iter().filter(|seen| asked(&seen.method, &seen.path));
        matching.count()
    }

    /// The next `HEAD` is answered so, and the server is not asked.
    pub(super) fn answer_head(&self, headers: &[(&'static str, String)]) {
        let headers: Vec<(&'static str, &'static str)> = headers
            .iter()
            .map(|(name, value)| (*name, &*value.clone().leak()))
            .collect();
        let fault = Fault::Answer(200, headers.leak(), String::new());
        self.between
            .when(0..1, fault, |method, _path| method == "HEAD");
    }
}

/// Below the `rootdirectory`.
pub(super) fn blob(content: &[u8]) -> String {
    let hex = Digest::of(content).hex();
    format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2])
}

pub(super) fn is_bulk(method: &str, path: &str) -> bool {
    method == "POST" && path.contains("delete=")
}

pub(super) fn is_delete(method: &str, _path: &str) -> bool {
    method == "DELETE"
}
