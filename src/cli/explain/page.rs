//! The page that somebody sends to a colleague: what is wrong, where, what was asked, who needs it. Pure.

use self::needed::{lost, users};
use self::stored::storages;
use super::asked::asked;
use super::drawing::draw;
use super::text::{Measure, push};
use crate::cli::terminal::Paint;
use crate::explain::referrer::{Referrer, Referrers};
use crate::explain::tree::Object;
use crate::explain::view::{ExchangeView, Explain};
use crate::oci::reference::shown;
use crate::verify::finding::{Finding, Verdict};

mod endpoints;
mod needed;
mod stored;

/// Lines of users, images or places that are shown; JSON has all.
const LINES_MAX: usize = 12;

/// What is shown besides what JSON has.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    pub view: &'a Explain,
    pub tree: Option<&'a Object>,
    /// Those of the view's endpoints, in their order.
    pub trees: &'a [Option<&'a Object>],
    /// The tag, if the reference has one that was looked at.
    pub tag: Option<&'a str>,
    /// As it was dialled.
    pub host: &'a str,
    pub at: &'a str,
    pub measure: Measure,
    pub paint: Paint,
}

pub fn page(scene: &Scene<'_>) -> String {
    let mut text = head(scene);
    text.push('\n');
    if scene.view.endpoints.is_empty() {
        if let Some(tree) = scene.tree {
            text.push_str(&drawn(scene, tree));
            text.push('\n');
        }
        push_section(&mut text, &findings(scene));
    } else {
        text.push_str(&endpoints::endpoints(scene));
    }
    let sections = [
        others(scene),
        referrers(scene),
        users(scene),
        lost(scene),
        storages(scene),
    ];
    for section in &sections {
        push_section(&mut text, section);
    }
    let is_known = |path: &str| {
        let trees = scene.trees.iter().chain([&scene.tree]);
        trees.flatten().any(|tree| names(tree, path))
    };
    text.push_str(&asked(
        &scene.view.exchanges,
        scene.host,
        &is_known,
        scene.measure,
        scene.paint,
    ));
    text
}

fn push_section(text: &mut String, section: &str) {
    if !section.is_empty() {
        text.push_str(section);
        text.push('\n');
    }
}

fn drawn(scene: &Scene<'_>, tree: &Object) -> String {
    let root = scene.tag.map(|tag| format!("tag {tag}"));
    draw(tree, root.as_deref(), scene.measure, scene.paint)
}

fn names(tree: &Object, path: &str) -> bool {
    let mut is_named = false;
    tree.visit(&mut Vec::new(), &mut |_, object| {
        let digest = object.digest.map(|digest| digest.to_string());
        is_named |= digest.is_some_and(|digest| path.ends_with(&digest));
    });
    is_named
}

fn painted(verdict: Verdict, paint: Paint) -> String {
    match verdict {
        Verdict::Pullable => paint.green(verdict.as_str()),
        Verdict::Unknown => paint.yellow(verdict.as_str()),
        Verdict::Broken => paint.red(verdict.as_str()),
    }
}

fn head(scene: &Scene<'_>) -> String {
    let Scene { view, paint, .. } = scene;
    let mut text = String::new();
    let name = match (&view.reference, &view.digest) {
        (Some(reference), _) => reference.clone(),
        (None, Some(digest)) => digest.to_string(),
        (None, None) => String::new(),
    };
    let verdict = painted(view.verdict, *paint);
    push(&mut text, &format!("{}: {verdict}", paint.bold(&name)));
    if let Some(message) = &view.message {
        text.push_str(&scene.measure.wrapped("  ", message));
    }
    if let (Some(_), Some(digest)) = (&view.reference, &view.digest) {
        push(&mut text, &format!("  digest   {digest}"));
    }
    let credential = view.credential.clone().unwrap_or_else(|| nobody(scene));
    push(
        &mut text,
        &format!(
            "  checked  {} by pullproof {}, at depth {}, in {:.1} s",
            scene.at,
            env!("CARGO_PKG_VERSION"),
            view.depth.as_str(),
            view.duration_seconds
        ),
    );
    push(&mut text, &format!("  as       {credential}"));
    text
}

/// Who asked, where nobody was let in.
fn nobody(scene: &Scene<'_>) -> String {
    let mut tried: Vec<&str> = Vec::new();
    let exchanges = scene.view.exchanges.iter();
    // What another endpoint said is not what the one that is written did.
    let is_there = |one: &&ExchangeView| scene.view.endpoints.is_empty() || one.host == scene.host;
    for one in exchanges
        .filter(is_there)
        .filter(|one| one.status.is_some())
    {
        if !tried.contains(&one.credential.as_str()) {
            tried.push(&one.credential);
        }
    }
    match tried.as_slice() {
        [] => "nobody: there was no answer".to_owned(),
        tried => format!("{}: not let in", tried.join(", ")),
    }
}

