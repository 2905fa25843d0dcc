//! A plan of tags as a person reads it in a terminal. Pure.

use std::collections::BTreeMap;

use crate::cli::explain::text::{counted, push, size};
use crate::cli::terminal::Paint;
use crate::gc::refusal::Refusal;
use crate::retention::class::Class;
use crate::retention::plan::{Going, Staying};
use crate::view::retention::{Told, rule};

/// Columns that a tag may take.
const NAME_MAX: usize = 60;
/// Rows that fit on a screen.
const SHOWN: usize = 15;

/// `is_wide` shows every tag.
pub(super) fn plan(
    host: &str,
    told: Option<&Told<'_>>,
    refusals: &[Refusal],
    is_wide: bool,
    paint: Paint,
) -> String {
    let mut text = String::new();
    match told {
        None => push(&mut text, &format!("{host}: {}", paint.red("no plan"))),
        Some(told) => {
            let id = paint.bold(told.id);
            push(&mut text, &format!("{}  plan {id}", paint.bold(host)));
            totals(told, &mut text);
            repositories(told, is_wide, paint, &mut text);
            going(told, is_wide, paint, &mut text);
            staying(told, is_wide, paint, &mut text);
            for it in &told.plan.left_alone {
                let left = paint.yellow("left alone");
                push(
                    &mut text,
                    &format!("{left}: {}: {}", it.repository, it.reason),
                );
            }
            push(&mut text, "");
        }
    }
    for refusal in refusals {
        let code = paint.yellow(refusal.code.as_str());
        push(&mut text, &format!("refused: {code}: {}", refusal.message));
    }
    push(&mut text, &paint.faint("Nothing was changed."));
    text
}

fn totals(told: &Told<'_>, text: &mut String) {
    let (going, staying) = (&told.plan.going, &told.plan.staying);
    let due = going.iter().filter(|it| told.is_due(it)).count();
    let all = counted(going.len() + staying.len(), "tag", "tags");
    push(
        text,
        &format!(
            "  {all}: {} would go, {due} of them in every plan for long enough; {} stay",
            going.len(),
            staying.len()
        ),
    );
    if !going.is_empty() {
        let bytes = size(told.plan.bytes());
        push(
            text,
            &format!(
                "  {bytes} that nothing else leads to; a collection takes them with `gc.untagged: delete`"
            ),
        );
    }
    let classes = told.plan.by_class();
    if !classes.is_empty() {
        let classes: Vec<String> = classes
            .iter()
            .map(|(class, count)| format!("{count} {}", class.as_str()))
            .collect();
        push(text, &format!("  stay: {}", classes.join(", ")));
    }
}

fn repositories(told: &Told<'_>, is_wide: bool, paint: Paint, text: &mut String) {
    let mut all: BTreeMap<&str, (usize, usize, u64)> = BTreeMap::new();
    for it in &told.plan.going {
        let of = all.entry(&it.repository).or_default();
        of.0 += 1;
        of.2 += it.bytes;
    }
    for it in &told.plan.staying {
        if let Some(of) = all.get_mut(&*it.repository) {
            of.1 += 1;
        }
    }
    if all.is_empty() {
        return;
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by_key(|(name, (going, ..))| (std::cmp::Reverse(*going), *name));
    let most = if is_wide { all.len() } else { SHOWN };
    let names = all.iter().take(most).map(|(name, _)| name.len());
    let width = names.max().unwrap_or(0).clamp(10, 60);
    push(text, "");
    let head = format!(
        "{:<width$} {:>7} {:>7} {:>9}",
        "REPOSITORY", "GO", "STAY", "FREES"
    );
    push(text, &paint.bold(&head));
    for (name, (going, staying, bytes)) in all.iter().take(most) {
        let bytes = size(*bytes);
        push(
            text,
            &format!("{name:<width$} {going:>7} {staying:>7} {bytes:>9}"),
        );
    }
    more(all.len(), most, paint, text);
}

fn going(told: &Told<'_>, is_wide: bool, paint: Paint, text: &mut String) {
    let mut all: Vec<&Going> = told.plan.going.iter().collect();
    if all.is_empty() {
        return;
    }
    all.sort_by_key(|it| (std::cmp::Reverse(it.age), &it.repository, &it.tag));
    let most = if is_wide { all.len() } else { SHOWN };
    let name = |it: &Going| named(&it.repository, &it.tag);
    let names = all.iter().take(most).map(|it| name(it).chars().count());
    let width = names.max().unwrap_or(0).clamp(10, NAME_MAX);
    push(text, "");
    push(
        text,
        &paint.bold(&format!("{:<width$} {:>9}  WHY", "WOULD GO", "FREES")),
    );
    for it in all.iter().take(most) {
        let due = if told.is_due(it) { "due; " } else { "" };
        let row = format!(
            "{:<width$} {:>9}  {due}{} ({})",
            name(it),
            size(it.bytes),
            it.reason,
            rule(it.policy)
        );
        push(text, &row);
    }
    more(all.len(), most, paint, text);
}

/// What somebody needs is told first; the rest only where all is asked for.
fn staying(told: &Told<'_>, is_wide: bool, paint: Paint, text: &mut String) {
    let mut all: Vec<&Staying> = told.plan.staying.iter().collect();
    if !is_wide {
        // Why of those that one would think of deleting.
        all.retain(|it| {
            let class = it.classes.first();
            matches!(class, Some(Class::Needed(_) | Class::GuardsChild))
        });
    }
    if all.is_empty() {
        return;
    }
    all.sort_by_key(|it| (it.classes.first().copied(), &it.repository, &it.tag));
    let most = if is_wide { all.len() } else { SHOWN };
    let name = |it: &Staying| named(&it.repository, &it.tag);
    let names = all.iter().take(most).map(|it| name(it).chars().count());
    let width = names.max().unwrap_or(0).clamp(10, NAME_MAX);
    push(text, "");
    push(
        text,
        &paint.bold(&format!("{:<width$} {:<12}  WHY", "STAYS", "CLASS")),
    );
    for it in all.iter().take(most) {
        let class = it.classes.first().map_or("", |class| class.as_str());
        push(
            text,
            &format!("{:<width$} {class:<12}  {}", name(it), it.reason),
        );
    }
    more(all.len(), most, paint, text);
}

/// A tag in full, unless that is wider than its column: then its end and its beginning.
fn named(repository: &str, tag: &str) -> String {
    let name = format!("{repository}:{tag}");
    let length = name.chars().count();
    if length <= NAME_MAX {
        return name;
    }
    let start: String = name.chars().take(NAME_MAX - 16).collect();
    let end: String = name.chars().skip(length - 15).collect();
    format!("{start}…{end}")
}

fn more(all: usize, most: usize, paint: Paint, text: &mut String) {
    if all > most {
        let more = format!("… and {} more; -o wide shows all", all - most);
        push(text, &paint.faint(&more));
    }
}
