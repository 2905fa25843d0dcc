//! What copies and uploads of several parts are asked and answered with. Pure.

use std::fmt::Write as _;

use quick_xml::escape::escape;
use serde::Deserialize;

use super::etag::Etag;
use super::page::{Fault, NoPage};

/// S3's own limit.
const PARTS_MAX: u64 = 10_000;

#[derive(Deserialize)]
enum Document {
    CopyObjectResult(Copied),
    CopyPartResult(Copied),
    CompleteMultipartUploadResult(Copied),
    InitiateMultipartUploadResult(Begun),
    Error(Fault),
}

#[derive(Deserialize)]
struct Copied {
    #[serde(rename = "ETag")]
    etag: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Begun {
    upload_id: String,
}

/// A part: its number, and its first and last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// An object in parts of this size, or of a larger one where there would be too many. Of nothing there are
/// none.
pub(super) fn divided(size: u64, part: u64) -> impl Iterator<Item = Part> {
    let part = part.max(size.div_ceil(PARTS_MAX)).max(1);
    (0..size.div_ceil(part)).map(move |before| Part {
        number: before + 1,
        first: before * part,
        last: ((before + 1) * part).min(size) - 1,
    })
}

/// The body that makes an object of its parts, in their order.
pub(super) fn completion(parts: &[(Part, Etag)]) -> String {
    let mut body = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
    );
    for (Part { number, .. }, etag) in parts {
        let quoted = etag.quoted();
        write!(
            body,
            "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>",
            escape(&quoted)
        )
        .expect("a String takes everything");
    }
    body.push_str("</CompleteMultipartUpload>");
    body
}

/// The name of what was written, of the body of a success: which may hold an error, hours after its status
/// was sent.
pub(super) fn written(body: &[u8]) -> Result<Etag, NoPage> {
    match document(body)? {
        Document::CopyObjectResult(Copied { etag })
        | Document::CopyPartResult(Copied { etag })
        | Document::CompleteMultipartUploadResult(Copied { etag }) => Etag::new(&etag)
            .ok_or_else(|| NoPage::Malformed("it names nothing that was written".to_owned())),
        Document::InitiateMultipartUploadResult(_) => {
            Err(NoPage::Malformed("it is of another question".to_owned()))
        }
        Document::Error(fault) => Err(NoPage::Fault(fault)),
    }
}

/// The name of an upload that was begun.
pub(super) fn begun(body: &[u8]) -> Result<String, NoPage> {
    match document(body)? {
        Document::InitiateMultipartUploadResult(Begun { upload_id }) if !upload_id.is_empty() => {
            Ok(upload_id)
        }
        Document::Error(fault) => Err(NoPage::Fault(fault)),
        _ => Err(NoPage::Malformed("it names no upload".to_owned())),
    }
}

fn document(body: &[u8]) -> Result<Document, NoPage> {
    let malformed = |problem: String| NoPage::Malformed(problem);
    let text =
        std::str::from_utf8(body).map_err(|_place| malformed("it is not text".to_owned()))?;
    // While it works S3 sends space, so that nobody thinks that it does not.
    quick_xml::de::from_str(text.trim()).map_err(|error| malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_are_the_object_without_gap_and_without_overlap(
            size in 0_u64..3_000_000,
            part in 0_u64..100_000,
        ) {
            let parts: Vec<Part> = divided(size, part).collect();
            prop_assert!(parts.len() <= 10_000);
            let mut next = 0;
            for (at, one) in parts.iter().enumerate() {
                prop_assert_eq!(one.number, at as u64 + 1);
                prop_assert_eq!(one.first, next);
                prop_assert!(one.last >= one.first);
                next = one.last + 1;
            }
            prop_assert_eq!(next, size);
        }
    }

    #[test]
    fn a_completion_names_the_parts_in_order() {
        let parts: Vec<(Part, Etag)> = divided(5, 2)
            .map(|part| (part, Etag::new(&format!("e{}", part.number)).unwrap()))
            .collect();
        let body = completion(&parts);
        let document = roxmltree::Document::parse(&body).unwrap();
        let all = document.descendants().filter_map(|it| it.text());
        let all: Vec<&str> = all.filter(|it| !it.trim().is_empty()).collect();
        // Each text is seen of its element and of itself.
        let mut all = all;
        all.dedup();
        assert_eq!(all, ["1", "\"e1\"", "2", "\"e2\"", "3", "\"e3\""]);
    }

    #[test]
    fn an_error_in_a_success_is_an_error() {
        let copied = |inner: &str| written(inner.as_bytes());
        assert_eq!(
            copied(
                "<?xml version=\"1.0\"?>\n\n   \n<CopyObjectResult><ETag>&quot;e&quot;</ETag></CopyObjectResult>"
            ),
            Ok(Etag::new("e").unwrap())
        );
        assert_eq!(
            copied(
                "\n  <CompleteMultipartUploadResult><ETag>\"e-2\"</ETag></CompleteMultipartUploadResult>"
            ),
            Ok(Etag::new("e-2").unwrap())
        );
        let fault = copied("<Error><Code>InternalError</Code></Error>");
        assert!(matches!(fault, Err(NoPage::Fault(_))), "{fault:?}");
        for none in [
            "",
            "   ",
            "<CopyObjectResult>",
            "<CopyObjectResult/>",
            "<CopyPartResult><ETag></ETag></CopyPartResult>",
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
            "<html/>",
        ] {
            let read = copied(none);
            assert!(
                matches!(read, Err(NoPage::Malformed(_))),
                "{none}: {read:?}"
            );
        }
        assert_eq!(
            begun(b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"),
            Ok("u".to_owned())
        );
        let none =
            begun(b"<InitiateMultipartUploadResult><UploadId/></InitiateMultipartUploadResult>");
        assert!(matches!(none, Err(NoPage::Malformed(_))), "{none:?}");
    }
}
