//! Results as a person reads them in a terminal. Pure: views in, text out.

mod answers;

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::terminal::Paint;
use crate::inventory::{Class, User};
use crate::oci::platform::Platform;
use crate::verify::finding::Verdict;
use crate::view::answers::counted;
use crate::view::{Image, InventoryView, PlatformView, Summary, UserView};

pub use self::answers::answers;

/// Names of users shown in a row; the rest is counted.
const USERS_SHOWN: usize = 2;

/// How much of each row is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breadth {
    /// What fits on a screen: digests by their first digits, and a few users.
    Usual,
    /// Whole digests, all users, and whose credential pulls.
    Wide,
}

impl Breadth {
    fn text(self, text: &str) -> String {
        match self {
            Self::Usual => shown(text),
            Self::Wide => safe(text).into_owned(),
        }
    }

    fn users(self, all: &[UserView]) -> String {
        match self {
            Self::Usual => users(all),
            Self::Wide => all.iter().map(|it| user(it)).collect::<Vec<_>>().join(", "),
        }
    }
}

/// Broken first, then unknown, then the rest; under each row what was found.
pub fn verify(
    images: &[Image],
    summary: Summary,
    seconds: f64,
    requests: u64,
    breadth: Breadth,
    paint: Paint,
) -> String {
    let is_wide = breadth == Breadth::Wide;
    let mut images: Vec<&Image> = images.iter().collect();
    images.sort_by_key(|image| (std::cmp::Reverse(image.verdict), &image.reference));
    let width = images
        .iter()
        .map(|image| image.reference.len())
        .max()
        .unwrap_or(9)
        .clamp(9, 80);
    let mut text = String::new();
    if !images.is_empty() {
        let head = format!("{:<9} {:<width$}  {}", "VERDICT", "REFERENCE", "PLATFORMS");
        line(&mut text, &paint.bold(&head));
    }
    for image in &images {
        let verdict = painted(image.verdict, paint);
        let platforms = image.platforms.iter().filter(|platform| is_told(platform));
        let platforms = platforms.map(|platform| platform_word(platform, paint));
        let platforms = platforms.collect::<Vec<_>>().join(" ");
        let reference = breadth.text(&image.reference);
        let row = format!("{verdict} {reference:<width$}  {platforms}");
        line(&mut text, row.trim_end());
        for finding in &image.findings {
            let platform = finding
                .platform
                .as_ref()
                .map(|platform| format!(" {platform}"));
            let aside = if finding.needed {
                ""
            } else {
                " (no node needs it)"
            };
            let row = format!(
                "          {}{}: {}{aside}",
                finding.code,
                platform.unwrap_or_default(),
                breadth.text(&finding.message)
            );
            line(&mut text, &row);
        }
        if let Some(digest) = image.digest.filter(|_| is_wide) {
            line(&mut text, &paint.faint(&format!("          {digest}")));
        }
        let is_told = is_wide || image.verdict != Verdict::Pullable;
        if is_told && !image.used_by.is_empty() {
            let users = breadth.users(&image.used_by);
            line(
                &mut text,
                &paint.faint(&format!("          used by {users}")),
            );
        }
        if let Some(credential) = image.credential.as_ref().filter(|_| is_told) {
            line(
                &mut text,
                &paint.faint(&format!("          with pull secret {credential}")),
            );
        }
    }
    let is_partly_elsewhere = |platform: &PlatformView| {
        let foreign = platform.foreign_layers.as_ref();
        foreign.is_some_and(|layers| !layers.is_empty())
    };
    let elsewhere = images
        .iter()
        .filter(|image| image.platforms.iter().any(is_partly_elsewhere));
    match elsewhere.count() {
        0 => {}
        count => line(
            &mut text,
            &paint.faint(&format!(
                "{count} of them with foreign layers, which nodes fetch elsewhere and nobody asked for"
            )),
        ),
    }
    let Summary {
        images,
        pullable,
        broken,
        unknown,
    } = summary;
    let marked = |count: usize, word: &str, mark: fn(Paint, &str) -> String| {
        let words = format!("{count} {word}");
        if count > 0 {
            mark(paint, &words)
        } else {
            words
        }
    };
    let summary = format!(
        "{}: {}, {}, {} ({} in {seconds:.1} s)",
        counted(images, "image"),
        marked(pullable, "pullable", Paint::green),
        marked(broken, "broken", Paint::red),
        marked(unknown, "unknown", Paint::yellow),
        counted(usize::try_from(requests).unwrap_or(usize::MAX), "request"),
    );
    line(&mut text, &summary);
    text
}

