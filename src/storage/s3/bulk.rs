//! `DeleteObjects`, as it is asked and answered. Pure.

use std::collections::HashMap;

use quick_xml::escape::escape;
use serde::Deserialize;

use super::history::VersionId;
use super::page::{Fault, NoPage};

/// What S3 takes at once.
pub(super) const KEYS_MAX: usize = 1000;

/// What became of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The marker that was put, if it is told.
    Deleted(Option<VersionId>),
    Refused(Fault),
}

#[derive(Deserialize)]
enum Document {
    DeleteResult(Written),
    Error(Fault),
}

#[derive(Deserialize)]
struct Written {
    #[serde(rename = "$value", default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
enum Part {
    Deleted(Deleted),
    Error(Refused),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Deleted {
    key: String,
    #[serde(default)]
    delete_marker: bool,
    delete_marker_version_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refused {
    key: String,
    code: String,
    #[serde(default)]
    message: String,
}

/// The body that asks for a marker above each of these keys. An answer for each of them is asked for.
pub(super) fn write<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    let mut body = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>false</Quiet>",
    );
    for key in keys {
        body.push_str("<Object><Key>");
        body.push_str(&escape(key));
        body.push_str("</Key></Object>");
    }
    body.push_str("</Delete>");
    body
}

/// Reads the body of a success: what became of each key that it names.
pub(super) fn read(body: &[u8]) -> Result<HashMap<String, Outcome>, NoPage> {
    let malformed = |problem: String| NoPage::Malformed(problem);
    let text =
        std::str::from_utf8(body).map_err(|_place| malformed("it is not text".to_owned()))?;
    let document = quick_xml::de::from_str(text).map_err(|error| malformed(error.to_string()))?;
    let written = match document {
        Document::DeleteResult(written) => written,
        Document::Error(fault) => return Err(NoPage::Fault(fault)),
    };
    let mut all = HashMap::new();
    for part in written.parts {
        match part {
            Part::Deleted(deleted) => {
                let told = deleted.delete_marker_version_id;
                let marker = told.and_then(|id| VersionId::new(&id));
                let marker = marker.filter(|_| deleted.delete_marker);
                // Of two answers the refusal stands.
                all.entry(deleted.key).or_insert(Outcome::Deleted(marker));
            }
            Part::Error(Refused { key, code, message }) => {
                let fault = Fault {
                    code,
                    message,
                    ..Fault::default()
                };
                all.insert(key, Outcome::Refused(fault));
            }
            Part::Other => {}
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_so_that_they_stay_themselves() {
        let body = write(["a&b<c>", "d \"e'"].into_iter());
        assert!(body.contains("<Quiet>false</Quiet>"), "{body}");
        let document = roxmltree::Document::parse(&body).unwrap();
        let keys = document
            .descendants()
            .filter(|it| it.has_tag_name(("http://s3.amazonaws.com/doc/2006-03-01/", "Key")));
        let keys: Vec<&str> = keys.filter_map(|it| it.text()).collect();
        assert_eq!(keys, ["a&b<c>", "d \"e'"]);
    }

    #[test]
    fn each_key_has_an_answer_of_its_own() {
        let body = r#"<?xml version="1.0" encoding="UTF-8"?>
            <DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Deleted><Key>a&amp;b</Key><DeleteMarker>true</DeleteMarker>
            <DeleteMarkerVersionId>m1</DeleteMarkerVersionId></Deleted>
            <Error><Key>c</Key><Code>AccessDenied</Code><Message>no</Message></Error>
            <Deleted><Key>d</Key></Deleted>
            <Deleted><Key>e</Key><DeleteMarker>false</DeleteMarker>
            <DeleteMarkerVersionId>m2</DeleteMarkerVersionId></Deleted>
            <Error><Key>f</Key><Code>InternalError</Code></Error><Deleted><Key>f</Key></Deleted>
            </DeleteResult>"#;
        let all = read(body.as_bytes()).unwrap();
        assert_eq!(all["a&b"], Outcome::Deleted(VersionId::new("m1")));
        assert_eq!(all["d"], Outcome::Deleted(None));
        assert_eq!(all["e"], Outcome::Deleted(None));
        for (key, code) in [("c", "AccessDenied"), ("f", "InternalError")] {
            match &all[key] {
                Outcome::Refused(fault) => assert_eq!(fault.code, code),
                other @ Outcome::Deleted(_) => panic!("{key}: {other:?}"),
            }
        }
        assert_eq!(all.len(), 5);
        assert_eq!(read(b"<DeleteResult/>").unwrap().len(), 0);
    }

    #[test]
    fn an_answer_that_is_cut_is_none() {
        let whole = "<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>";
        assert_eq!(read(whole.as_bytes()).unwrap().len(), 1);
        for end in 1..whole.len() {
            let read = read(&whole.as_bytes()[..end]);
            assert!(matches!(read, Err(NoPage::Malformed(_))), "{end}: {read:?}");
        }
        let fault = read(b"<Error><Code>SlowDown</Code></Error>");
        assert!(matches!(fault, Err(NoPage::Fault(_))), "{fault:?}");
    }
}
