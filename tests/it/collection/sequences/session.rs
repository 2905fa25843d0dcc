//! One session over the files, as `app::collector` runs one, with answers told by the files instead of by a
//! registry.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;
use pullproof::app::collector::journals::Journals;
use pullproof::app::plan::{self as planning, Held};
use pullproof::collection::gate::{self, Facts, Permit};
use pullproof::collection::guard::Guards;
use pullproof::collection::item::{Item, ItemId, RunId};
use pullproof::collection::machine::{Effect, Event, Guarded, Listed, Machine, Rules};
use pullproof::collection::run::{Entry, Proof, Why};
use pullproof::collection::select::{self, Limits, Selection};
use pullproof::config::{self, Registry};
use pullproof::gc::needed::Needed;
use pullproof::gc::plan::Plan;
use pullproof::gc::refusal::Code;
use pullproof::oci::digest::Digest;
use pullproof::second::Second;
use pullproof::storage::Progress;
use pullproof::vault::{Lock, LockError, Moved, Vault};
use serde_json::json;

use super::disk::Disk;
use super::{Counts, Session};

/// Where somebody dies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Died {
    Before,
    /// When half of it is done.
    Amid,
}

/// Whoever collects one storage.
#[derive(Debug)]
pub(super) struct Collects {
    registry: Registry,
    /// What a gate proved.
    proven: BTreeSet<usize>,
}

/// What one session has and knows.
struct Under<'a> {
    collects: &'a mut Collects,
    disk: &'a mut Disk,
    counts: &'a mut Counts,
    vault: Vault,
    journals: Journals,
    lock: Option<Lock>,
    selection: Selection,
    kept: BTreeSet<usize>,
}

impl Collects {
    pub(super) fn new(root: &Path) -> Self {
        let text = json!({
            "registries": [{
                "host": "registry.example", "single": true,
                "storage": {"filesystem": {"root": root}},
            }],
            "gc": {
                "mode": "purge", "untagged": "delete", "tagHistory": "delete", "minimumAge": "1h",
                "longestRequest": "1m", "quarantineFor": "2h", "settle": {"cache": "none"},
            },
        });
        let config = config::parse(&text.to_string(), "pullproof.yaml", root);
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        Self {
            registry: config.registries[0].clone(),
            proven: BTreeSet::new(),
        }
    }

    pub(super) fn session(&mut self, disk: &mut Disk, session: &Session, counts: &mut Counts) {
        disk.is_collected = true;
        let vault = Vault::filesystem(disk.root()).unwrap();
        let journals = Journals::read(&vault).unwrap();
        let mut under = Under {
            collects: self,
            disk,
            counts,
            vault,
            journals,
            lock: None,
            selection: Selection::default(),
            kept: BTreeSet::new(),
        };
        under.run(session);
        disk.is_collected = false;
    }
}

