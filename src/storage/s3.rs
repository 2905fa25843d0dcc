//! The tree in a bucket of S3, or of what speaks as it does.
//!
//! It is read with as few questions as a listing allows: [`ranges`] says how the pages are put side by
//! side, [`chain`] what makes them a listing, and [`tree`] what a listing says of contents without any of
//! them being read. Buckets with versions are listed as they are now.
//!
//! What a collection does to it is here too, in single steps that somebody else journals and composes: in a
//! bucket with versions [`take`], [`put_back`] and [`purge`], in one without [`copy`] and [`remove`], and
//! with files of our own [`object`]. Each names its keys and versions, may be asked again after a crash,
//! and takes an answer that was lost for an error and never for a success.

use std::io;

use self::client::{Client, Question, Success};
use self::listing::Listing;
use self::operation::Operation;
use super::layout::ROOT;
use super::{Listed, Seen, Unlisted};
use crate::oci::digest::Digest;
use crate::registry::retry::Patience;
use crate::registry::transport::Deadlines;

mod body;
mod bulk;
mod chain;
mod client;
mod connection;
mod copy;
mod etag;
mod history;
mod lifecycle;
mod listing;
mod object;
mod operation;
mod page;
mod parts;
mod purge;
mod put_back;
mod question;
mod ranges;
mod refusal;
mod remove;
mod revive;
mod take;
mod tree;
mod upload;
mod versions;

pub use self::client::Fence;
pub use self::copy::{Bounds as CopyBounds, Copied};
pub use self::etag::Etag;
pub use self::history::{Content, History, Version, VersionId};
pub use self::lifecycle::{Lifecycle, Rule};
pub use self::object::{Object, PutNew, Replaced, Stored};
pub use self::purge::Purged;
pub use self::put_back::PutBack;
pub use self::remove::Removed;
pub use self::take::Marked;
pub use self::versions::{Current, Versioning};
pub use crate::config::S3 as Settings;

const CONCURRENCY_MAX: u32 = 1024;
/// An object that is asked for to know why it is not there has no content.
const MARKER_BYTES_MAX: u64 = 64 << 10;
/// Below it, beside the registry's tree, lies what is ours.
const OWN: &str = "pullproof/";

/// A tree in a bucket.
#[derive(Debug)]
pub struct S3 {
    client: Client,
    bucket: String,
    /// The registry's `rootdirectory`: empty, or with a slash at its end.
    prefix: String,
    /// What all keys of the tree begin with, with a slash at its end.
    root: String,
    most: usize,
}

