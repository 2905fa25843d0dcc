//! The tree as lines: what each object is, its digest and size, its state. Pure.

use super::text::{Measure, push, size};
use crate::cli::terminal::Paint;
use crate::explain::described::layer_word;
use crate::explain::tree::{Kind, Object};
use crate::oci::platform::Platform;
use crate::oci::reference::shown;
use crate::verify::finding::Verdict;

struct Row {
    /// The branches and what the object is.
    label: String,
    /// The branches of a line below this one.
    below: String,
    digest: String,
    size: String,
    state: String,
    verdict: Verdict,
    is_quiet: bool,
    notes: Vec<String>,
}

/// Draws the tree. `root` is what the tag or the reference is called.
pub fn draw(tree: &Object, root: Option<&str>, measure: Measure, paint: Paint) -> String {
    let mut rows = Vec::new();
    let prefix = match root {
        Some(root) => {
            rows.push(Row {
                label: root.to_owned(),
                below: "│ ".to_owned(),
                digest: String::new(),
                size: String::new(),
                state: String::new(),
                verdict: Verdict::Pullable,
                is_quiet: true,
                notes: Vec::new(),
            });
            Some("")
        }
        None => None,
    };
    collect(tree, prefix, true, None, measure, &mut rows);
    let widest = |of: fn(&Row) -> &String| {
        let widths = rows.iter().map(|row| of(row).chars().count());
        widths.max().unwrap_or_default()
    };
    let label = widest(|row| &row.label);
    let digest = widest(|row| &row.digest);
    let sizes = widest(|row| &row.size);
    let mut text = String::new();
    for row in &rows {
        let state = format!("{:<9}", row.state);
        let state = match row.verdict {
            _ if row.state.is_empty() => String::new(),
            _ if row.is_quiet => paint.faint(&state),
            Verdict::Pullable => paint.green(&state),
            Verdict::Unknown => paint.yellow(&state),
            Verdict::Broken => paint.red(&state),
        };
        let start = format!(
            "{:<label$}  {:<digest$}  {:>sizes$}",
            row.label, row.digest, row.size
        );
        let used = start.chars().count() + 2 + row.state.chars().count().max(9);
        let notes = row.notes.join(", ");
        let line = format!("{start}  {state}");
        if notes.is_empty() {
            push(&mut text, &line);
        } else if used + 2 + notes.chars().count() <= measure.width {
            push(&mut text, &format!("{line}  {}", paint.faint(&notes)));
        } else {
            push(&mut text, &line);
            let margin = format!("{}  ", row.below);
            for note in measure.wrapped(&margin, &notes).lines() {
                push(&mut text, &paint.faint(note));
            }
        }
    }
    text
}

/// `prefix` is that of the lines beside the object; `None` for a root that stands alone.
fn collect(
    object: &Object,
    prefix: Option<&str>,
    is_last: bool,
    parent: Option<&Object>,
    measure: Measure,
    rows: &mut Vec<Row>,
) {
    let (branch, beside) = match prefix {
        None => (String::new(), String::new()),
        Some(prefix) if is_last => (format!("{prefix}└─ "), format!("{prefix}   ")),
        Some(prefix) => (format!("{prefix}├─ "), format!("{prefix}│  ")),
    };
    let has_below = !object.children.is_empty();
    rows.push(Row {
        label: format!("{branch}{}", what(object, parent)),
        below: format!("{beside}{}", if has_below { "│" } else { "" }),
        digest: object
            .digest
            .map(|digest| measure.digest(&digest))
            .unwrap_or_default(),
        size: object.size.map(size).unwrap_or_default(),
        state: state(object),
        verdict: object.state,
        is_quiet: object.is_foreign || !object.needed,
        notes: notes(object),
    });
    let last = object.children.len().saturating_sub(1);
    for (index, child) in object.children.iter().enumerate() {
        collect(
            child,
            Some(&beside),
            index == last,
            Some(object),
            measure,
            rows,
        );
    }
}

fn what(object: &Object, parent: Option<&Object>) -> String {
    let platform = object.platform.as_ref().filter(|one| !one.is_unknown());
    let word = object.media_type.as_deref().map(layer_word);
    match object.kind {
        Kind::Index if parent.is_none() => "index".to_owned(),
        Kind::Index => joined("index", platform),
        Kind::Manifest if object.artifact_type.is_some() && platform.is_none() => {
            "artifact".to_owned()
        }
        Kind::Manifest if parent.is_none() => joined("manifest", platform),
        Kind::Manifest | Kind::Platform => {
            platform.map_or_else(|| "manifest".to_owned(), |one| shown(&one.to_string()))
        }
        Kind::Attestation => match &object.attests {
            Some((_, Some(platform))) => format!("attestation of {}", shown(&platform.to_string())),
            Some((digest, None)) => format!("attestation of {}", digest.short()),
            None => "attestation".to_owned(),
        },
        Kind::Config => "config".to_owned(),
        Kind::Layer | Kind::Blob => {
            let kind = object.kind.as_str();
            word.map_or_else(|| kind.to_owned(), |word| format!("{kind} {word}"))
        }
    }
}

fn joined(kind: &str, platform: Option<&Platform>) -> String {
    platform.map_or_else(
        || kind.to_owned(),
        |platform| format!("{kind} {}", shown(&platform.to_string())),
    )
}

fn state(object: &Object) -> String {
    match object.code {
        _ if object.is_foreign => "not asked".to_owned(),
        Some(code) => format!("{} {code}", object.state),
        None => object.state.to_string(),
    }
}

fn notes(object: &Object) -> Vec<String> {
    let mut notes = Vec::new();
    if object.is_foreign {
        notes.push("foreign: it is fetched elsewhere".to_owned());
    }
    if let Some(total) = object.total {
        notes.push(format!("{} in all", size(total)));
    }
    if !object.needed && object.kind != Kind::Attestation && object.kind.is_manifest() {
        notes.push("no node needs it".to_owned());
    }
    if let Some(kind) = object
        .artifact_type
        .as_ref()
        .filter(|_| object.kind.is_manifest())
    {
        notes.push(kind.clone());
    }
    if let Some(subject) = object.subject {
        notes.push(format!("refers to {}", subject.short()));
    }
    if !object.shared_by.is_empty() {
        notes.push(format!("also in {}", object.shared_by.join(", ")));
    }
    notes
}
