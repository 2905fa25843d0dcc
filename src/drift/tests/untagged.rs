//! Tags that are drawn at random over trees that are drawn at random: what a pass over them says of what
//! is pinned, and of the children of indexes, against all that the tags name.

use super::*;
use crate::drift::tags::{Named, Pass, Wanted};
use crate::second::Second;

impl Pushed {
    /// Everything below it.
    fn below(&self) -> BTreeSet<Digest> {
        let Self::Index(_, children) = self else {
            return BTreeSet::new();
        };
        let mut all: BTreeSet<Digest> = children.iter().map(Self::digest).collect();
        all.extend(children.iter().flat_map(Self::below));
        all
    }

    /// It, and the manifests below it.
    fn manifests(&self) -> Vec<&Self> {
        match self {
            Self::Index(_, children) => {
                let below = children.iter().flat_map(Self::manifests);
                [self].into_iter().chain(below).collect()
            }
            Self::Image(_) => vec![self],
            Self::Layer(_) => Vec::new(),
        }
    }
}

/// What a tag is, and what of it is known to whom.
struct Tag<'a> {
    name: Arc<str>,
    /// `None`: it was deleted after it was listed.
    of: Option<&'a Pushed>,
    /// A look at it says nothing.
    is_hidden: bool,
    /// The round has resolved it.
    is_resolved: bool,
    /// It came while the others were looked at.
    is_late: bool,
}

fn record(pass: &mut Pass, tag: &Tag<'_>) {
    let below: Vec<Digest> = tag.of.iter().flat_map(|of| of.below()).collect();
    let named = match tag.of {
        _ if tag.is_hidden => Named::Unknown,
        Some(of) => Named::Manifest {
            digest: of.digest(),
            below: &below,
        },
        None => Named::Nothing,
    };
    pass.record(Arc::clone(&tag.name), named);
}

