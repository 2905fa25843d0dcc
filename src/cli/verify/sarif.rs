//! `verify -o sarif`: SARIF 2.1.0, as GitHub's code scanning takes it. Pure.
//!
//! A rule is a code of ours, a result one finding of one image. It stands at the line that names the image
//! where a file was given, else at the reference itself, since GitHub drops results without a place.

use serde_json::{Value, json};

use super::places::Places;
use crate::oci::digest::Digest;
use crate::verify::finding::explanation::explain;
use crate::verify::finding::{Code, Finding, Verdict};
use crate::view::{Image, SourceView, Verify};

/// Of the project's home, with a slash at its end.
const HOME: &str = "https://github.com/pullproof/pullproof/";

pub(super) fn sarif(view: &Verify, sources: &[SourceView], places: &Places) -> Value {
    let results: Vec<Value> = view
        .images
        .iter()
        .flat_map(|image| {
            let findings = image.findings.iter();
            findings.map(move |finding| result(image, finding, places))
        })
        .collect();
    let notifications: Vec<Value> = sources
        .iter()
        .filter_map(|source| {
            let reason = source.reason.as_ref()?;
            let text = format!("source {} is incomplete: {reason}", source.name);
            Some(json!({"level": "warning", "message": {"text": text}}))
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "pullproof",
                "informationUri": HOME,
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": Code::ALL.iter().map(|code| rule(*code)).collect::<Vec<_>>(),
            }},
            "automationDetails": {"id": "pullproof/"},
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": notifications,
            }],
            "columnKind": "utf16CodeUnits",
            "results": results,
        }],
    })
}

fn rule(code: Code) -> Value {
    let words = explain(code);
    let level = match code.verdict() {
        Verdict::Broken => "error",
        Verdict::Unknown | Verdict::Pullable => "warning",
    };
    json!({
        "id": code.as_str(),
        "name": code.as_str(),
        "shortDescription": {"text": words.what},
        "fullDescription": {"text": words.meaning},
        "help": {"text": format!("{} {}", words.meaning, words.first)},
        "helpUri": format!("{HOME}#what-a-verdict-means"),
        "defaultConfiguration": {"level": level},
        "properties": {"tags": ["container-image", code.verdict().as_str()]},
    })
}

fn result(image: &Image, finding: &Finding, places: &Places) -> Value {
    let level = match finding.code.verdict() {
        _ if !finding.needed => "note",
        Verdict::Broken if !image.known => "error",
        Verdict::Broken | Verdict::Unknown | Verdict::Pullable => "warning",
    };
    let platform = finding.platform.as_ref().map(ToString::to_string);
    let of_platform = platform.as_ref().map(|platform| format!(" ({platform})"));
    let text = format!(
        "{}{}: {}",
        image.reference,
        of_platform.unwrap_or_default(),
        finding.message
    );
    let subject = finding.subject.map(|subject| subject.to_string());
    json!({
        "ruleId": finding.code.as_str(),
        "ruleIndex": Code::ALL.iter().position(|code| *code == finding.code),
        "level": level,
        "message": {"text": text},
        "locations": [location(image, places)],
        "partialFingerprints": {"pullproof/v1": fingerprint(image, finding)},
        "properties": {
            "reference": image.reference,
            "credential": image.credential,
            "platform": platform,
            "subject": subject,
            "path": finding.path,
            "needed": finding.needed,
            "known": image.known,
        },
    })
}

fn location(image: &Image, places: &Places) -> Value {
    let written = image.used_by.iter().map(|user| &*user.image);
    let place = written
        .chain([image.reference.as_str()])
        .find_map(|written| places.get(written));
    let (uri, line) = match place {
        Some(place) => (uri(&place.file), place.line),
        None => (uri(&image.reference), 1),
    };
    let users: Vec<Value> = image
        .used_by
        .iter()
        .map(|user| {
            let name = format!(
                "{}/{}/{}/{}",
                user.namespace, user.kind, user.name, user.container
            );
            json!({"fullyQualifiedName": name, "kind": "resource"})
        })
        .collect();
    json!({
        "physicalLocation": {
            "artifactLocation": {"uri": uri},
            "region": {"startLine": line},
        },
        "logicalLocations": users,
    })
}

/// A path as a URI reference (RFC 3986): relative to where it was given, or below `file:`.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        // A colon would make a scheme of what stands before it.
        if byte.is_ascii_alphanumeric() || b"-._~/@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

/// The same for the same finding in the next run, wherever its file or line went.
fn fingerprint(image: &Image, finding: &Finding) -> String {
    let of = format!(
        "{}\n{:?}\n{}\n{:?}\n{:?}",
        image.reference,
        image.credential,
        finding.code,
        finding.platform.as_ref().map(ToString::to_string),
        finding.subject.map(|subject| subject.to_string()),
    );
    let digest = Digest::of(of.as_bytes()).to_string();
    digest.trim_start_matches("sha256:").to_owned()
}
