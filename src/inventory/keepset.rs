//! What must stay pullable, for whoever collects garbage. Pure.
//!
//! It is made of a [`CompleteInventory`] and nothing else: of a part of the truth there is no keep-set.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::Class;
use super::completeness::CompleteInventory;
use crate::oci::digest::{Digest, Hasher};
use crate::oci::reference::{Aliases, Reference};

/// That a reference led to a digest, and when it last did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedTo {
    pub reference: Box<str>,
    pub digest: Digest,
    pub last: Timestamp,
}

/// Why one reference is kept, and what it led to within `keepSeen` or runs of it now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    pub classes: BTreeSet<Class>,
    pub digests: BTreeSet<Digest>,
}

/// Every reference that must stay pullable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepSet {
    references: BTreeMap<Reference, Kept>,
    at: Timestamp,
}

impl KeepSet {
    /// All that a complete inventory names, with the digests that it led to within `keep`. What is written
    /// with another name of its registry is there by both names. A digest of a reference that is neither
    /// named nor remembered is nobody's any more.
    pub fn of(
        complete: &CompleteInventory,
        aliases: &Aliases,
        led_to: impl Iterator<Item = LedTo>,
        keep: SignedDuration,
    ) -> Self {
        Self::with_endpoints(complete, aliases, &|_| Vec::new(), led_to, keep)
    }

    /// The same, with what else is asked for each reference: a mirror that lost an image is of no use, and what
    /// a mirror is of is asked where the mirror has nothing.
    pub fn with_endpoints(
        complete: &CompleteInventory,
        aliases: &Aliases,
        endpoints: &dyn Fn(&Reference) -> Vec<Reference>,
        led_to: impl Iterator<Item = LedTo>,
        keep: SignedDuration,
    ) -> Self {
        let at = complete.at();
        let mut references: BTreeMap<Reference, Kept> = BTreeMap::new();
        let sources = complete.inventory().sources.iter();
        let told = complete.inventory().running();
        for image_use in sources.flat_map(|source| source.uses.iter()) {
            let Ok(written) = &image_use.reference else {
                continue;
            };
            let canonical = aliases.canonical(written);
            let endpoints = endpoints(canonical.as_ref().unwrap_or(written));
            for reference in [written].into_iter().chain(&canonical).chain(&endpoints) {
                if !references.contains_key(reference) {
                    let kept = Kept {
                        digests: reference.digest().into_iter().collect(),
                        ..Kept::default()
                    };
                    references.insert(reference.clone(), kept);
                }
                if let Some(kept) = references.get_mut(reference) {
                    kept.classes.insert(image_use.user.class);
                    let of_use = told.get(&*image_use.user);
                    let running = of_use.iter().flat_map(|of_use| &of_use.running);
                    kept.digests.extend(running.map(|one| one.id.digest));
                }
            }
        }
        let sources = complete.inventory().sources.iter();
        let peers = sources.filter_map(|source| source.peer.as_deref());
        for (reference, digests) in peers.flat_map(|told| told.digests.iter()) {
            if let Some(kept) = references.get_mut(reference) {
                kept.digests.extend(digests.iter().copied());
            }
        }
        for LedTo {
            reference,
            digest,
            last,
        } in led_to
        {
            let kept = reference.parse().ok();
            let kept = kept.and_then(|reference: Reference| references.get_mut(&reference));
            if let Some(kept) = kept
                && at.duration_since(last) <= keep
            {
                kept.digests.insert(digest);
            }
        }
        Self { references, at }
    }

    pub fn references(&self) -> &BTreeMap<Reference, Kept> {
        &self.references
    }

    /// When it was complete.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The digest of its content after some words that belong to it: a line for each reference in order,
    /// with its classes and digests.
    pub fn hash(&self, words: &str) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(format!("{words}\n").as_bytes());
        for (reference, kept) in &self.references {
            let (classes, digests) = (kept.classes.iter(), kept.digests.iter());
            hasher.update(line(reference, classes, digests).as_bytes());
        }
        hasher.finish()
    }
}

