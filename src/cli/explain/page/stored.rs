//! How a digest stands in storages: kept from what, or going and why. Pure.

use super::{LINES_MAX, Scene};
use crate::cli::explain::text::{push, size};
use crate::cli::table;
use crate::explain::view::{KeptBy, StorageView};
use crate::oci::digest::Digest;

pub(super) fn storages(scene: &Scene<'_>) -> String {
    let mut text = String::new();
    for storage in &scene.view.storages {
        one(scene, storage, &mut text);
    }
    text
}

fn one(scene: &Scene<'_>, storage: &StorageView, text: &mut String) {
    let paint = scene.paint;
    let head = paint.bold(&format!("in the storage of {}", storage.storage));
    let bytes = storage
        .bytes
        .map_or_else(String::new, |bytes| format!(" ({})", size(bytes)));
    let state = match storage.state {
        "kept" => format!("{}{bytes}", paint.green("kept")),
        "goes" => format!("{}{bytes}", paint.yellow("a collection would take it")),
        "absent" => paint.yellow("not there"),
        _ => paint.yellow("not known"),
    };
    push(text, &format!("{head}: {state}"));
    for refusal in &storage.refusals {
        text.push_str(&scene.measure.wrapped("  ", &refusal.to_string()));
    }
    if let Some(kept) = &storage.kept_by {
        push(text, &format!("  {}", root(kept)));
        for (depth, digest) in kept.path.iter().enumerate() {
            let indent = "  ".repeat(depth + 2);
            push(text, &format!("{indent}└ {}", shown(scene, digest)));
        }
        for reference in kept.references.iter().take(LINES_MAX) {
            push(text, &format!("  {reference}"));
        }
    }
    for tag in storage.tags.iter().take(LINES_MAX) {
        let classes: Vec<&str> = tag.classes.iter().map(|class| class.as_str()).collect();
        let (name, classes) = (
            format!("{}:{}", tag.repository, tag.tag),
            classes.join(", "),
        );
        push(text, &format!("  tag {name} is {classes}: {}", tag.reason));
    }
    for garbage in &storage.garbage {
        let place = match (&garbage.repository, &garbage.tag) {
            (Some(repository), Some(tag)) => format!("{repository}:{tag}"),
            (Some(repository), None) => repository.clone(),
            (None, _) => "no repository".to_owned(),
        };
        let kind = garbage.kind.replace('_', " ");
        push(text, &format!("  {place}: {kind}: {}", garbage.message));
    }
    if !storage.named_by.is_empty() {
        push(text, "  what named it goes too:");
        for digest in storage.named_by.iter().take(LINES_MAX) {
            push(text, &format!("    {}", shown(scene, digest)));
        }
        if storage.named_by.len() > LINES_MAX {
            let more = storage.named_by.len() - LINES_MAX;
            push(text, &format!("    … and {more} more; -o json has all"));
        }
    }
}

fn shown(scene: &Scene<'_>, digest: &Digest) -> String {
    let whole = digest.to_string();
    if scene.measure.whole_digests {
        whole
    } else {
        table::shown(&whole)
    }
}

/// Where the chain begins, in words.
fn root(kept: &KeptBy) -> String {
    let repository = kept.repository.as_deref().unwrap_or_default();
    let tag = kept.tag.as_deref().unwrap_or_default();
    match kept.root {
        "tag" => format!("tag {repository}:{tag}"),
        "in_use" => "in use, by these references".to_owned(),
        "tag_history" => format!("tag {repository}:{tag} named it before (gc.tagHistory: keep)"),
        "untagged" => format!("{repository} has it without a tag (gc.untagged: keep)"),
        "young" => "it is younger than gc.minimumAge".to_owned(),
        "pushing" => {
            format!("something is being pushed to {repository}, and may be about to name it")
        }
        "not_understood" => {
            "it is of a media type that is not known: it may name anything".to_owned()
        }
        "protected" => {
            format!("{repository} keeps everything: a reference with another host may mean it")
        }
        "damaged" => format!("{repository} keeps everything: something in it is damaged"),
        _ => format!("{repository} is not among gc.repositories"),
    }
}