impl Under<'_> {
    fn now(&self) -> Second {
        Second::new(self.disk.now)
    }

    fn run(&mut self, session: &Session) {
        let rules = Rules {
            purges: true,
            quarantine_for: 2 * 3600,
            longest_request: 60,
            batch: 3,
            // In some of them replicas are asked once, after what they share has forgotten.
            forgets: session.meanwhile.len() % 2 == 1,
            guards: Guards::all(),
        };
        let machine = Machine::new(rules, self.journals.runs());
        let (mut machine, mut next) = machine.step(Event::Started(session.goal), self.now());
        if session.restores {
            for run in machine.runs().clone().into_keys() {
                (machine, _) = machine.step(Event::Wanted(run, Why::Asked, None), self.now());
            }
        }
        for count in 0..2000 {
            let Some(effect) = next else { return };
            if let Some(deed) = session.meanwhile.get(&count) {
                self.disk.does(deed);
            }
            if let Some((at, died)) = session.died
                && at == count
            {
                self.counts.died += 1;
                if matches!(died, Died::Amid) {
                    self.half(&effect);
                }
                return;
            }
            let (others, event) = self.perform(effect);
            for other in others {
                (machine, _) = machine.step(other, self.now());
            }
            let Some(event) = event else { return };
            (machine, next) = machine.step(event, self.now());
        }
        panic!("a session never ends");
    }

    /// Does half of it, and tells nobody.
    fn half(&mut self, effect: &Effect) {
        match effect {
            Effect::Take(run, items, permit) => {
                let items = &items[..items.len().div_ceil(2)];
                self.perform(Effect::Take(*run, items.to_vec(), permit.clone()));
            }
            Effect::Purge(run, items, permit) => {
                let items = &items[..items.len().div_ceil(2)];
                self.perform(Effect::Purge(*run, items.to_vec(), permit.clone()));
            }
            Effect::PutBack(run, items) => {
                let items = &items[..items.len().div_ceil(2)];
                self.perform(Effect::PutBack(*run, items.to_vec()));
            }
            // A line that is torn.
            Effect::Write(run, _) => {
                let path = pullproof::vault::journal(*run);
                let path = self.disk.root().join(path);
                if let Ok(mut file) = OpenOptions::new().append(true).open(path) {
                    file.write_all(b"{\"seq\":").unwrap();
                }
            }
            _ => {}
        }
    }

    fn perform(&mut self, effect: Effect) -> (Vec<Event>, Option<Event>) {
        let mut others = Vec::new();
        let now = self.now();
        let event = match effect {
            Effect::Lock => {
                let lock = locked(&self.vault, now);
                let event = Event::Locked {
                    epoch: lock.epoch(),
                    drained_at: lock.drained_at(),
                };
                self.lock = Some(lock);
                event
            }
            Effect::WaitUntil(until) => {
                self.disk.now = self.disk.now.max(until.get());
                Event::Waited
            }
            Effect::Look(run, items) => {
                let items = self.journals.items(run, &items);
                Event::Looked(self.vault.look(run, &items).outcomes)
            }
            Effect::Write(run, entry) => self.write(run, &entry),
            Effect::CheckGate => Event::Gate(true),
            Effect::List => self.list(),
            Effect::Decide => Event::Decided(self.decide()),
            Effect::Confirm => {
                let goes = goes(&self.planned());
                let items = self.selection.items.iter();
                Event::Confirmed(items.map(Item::path).all(|it| goes.contains(&it)))
            }
            Effect::Guard => {
                let lock = self.lock.as_mut().expect("it was taken");
                let is_ours = lock.renew(&self.vault, now).unwrap();
                Event::Guarded(if is_ours { Guarded::Go } else { Guarded::Lost })
            }
            Effect::Take(run, ids, permit) => {
                let (lock, items) = self.batch(run, &ids);
                let moved = self.vault.take(lock, run, &items, &permit, now);
                self.counts.taken += ids.len();
                told(moved)
            }
            Effect::Purge(run, ids, permit) => {
                let (lock, items) = self.batch(run, &ids);
                let moved = self.vault.purge(lock, run, &items, &permit, now);
                self.counts.purged += ids.len();
                told(moved)
            }
            Effect::PutBack(run, ids) => {
                let items = self.journals.items(run, &ids);
                self.counts.back += ids.len();
                told(self.vault.put_back(run, &items))
            }
            Effect::Ask(run, ids) => {
                let items = self.journals.items(run, &ids);
                let is_there = |it: &Item| !it.class.is_data() && self.disk.is_there(&it.path());
                Event::Asked(items.iter().map(is_there).collect())
            }
            Effect::Prove => {
                let wanted = self.wanted(&self.planned());
                let wanted = wanted.into_iter();
                others.extend(
                    wanted.map(|(run, items)| Event::Wanted(run, Why::Wanted, Some(items))),
                );
                let mut before = self.disk.kept.intersection(&self.collects.proven);
                let is_clean = before.all(|it| self.disk.serves(*it));
                Event::Proven(if is_clean { Proof::Clean } else { Proof::Worse })
            }
            Effect::Watch => {
                self.disk.now += 31;
                Event::Watched(self.wanted(&self.planned()))
            }
            Effect::Forget => Event::Forgotten,
            Effect::Unlock => {
                self.lock.take().expect("it was taken").release().unwrap();
                Event::Unlocked
            }
            Effect::Done(_) => return (others, None),
        };
        (others, Some(event))
    }

    fn batch(&self, run: RunId, ids: &[ItemId]) -> (&Lock, Vec<Item>) {
        let lock = self.lock.as_ref().expect("it was taken");
        (lock, self.journals.items(run, ids))
    }

    fn write(&mut self, run: RunId, entry: &Entry) -> Event {
        if *entry == Entry::Began {
            let items = self.selection.items.clone();
            self.journals.begin(run, &items, json!({}));
        }
        let epoch = self.lock.as_ref().map_or(0, Lock::epoch);
        let now = self.now();
        let written = self.journals.write(&self.vault, run, entry, now, epoch);
        written.unwrap();
        if *entry == Entry::Ended {
            self.vault.prune(run).unwrap();
        }
        Event::Written
    }

    fn planned(&self) -> Plan {
        let digests = self.disk.kept.iter();
        let digests = digests.map(|it| self.disk.images[*it].manifest.digest.parse().unwrap());
        let mut digests: Vec<Digest> = digests.collect();
        digests.sort_unstable();
        let needed = Needed {
            digests,
            ..Needed::default()
        };
        let storage = self.collects.registry.storage.as_ref();
        let storage = planning::open(storage.expect("it has one")).unwrap();
        let held = self.journals.held();
        let held: Vec<(RunId, Item)> = held.map(|(run, _, item)| (run, item.clone())).collect();
        let read = |items: &[(RunId, &Item)]| self.vault.read_held(items);
        let held = Held {
            items: &held,
            read: &read,
        };
        let now = Timestamp::from_second(self.disk.now).unwrap();
        let progress = Progress::default();
        planning::plan_with(
            &storage,
            &self.collects.registry,
            &needed,
            &held,
            now,
            &progress,
        )
        .unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    fn list(&mut self) -> Event {
        let plan = self.planned();
        let wanted = self.wanted(&plan);
        let held = self.journals.held();
        let held: BTreeSet<String> = held.map(|(_, _, item)| item.path()).collect();
        self.selection = without(&all(&plan), &held);
        self.kept.clone_from(&self.disk.kept);
        Event::Listed(Listed {
            wanted,
            ..self.selection.listed()
        })
    }

    fn decide(&mut self) -> Option<Permit> {
        let digests: BTreeSet<String> = (self.selection.items.iter())
            .map(|it| it.digest.to_string())
            .collect();
        let mut came = self.disk.kept.difference(&self.kept);
        let is_taken = |it: &usize| digests.contains(&self.disk.images[*it].manifest.digest);
        let mut before = self.disk.kept.intersection(&self.collects.proven);
        if came.any(is_taken) || !before.all(|it| self.disk.serves(*it)) {
            return None;
        }
        let serves = self.disk.kept.iter().filter(|it| self.disk.serves(**it));
        self.collects.proven.extend(serves);
        let mut facts = Facts::default();
        for code in Code::ALL {
            facts.met(code);
        }
        let epoch = self.lock.as_ref().map_or(0, Lock::epoch);
        gate::decide(&facts, epoch, Second::new(i64::MAX)).ok()
    }

    fn wanted(&self, plan: &Plan) -> BTreeMap<RunId, Vec<ItemId>> {
        let goes = goes(plan);
        let mut wanted: BTreeMap<RunId, Vec<ItemId>> = BTreeMap::new();
        for (run, id, item) in self.journals.held() {
            if !goes.contains(&item.path()) {
                wanted.entry(run).or_default().push(id);
            }
        }
        wanted
    }
}