/// What moves a cursor, escaped: parts of what is shown come from manifests that anybody may have pushed.
fn safe(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |character: char| {
        if character.is_control() {
            character.escape_default().to_string()
        } else {
            character.to_string()
        }
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Digests by their first digits: the rest tells a person nothing, and JSON has it.
pub fn shown(text: &str) -> String {
    const NAME: &str = "sha256:";
    let text = &*safe(text);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(NAME) {
        let (before, digest) = rest.split_at(at);
        let after_name = digest.get(NAME.len()..).unwrap_or_default();
        let end = after_name
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(after_name.len());
        let (hex, after) = after_name.split_at(end);
        shown.push_str(before);
        shown.push_str(NAME);
        match hex.get(..12) {
            Some(first) if hex.len() == 64 => shown.push_str(&format!("{first}…")),
            Some(_) | None => shown.push_str(hex),
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// Attestations are no platform that anybody pulls for; they are told only when they are missing.
fn is_told(platform: &PlatformView) -> bool {
    let is_attestation = platform.platform.as_ref().is_some_and(Platform::is_unknown);
    !is_attestation || platform.verdict != Verdict::Pullable
}

fn painted(verdict: Verdict, paint: Paint) -> String {
    let word = format!("{:<9}", verdict.as_str());
    match verdict {
        Verdict::Pullable => paint.green(&word),
        Verdict::Unknown => paint.yellow(&word),
        Verdict::Broken => paint.red(&word),
    }
}

fn platform_word(platform: &PlatformView, paint: Paint) -> String {
    let name = platform
        .platform
        .as_ref()
        .map_or_else(|| "?".to_owned(), |platform| shown(&platform.to_string()));
    match platform.verdict {
        Verdict::Pullable => name,
        Verdict::Unknown => paint.yellow(&format!("{name}?")),
        Verdict::Broken if platform.needed => paint.red(&format!("{name}!")),
        Verdict::Broken => paint.faint(&format!("({name}!)")),
    }
}

/// `shop/Deployment/web (app), shop/CronJob/report (main) and 3 more`
pub fn users(users: &[UserView]) -> String {
    let names: Vec<String> = users.iter().map(|it| user(it)).collect();
    let shown = names
        .iter()
        .take(USERS_SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(USERS_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn user(user: &User) -> String {
    let cluster = user
        .cluster
        .as_ref()
        .map(|cluster| format!("{cluster}:"))
        .unwrap_or_default();
    let namespace = if user.namespace.is_empty() {
        String::new()
    } else {
        format!("{}/", user.namespace)
    };
    let container = (!user.container.is_empty()).then(|| user.container.to_string());
    let idle = user.idle.map(|idle| idle.to_string());
    let aside: Vec<String> = container.into_iter().chain(idle).collect();
    let aside = if aside.is_empty() {
        String::new()
    } else {
        format!(" ({})", aside.join(", "))
    };
    format!("{cluster}{namespace}{}/{}{aside}", user.kind, user.name)
}

/// `runtime    shop/Deployment/web (app) via Pod/web-6f7c, since 2026-11-02`
pub fn why(user: &UserView) -> String {
    let class = user.class.as_str();
    let day = |since| Timestamp::from(since).strftime("%F").to_string();
    let day = user.since.map(day);
    if user.class == Class::Remembered {
        let day = day.map(|day| format!(" since {day}")).unwrap_or_default();
        return format!("{class:<10} named by nothing{day}");
    }
    let name = shown(&self::user(user));
    let via = user
        .via
        .as_ref()
        .map(|via| format!(" via {}", shown(&via.to_string())));
    let since = day.map(|day| format!(", since {day}"));
    let (via, since) = (via.unwrap_or_default(), since.unwrap_or_default());
    let silenced = user.ignored.as_ref();
    let silenced = silenced.map(|reason| format!("; silenced: {}", safe(reason)));
    let silenced = silenced.unwrap_or_default();
    format!("{class:<10} {name}{via}{since}{silenced}")
}

/// Sources first, since an incomplete one makes the rest a part; then every reference.
pub fn inventory(view: &InventoryView, breadth: Breadth, paint: Paint) -> String {
    let mut text = String::new();
    for source in &view.sources {
        let state = match (&source.reason, &source.shrunk) {
            (None, None) => paint.green("complete"),
            (None, Some(shrunk)) => format!("{}: {shrunk}", paint.red("shrunk")),
            (Some(reason), _) => format!("{}: {reason}", paint.red("incomplete")),
        };
        let state = match (&source.reason, source.last_complete) {
            (Some(_), Some(at)) => format!("{state}; here is its last complete state, of {at}"),
            _ => state,
        };
        line(
            &mut text,
            &format!(
                "source {}: {state}, {}",
                source.name,
                counted(source.references, "use")
            ),
        );
        for absent in &source.absent {
            line(
                &mut text,
                &paint.faint(&format!("  without {}", safe(absent))),
            );
        }
    }
    let width = view
        .images
        .iter()
        .map(|image| breadth.text(&image.reference).chars().count())
        .max()
        .unwrap_or(9)
        .max(9);
    let classes = view
        .images
        .iter()
        .map(|image| image.classes.join(",").len())
        .max()
        .unwrap_or(7)
        .max(7);
    if !view.images.is_empty() {
        let users = match breadth {
            Breadth::Usual => "USED BY",
            Breadth::Wide => "",
        };
        let head = format!("{:<width$}  {:<classes$}  {users}", "REFERENCE", "CLASSES");
        line(&mut text, &paint.bold(head.trim_end()));
    }
    for image in &view.images {
        let users = match breadth {
            Breadth::Usual => users(&image.used_by),
            Breadth::Wide => String::new(),
        };
        let row = format!(
            "{:<width$}  {:<classes$}  {users}",
            breadth.text(&image.reference),
            image.classes.join(","),
        );
        line(&mut text, row.trim_end());
        if breadth == Breadth::Wide {
            for user in &image.used_by {
                line(&mut text, &format!("  {}", why(user)));
            }
            for digest in &image.running {
                line(&mut text, &paint.faint(&format!("  running    {digest}")));
            }
        }
        if let Some(why) = &image.unavailable {
            let problem = format!("  credential_unavailable: {}", safe(why));
            line(&mut text, &paint.yellow(&problem));
        }
        if let Some(problem) = &image.invalid {
            line(
                &mut text,
                &paint.red(&format!("  reference_invalid: {problem}")),
            );
        }
    }
    let incomplete = view
        .sources
        .iter()
        .filter(|source| !source.complete)
        .count();
    let note = match incomplete {
        0 => "all sources are complete".to_owned(),
        count => format!(
            "{count} of {} sources incomplete: this is only a part",
            view.sources.len()
        ),
    };
    line(
        &mut text,
        &format!("{}; {note}", counted(view.images.len(), "reference")),
    );
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{line}").expect("a String takes every write");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::inventory::{Idle, TopOwner};
    use crate::second::Second;

    #[test]
    fn digests_are_shortened_wherever_they_stand() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!("no sha256:{hex} that sha256:{hex} names; a@sha256:12, sha256:");
        assert_eq!(
            shown(&text),
            "no sha256:e3b0c44298fc… that sha256:e3b0c44298fc… names; a@sha256:12, sha256:"
        );
    }

    #[test]
    fn who_needs_an_image_says_why_and_since_when() {
        let user = |class: Class, via: Option<&str>, idle: Option<Idle>| UserView {
            ignored: None,
            user: User {
                owner: Arc::new(TopOwner {
                    cluster: Some("prod".into()),
                    namespace: "shop".into(),
                    kind: "Deployment".into(),
                    name: "web".into(),
                }),
                container: "app".into(),
                image: "app:1".into(),
                class,
                via: via.map(Into::into),
                since: Some(Second::new(1_600_000_000)),
                idle,
            },
        };
        let silenced = UserView {
            ignored: Some("moved to r2.example\n".into()),
            ..user(Class::Runtime, None, None)
        };
        for (user, expected) in [
            (
                user(Class::Runtime, None, Some(Idle::ScaledToZero)),
                "runtime    prod:shop/Deployment/web (app, scaled to zero), since 2020-09-13",
            ),
            (
                user(Class::Rollback, Some("ReplicaSet/web-1"), None),
                "rollback   prod:shop/Deployment/web (app) via ReplicaSet/web-1, since 2020-09-13",
            ),
            (
                user(Class::Remembered, None, None),
                "remembered named by nothing since 2020-09-13",
            ),
            (
                silenced,
                "runtime    prod:shop/Deployment/web (app), since 2020-09-13; silenced: moved to r2.example\\n",
            ),
        ] {
            assert_eq!(why(&user), expected);
        }
    }
}
