//! Groups the uses of an inventory into images.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::puller::{Puller, PullerKey, Words, puller};
use super::{Image, ImageKey, Images, Malformed, PlatformChoice, PlatformSets, Running};
use crate::inventory::running::RunningUse;
use crate::inventory::{Inventory, User};
use crate::oci::reference::{Aliases, InvalidReference, Reference, Sharing};
use crate::verify::target::Needs;

/// One use, as far as an image is made of it. All uses are drafts for a moment, so they are small.
struct Draft<'a> {
    reference: &'a Reference,
    /// Of [`Pullers`].
    puller: u32,
    /// The place in the inventory.
    at: u32,
    needs: Needs,
    user: &'a Arc<User>,
}

const _: () = assert!(size_of::<Draft<'_>>() <= 40);

impl<'a> Draft<'a> {
    fn order<'b>(&self, pullers: &'b Pullers) -> (&'a Reference, &'b PullerKey, u32) {
        (self.reference, pullers.key(self.puller), self.at)
    }
}

/// Groups the uses of an inventory. `choose` tells the platforms that count for a registry's host.
pub fn collect(inventory: &Inventory, choose: &dyn Fn(&str) -> PlatformChoice) -> Images {
    collect_by(inventory, choose, &Aliases::default())
}

/// The same, where some hosts are other names of others: what is written with one of these is the same
/// image as what is written with the registry's own name. Whose credential pulls it depends on what is
/// written, as for the kubelet.
pub fn collect_by(
    inventory: &Inventory,
    choose: &dyn Fn(&str) -> PlatformChoice,
    aliases: &Aliases,
) -> Images {
    let renamed = renamed(inventory, aliases);
    let mut renamed = renamed.iter();
    let uses = || inventory.sources.iter().map(|source| source.uses.len());
    let mut drafts: Vec<Draft<'_>> = Vec::with_capacity(uses().sum());
    let mut malformed: BTreeMap<&str, (&InvalidReference, Vec<&Arc<User>>)> = BTreeMap::new();
    let mut choices: HashMap<&str, PlatformChoice> = HashMap::new();
    let mut platforms = PlatformSets::default();
    let mut pullers = Pullers::default();
    let mut told: Told<'_> = Vec::new();
    for source in &inventory.sources {
        for (image_use, said) in source.uses_told() {
            match &image_use.reference {
                Ok(written) => {
                    let is_alias = aliases.host_of(written.host()).is_some();
                    let reference = is_alias.then(|| renamed.next()).flatten();
                    let reference = reference.unwrap_or(written);
                    let host = reference.host();
                    let choice = choices.entry(host).or_insert_with(|| choose(host));
                    told.extend(said.map(|said| (number(drafts.len()), said)));
                    drafts.push(Draft {
                        reference,
                        puller: pullers.number(puller(image_use, written, source)),
                        at: number(drafts.len()),
                        needs: platforms.needs(image_use, source, choice),
                        user: &image_use.user,
                    });
                }
                Err(problem) => malformed
                    .entry(&problem.text)
                    .or_insert_with(|| (problem, Vec::new()))
                    .1
                    .push(&image_use.user),
            }
        }
    }
    // Those of one image stand together, the first that names it first.
    drafts.sort_unstable_by(|one, other| one.order(&pullers).cmp(&other.order(&pullers)));
    let is_same = |one: &Draft<'_>, other: &Draft<'_>| {
        one.reference == other.reference && pullers.key(one.puller) == pullers.key(other.puller)
    };
    let mut images: Vec<Arc<Image>> = Vec::with_capacity(drafts.chunk_by(is_same).count());
    images.extend(drafts.chunk_by(is_same).filter_map(|drafts| {
        let (first, more) = drafts.split_first()?;
        let all = more.iter().fold(first.needs.clone(), |needs, draft| {
            platforms.union(&needs, draft.needs.clone())
        });
        let users = settled(drafts.iter().map(|draft| draft.user));
        Some(Arc::new(Image {
            running: running(drafts, &told),
            ..image(first, &pullers, all, users)
        }))
    }));
    let malformed = malformed.into_values().map(|(problem, users)| Malformed {
        problem: Box::new(problem.clone()),
        users: settled(users.into_iter()),
    });
    Images {
        images,
        malformed: malformed.collect(),
        ..Images::default()
    }
}