fn told(moved: Moved) -> Event {
    Event::Moved {
        has_failed: moved.failed.is_some(),
        outcomes: moved.outcomes,
    }
}

/// All that may go.
fn all(plan: &Plan) -> Selection {
    select::select(plan, &Limits::NONE)
}

fn goes(plan: &Plan) -> BTreeSet<String> {
    all(plan).items.iter().map(Item::path).collect()
}

/// Without what is in quarantine already, numbered anew.
fn without(all: &Selection, held: &BTreeSet<String>) -> Selection {
    let places = all.items.iter().enumerate();
    let stays = places.filter(|(_, item)| !held.contains(&item.path()));
    let stays: Vec<usize> = stays.map(|(place, _)| place).collect();
    let number = |id: &ItemId| {
        let at = stays.binary_search(&id.index()).ok()?;
        Some(ItemId(u32::try_from(at).unwrap()))
    };
    let needs = |place: &usize| all.needs[*place].iter().filter_map(number).collect();
    Selection {
        needs: stays.iter().map(needs).collect(),
        items: stays.iter().map(|it| all.items[*it].clone()).collect(),
        left: all.left,
    }
}

/// Another test's process that is being started may have it for a moment: it begins as a copy of this one.
fn locked(vault: &Vault, now: Second) -> Lock {
    for _ in 0..1000 {
        match vault.lock("a test", now) {
            Ok(lock) => return lock,
            Err(LockError::Held(_)) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("somebody else has the lock");
}