fn findings(scene: &Scene<'_>) -> String {
    let mut text = String::new();
    if !scene.view.findings.is_empty() {
        push(&mut text, &scene.paint.bold("found"));
        for finding in &scene.view.findings {
            text.push_str(&told(scene, finding));
        }
    }
    text
}

/// One finding, in lines of its own.
fn told(scene: &Scene<'_>, finding: &Finding) -> String {
    let Scene { measure, paint, .. } = scene;
    let mut text = String::new();
    let platform = finding.platform.as_ref();
    let platform = platform.map(|platform| format!(" {}", shown(&platform.to_string())));
    let aside = if finding.needed {
        ""
    } else {
        " (no node needs it)"
    };
    let code = match finding.code.verdict() {
        Verdict::Broken if finding.needed => paint.red(finding.code.as_str()),
        Verdict::Broken | Verdict::Pullable => finding.code.to_string(),
        Verdict::Unknown => paint.yellow(finding.code.as_str()),
    };
    push(
        &mut text,
        &format!("  {code}{}{aside}", platform.unwrap_or_default()),
    );
    text.push_str(&measure.wrapped("    ", &finding.message));
    if let Some(way) = way(scene, finding) {
        text.push_str(&measure.wrapped("    ", &way));
    }
    text
}

/// The way from the tag to what is wrong.
fn way(scene: &Scene<'_>, finding: &Finding) -> Option<String> {
    let subject = finding.subject?;
    let steps = finding.path.iter().chain([&subject]);
    let steps = steps.map(|digest| scene.measure.digest(digest));
    let steps: Vec<String> = scene
        .tag
        .map(ToOwned::to_owned)
        .into_iter()
        .chain(steps)
        .collect();
    (steps.len() > 1).then(|| format!("the way: {}", steps.join(" > ")))
}

fn others(scene: &Scene<'_>) -> String {
    let mut text = String::new();
    if scene.view.other_credentials.is_empty() {
        return text;
    }
    push(&mut text, &scene.paint.bold("for others"));
    for other in &scene.view.other_credentials {
        let who = other.credential.as_ref().map_or_else(
            || "without a pull secret".to_owned(),
            |label| format!("with pull secret {label}"),
        );
        let codes: Vec<&str> = other.findings.iter().map(|one| one.code.as_str()).collect();
        let verdict = painted(other.verdict, scene.paint);
        push(
            &mut text,
            &format!("  {who}: {verdict} {}", codes.join(", ")),
        );
    }
    text
}

fn referrers(scene: &Scene<'_>) -> String {
    let Referrers {
        subjects,
        found,
        problems,
    } = &scene.view.referrers;
    let mut text = String::new();
    if subjects.is_empty() {
        return text;
    }
    push(&mut text, &scene.paint.bold("referrers"));
    for one in found.iter().take(LINES_MAX) {
        text.push_str(&scene.measure.wrapped("  ", &referrer(one, scene.measure)));
    }
    if found.len() > LINES_MAX {
        push(
            &mut text,
            &format!("  and {} more", found.len() - LINES_MAX),
        );
    }
    if found.is_empty() && problems.is_empty() {
        push(
            &mut text,
            "  no signature, attestation or bill of materials was found",
        );
    }
    for problem in problems {
        let problem = format!("not known whether there are more: {problem}");
        text.push_str(&scene.measure.wrapped("  ", &problem));
    }
    text
}

fn referrer(one: &Referrer, measure: Measure) -> String {
    let Referrer {
        subject,
        kind,
        digest,
        artifact_type,
        tag,
        ..
    } = one;
    let digest = digest.map(|digest| format!(" {}", measure.digest(&digest)));
    let kind_of = artifact_type.as_ref().map(|kind| format!(", {kind}"));
    let suffix = tag
        .as_ref()
        .and_then(|tag| tag.get(71..))
        .filter(|tag| !tag.is_empty());
    let from = match (tag, suffix) {
        (Some(_), Some(suffix)) => format!(", by cosign's {suffix} tag"),
        (Some(_), None) => ", by its tag".to_owned(),
        (None, _) => String::new(),
    };
    format!(
        "{kind}{} of {}{}{from}",
        digest.unwrap_or_default(),
        measure.digest(subject),
        kind_of.unwrap_or_default()
    )
}