/// What a reference and what is kept of it is in the hash.
pub fn line<'a>(
    reference: &Reference,
    classes: impl Iterator<Item = &'a Class>,
    digests: impl Iterator<Item = &'a Digest>,
) -> String {
    let classes: Vec<&str> = classes.map(|class| class.as_str()).collect();
    let digests: Vec<String> = digests.map(ToString::to_string).collect();
    format!("{reference} {} {}\n", classes.join(","), digests.join(","))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::inventory::completeness::complete;
    use crate::inventory::peer::Told;
    use crate::inventory::running::{ImageId, Place, Running, RunningUse};
    use crate::inventory::{Inventory, references};

    const KEEP: SignedDuration = SignedDuration::from_secs(100);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn led_to(reference: &str, digest: &str, last: i64) -> LedTo {
        LedTo {
            reference: reference.into(),
            digest: Digest::of(digest.as_bytes()),
            last: at(last),
        }
    }

    fn keep_set(text: &str, led_to: &[LedTo]) -> KeepSet {
        let source = references::read_text("keep", text, at(1000));
        let inventory = Arc::new(Inventory {
            sources: vec![Arc::new(source)],
        });
        KeepSet::of(
            &complete(&inventory, at(1000)).unwrap(),
            &Aliases::of([("r.internal", "r.example")].into_iter()),
            led_to.iter().cloned(),
            KEEP,
        )
    }

    #[test]
    fn what_runs_is_kept_whatever_its_tag_leads_to_now() {
        let mut source = references::read_text("keep", "r.example/a:1\nr.example/b:1", at(1000));
        let digest = Digest::of(b"what runs");
        let running = RunningUse {
            user: Arc::clone(&source.uses[0].user),
            running: vec![Running {
                id: ImageId {
                    digest,
                    place: Place::Nowhere,
                },
                by: "Pod/a".into(),
            }]
            .into(),
            refusal: None,
            pulled: None,
        };
        source.running = [Arc::new(running)].into();
        let inventory = Arc::new(Inventory {
            sources: vec![Arc::new(source)],
        });
        let complete = complete(&inventory, at(1000)).unwrap();
        let kept = KeepSet::of(&complete, &Aliases::default(), std::iter::empty(), KEEP);
        let digests = |reference: &str| {
            kept.references()[&reference.parse().unwrap()]
                .digests
                .clone()
        };
        assert_eq!(digests("r.example/a:1"), [digest].into());
        assert!(digests("r.example/b:1").is_empty());
    }

    #[test]
    fn what_another_pullproof_keeps_of_a_reference_is_kept_here() {
        let mut source = references::read_text("dr", "r.example/a:1\nr.example/b:1", at(1000));
        let (a, gone) = (Digest::of(b"a"), Digest::of(b"gone"));
        let of = |text: &str, digest| (text.parse().unwrap(), Box::from([digest]));
        source.peer = Some(Arc::new(Told {
            digests: [of("r.example/a:1", a), of("r.example/gone:1", gone)].into(),
            ..Told::default()
        }));
        let inventory = Arc::new(Inventory {
            sources: vec![Arc::new(source)],
        });
        let complete = complete(&inventory, at(1000)).unwrap();
        let kept = KeepSet::of(&complete, &Aliases::default(), std::iter::empty(), KEEP);
        let all: Vec<_> = kept.references().values().map(|it| &it.digests).collect();
        assert_eq!(all, [&[a].into(), &BTreeSet::new()]);
    }

    #[test]
    fn it_holds_what_is_named_and_what_that_led_to_recently() {
        let pinned = Digest::of(b"pinned");
        let text = format!("r.example/a:1\nr.example/b@{pinned}\nnot a reference\nr.example/a:1");
        let kept = keep_set(
            &text,
            &[
                led_to("r.example/a:1", "now", 1000),
                led_to("r.example/a:1", "before", 900),
                led_to("r.example/a:1", "long ago", 899),
                led_to("r.example/gone:1", "now", 1000),
            ],
        );
        let digests = |text: &str| -> Vec<Digest> {
            let reference: Reference = text.parse().unwrap();
            kept.references()[&reference]
                .digests
                .iter()
                .copied()
                .collect()
        };
        assert_eq!(kept.references().len(), 2);
        let mut expected = vec![Digest::of(b"now"), Digest::of(b"before")];
        expected.sort_unstable();
        assert_eq!(digests("r.example/a:1"), expected);
        assert_eq!(digests(&format!("r.example/b@{pinned}")), [pinned]);
    }

    #[test]
    fn what_is_named_by_an_alias_is_kept_by_both_names() {
        let led = [led_to("r.example/a:1", "now", 1000)];
        let kept = keep_set("r.internal/a:1\nr.other/a:1", &led);
        let names: Vec<_> = kept.references().keys().map(ToString::to_string).collect();
        assert_eq!(names, ["r.example/a:1", "r.internal/a:1", "r.other/a:1"]);
        let own = &kept.references()[&"r.example/a:1".parse().unwrap()];
        assert_eq!(own.digests, [Digest::of(b"now")].into());
        assert_eq!(own.classes, [Class::Listed].into());
    }

    #[test]
    fn what_a_mirror_has_is_kept_there_too() {
        let source = references::read_text("keep", "r.internal/a:1\nr.other/b:1", at(1000));
        let inventory = Arc::new(Inventory {
            sources: vec![Arc::new(source)],
        });
        let mirror = |reference: &Reference| -> Vec<Reference> {
            let is_of_it = reference.host() == "r.example";
            let mirrored = format!("mirror.example/{}:1", reference.repository());
            is_of_it
                .then(|| mirrored.parse().unwrap())
                .into_iter()
                .collect()
        };
        let kept = KeepSet::with_endpoints(
            &complete(&inventory, at(1000)).unwrap(),
            &Aliases::of([("r.internal", "r.example")].into_iter()),
            &mirror,
            [led_to("mirror.example/a:1", "there", 1000)].into_iter(),
            KEEP,
        );
        let names: Vec<_> = kept.references().keys().map(ToString::to_string).collect();
        let expected = [
            "mirror.example/a:1",
            "r.example/a:1",
            "r.internal/a:1",
            "r.other/b:1",
        ];
        assert_eq!(names, expected);
        let mirrored = &kept.references()[&"mirror.example/a:1".parse().unwrap()];
        assert_eq!(mirrored.classes, [Class::Listed].into());
        assert_eq!(mirrored.digests, [Digest::of(b"there")].into());
    }

    #[test]
    fn its_hash_is_that_of_all_of_it() {
        let one = keep_set("r.example/a:1\nr.example/b:1", &[]);
        let same = keep_set("r.example/b:1\nr.example/a:1", &[]);
        assert_eq!(one.hash("daemon 1"), same.hash("daemon 1"));
        assert_ne!(one.hash("daemon 1"), one.hash("daemon 2"));
        assert_ne!(one.hash(""), keep_set("r.example/a:1", &[]).hash(""));
        let led = keep_set(
            "r.example/a:1\nr.example/b:1",
            &[led_to("r.example/a:1", "x", 1000)],
        );
        assert_ne!(one.hash(""), led.hash(""));
    }
}
