//! A page of a listing: the XML of `ListObjectsV2`, as it is written. Pure.
//!
//! What is not a whole `ListBucketResult` is an error: a part of a page would be taken for the whole.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::second::Second;

/// An answer to `GET /?list-type=2`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// What was asked, as the server understood it; `None` where it does not say.
    pub(super) bucket: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) start_after: Option<String>,
    pub(super) token: Option<String>,
    pub(super) is_truncated: bool,
    /// Where the next page begins; opaque.
    pub(super) next: Option<String>,
    /// How many objects and folders the server says it sent.
    pub(super) key_count: u64,
    pub(super) objects: Vec<Object>,
    /// Prefixes up to the delimiter, where one was asked for.
    pub(super) folders: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) modified: Option<Second>,
    /// The MD5 of the content, if the ETag has that shape. It need not be one.
    pub(super) md5: Option<[u8; 16]>,
}

/// What a server says went wrong, with whatever status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Fault {
    pub(super) code: String,
    pub(super) message: String,
    /// Of the bucket, where another one was asked.
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
}

/// Why a body is no page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoPage {
    Fault(Fault),
    /// Cut, or of another kind.
    Malformed(String),
}

#[derive(Deserialize)]
enum Document {
    ListBucketResult(Written),
    Error(Fault),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    name: Option<String>,
    prefix: Option<String>,
    start_after: Option<String>,
    continuation_token: Option<String>,
    next_continuation_token: Option<String>,
    is_truncated: bool,
    key_count: u64,
    encoding_type: Option<String>,
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    last_modified: Option<String>,
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommonPrefix {
    prefix: String,
}

/// Reads the body of a success.
pub(super) fn read(body: &[u8]) -> Result<Page, NoPage> {
    let malformed = |problem: &str| NoPage::Malformed(problem.to_owned());
    let text = std::str::from_utf8(body).map_err(|_place| malformed("it is not text"))?;
    let document = quick_xml::de::from_str(text).map_err(|error| malformed(&error.to_string()))?;
    let written = match document {
        Document::ListBucketResult(written) => written,
        Document::Error(fault) => return Err(NoPage::Fault(fault)),
    };
    // The parser does not look at what comes after the element.
    if !text.trim_end().ends_with("</ListBucketResult>") {
        return Err(malformed("something comes after it"));
    }
    let is_encoded = match written.encoding_type.as_deref() {
        Some("url") => true,
        None | Some("") => false,
        Some(other) => return Err(malformed(&format!("its keys are encoded as {other}"))),
    };
    let decode = |text: String| decoded(text, is_encoded);
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    let decode_said = |text| said(text).map(decode).transpose();
    let objects = written.contents.into_iter().map(|object| {
        Ok(Object {
            key: decode(object.key)?,
            size: object.size,
            modified: object.last_modified.and_then(|at| time(&at)),
            md5: object.etag.and_then(|etag| md5(&etag)),
        })
    });
    let folders = written.common_prefixes.into_iter();
    Ok(Page {
        bucket: said(written.name),
        prefix: decode_said(written.prefix)?,
        start_after: decode_said(written.start_after)?,
        token: said(written.continuation_token),
        is_truncated: written.is_truncated,
        next: said(written.next_continuation_token),
        key_count: written.key_count,
        objects: objects.collect::<Result<_, NoPage>>()?,
        folders: folders
            .map(|it| decode(it.prefix))
            .collect::<Result<_, _>>()?,
    })
}

/// Reads the body of an error, or what there is of it.
pub(super) fn fault(body: &[u8]) -> Option<Fault> {
    match quick_xml::de::from_str(std::str::from_utf8(body).ok()?).ok()? {
        Document::Error(fault) => Some(fault),
        Document::ListBucketResult(_) => None,
    }
}

/// XML cannot hold every character of a key, hence `encoding-type=url`. A space comes as `+` from some
/// servers and as `%20` from others; a plus never comes as itself.
pub(super) fn decoded(text: String, is_encoded: bool) -> Result<String, NoPage> {
    if !is_encoded || !text.contains(['%', '+']) {
        return Ok(text);
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced)
        .decode_utf8()
        .map(Cow::into_owned);
    decoded.map_err(|_place| NoPage::Malformed(format!("`{text}` is no key")))
}

fn time(text: &str) -> Option<Second> {
    text.parse::<jiff::Timestamp>().ok().map(Second::from)
}

/// An ETag is quoted; one of several parts (`…-2`) is no MD5 of the content.
fn md5(etag: &str) -> Option<[u8; 16]> {
    let hex = etag.trim_matches('"');
    let mut bytes = [0; 16];
    if hex.len() != 32 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
