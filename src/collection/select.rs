//! Which part of a plan a run takes. Pure.
//!
//! A portion is closed upwards: an object goes only together with all that refer to it, so that whoever is
//! killed, and whoever takes only a part, leaves nothing that names what is gone. The oldest go first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use super::item::{Class, Item, ItemId};
use super::machine::Listed;
use super::rehearsed::Part;
use crate::gc::graph::{Names, Node, position};
use crate::gc::plan::{Garbage, Kind, Plan};
use crate::oci::digest::Digest;
use crate::second::Second;

/// How much a run takes at most, and what it may not take.
pub struct Limits<'a> {
    /// Objects with bytes.
    pub blobs: usize,
    pub bytes: u64,
    /// Files or objects: what fits into the window.
    pub items: usize,
    /// Whether an item is in quarantine already: then it is as if it were gone, and costs nothing.
    pub is_held: &'a dyn Fn(&Item) -> bool,
    /// Whether what a row takes was in the plan of which alone something is taken, where there is one.
    pub is_named: &'a dyn Fn(&Garbage<'_>, Part) -> bool,
    /// Whether what a row takes was planned long enough ago.
    pub is_rehearsed: &'a dyn Fn(&Garbage<'_>, Part) -> bool,
    /// Whether the bytes of a manifest may go with its link: no registry takes a push of it for granted.
    pub takes_manifests: bool,
    /// Whether bytes that no repository links may go: nobody can be asked for them.
    pub takes_unlinked: bool,
    /// Whether no replica believes any more in bytes whose links are all gone, or held: all have started
    /// since.
    pub is_settled: &'a dyn Fn(&Garbage<'_>) -> bool,
}

impl Limits<'static> {
    /// Everything that goes at all may.
    pub const NONE: Self = Self {
        blobs: usize::MAX,
        bytes: u64::MAX,
        items: usize::MAX,
        is_held: &|_| false,
        is_named: &|_, _| true,
        is_rehearsed: &|_, _| true,
        takes_manifests: true,
        takes_unlinked: true,
        is_settled: &|_| true,
    };
}

impl std::fmt::Debug for Limits<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Limits");
        shown
            .field("blobs", &self.blobs)
            .field("bytes", &self.bytes);
        shown.finish_non_exhaustive()
    }
}

/// What a run takes, and what it leaves.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// In the order in which they are taken; their numbers are their places.
    pub items: Vec<Item>,
    /// For each item those that it needs.
    pub needs: Vec<Vec<ItemId>>,
    pub left: Left,
}

/// What is garbage and stays for now, in files or objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// The plan that was named does not have it.
    pub plan: usize,
    /// No recorded plan is old enough.
    pub rehearsal: usize,
    /// More than a run takes.
    pub share: usize,
    /// Larger, alone, than all that a run takes: no later one takes it either.
    pub too_large: usize,
    /// Some replica may still believe in it, and nobody can be asked.
    pub unsettled: usize,
    /// More than fits into the window.
    pub window: usize,
}

impl Selection {
    /// What the machine is told.
    pub fn listed(&self) -> Listed {
        Listed {
            take: self.needs.clone(),
            ..Listed::default()
        }
    }
}

/// A thing that may be taken.
struct Thing {
    item: Item,
    /// When it was written; what has no time is the youngest.
    age: i64,
    /// What it leads to.
    needs: Vec<usize>,
    /// How many that may be taken lead to it and are not.
    referrers: usize,
    /// Its bytes were counted with the last link to them.
    is_paid: bool,
    is_held: bool,
    hindered: Option<Hindrance>,
}

#[derive(Clone, Copy)]
enum Hindrance {
    Plan,
    Rehearsal,
    Unsettled,
}

/// Where a thing is found again.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Link(&'a str, bool, Digest),
    Data(Digest),
}

/// Selects from a plan.
pub fn select(plan: &Plan, limits: &Limits<'_>) -> Selection {
    let mut things = Vec::new();
    let mut places = HashMap::new();
    gather(plan, limits, &mut things, &mut places);
    for thing in &mut things {
        thing.is_held = (limits.is_held)(&thing.item);
    }
    connect(plan, &mut things, &places);
    choose(things, limits)
}

