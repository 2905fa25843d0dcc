//! The state in one sentence, and the banners over it: what makes all else doubtful. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::words::{self, Moment, Piece};
use crate::state::{RegistryStatus, Snapshot};
use crate::verify::finding::{Code, Verdict};
use crate::view::Summary;

/// A daemon that lives says something every five seconds.
const SILENT_MAX: SignedDuration = SignedDuration::from_secs(60);

/// The state of everything. The tone is the class of what is coloured by it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) tone: &'static str,
    pub(super) sign: &'static str,
    pub(super) sentence: String,
    pub(super) title: String,
}

pub(super) struct Banner {
    pub(super) tone: &'static str,
    pub(super) title: String,
    pub(super) text: Vec<Piece>,
}

/// What is counted besides the verdicts of references.
#[derive(Debug, Default)]
pub(super) struct Tally<'a> {
    by_registry: BTreeMap<&'a str, [usize; 3]>,
    pub(super) never_checked: usize,
    pub(super) broken: usize,
    pub(super) broken_known: usize,
}

impl<'a> Tally<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut tally = Self::default();
        for image in &snapshot.images {
            let verdict = image.verdict();
            let [pullable, unknown, broken] =
                tally.by_registry.entry(image.registry()).or_default();
            match verdict {
                Verdict::Pullable => *pullable += 1,
                Verdict::Unknown => *unknown += 1,
                Verdict::Broken => *broken += 1,
            }
            let mut findings = image.report.findings.iter();
            if verdict == Verdict::Unknown && findings.any(|it| it.code == Code::NeverChecked) {
                tally.never_checked += 1;
            }
            if verdict == Verdict::Broken {
                tally.broken += 1;
                tally.broken_known += usize::from(image.is_known);
            }
        }
        tally
    }

    /// In the order of [`Verdict::ALL`].
    pub(super) fn of_registry(&self, host: &str) -> [usize; 3] {
        self.by_registry.get(host).copied().unwrap_or_default()
    }
}

impl Head {
    /// Nothing is green before it was checked, or while a part of the inventory may be missing.
    pub(super) fn of(snapshot: &Snapshot, summary: Summary, tally: &Tally<'_>) -> Self {
        let Summary {
            images,
            pullable,
            broken,
            unknown,
        } = summary;
        let is_complete = snapshot
            .sources
            .iter()
            .all(|source| source.incomplete.is_none());
        let all = words::number(images);
        let be = |count: usize| if count == 1 { "is" } else { "are" };
        let image = if images == 1 { "image" } else { "images" };
        let (tone, sign, sentence, title) = if images == 0 {
            (
                "none",
                "",
                "No images yet".to_owned(),
                "no images".to_owned(),
            )
        } else if broken > 0 {
            let is_known = tally.broken == tally.broken_known;
            let count = words::number(broken);
            let mut sentence = format!("{count} of {all} {image} {} broken", be(broken));
            if unknown > 0 {
                sentence.push_str(&format!(
                    ", {} {} unknown",
                    words::number(unknown),
                    be(unknown)
                ));
            }
            let tone = if is_known { "unknown" } else { "broken" };
            (
                tone,
                words::sign(Verdict::Broken),
                sentence,
                format!("{count} broken"),
            )
        } else if tally.never_checked > 0 {
            let sentence = match pullable {
                0 => format!("Checking {all} {image} for the first time"),
                _ => format!(
                    "Checking: {} of {all} {image} can be pulled so far",
                    words::number(pullable)
                ),
            };
            ("none", "", sentence, "checking".to_owned())
        } else if unknown > 0 {
            let count = words::number(unknown);
            let sentence = format!(
                "{count} of {all} {image} {} unknown, none is broken",
                be(unknown)
            );
            (
                "unknown",
                words::sign(Verdict::Unknown),
                sentence,
                format!("{count} unknown"),
            )
        } else if !is_complete {
            let sentence =
                format!("{all} known {image} can be pulled, but the inventory is incomplete");
            let title = "inventory incomplete".to_owned();
            ("unknown", words::sign(Verdict::Unknown), sentence, title)
        } else {
            let sentence = match images {
                1 => "The one image can be pulled".to_owned(),
                _ => format!("All {all} images can be pulled"),
            };
            (
                "pullable",
                words::sign(Verdict::Pullable),
                sentence,
                "all pullable".to_owned(),
            )
        };
        Self {
            tone,
            sign,
            sentence,
            title,
        }
    }
}

pub(super) fn banners(snapshot: &Snapshot, tally: &Tally<'_>, now: Timestamp) -> Vec<Banner> {
    let mut banners = Vec::new();
    let silent = now.duration_since(snapshot.at);
    if silent > SILENT_MAX {
        banners.push(Banner {
            tone: "broken",
            title: format!("Nothing new for {}", words::span(silent)),
            text: words::pieces("The daemon has stopped saying what it knows. What stands here is old: look at its log."),
        });
    }
    for registry in &snapshot.registries {
        if registry.is_up == Some(false) {
            banners.push(registry_down(registry, tally, now));
        }
    }
    for source in &snapshot.sources {
        // Before the first image that is what the page is about, and said there.
        if let Some(reason) = source
            .incomplete
            .as_ref()
            .filter(|_| !snapshot.images.is_empty())
        {
            let stands = source.complete_at.map_or_else(
                || "It was never read in full: what only it names is not all here.".to_owned(),
                |at| {
                    let at = Moment::of(at, now);
                    format!(
                        "Its last complete state stands in, of {} UTC, {}.",
                        at.clock, at.ago
                    )
                },
            );
            banners.push(Banner {
                tone: "unknown",
                title: format!("The source {} is incomplete", source.name),
                text: words::pieces(&format!("{reason}. {stands}")),
            });
        }
        if let Some(shrunk) = &source.shrunk {
            let name = &source.name;
            banners.push(Banner {
                tone: "unknown",
                title: format!("The source {name} has shrunk"),
                text: words::pieces(&format!(
                    "{shrunk}. Nothing may be collected until that is accepted: look whether it is \
                     meant, then run `pullproof inventory accept {name}`."
                )),
            });
        }
    }
    if snapshot.baseline_images > 0 {
        let text = match tally.broken_known {
            0 => "None of it is broken now. `pullproof baseline clear` forgets it.".to_owned(),
            count => format!(
                "{} still broken, marked as known: a warning, never critical. `pullproof baseline show` lists the baseline.",
                if count == 1 {
                    "1 is".to_owned()
                } else {
                    format!("{} are", words::number(count))
                }
            ),
        };
        let count = words::counted(snapshot.baseline_images, "image");
        let was = if snapshot.baseline_images == 1 {
            "was"
        } else {
            "were"
        };
        banners.push(Banner {
            tone: "none",
            title: format!("Baseline: {count} {was} broken before pullproof came"),
            text: words::pieces(&text),
        });
    }
    banners
}

fn registry_down(registry: &RegistryStatus, tally: &Tally<'_>, now: Timestamp) -> Banner {
    let [_, unknown, _] = tally.of_registry(&registry.host);
    let clean = registry.last_clean_at.map_or_else(
        || "No round over it was clean yet.".to_owned(),
        |at| {
            let at = Moment::of(at, now);
            format!(
                "Its last clean round ended at {} UTC, {}.",
                at.clock, at.ago
            )
        },
    );
    let be = if unknown == 1 { "is" } else { "are" };
    Banner {
        tone: "unknown",
        title: format!("The registry {} does not answer", registry.host),
        text: words::pieces(&format!(
            "{} of it {be} unknown for now, and nodes may not be able to pull. {clean}",
            words::counted(unknown, "image")
        )),
    }
}