/// What is written with another name of its registry, by that registry's own name, in order of the uses.
fn renamed(inventory: &Inventory, aliases: &Aliases) -> Vec<Reference> {
    let uses = inventory
        .sources
        .iter()
        .flat_map(|source| source.uses.iter());
    let references = uses.filter_map(|image_use| image_use.reference.as_ref().ok());
    let written = references.filter(|it| aliases.host_of(it.host()).is_some());
    let mut sharing = Sharing::default();
    let canonical = written.map(|it| aliases.canonical(it).unwrap_or_else(|| it.clone()));
    canonical.map(|it| sharing.share(it)).collect()
}

fn image(first: &Draft<'_>, pullers: &Pullers, needs: Needs, users: Arc<[Arc<User>]>) -> Image {
    let reference = first.reference;
    let name = reference.to_string();
    // Most write what is canonical already: then one text serves both.
    let written = users.iter().find(|user| *user.image == *name);
    Image {
        name: written.map_or_else(|| name.into(), |user| Arc::clone(&user.image)),
        registry: reference.shared_host(),
        key: Arc::new(ImageKey {
            reference: reference.clone(),
            puller: Arc::clone(pullers.key(first.puller)),
        }),
        puller: Arc::clone(pullers.puller(first.puller)),
        needs,
        users,
        running: None,
    }
}

/// What nodes say, by the place of the use, in order.
type Told<'a> = Vec<(u32, &'a Arc<RunningUse>)>;

fn running(drafts: &[Draft<'_>], told: &Told<'_>) -> Option<Arc<Running>> {
    let of_draft = |draft: &Draft<'_>| {
        let found = told.binary_search_by_key(&draft.at, |(at, _)| *at).ok()?;
        told.get(found).map(|(_, said)| *said)
    };
    let mut uses: Vec<&Arc<RunningUse>> = drafts.iter().filter_map(of_draft).collect();
    uses.sort_by(|one, other| one.user.cmp(&other.user));
    uses.dedup_by(|one, other| one.user == other.user);
    (!uses.is_empty()).then(|| {
        Arc::new(Running {
            uses: uses.into_iter().cloned().collect(),
        })
    })
}

fn settled<'a>(users: impl Iterator<Item = &'a Arc<User>>) -> Arc<[Arc<User>]> {
    let mut users: Vec<&Arc<User>> = users.collect();
    users.sort();
    users.dedup();
    users.into_iter().cloned().collect()
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("fewer than 2^32 uses")
}

/// Pullers: a few, each kept once however many images they pull.
#[derive(Debug, Default)]
struct Pullers {
    all: Vec<(Arc<PullerKey>, Arc<Puller>)>,
    /// The same credentials under another label are another puller with the same key.
    numbers: HashMap<(Arc<PullerKey>, Words), u32>,
    keys: HashSet<Arc<PullerKey>>,
}

impl Pullers {
    fn number(&mut self, puller: Puller) -> u32 {
        let key = puller.key();
        let key = match self.keys.get(&key) {
            Some(known) => Arc::clone(known),
            None => {
                let new = Arc::new(key);
                self.keys.insert(Arc::clone(&new));
                new
            }
        };
        let all = &mut self.all;
        *self
            .numbers
            .entry((Arc::clone(&key), puller.words()))
            .or_insert_with(|| {
                all.push((key, Arc::new(puller)));
                number(all.len() - 1)
            })
    }

    fn get(&self, number: u32) -> &(Arc<PullerKey>, Arc<Puller>) {
        self.all.get(number as usize).expect("it was numbered")
    }

    fn key(&self, number: u32) -> &Arc<PullerKey> {
        &self.get(number).0
    }

    fn puller(&self, number: u32) -> &Arc<Puller> {
        &self.get(number).1
    }
}