/// The links and the bytes of all rows.
fn gather<'a>(
    plan: &'a Plan,
    limits: &Limits<'_>,
    things: &mut Vec<Thing>,
    places: &mut HashMap<Key<'a>, usize>,
) {
    let graph = plan.graph();
    let repositories: HashMap<&str, _> = graph
        .repositories()
        .map(|(_, repository)| (&*repository.name, repository))
        .collect();
    for row in plan.garbage() {
        let Some(id) = graph.find(&row.digest) else {
            continue;
        };
        let object = graph.object(id);
        let hindered = |part: Part| {
            if (limits.is_named)(&row, part) {
                (!(limits.is_rehearsed)(&row, part)).then_some(Hindrance::Rehearsal)
            } else {
                Some(Hindrance::Plan)
            }
        };
        let is_manifest = row.kind == Kind::Manifest;
        if let Some(name) = row.repository
            && let Some(repository) = repositories.get(&**name)
        {
            let tag = row.tag.and_then(|tag| {
                let tags = &repository.tags;
                let at = tags.binary_search_by(|it| it.name.cmp(tag)).ok()?;
                tags.get(at)
            });
            let links: &[_] = match (row.kind, tag) {
                (Kind::TagHistory, Some(tag)) => &tag.history,
                (Kind::TagHistory, None) => continue,
                (Kind::Manifest, _) => &repository.revisions,
                (Kind::Config | Kind::Layer | Kind::LayerLink, _) => &repository.layers,
            };
            let link = position(links, id).and_then(|at| links.get(at));
            let modified = link.and_then(|link| link.modified);
            let class = match row.kind {
                Kind::TagHistory => Class::TagHistory,
                Kind::Manifest => Class::Revision,
                Kind::Config | Kind::Layer | Kind::LayerLink => Class::LayerLink,
            };
            if class != Class::TagHistory {
                places.insert(Key::Link(name, is_manifest, row.digest), things.len());
            }
            things.push(Thing {
                item: Item {
                    class,
                    digest: row.digest,
                    repository: Some(Arc::clone(name)),
                    tag: row.tag.cloned(),
                    bytes: 0,
                    modified,
                    version: None,
                    reason: row.reason.as_str().to_owned(),
                },
                age: modified.map_or(i64::MAX, Second::get),
                needs: Vec::new(),
                referrers: 0,
                is_paid: false,
                is_held: false,
                hindered: hindered(Part::Link),
            });
        }
        // A row that is not the first of its bytes, or that others need, has none to take.
        if let Some(bytes) = object.size().filter(|_| row.has_data) {
            let may_go = match (is_manifest, row.repository) {
                (true, Some(_)) => limits.takes_manifests || (limits.is_settled)(&row),
                (true, None) => {
                    limits.takes_manifests && limits.takes_unlinked || (limits.is_settled)(&row)
                }
                (false, Some(_)) => true,
                (false, None) => limits.takes_unlinked || (limits.is_settled)(&row),
            };
            places.insert(Key::Data(row.digest), things.len());
            things.push(Thing {
                item: Item {
                    class: if is_manifest {
                        Class::Manifest
                    } else {
                        Class::Blob
                    },
                    digest: row.digest,
                    repository: None,
                    tag: None,
                    bytes,
                    modified: object.modified(),
                    version: None,
                    reason: row.reason.as_str().to_owned(),
                },
                age: object.modified().map_or(i64::MAX, Second::get),
                needs: Vec::new(),
                referrers: 0,
                is_paid: false,
                is_held: false,
                hindered: hindered(Part::Data).or((!may_go).then_some(Hindrance::Unsettled)),
            });
        }
    }
}

/// What leads to what: history to the manifest, a manifest to what it names in its repository, a link to
/// the bytes.
fn connect(plan: &Plan, things: &mut [Thing], places: &HashMap<Key<'_>, usize>) {
    let graph = plan.graph();
    let mut edges: Vec<(usize, usize)> = Vec::new();
    for (place, thing) in things.iter().enumerate() {
        let Item {
            class,
            digest,
            repository: Some(name),
            ..
        } = &thing.item
        else {
            continue;
        };
        let link = |is_manifest, digest| places.get(&Key::Link(name, is_manifest, digest)).copied();
        let mut leads = |to: Option<usize>| edges.extend(to.map(|to| (place, to)));
        match class {
            Class::TagHistory => leads(link(true, *digest)),
            Class::LayerLink => leads(places.get(&Key::Data(*digest)).copied()),
            Class::Revision => {
                leads(places.get(&Key::Data(*digest)).copied());
                let node = graph.find(digest).and_then(|id| graph.node(id));
                for named in node.and_then(Node::names).into_iter().flat_map(Names::all) {
                    let digest = graph.object(*named).digest;
                    for is_manifest in [true, false] {
                        leads(link(is_manifest, digest).filter(|to| *to != place));
                    }
                }
            }
            Class::Manifest | Class::Blob => {}
        }
    }
    edges.sort_unstable();
    edges.dedup();
    for (from, to) in edges {
        if let Some(thing) = things.get_mut(from) {
            thing.needs.push(to);
        }
        if let Some(thing) = things.get_mut(to) {
            thing.referrers += 1;
        }
    }
}