/// Looks at what there is to look at, several at a time, and not in the order in which they were asked.
fn look(rng: &mut Rng, pass: &mut Pass, tags: &[Tag<'_>]) {
    let mut asked: Vec<Arc<str>> = Vec::new();
    loop {
        while asked.len() < 3
            && let Some(tag) = pass.next_tag()
        {
            asked.push(tag);
        }
        if asked.is_empty() {
            return;
        }
        if rng.u8(..8) == 0 {
            // It is interrupted, and goes on another time.
            asked.clear();
            pass.resume();
            continue;
        }
        let name = asked.swap_remove(rng.usize(..asked.len()));
        let tag = tags.iter().find(|tag| tag.name == name).unwrap();
        record(pass, tag);
    }
}

#[test]
fn nothing_is_called_untagged_that_a_tag_keeps_and_nothing_else_where_all_is_known() {
    const CASES: u64 = 10_000;
    let mut drew = [0_u32; 4];
    for seed in 0..CASES {
        let mut rng = Rng::with_seed(seed);
        let history: Vec<Pushed> = (0..rng.usize(1..5)).map(|_| push(&mut rng, 0)).collect();
        let all: Vec<&Pushed> = history.iter().flat_map(Pushed::manifests).collect();
        let hides = rng.u8(..3) == 0;
        let tags: Vec<Tag<'_>> = (0..rng.usize(..6))
            .map(|number| {
                let is_resolved = rng.u8(..4) == 0;
                Tag {
                    name: format!("v{number}").into(),
                    of: (is_resolved || rng.u8(..8) > 0).then(|| all[rng.usize(..all.len())]),
                    is_hidden: hides && !is_resolved && rng.u8(..4) == 0,
                    is_resolved,
                    is_late: !is_resolved && rng.u8(..6) == 0,
                }
            })
            .collect();
        let mut wanted = Wanted::default();
        for pushed in &all {
            if rng.u8(..3) == 0 {
                wanted.pinned.insert(pushed.digest());
            }
            let images = pushed.images();
            if matches!(pushed, Pushed::Index(..)) && !images.is_empty() && rng.u8(..4) == 0 {
                wanted.indexes.insert(pushed.digest());
                let images = images.into_iter().map(digest);
                wanted.children.extend(images);
            }
        }

        let mut pass = Pass::begin(wanted.clone());
        for tag in tags.iter().filter(|tag| tag.is_resolved) {
            record(&mut pass, tag);
        }
        let rank = |tag: &str| tag.bytes().last().unwrap() % 3;
        let listed = |late: bool| {
            let listed = tags.iter().filter(move |tag| late || !tag.is_late);
            listed.map(|tag| Arc::clone(&tag.name)).collect::<Vec<_>>()
        };
        if !pass.is_over() {
            pass.list(listed(false), rank);
            look(&mut rng, &mut pass, &tags);
        }
        if pass.wants_list_again() {
            pass.list(listed(true), rank);
            look(&mut rng, &mut pass, &tags);
        }
        assert!(pass.is_over() && !pass.wants_list_again(), "seed {seed}");
        let answer = pass.answer(Second::new(1));

        let naming = |wanted: &Digest| -> BTreeSet<&str> {
            let naming = tags.iter().filter(|tag| {
                let of = tag.of.filter(|_| !tag.is_hidden);
                of.is_some_and(|of| of.digest() == *wanted)
            });
            naming.map(|tag| &*tag.name).collect()
        };
        let is_kept = |pinned: &Digest, by_hidden: bool| {
            let naming = tags.iter().filter(|tag| by_hidden || !tag.is_hidden);
            let mut of = naming.filter_map(|tag| tag.of);
            of.any(|of| of.digest() == *pinned || of.below().contains(pinned))
        };
        let hides = tags.iter().any(|tag| tag.is_hidden);
        for pinned in &wanted.pinned {
            let is_untagged = answer.is_untagged(pinned);
            if is_kept(pinned, true) || hides {
                assert!(!is_untagged, "seed {seed}: {pinned} is kept, or may be");
            } else {
                assert!(is_untagged, "seed {seed}: {pinned} is kept by nothing");
            }
            drew[usize::from(is_untagged)] += 1;
        }
        for root in &wanted.indexes {
            for child in &wanted.children {
                let Some(told) = answer.tags(root, child) else {
                    continue;
                };
                let told: BTreeSet<&str> = told.iter().map(|tag| &**tag).collect();
                let naming = naming(child);
                assert!(told.is_subset(&naming), "seed {seed}: {told:?} {naming:?}");
                // What came late is nobody's fault, where nothing pinned was at stake.
                let is_late = tags.iter().any(|tag| tag.is_late);
                assert!(
                    is_late || !told.is_empty() || naming.is_empty(),
                    "seed {seed}: {naming:?} name {child}"
                );
                drew[if told.is_empty() { 2 } else { 3 }] += 1;
            }
        }
        let other = digest("of another repository");
        assert_eq!(answer.tags(&other, &other), None);
    }
    assert!(drew.iter().all(|count| *count > 1000), "{drew:?}");
}

#[test]
fn a_pass_looks_at_the_likeliest_first_and_at_no_more_than_it_needs() {
    let [pinned, other] = ["pinned", "other"].map(digest);
    let wanted = Wanted {
        pinned: [pinned].into(),
        ..Wanted::default()
    };
    let names = |names: &[&str]| -> Vec<Arc<str>> { names.iter().map(|it| (*it).into()).collect() };
    let rank = |tag: &str| u8::from(tag != "v2");
    let mut pass = Pass::begin(wanted.clone());
    pass.list(names(&["v1", "v2", "v3"]), rank);
    let first = pass.next_tag().unwrap();
    assert_eq!(&*first, "v2");
    let below: &[Digest] = &[];
    let named = |digest| Named::Manifest { digest, below };
    pass.record(first, named(pinned));
    assert_eq!(pass.next_tag(), None, "there is enough");
    assert!(pass.is_over() && !pass.wants_list_again());
    let answer = pass.answer(Second::new(1));
    assert_eq!(answer.tags(&pinned, &pinned).unwrap().len(), 1);
    // The others were not looked at: whether they name it is not told.
    assert_eq!(answer.tags(&pinned, &other), None);

    // As long as a tag was not looked at nothing is untagged, and before that is said all are listed again.
    let mut pass = Pass::begin(wanted);
    pass.list(names(&["v1", "v2"]), rank);
    let tag = pass.next_tag().unwrap();
    pass.record(tag, named(other));
    assert!(!pass.is_over() && !pass.answer(Second::new(1)).is_untagged(&pinned));
    let tag = pass.next_tag().unwrap();
    pass.record(tag, Named::Nothing);
    assert!(pass.is_over() && pass.wants_list_again());
    pass.list(names(&["v1", "v2"]), rank);
    assert!(!pass.wants_list_again());
    assert!(pass.answer(Second::new(1)).is_untagged(&pinned));
}
