//! A plan as a person reads it in a terminal. Pure.

use crate::cli::explain::text::{counted, push, size};
use crate::cli::terminal::Paint;
use crate::gc::needed::Needed;
use crate::gc::plan::{Counts, Kind, OfRepository, Plan};
use crate::gc::refusal::Refusal;
use crate::view::plan::{Changed, Difference};

/// Repositories that fit on a screen.
const REPOSITORIES_SHOWN: usize = 15;
/// Damage and differences that fit.
const LINES_SHOWN: usize = 20;

/// What is shown.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) host: &'a str,
    pub(super) storage: &'a str,
    pub(super) plan: Option<&'a Plan>,
    pub(super) needed: &'a Needed,
    pub(super) refusals: &'a [Refusal],
    pub(super) is_wide: bool,
    pub(super) is_summary: bool,
}

impl Shown<'_> {
    pub(super) fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        match self.plan {
            Some(plan) => self.plan(plan, paint, &mut text),
            None => push(
                &mut text,
                &format!("{} ({}): {}", self.host, self.storage, paint.red("no plan")),
            ),
        }
        for refusal in self.refusals {
            let code = paint.yellow(refusal.code.as_str());
            push(&mut text, &format!("refused: {code}: {}", refusal.message));
        }
        push(&mut text, &paint.faint("Nothing was changed."));
        text
    }

    fn plan(&self, plan: &Plan, paint: Paint, text: &mut String) {
        let counts = plan.counts();
        let id = plan.id(self.host);
        push(
            text,
            &format!(
                "{} ({})  plan {}",
                paint.bold(self.host),
                self.storage,
                paint.bold(&id)
            ),
        );
        for line in totals(counts) {
            push(text, &format!("  {line}"));
        }
        if counts.garbage_blobs > 0 || plan.garbage().len() > 0 {
            push(text, "");
            reasons(plan, paint, text);
        }
        let mut repositories = plan.repositories();
        repositories.retain(|of| of.garbage > 0);
        if !repositories.is_empty() {
            push(text, "");
            self.repositories(repositories, paint, text);
        }
        if self.is_wide && !self.is_summary {
            push(text, "");
            rows(plan, paint, text);
        }
        let mut notes: Vec<String> = Vec::new();
        for (repository, reference) in plan.protected(self.needed) {
            notes.push(format!(
                "{repository} keeps everything: {reference} may mean it, and no entry of `registries` has that \
                 host"
            ));
        }
        for (repository, damage) in plan.damaged() {
            let whose = repository.map_or_else(String::new, |name| {
                format!("; {name} keeps everything until it is mended")
            });
            let problem = &damage.problem;
            notes.push(format!(
                "{} {}: {problem}{whose}",
                paint.yellow("damaged"),
                damage.path
            ));
        }
        if !notes.is_empty() {
            push(text, "");
            limited(&notes, self.is_wide, text);
        }
        push(text, "");
    }

    fn repositories(&self, mut all: Vec<OfRepository<'_>>, paint: Paint, text: &mut String) {
        let freed = |of: &OfRepository<'_>| of.garbage_own_bytes + of.garbage_shared_bytes;
        all.sort_by_key(|of| (std::cmp::Reverse(freed(of)), of.name));
        let most = if self.is_wide {
            all.len()
        } else {
            REPOSITORIES_SHOWN
        };
        let names = all.iter().take(most).map(|of| of.name.len());
        let width = names.max().unwrap_or(0).clamp(10, 60);
        let head = format!(
            "{:<width$} {:>9} {:>9} {:>9} {:>9}",
            "REPOSITORY", "ROWS", "FREES", "SHARED", "OF"
        );
        push(text, &paint.bold(&head));
        for of in all.iter().take(most) {
            let shared = match of.garbage_shared_bytes {
                0 => "-".to_owned(),
                bytes => size(bytes),
            };
            let row = format!(
                "{:<width$} {:>9} {:>9} {:>9} {:>9}",
                of.name,
                of.garbage,
                size(of.garbage_own_bytes),
                shared,
                size(of.own_bytes + of.shared_bytes),
            );
            push(text, &row);
        }
        if all.len() > most {
            let more = format!("… and {} more; -o wide shows all", all.len() - most);
            push(text, &paint.faint(&more));
        }
    }
}

