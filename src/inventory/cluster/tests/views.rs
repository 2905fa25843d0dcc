//! What is made anew bit by bit is what would be made of the whole.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::inventory::ImageUse;
use crate::inventory::cluster::item::{Body, Item};

type Name = (&'static str, &'static str);

#[derive(Debug, Clone)]
enum Step {
    Put(usize, Name, Value),
    Remove(usize, Name),
    /// A whole list.
    List(usize, Vec<(Name, Value)>),
    Fail(usize, bool),
    View,
}

const KINDS: [&str; 4] = ["Deployment", "ReplicaSet", "Pod", "ServiceAccount"];
const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 3] = ["x", "y", "default"];

fn name() -> impl Strategy<Value = Name> {
    (
        prop::sample::select(&NAMESPACES),
        prop::sample::select(&NAMES),
    )
}

/// Of any kind: one owner above, few images, so that objects meet.
fn object() -> impl Strategy<Value = Value> {
    let owner = prop::option::of(prop::sample::select(&NAMES));
    (owner, 0..3_u8, prop::option::of(0..2_u8)).prop_map(|(owner, image, secret)| {
        let spec = json!({"containers": [{"name": "app", "image": format!("app:{image}")}]});
        let secrets: Vec<Value> = secret.iter().map(|it| json!({"name": format!("s{it}")})).collect();
        let owners: Vec<Value> = owner
            .iter()
            .map(|name| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "controller": true}))
            .collect();
        json!({"metadata": {"ownerReferences": owners}, "spec": spec, "imagePullSecrets": secrets})
    })
}

fn step() -> impl Strategy<Value = Step> {
    let kind = || 0..KINDS.len();
    prop_oneof![
        4 => (kind(), name(), object()).prop_map(|(kind, name, object)| Step::Put(kind, name, object)),
        2 => (kind(), name()).prop_map(|(kind, name)| Step::Remove(kind, name)),
        1 => (kind(), prop::collection::vec((name(), object()), 0..5))
            .prop_map(|(kind, objects)| Step::List(kind, objects)),
        1 => (kind(), any::<bool>()).prop_map(|(kind, is_refused)| Step::Fail(kind, is_refused)),
        3 => Just(Step::View),
    ]
}

/// The world that is told bit by bit, and what was told.
struct Told {
    world: World,
    objects: [BTreeMap<Name, Value>; KINDS.len()],
    failed: [Option<bool>; KINDS.len()],
}

fn world(is_by_namespace: bool) -> World {
    let scope = Scope {
        cluster: None,
        class: Class::Runtime,
    };
    let namespaces = NAMESPACES.map(ToOwned::to_owned);
    let namespaces: &[String] = if is_by_namespace { &namespaces } else { &[] };
    World::new(scope, namespaces, &Beyond::default(), &Arc::default())
}

fn parsed((namespace, name): Name, object: &Value) -> Item {
    let mut object = object.clone();
    object["metadata"]["namespace"] = namespace.into();
    object["metadata"]["name"] = name.into();
    Item {
        body: Body::Typed(serde_json::from_value(object).unwrap()),
        mentions: Vec::new(),
    }
}

/// Of a kind; by namespace there is one for each, in order.
fn units(world: &World, kind: usize) -> Vec<usize> {
    (0..world.units())
        .filter(|unit| *world.kind(*unit).name == *KINDS[kind])
        .collect()
}

fn unit(world: &World, kind: usize, (namespace, _): Name) -> usize {
    let units = units(world, kind);
    let at = NAMESPACES.iter().position(|it| *it == namespace).unwrap();
    units[if units.len() == 1 { 0 } else { at }]
}

fn list(world: &mut World, kind: usize, objects: &BTreeMap<Name, Value>) {
    for of in units(world, kind) {
        let own = objects
            .iter()
            .filter(|(name, _)| unit(world, kind, **name) == of);
        let own = own.map(|(name, object)| parsed(*name, object)).collect();
        let mut records = record::Records::new();
        world.reduce(of, own, &mut records);
        world.replace(of, records, Timestamp::UNIX_EPOCH);
    }
}

fn fail(world: &mut World, kind: usize, is_refused: bool) {
    let failure = if is_refused {
        Failure::Refused("no".to_owned())
    } else {
        Failure::Other("away".to_owned())
    };
    for unit in units(world, kind) {
        world.fail(unit, &failure, Timestamp::UNIX_EPOCH);
    }
}

impl Told {
    fn take(&mut self, step: &Step) {
        let now = Timestamp::UNIX_EPOCH;
        match step {
            Step::Put(kind, name, object) => {
                let unit = unit(&self.world, *kind, *name);
                self.world.put(unit, parsed(*name, object), now);
                self.objects[*kind].insert(*name, object.clone());
            }
            Step::Remove(kind, name) => {
                let unit = unit(&self.world, *kind, *name);
                self.world
                    .remove(unit, &parsed(*name, &json!({"metadata": {}})), now);
                self.objects[*kind].remove(name);
            }
            Step::List(kind, objects) => {
                self.objects[*kind] = objects.iter().cloned().collect();
                list(&mut self.world, *kind, &self.objects[*kind]);
                self.failed[*kind] = None;
            }
            Step::Fail(kind, is_refused) => {
                fail(&mut self.world, *kind, *is_refused);
                self.failed[*kind] = Some(*is_refused);
            }
            Step::View => {
                self.world.view();
            }
        }
    }

    /// What a world says that hears all of it at once.
    fn whole(&self, is_by_namespace: bool) -> Vec<ImageUse> {
        let mut whole = world(is_by_namespace);
        for kind in 0..KINDS.len() {
            list(&mut whole, kind, &self.objects[kind]);
            if let Some(is_refused) = self.failed[kind] {
                fail(&mut whole, kind, is_refused);
            }
        }
        whole.view().uses.to_vec()
    }
}

proptest! {
    #[test]
    fn a_view_after_any_changes_is_the_view_of_the_whole(
        is_by_namespace in any::<bool>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut told = Told {
            world: world(is_by_namespace),
            objects: Default::default(),
            failed: [None; KINDS.len()],
        };
        for kind in 0..KINDS.len() {
            list(&mut told.world, kind, &BTreeMap::new());
        }
        for step in &steps {
            told.take(step);
        }
        prop_assert_eq!(told.world.view().uses.to_vec(), told.whole(is_by_namespace));
    }
}