impl S3 {
    /// The error says what is wrong with the settings, and what to write. Nothing is asked yet.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        Self::with_bounds(settings, Deadlines::default(), client::PATIENCE)
    }

    /// The same, with other bounds for each request.
    pub fn with_bounds(
        settings: &Settings,
        deadlines: Deadlines,
        patience: Patience,
    ) -> Result<Self, String> {
        let Settings {
            region,
            bucket,
            prefix,
            max_concurrency,
            ..
        } = settings;
        let is_name = |text: &str, more: &[u8]| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
            !text.is_empty() && text.bytes().all(fits)
        };
        if !is_name(bucket, b"-._") || matches!(bucket.as_str(), "." | "..") {
            return Err(format!(
                "`{bucket}` is no bucket: expected letters, digits, `-` and `.`"
            ));
        }
        if !is_name(region, b"-") {
            return Err(format!(
                "`{region}` is no region: expected one as us-east-1, which most servers that are not AWS take"
            ));
        }
        if !(1..=CONCURRENCY_MAX).contains(max_concurrency) {
            return Err(format!(
                "{max_concurrency} requests in flight: expected 1 to {CONCURRENCY_MAX}"
            ));
        }
        let prefix = prefix.trim_matches('/');
        let is_plain = |part: &str| !matches!(part, "" | "." | "..");
        if !prefix.is_empty() && !prefix.split('/').all(is_plain) {
            return Err(format!(
                "`{prefix}` is no rootdirectory: expected names with one `/` between them"
            ));
        }
        let prefix = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        };
        Ok(Self {
            client: Client::new(settings, deadlines, patience)?,
            bucket: bucket.clone(),
            root: format!("{prefix}{ROOT}/"),
            prefix,
            most: usize::try_from(*max_concurrency).unwrap_or(1),
        })
    }

    /// All that is there, in parts and in no order.
    ///
    /// Links are read where the listing does not prove what is in them. Where that is so of more than
    /// 10,000 (encrypted by KMS, no ETag is an MD5), the others are taken for what their paths say; the
    /// `current` of a tag never is. Of more than 1,000 pushes that have not ended, the others have begun
    /// at no known time.
    pub async fn list(&self, take: &(dyn Fn(Vec<Listed>) + Sync)) -> Result<(), Unlisted> {
        let listing = Listing {
            client: &self.client,
            bucket: &self.bucket,
            root: &self.root,
            most: self.most,
            take,
        };
        listing.run().await
    }

    /// The names in a directory below the `rootdirectory` (empty for that itself; else with a slash at its
    /// end), as far as one page has them.
    pub async fn directory(&self, path: &str) -> io::Result<Directory> {
        let listing = Listing {
            client: &self.client,
            bucket: &self.bucket,
            root: &self.root,
            most: self.most,
            take: &|_found| (),
        };
        let prefix = format!("{}{path}", self.prefix);
        let page = listing.page(&prefix, &[("delimiter", Some("/"))]).await?;
        let name = |key: &str| Some(key.strip_prefix(&prefix)?.to_owned());
        Ok(Directory {
            files: page.objects.iter().filter_map(|it| name(&it.key)).collect(),
            directories: page.folders.iter().filter_map(|it| name(it)).collect(),
        })
    }

    /// Requests in flight at most.
    pub fn max_concurrency(&self) -> usize {
        self.most
    }

    /// A blob's bytes, if they are no more than `most`. [`io::ErrorKind::NotFound`] where it is not there.
    pub async fn read(&self, digest: &Digest, most: u64) -> io::Result<Vec<u8>> {
        let key = self.key(digest);
        let question = Question {
            most,
            ..Question::new(Operation::GetObject, &key)
        };
        let content = self
            .client
            .ask(question, |success| Ok(success.body))
            .await?;
        content.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no {key}")))
    }

    /// Whether there is an object of this key below the `rootdirectory`.
    pub async fn has(&self, path_below_rootdirectory: &str) -> io::Result<bool> {
        let key = format!("{}{path_below_rootdirectory}", self.prefix);
        if self.seen(&key).await?.is_some() {
            return Ok(true);
        }
        // A HEAD does not say whether it is the object that is missing, or the bucket.
        let question = Question {
            most: MARKER_BYTES_MAX,
            ..Question::new(Operation::GetObject, &key)
        };
        let content = self.client.ask(question, |_content| Ok(())).await?;
        Ok(content.is_some())
    }

    /// A blob, by asking for itself and not by a listing. `None` where it is not there.
    pub async fn blob(&self, digest: &Digest) -> io::Result<Option<Seen>> {
        self.seen(&self.key(digest)).await
    }

    async fn seen(&self, key: &str) -> io::Result<Option<Seen>> {
        let question = Question::new(Operation::HeadObject, key);
        let told = |success: Success| Ok((success.size, success.age));
        match self.client.ask(question, told).await? {
            None => Ok(None),
            Some((Some(size), age)) => Ok(Some(Seen { size, age })),
            Some((None, _)) => Err(io::Error::other(format!("the size of {key} is not said"))),
        }
    }

    /// Whether all keys of the registry's tree begin with this.
    pub fn has_tree_below(&self, key_prefix: &str) -> bool {
        self.root.starts_with(key_prefix)
    }

    /// The key of what lies there below the `rootdirectory`.
    fn whole(&self, path: &str) -> io::Result<String> {
        let is_plain = |part: &str| !matches!(part, "" | "." | "..");
        let key = format!("{}{path}", self.prefix);
        // S3's own limit.
        if !path.split('/').all(is_plain) || path.contains(char::is_control) || key.len() > 1024 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "`{path}` is no path of an object: expected names with one `/` between them"
                ),
            ));
        }
        Ok(key)
    }

    /// The same, of what may be taken away: it is the registry's, or ours. What else is in a bucket is
    /// somebody's.
    fn takeable(&self, path: &str) -> io::Result<String> {
        let key = self.whole(path)?;
        let is_registrys = path
            .strip_prefix(ROOT)
            .is_some_and(|it| it.starts_with('/'));
        if is_registrys || path.starts_with(OWN) {
            return Ok(key);
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{path}` is not below {ROOT}/ and not below {OWN}: it is not touched"),
        ))
    }

    fn key(&self, digest: &Digest) -> String {
        let hex = digest.hex();
        let shard = hex.get(..2).unwrap_or_default();
        format!("{}blobs/sha256/{shard}/{hex}/data", self.root)
    }
}

/// What is in a directory, by its names.
#[derive(Debug)]
pub struct Directory {
    pub files: Vec<String>,
    /// With a slash at the end.
    pub directories: Vec<String>,
}

#[cfg(test)]
mod tests;
