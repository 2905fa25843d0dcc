//! What may be said of an image: an oracle that reads the script, and nothing that it judges.
//!
//! It asks of each object what the registry could answer to a HEAD and to a GET, with every rule that
//! may or may not be in force, and allows
//! - `broken` only where there is a positive fact: absence in the specification's words, said at
//!   least twice and once to a GET; other bytes, said twice; another size, said to a GET; a platform
//!   that is needed and was never there;
//! - `pullable` only where each object that is needed could be served, as far as the depth looks;
//! - `unknown` always: a deadline may end an honest answer.

mod reading;

use std::collections::BTreeSet;
use std::time::Duration;

use pullproof::oci::digest::Digest;
use pullproof::verify::finding::{Report, Verdict};
use serde_json::Value;

use crate::support::scripted::answer::{self, Reply, Wire};
use crate::support::scripted::fault::Which;
use crate::support::scripted::store::Store;
use crate::support::scripted::{REGISTRY, Script};
use reading::{
    arrives, canary, described, head_arrives, is_success, may_be_dialled, plain, says_absent,
};

/// As far as a check looks at blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// A HEAD is believed.
    Head,
    /// A byte is read, wherever the registry points to.
    Read,
}

/// More often than anybody asks.
const ALWAYS: usize = 1000;
const REDIRECTS_MAX: usize = 5;
const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// One answer's content, as a client that only reads what arrives can know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// All of it, and it is right.
    Whole,
    /// It is there; how large it is was not told.
    Unsized,
    OtherSize,
    OtherBytes,
    /// 404 to a HEAD, or with the specification's code to a GET.
    Absent,
    /// It ended well before its first byte.
    Empty,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Manifest,
    Blob,
}

/// An object that an image needs.
#[derive(Debug, Clone, Copy)]
struct Needed {
    digest: Digest,
    size: Option<usize>,
    kind: Kind,
}

/// The truth about one repository of a script.
#[derive(Debug)]
pub(super) struct Truth<'a> {
    /// Before anything was lost.
    pub(super) whole: &'a Store,
    pub(super) script: &'a Script,
    pub(super) repository: &'a str,
    pub(super) depth: Depth,
    /// The longest that the client waits for one answer.
    pub(super) patience: Duration,
}