/// The oldest first, and nothing before all that lead to it.
fn choose(mut things: Vec<Thing>, limits: &Limits<'_>) -> Selection {
    let mut left = Left::default();
    let mut ready: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
    for (place, thing) in things.iter().enumerate() {
        if thing.referrers == 0 {
            ready.push(Reverse((thing.age, place)));
        }
    }
    let (mut items, mut blobs, mut bytes) = (0_usize, 0_usize, 0_u64);
    let mut chosen = vec![false; things.len()];
    while let Some(Reverse((_, place))) = ready.pop() {
        let Some(thing) = things.get(place) else {
            continue;
        };
        if !thing.is_held {
            let count = match thing.hindered {
                Some(Hindrance::Plan) => Some(&mut left.plan),
                Some(Hindrance::Rehearsal) => Some(&mut left.rehearsal),
                Some(Hindrance::Unsettled) => Some(&mut left.unsettled),
                None => None,
            };
            if let Some(count) = count {
                *count += 1;
                continue;
            }
            let pays = pays(&things, place);
            let sizes = pays.iter().filter_map(|it| things.get(*it));
            let sum = sizes.fold(0_u64, |sum, it| sum.saturating_add(it.item.bytes));
            let more = bytes.saturating_add(sum);
            let is_more = blobs + pays.len() > limits.blobs || more > limits.bytes;
            if !pays.is_empty() && is_more {
                let never_fits = pays.len() > limits.blobs || sum > limits.bytes;
                let count = if never_fits {
                    &mut left.too_large
                } else {
                    &mut left.share
                };
                *count += 1;
                continue;
            }
            // What was paid for goes: there was room for it.
            let own = usize::from(!pays.contains(&place) && !thing.is_paid);
            if own + pays.len() > limits.items.saturating_sub(items) {
                left.window += 1;
                continue;
            }
            items += own + pays.len();
            blobs += pays.len();
            bytes = more;
            for paid in pays {
                if let Some(thing) = things.get_mut(paid) {
                    thing.is_paid = true;
                }
            }
            if let Some(chosen) = chosen.get_mut(place) {
                *chosen = true;
            }
        }
        let needs = things.get(place).map(|thing| thing.needs.clone());
        for to in needs.unwrap_or_default() {
            let Some(thing) = things.get_mut(to) else {
                continue;
            };
            thing.referrers -= 1;
            if thing.referrers == 0 {
                let age = thing.age;
                ready.push(Reverse((age, to)));
            }
        }
    }
    let mut order: Vec<usize> = (0..things.len())
        .filter(|place| chosen.get(*place) == Some(&true))
        .collect();
    let key = |place: &usize| {
        let item = &things.get(*place).expect("it is one of them").item;
        (
            item.class,
            item.repository.clone(),
            item.digest,
            item.tag.clone(),
        )
    };
    order.sort_by_cached_key(key);
    Selection {
        left,
        ..numbered(things, &order)
    }
}

/// What was chosen, in its order.
fn numbered(things: Vec<Thing>, order: &[usize]) -> Selection {
    let mut numbers = vec![None; things.len()];
    for (number, place) in (0..).zip(order) {
        if let Some(slot) = numbers.get_mut(*place) {
            *slot = Some(ItemId(number));
        }
    }
    let number = |place: &usize| numbers.get(*place).copied().flatten();
    let mut selection = Selection::default();
    let mut things: Vec<Option<Thing>> = things.into_iter().map(Some).collect();
    for place in order {
        let Some(thing) = things.get_mut(*place).and_then(Option::take) else {
            continue;
        };
        selection
            .needs
            .push(thing.needs.iter().filter_map(number).collect());
        selection.items.push(thing.item);
    }
    selection
}

/// The bytes that go with a thing. The last link to some goes with them, or stays: nobody could be asked for
/// them later.
fn pays(things: &[Thing], place: usize) -> Vec<usize> {
    let Some(thing) = things.get(place) else {
        return Vec::new();
    };
    if thing.item.class.is_data() {
        return if thing.is_paid {
            Vec::new()
        } else {
            vec![place]
        };
    }
    let freed = thing.needs.iter().copied().filter(|to| {
        things.get(*to).is_some_and(|to| {
            let is_last = to.item.class.is_data() && to.referrers == 1;
            is_last && to.hindered.is_none() && !to.is_held
        })
    });
    freed.collect()
}

#[cfg(test)]
mod tests;
