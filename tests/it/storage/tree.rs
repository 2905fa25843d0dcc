//! Storage trees as a server of S3 keeps them, and how they are read both ways.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use md5::{Digest as _, Md5};
use pullproof::config::endpoint::{Endpoint, Scheme};
use pullproof::oci::digest::Digest;
use pullproof::registry::retry::Patience;
use pullproof::registry::transport::Deadlines;
use pullproof::storage::filesystem::Filesystem;
use pullproof::storage::s3::{S3, Settings};
use pullproof::storage::{Listed, Unlisted};
use rustix::fs::{XattrFlags, setxattr};

use crate::support::http::install_crypto_provider;
use crate::support::s3;

/// What a bucket of the test's server is read by.
#[derive(Debug)]
pub(crate) struct Reader {
    home: tempfile::TempDir,
    pub(crate) settings: Settings,
}

impl Reader {
    pub(crate) fn new(port: u16) -> Self {
        install_crypto_provider();
        let home = tempfile::tempdir().unwrap();
        let reader = Self {
            settings: Settings {
                endpoint: Some(Endpoint {
                    scheme: Scheme::Http,
                    host: "127.0.0.1".to_owned(),
                    port,
                    path_prefix: String::new(),
                }),
                region: "us-east-1".to_owned(),
                bucket: s3::BUCKET.to_owned(),
                prefix: String::new(),
                access_key: Some(home.path().join("key")),
                ca: None,
                max_concurrency: 8,
            },
            home,
        };
        reader.write_key(&format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            s3::ACCESS_KEY,
            s3::SECRET_KEY
        ));
        reader
    }

    pub(crate) fn write_key(&self, text: &str) {
        std::fs::write(self.home.path().join("key"), text).unwrap();
    }

    /// With bounds that a test can wait for.
    pub(crate) fn open(&self) -> S3 {
        let deadlines = Deadlines {
            connect: Duration::from_secs(5),
            idle: Duration::from_millis(1500),
            total: Duration::from_secs(30),
        };
        let patience = Patience {
            first_delay: Duration::from_millis(1),
            longest_delay: Duration::from_millis(5),
            attempts: 6,
            retry_after_max: Duration::from_secs(1),
            pause: Duration::ZERO,
        };
        S3::with_bounds(&self.settings, deadlines, patience).unwrap()
    }

    pub(crate) async fn list(&self) -> Result<BTreeSet<Listed>, Unlisted> {
        list(&self.open()).await
    }
}

pub(crate) async fn list(s3: &S3) -> Result<BTreeSet<Listed>, Unlisted> {
    let parts = Mutex::new(Vec::new());
    s3.list(&|part| parts.lock().unwrap().push(part)).await?;
    Ok(set(&parts.into_inner().unwrap()))
}

/// The same tree, from the disk that the server keeps it on.
pub(crate) fn list_disk(root: &Path) -> BTreeSet<Listed> {
    let parts = Mutex::new(Vec::new());
    let take = |part| parts.lock().unwrap().push(part);
    Filesystem::open(root).unwrap().list(2, &take).unwrap();
    set(&parts.into_inner().unwrap())
}

/// Times aside: S3 tells when an object was written, and so does a disk, but not the same of a link that is
/// none.
fn set(listed: &[Vec<Listed>]) -> BTreeSet<Listed> {
    let all = listed.concat();
    let count = all.len();
    let set: BTreeSet<Listed> = all.into_iter().map(timeless).collect();
    assert_eq!(set.len(), count, "something was listed twice");
    set
}

fn timeless(mut listed: Listed) -> Listed {
    match &mut listed {
        Listed::Blob { modified, .. }
        | Listed::Layer { modified, .. }
        | Listed::Revision { modified, .. }
        | Listed::TagHistory { modified, .. } => {
            let told = modified.take();
            assert!(told.is_some_and(|at| at.get() > 1_700_000_000), "{told:?}");
        }
        Listed::Tag { .. } | Listed::Upload { .. } | Listed::Damage { .. } => {}
    }
    listed
}

/// A tree in a bucket's directory.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Below a `rootdirectory` in the bucket.
    pub(crate) fn new(bucket: &Path, prefix: &str) -> Self {
        let root = bucket.join(prefix).join("docker/registry/v2");
        std::fs::create_dir_all(&root).unwrap();
        Self { root }
    }

    /// Writes an object with the ETag that S3 gives it, as the server notes it.
    pub(crate) fn write(&self, path: &str, content: &str) {
        self.write_without_etag(path, content);
        self.set_etag(path, content);
    }

    /// As of an object that is encrypted by KMS: the ETag is no MD5.
    pub(crate) fn write_without_etag(&self, path: &str, content: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
    }

    /// An empty object that stands for a directory.
    pub(crate) fn write_directory(&self, path: &str) {
        std::fs::create_dir_all(self.root.join(path)).unwrap();
        self.set_etag(path, "");
    }

    fn set_etag(&self, path: &str, content: &str) {
        let md5: [u8; 16] = Md5::digest(content).into();
        let hex = format!("{:032x}", u128::from_be_bytes(md5));
        let path = self.root.join(path);
        setxattr(&path, "user.etag", hex.as_bytes(), XattrFlags::empty()).unwrap();
    }

    pub(crate) fn blob(&self, content: &str) -> Digest {
        let digest = Digest::of(content.as_bytes());
        let hex = digest.hex();
        self.write(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]), content);
        digest
    }

    pub(crate) fn link(&self, directory: &str, digest: &Digest) {
        let path = format!("repositories/{directory}/sha256/{}/link", digest.hex());
        self.write(&path, &digest.to_string());
    }

    /// One repository with so many layers; each tenth of them is a manifest with a tag.
    pub(crate) fn repository(&self, name: &str, layers: usize) {
        for number in 0..layers {
            let digest = self.blob(&format!("{name} {number}"));
            if number % 10 == 0 {
                self.link(&format!("{name}/_manifests/revisions"), &digest);
                let tag = format!("{name}/_manifests/tags/v{number}");
                self.link(&format!("{tag}/index"), &digest);
                self.write(
                    &format!("repositories/{tag}/current/link"),
                    &digest.to_string(),
                );
            } else {
                self.link(&format!("{name}/_layers"), &digest);
            }
        }
    }
}