fn totals(counts: &Counts) -> Vec<String> {
    let Counts {
        repositories,
        tags,
        manifests,
        blobs,
        bytes,
        garbage_blobs,
        garbage_bytes,
        young,
        young_bytes,
        dangling_links,
        uploads,
        kept_blobs: _,
    } = *counts;
    #[expect(clippy::cast_precision_loss, reason = "a percent is shown")]
    let percent = 100.0 * garbage_bytes as f64 / bytes.max(1) as f64;
    let mut lines = vec![
        format!(
            "{}, {}, {}, {}: {}",
            counted(repositories, "repository", "repositories"),
            counted(tags, "tag", "tags"),
            counted(manifests, "manifest", "manifests"),
            counted(blobs, "blob", "blobs"),
            size(bytes)
        ),
        format!(
            "would go: {}, {} ({percent:.0} %)",
            counted(garbage_blobs, "blob", "blobs"),
            size(garbage_bytes)
        ),
    ];
    if young > 0 {
        lines.push(format!(
            "too young to go (`gc.minimumAge`): {}, {}",
            counted(young, "blob", "blobs"),
            size(young_bytes)
        ));
    }
    if uploads > 0 {
        lines.push(format!(
            "{} under way: what no manifest names yet stays in their repositories",
            counted(uploads, "push", "pushes")
        ));
    }
    if dangling_links > 0 {
        lines.push(format!(
            "{} to what is not stored: reported, never taken",
            counted(dangling_links, "link", "links")
        ));
    }
    lines
}

fn reasons(plan: &Plan, paint: Paint, text: &mut String) {
    let head = format!("{:<12} {:>9} {:>9}  WHY", "KIND", "COUNT", "FREES");
    push(text, &paint.bold(&head));
    for of in plan.reasons() {
        let kind = word(of.kind);
        let (bytes, words) = (size(of.bytes), of.reason.words());
        push(
            text,
            &format!("{kind:<12} {:>9} {bytes:>9}  {words}", of.count),
        );
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Manifest => "manifest",
        Kind::Config => "config",
        Kind::Layer => "layer",
        Kind::TagHistory => "tag history",
        Kind::LayerLink => "layer link",
    }
}

fn rows(plan: &Plan, paint: Paint, text: &mut String) {
    let head = format!("{:<12} {:<71} {:>9}  REPOSITORY", "KIND", "DIGEST", "FREES");
    push(text, &paint.bold(&head));
    for it in plan.garbage() {
        let repository = it.repository.map_or("(no repository)", |name| name);
        let tag = it.tag.map_or_else(String::new, |tag| format!(":{tag}"));
        let (kind, bytes) = (word(it.kind), size(it.bytes));
        let digest = it.digest.to_string();
        push(
            text,
            &format!("{kind:<12} {digest:<71} {bytes:>9}  {repository}{tag}"),
        );
    }
}

/// `gc plan --diff`.
pub(super) fn difference(difference: &Difference<'_>, is_wide: bool, paint: Paint) -> String {
    let mut text = String::new();
    let Difference {
        from,
        to,
        storage,
        added,
        removed,
        ..
    } = difference;
    let head = format!("{storage}  plan {from} → {to}");
    push(&mut text, &paint.bold(&head));
    if added.is_empty() && removed.is_empty() {
        push(&mut text, "The same would go.");
        return text;
    }
    let sum = |all: &[Changed<'_>]| size(all.iter().map(|it| it.bytes).sum());
    let words = [("goes now", added, '+'), ("goes no more", removed, '-')];
    for (what, all, sign) in words {
        if all.is_empty() {
            continue;
        }
        push(
            &mut text,
            &format!(
                "{what}: {}, {}",
                counted(all.len(), "row", "rows"),
                sum(all)
            ),
        );
        let lines: Vec<String> = all
            .iter()
            .map(|it| {
                let tag = it
                    .key
                    .tag
                    .as_ref()
                    .map_or_else(String::new, |tag| format!(":{tag}"));
                let repository = it.key.repository.as_deref().unwrap_or("(no repository)");
                let line = format!(
                    "{sign} {:<12} {} {:>9}  {repository}{tag}",
                    it.key.kind,
                    it.key.digest,
                    size(it.bytes)
                );
                if sign == '+' {
                    paint.yellow(&line)
                } else {
                    paint.green(&line)
                }
            })
            .collect();
        limited(&lines, is_wide, &mut text);
    }
    text
}

fn limited(lines: &[String], is_wide: bool, text: &mut String) {
    let most = if is_wide { lines.len() } else { LINES_SHOWN };
    for line in lines.iter().take(most) {
        push(text, line);
    }
    if lines.len() > most {
        push(
            text,
            &format!("… and {} more; -o wide shows all", lines.len() - most),
        );
    }
}