impl Truth<'_> {
    /// Why this report about the image under `reference` for these platforms is a lie.
    pub(super) fn lie(
        &self,
        report: &Report,
        reference: &str,
        needs: Option<&[String]>,
    ) -> Option<String> {
        if report.verdict == Verdict::Unknown {
            return None;
        }
        if self.is_always_there(&canary()) {
            return Some("it has what cannot exist".to_owned());
        }
        let Some(root) = report.digest else {
            return self.lie_without_root(report.verdict, reference);
        };
        if !self.roots(reference).contains(&root) {
            return Some(format!("nobody said that {reference} is {root}"));
        }
        let mut objects = Vec::new();
        let lacks_platform = self.tree(root, needs, &mut objects);
        match report.verdict {
            Verdict::Unknown => None,
            Verdict::Broken => {
                let is_true = lacks_platform || objects.iter().any(|object| self.is_bad(object));
                (!is_true).then(|| "nothing that it needs is broken".to_owned())
            }
            Verdict::Pullable if lacks_platform => Some("a platform was never there".to_owned()),
            Verdict::Pullable => {
                let can = |it: &Needed| self.can_be_had(it) || self.is_told_by_tag(it, reference);
                let bad = objects.iter().find(|object| !can(object))?;
                Some(format!("nobody can have {}", bad.digest))
            }
        }
    }

    fn lie_without_root(&self, verdict: Verdict, reference: &str) -> Option<String> {
        let is_true = verdict == Verdict::Broken && self.is_absent(&self.manifest_path(reference));
        (!is_true).then(|| format!("{reference} was said to be there"))
    }

    /// Every digest that an answer about this reference named.
    fn roots(&self, reference: &str) -> BTreeSet<Digest> {
        if let Ok(digest) = reference.parse() {
            return [digest].into();
        }
        let path = self.manifest_path(reference);
        let heads = self
            .replies(REGISTRY, &path, "HEAD", false, REDIRECTS_MAX)
            .into_iter();
        let announced = heads.filter_map(|(reply, _)| {
            reply
                .header("docker-content-digest")
                .and_then(|it| it.parse().ok())
        });
        let gets = self
            .replies(REGISTRY, &path, "GET", false, REDIRECTS_MAX)
            .into_iter();
        let hashed = gets.map(|(reply, _)| Digest::of(&reply.body));
        announced.chain(hashed).collect()
    }

    /// The objects that these platforms need below a manifest; true if one of them has none.
    fn tree(&self, root: Digest, needs: Option<&[String]>, objects: &mut Vec<Needed>) -> bool {
        let mut found = BTreeSet::new();
        self.visit(root, None, None, needs, objects, &mut found);
        let is_index = self
            .manifest(root)
            .is_some_and(|it| it["manifests"].is_array());
        let suits = |need: &str| found.iter().any(|it| soon(Some(it), need).is_some());
        let lacks = |needs: &[String]| needs.iter().any(|need| !suits(need));
        is_index && needs.is_some_and(lacks)
    }

    fn visit(
        &self,
        digest: Digest,
        size: Option<usize>,
        platform: Option<&str>,
        needs: Option<&[String]>,
        objects: &mut Vec<Needed>,
        found: &mut BTreeSet<String>,
    ) {
        found.extend(platform.map(plain));
        objects.push(Needed {
            digest,
            size,
            kind: Kind::Manifest,
        });
        let Some(manifest) = self.manifest(digest) else {
            return;
        };
        let children = manifest["manifests"].as_array().into_iter().flatten();
        let children: Vec<(&Value, Option<String>)> =
            children.map(|child| (child, platform_of(child))).collect();
        for (child, platform) in &children {
            let is_needed = match (platform, needs) {
                (Some(platform), _) if platform == "unknown/unknown" => false,
                (_, None) => true,
                // A runtime takes the child that fits best, and no other.
                (platform, Some(needs)) => needs.iter().any(|need| {
                    let best = children
                        .iter()
                        .filter_map(|(_, it)| soon(it.as_deref(), need));
                    let own = soon(platform.as_deref(), need);
                    own.is_some() && own == best.min()
                }),
            };
            if is_needed {
                let (digest, size) = described(child);
                self.visit(digest, size, platform.as_deref(), needs, objects, found);
            }
        }
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for blob in layers.chain(manifest.get("config")) {
            let (digest, size) = described(blob);
            objects.push(Needed {
                digest,
                size,
                kind: Kind::Blob,
            });
        }
    }

    fn manifest(&self, digest: Digest) -> Option<Value> {
        let stored = self
            .whole
            .repositories
            .get(self.repository)?
            .manifests
            .get(&digest)?;
        serde_json::from_slice(&stored.body).ok()
    }

    fn manifest_path(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.repository)
    }

    fn path(&self, object: &Needed) -> String {
        match object.kind {
            Kind::Manifest => self.manifest_path(&object.digest.to_string()),
            Kind::Blob => format!("/v2/{}/blobs/{}", self.repository, object.digest),
        }
    }

    /// Whether there is a positive fact against an object.
    fn is_bad(&self, object: &Needed) -> bool {
        let (heads, gets) = (self.said(object, "HEAD"), self.said(object, "GET"));
        let times = |said: &[(Said, usize)], what: Said| -> usize {
            said.iter()
                .filter(|(own, _)| *own == what)
                .map(|(_, times)| times)
                .sum()
        };
        let has_another_size = object.kind == Kind::Manifest
            && self
                .whole
                .repositories
                .get(self.repository)
                .and_then(|it| it.manifests.get(&object.digest))
                .is_some_and(|it| object.size.is_some_and(|size| size != it.body.len()));
        let absent = times(&gets, Said::Absent);
        has_another_size
            || absent >= 1 && absent + times(&heads, Said::Absent) >= 2
            || times(&gets, Said::OtherBytes) >= 2
            || times(&gets, Said::OtherSize) >= 1
            || self.depth == Depth::Read && times(&gets, Said::Empty) >= 2
    }

    /// Whether a client could be served the object, as far as the depth looks.
    fn can_be_had(&self, object: &Needed) -> bool {
        let is_good = |said: &[(Said, usize)]| {
            said.iter()
                .any(|(said, _)| matches!(said, Said::Whole | Said::Unsized))
        };
        let gets = self.said(object, "GET");
        match (object.kind, self.depth) {
            (Kind::Manifest, _) => gets.iter().any(|(said, _)| *said == Said::Whole),
            (Kind::Blob, Depth::Read) => is_good(&gets),
            // A body that does not come is nothing that this depth would see.
            (Kind::Blob, Depth::Head) => {
                is_good(&gets)
                    || is_good(&self.said(object, "HEAD"))
                    || gets.iter().any(|(said, _)| *said == Said::Empty)
            }
        }
    }

    /// A tag's GET served the manifest's bytes, and a HEAD says that they are there by digest too: at
    /// this depth that is believed.
    fn is_told_by_tag(&self, object: &Needed, reference: &str) -> bool {
        let path = self.manifest_path(reference);
        let gets = self.replies(REGISTRY, &path, "GET", false, REDIRECTS_MAX);
        let heads = self.said(object, "HEAD");
        self.depth == Depth::Head
            && object.kind == Kind::Manifest
            && gets
                .iter()
                .any(|(reply, _)| self.reading(object, reply, "GET") == Said::Whole)
            && heads.iter().any(|(said, _)| *said == Said::Unsized)
    }

    fn is_absent(&self, path: &str) -> bool {
        let times = |method| -> usize {
            let replies = self.replies(REGISTRY, path, method, false, 0).into_iter();
            let absent = replies.filter(|(reply, _)| says_absent(reply, method));
            absent.map(|(_, times)| times).sum()
        };
        times("GET") >= 1 && times("GET") + times("HEAD") >= 2
    }

    fn is_always_there(&self, digest: &Digest) -> bool {
        let path = self.manifest_path(&digest.to_string());
        let replies = self.replies(REGISTRY, &path, "HEAD", false, 0);
        replies
            .iter()
            .all(|(reply, _)| arrives(reply, true, self.patience) && is_success(reply))
    }

    /// What could be said of an object, and how often.
    fn said(&self, object: &Needed, method: &str) -> Vec<(Said, usize)> {
        let is_head = method == "HEAD";
        let first_byte = !is_head && object.kind == Kind::Blob;
        let follows = object.kind == Kind::Manifest || self.depth == Depth::Read;
        let hops = if follows { REDIRECTS_MAX } else { 0 };
        let replies = self.replies(REGISTRY, &self.path(object), method, first_byte, hops);
        let said = replies
            .iter()
            .map(|(reply, times)| (self.reading(object, reply, method), *times));
        said.collect()
    }

    fn reading(&self, object: &Needed, reply: &Reply, method: &str) -> Said {
        let is_head = method == "HEAD";
        if says_absent(reply, method) {
            return Said::Absent;
        }
        if (300..400).contains(&reply.status)
            && object.kind == Kind::Blob
            && self.depth == Depth::Head
        {
            return Said::Unsized;
        }
        if !is_success(reply)
            || !arrives(reply, is_head, self.patience) && object.kind == Kind::Manifest
        {
            return Said::Nothing;
        }
        let is_encoded = reply
            .header("content-encoding")
            .is_some_and(|it| it != "identity");
        let length = reply
            .header("content-length")
            .and_then(|it| it.parse::<usize>().ok());
        match object.kind {
            Kind::Manifest if is_head => Said::Unsized,
            Kind::Manifest if is_encoded || reply.body.len() > MANIFEST_BYTES_MAX => Said::Nothing,
            Kind::Manifest => {
                let end = length.unwrap_or(reply.body.len()).min(reply.body.len());
                if Digest::of(&reply.body[..end]) == object.digest {
                    Said::Whole
                } else {
                    Said::OtherBytes
                }
            }
            Kind::Blob if !head_arrives(reply, self.patience) => Said::Nothing,
            // It ends before its first byte, as it said that it would or not.
            Kind::Blob
                if !is_head
                    && object.size != Some(0)
                    && (reply.wire == Wire::Cut(0) && !reply.body.is_empty()
                        || length == Some(0)) =>
            {
                Said::Empty
            }
            Kind::Blob => {
                let total = reply
                    .header("content-range")
                    .filter(|_| reply.status == 206)
                    .and_then(|it| it.rsplit_once('/')?.1.parse().ok())
                    .or(length.filter(|_| reply.status != 206));
                match (total, object.size) {
                    (Some(total), Some(size)) if !is_encoded && total != size => Said::OtherSize,
                    (Some(_), _) if !is_encoded => Said::Whole,
                    (_, _) => Said::Unsized,
                }
            }
        }
    }

    /// Every answer that a request could get, with how often; redirects followed so many times.
    fn replies(
        &self,
        host: &str,
        path: &str,
        method: &str,
        first_byte: bool,
        hops: usize,
    ) -> Vec<(Reply, usize)> {
        let routes = answer::routes(host, path);
        let honest = answer::honest(&self.script.store, path, &routes, first_byte.then_some(0));
        let mut replies = vec![(honest, ALWAYS)];
        for rule in self
            .script
            .rules
            .iter()
            .filter(|rule| rule.is_about(&routes, method))
        {
            let in_force = |(reply, times): &(Reply, usize)| {
                let mut changed = reply.clone();
                rule.faults
                    .iter()
                    .for_each(|fault| fault.apply(&mut changed));
                match rule.which {
                    Which::First(count) => (changed, count.min(*times)),
                    Which::Always | Which::After(_) | Which::EverySecond => (changed, *times),
                }
            };
            let changed: Vec<_> = replies.iter().map(in_force).collect();
            if rule.which == Which::Always {
                replies.clear();
            }
            replies.extend(changed);
        }
        if hops == 0 {
            return replies;
        }
        let followed = replies.into_iter().flat_map(|(reply, times)| {
            let location = reply
                .header("location")
                .filter(|_| (300..400).contains(&reply.status));
            let Some(location) = location else {
                return vec![(reply, times)];
            };
            let base: reqwest::Url = format!("http://{host}{path}").parse().expect("a URL");
            let Some(url) = base.join(location).ok().filter(may_be_dialled) else {
                return Vec::new();
            };
            let host = url.host_str().unwrap_or_default();
            let behind = self.replies(host, url.path(), method, first_byte, hops - 1);
            behind
                .into_iter()
                .map(|(reply, own)| (reply, own.min(times)))
                .collect()
        });
        followed.collect()
    }
}

/// How soon a node of this platform takes a child of that one, none if never: its own first, then as a
/// 64-bit arm the 32-bit one, then what names no platform.
fn soon(child: Option<&str>, need: &str) -> Option<u8> {
    match child.map(plain) {
        Some(child) if child == plain(need) => Some(0),
        Some(child) if plain(need) == "linux/arm64" && child.starts_with("linux/arm/") => Some(1),
        Some(_) => None,
        None => Some(2),
    }
}

fn platform_of(child: &Value) -> Option<String> {
    let platform = child.get("platform")?;
    let text = |name: &str| platform[name].as_str().unwrap_or_default();
    let whole = [text("os"), text("architecture"), text("variant")].join("/");
    Some(whole.trim_end_matches('/').to_owned())
}
