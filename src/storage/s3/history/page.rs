//! A page of `ListObjectVersions`, as it is written. Pure.

use jiff::Timestamp;
use serde::Deserialize;

use super::super::etag::Etag;
use super::super::page::{Fault, NoPage, decoded};
use super::{Content, Version, VersionId};
use crate::second::Second;

/// An answer to `GET /?versions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Page {
    /// What was asked, as the server understood it; `None` where it does not say.
    pub(super) bucket: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) key_marker: Option<String>,
    pub(super) version_marker: Option<String>,
    pub(super) is_truncated: bool,
    /// Where the next page begins.
    pub(super) next_key: Option<String>,
    pub(super) next_version: Option<String>,
    /// In order of their keys; of a key the newest first.
    pub(super) entries: Vec<(String, Version)>,
}

#[derive(Deserialize)]
enum Document {
    ListVersionsResult(Written),
    Error(Fault),
}

/// In the order of the document: between versions and markers it is what says which is the newer one.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "$value", default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
enum Part {
    Name(String),
    Prefix(String),
    KeyMarker(String),
    VersionIdMarker(String),
    NextKeyMarker(String),
    NextVersionIdMarker(String),
    EncodingType(String),
    IsTruncated(bool),
    Version(Entry),
    DeleteMarker(Entry),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    version_id: String,
    is_latest: bool,
    last_modified: Option<String>,
    size: Option<u64>,
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

struct Timed {
    key: String,
    version: Version,
    at: Option<Timestamp>,
}

/// Reads the body of a success.
pub(in super::super) fn read(body: &[u8]) -> Result<Page, NoPage> {
    let malformed = |problem: &str| NoPage::Malformed(problem.to_owned());
    let text = std::str::from_utf8(body).map_err(|_place| malformed("it is not text"))?;
    let document = quick_xml::de::from_str(text).map_err(|error| malformed(&error.to_string()))?;
    let written = match document {
        Document::ListVersionsResult(written) => written,
        Document::Error(fault) => return Err(NoPage::Fault(fault)),
    };
    // The parser does not look at what comes after the element.
    if !text.trim_end().ends_with("</ListVersionsResult>") {
        return Err(malformed("something comes after it"));
    }
    let is_encoded = match written.parts.iter().find_map(encoding) {
        Some("url") => true,
        None | Some("") => false,
        Some(other) => return Err(malformed(&format!("its keys are encoded as {other}"))),
    };
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    let key = |text: String| decoded(text, is_encoded);
    let (mut page, mut is_truncated) = (Page::default(), None);
    let (mut all, mut shape) = (Vec::new(), String::new());
    for part in written.parts {
        match part {
            Part::Name(text) => page.bucket = said(text),
            Part::Prefix(text) => page.prefix = Some(key(text)?),
            // Empty says that it is the first page.
            Part::KeyMarker(text) => page.key_marker = Some(key(text)?),
            Part::VersionIdMarker(text) => page.version_marker = Some(text),
            Part::NextKeyMarker(text) => page.next_key = said(text).map(key).transpose()?,
            Part::NextVersionIdMarker(text) => page.next_version = said(text),
            Part::IsTruncated(value) => is_truncated = Some(value),
            Part::Version(entry) => {
                shape.push('v');
                all.push(timed(entry, false, is_encoded)?);
            }
            Part::DeleteMarker(entry) => {
                shape.push('m');
                all.push(timed(entry, true, is_encoded)?);
            }
            Part::EncodingType(_) | Part::Other => {}
        }
    }
    page.is_truncated =
        is_truncated.ok_or_else(|| malformed("it does not say whether it is truncated"))?;
    if shape.contains("mv") != shape.contains("vm") {
        all = merged(all, shape.starts_with('m'));
    }
    let entries = all.into_iter().map(|it| (it.key, it.version));
    page.entries = entries.collect();
    Ok(page)
}

fn encoding(part: &Part) -> Option<&str> {
    match part {
        Part::EncodingType(text) => Some(text),
        _ => None,
    }
}

fn timed(entry: Entry, is_marker: bool, is_encoded: bool) -> Result<Timed, NoPage> {
    let malformed = |problem: &str| NoPage::Malformed(problem.to_owned());
    let content = match (is_marker, entry.size) {
        (true, _) => None,
        (false, Some(size)) => Some(Content {
            size,
            etag: entry.etag.and_then(|etag| Etag::new(&etag)),
        }),
        (false, None) => return Err(malformed("a version has no size")),
    };
    let at: Option<Timestamp> = entry.last_modified.and_then(|at| at.parse().ok());
    let id = VersionId::new(&entry.version_id);
    let version = Version {
        id: id.ok_or_else(|| malformed("a version has no name"))?,
        is_latest: entry.is_latest,
        modified: at.map(Second::from),
        content,
    };
    let key = decoded(entry.key, is_encoded)?;
    Ok(Timed { key, version, at })
}

/// All markers came before all versions, or after them. S3 mixes them, so that this says of each key the
/// order; versitygw tells them apart, and then only the times say it. Of both kinds for itself the order
/// stays what it was, and where times are equal, that of the document.
fn merged(all: Vec<Timed>, are_markers_first: bool) -> Vec<Timed> {
    let (markers, versions): (Vec<Timed>, Vec<Timed>) =
        all.into_iter().partition(|it| it.version.is_marker());
    let mut merged = Vec::with_capacity(markers.len() + versions.len());
    let (mut markers, mut versions) = (
        markers.into_iter().peekable(),
        versions.into_iter().peekable(),
    );
    loop {
        let is_marker_first = match (markers.peek(), versions.peek()) {
            (None, None) => return merged,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(marker), Some(version)) if marker.key == version.key => {
                match (marker.version.is_latest, version.version.is_latest) {
                    (true, _) => true,
                    (false, true) => false,
                    (false, false) if marker.at == version.at => are_markers_first,
                    (false, false) => marker.at > version.at,
                }
            }
            (Some(marker), Some(version)) => marker.key < version.key,
        };
        let next = if is_marker_first {
            markers.next()
        } else {
            versions.next()
        };
        merged.extend(next);
    }
}

#[cfg(test)]
mod tests;
