//! Who needs it, and what is lost without it.

use super::{LINES_MAX, Scene};
use crate::cli::explain::text::{counted, push};
use crate::cli::table::why;
use crate::explain::kept::Kept;
use crate::oci::reference::shown;

/// Who uses it; where that is not known, that.
pub(super) fn users(scene: &Scene<'_>) -> String {
    let Scene {
        view,
        measure,
        paint,
        ..
    } = scene;
    let mut text = String::new();
    if view.reference.is_none() && view.keeps.is_empty() {
        return text;
    }
    push(&mut text, &paint.bold("used by"));
    for user in view.used_by.iter().take(LINES_MAX) {
        push(&mut text, &format!("  {}", why(user)));
    }
    if view.used_by.len() > LINES_MAX {
        push(
            &mut text,
            &format!("  and {} more", view.used_by.len() - LINES_MAX),
        );
    }
    let Some(inventory) = &view.inventory else {
        let hint = "not known: no inventory was read; name one with --context, -f or --references, or in the configuration";
        text.push_str(&measure.wrapped("  ", hint));
        return text;
    };
    let incomplete = inventory.sources.iter().filter(|source| !source.complete);
    for source in incomplete.clone() {
        let reason = source.reason.as_deref().unwrap_or("it was not read");
        let line = format!(
            "source {} is incomplete, so others may use it: {reason}",
            shown(&source.name)
        );
        text.push_str(&measure.wrapped("  ", &line));
    }
    if view.used_by.is_empty() && incomplete.count() == 0 {
        let sources: Vec<String> = inventory
            .sources
            .iter()
            .map(|one| shown(&one.name))
            .collect();
        let line = format!("nobody; read in full: {}", sources.join(", "));
        text.push_str(&measure.wrapped("  ", &line));
    }
    text
}

/// What cannot be pulled any more without it, and why it is kept.
pub(super) fn lost(scene: &Scene<'_>) -> String {
    let Scene {
        view,
        measure,
        paint,
        ..
    } = scene;
    let mut text = String::new();
    if view.keeps.is_empty() {
        return text;
    }
    push(&mut text, &paint.bold("lost without it"));
    for kept in view.keeps.iter().take(LINES_MAX) {
        text.push_str(&measure.wrapped("  ", &without(kept, view.reference.is_none())));
        for path in kept
            .paths
            .iter()
            .filter(|path| path.len() > 1)
            .take(LINES_MAX)
        {
            let steps: Vec<String> = path.iter().map(|digest| measure.digest(digest)).collect();
            let way = format!("the way: {}", steps.join(" > "));
            text.push_str(&measure.wrapped("    ", &way));
        }
    }
    if view.keeps.len() > LINES_MAX {
        let more = counted(view.keeps.len() - LINES_MAX, "image", "images");
        push(
            &mut text,
            &format!("  and {more} more; -o json has all of them"),
        );
    }
    text
}

fn without(kept: &Kept, is_part: bool) -> String {
    let Kept {
        reference,
        state,
        whole,
        platforms,
        classes,
        used_by,
        ..
    } = kept;
    let users = counted(used_by.len(), "user", "users");
    let classes: Vec<&str> = classes.iter().map(|class| class.as_str()).collect();
    let why = match classes.as_slice() {
        [] => String::new(),
        classes => format!("; kept as {}", classes.join(", ")),
    };
    if !is_part {
        return format!("nodes that have not cached it cannot start it for {users}{why}");
    }
    let lost = if *whole {
        "all of it".to_owned()
    } else {
        platforms.join(", ")
    };
    format!("{reference}: {lost} for {users}; {state} there{why}")
}
