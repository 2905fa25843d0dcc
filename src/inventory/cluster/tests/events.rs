//! Words of kubelets that come by events: which are kept, and which make anything new.

use super::*;
use crate::inventory::cluster::item::{Event, Item, read_event};
use crate::inventory::cluster::kinds::Shape;
use crate::inventory::cluster::record::Records;
use crate::inventory::cluster::world::View;
use crate::second::Second;

const POD: usize = 9;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

struct Scene {
    world: World,
    events: usize,
}

impl Scene {
    /// Two Pods of one Deployment that wait for their image.
    fn new(broken: &'static str) -> Self {
        let scope = Scope {
            cluster: None,
            class: Class::Runtime,
        };
        let mut world = World::new(scope, &[], &Beyond::default(), &Arc::default());
        world.heed(IsBroken::new(move |image| image == broken));
        let events = (0..world.units()).find(|unit| *world.kind(*unit).name == *"Event");
        let mut scene = Self {
            world,
            events: events.unwrap(),
        };
        for pod in ["web-1", "web-2"] {
            assert!(scene.put_pod(pod, &json!([])));
        }
        scene
    }

    fn put_pod(&mut self, name: &str, statuses: &Value) -> bool {
        let object = json!({"metadata": {"name": name, "namespace": "shop", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "controller": true}]},
            "spec": {"containers": [{"name": "app", "image": "app:1"}]},
            "status": {"containerStatuses": statuses}});
        let Event::Put(item) = event("ADDED", &object, Shape::Typed) else {
            panic!("it was put")
        };
        self.world.put(POD, item, at(0))
    }

    fn hear(&mut self, name: &str, pod: &str, second: i64, said: (&str, &str)) -> bool {
        let item = told(name, pod, second, said);
        self.world.put(self.events, item, at(1000))
    }

    /// What is told of the one use: why it waits, and when it was pulled.
    fn told(&mut self) -> (Option<String>, Option<i64>) {
        let View { running, .. } = self.world.view();
        let [of_use] = &*running else {
            return (None, None);
        };
        let refusal = of_use.refusal.as_ref().map(|it| it.message.to_string());
        (refusal, of_use.pulled.map(Second::get))
    }
}

fn event(kind: &str, object: &Value, shape: Shape) -> Event {
    let line = json!({"type": kind, "object": object}).to_string() + "\n";
    read_event(line.as_bytes(), shape, None).unwrap()
}

fn told(name: &str, pod: &str, second: i64, (reason, message): (&str, &str)) -> Item {
    let object = json!({"metadata": {"name": name, "namespace": "shop"}, "reason": reason,
        "message": message, "lastTimestamp": at(second).to_string(),
        "involvedObject": {"kind": "Pod", "name": pod, "namespace": "shop",
            "fieldPath": "spec.containers{app}"}});
    match event("ADDED", &object, Shape::Event) {
        Event::Put(item) => item,
        other => panic!("{other:?}"),
    }
}

const PULLED: (&str, &str) = ("Pulled", "Successfully pulled image \"app:1\" in 1s");
const PRESENT: (&str, &str) = (
    "Pulled",
    "Container image \"app:1\" already present on machine",
);
const MISSING: (&str, &str) = ("Failed", "Failed to pull image \"app:1\": not found");
const DENIED: (&str, &str) = ("Failed", "Failed to pull image \"app:1\": 403 Forbidden");

#[test]
fn a_flood_of_what_is_as_we_say_makes_nothing_new() {
    let mut scene = Scene::new("other:1");
    let before = scene.world.view().running;
    for number in 0..100 {
        let name = format!("web-1.{number}");
        for said in [PULLED, PRESENT, ("Scheduled", "Successfully assigned")] {
            assert!(!scene.hear(&name, "web-1", number, said));
        }
        assert!(!scene.hear(&name, &format!("gone-{number}"), number, PULLED));
    }
    assert!(Arc::ptr_eq(&before, &scene.world.view().running));
    // That it fails is new once, however often it is said again and whoever says it too.
    assert!(scene.hear("f.1", "web-1", 200, MISSING));
    let first = scene.world.view().running;
    for number in 0..100 {
        assert!(!scene.hear("f.1", "web-1", 201 + number, MISSING));
    }
    scene.hear("f.2", "web-2", 300, MISSING);
    assert!(Arc::ptr_eq(&first, &scene.world.view().running));
    assert_eq!(scene.told(), (Some("not found".to_owned()), None));
}

#[test]
fn the_last_word_of_a_container_counts_until_it_goes() {
    let mut scene = Scene::new("other:1");
    assert!(scene.hear("f.1", "web-1", 200, MISSING));
    assert!(!scene.hear("f.0", "web-1", 100, DENIED), "that is older");
    assert_eq!(scene.told(), (Some("not found".to_owned()), None));
    assert!(scene.hear("f.2", "web-1", 300, DENIED));
    assert_eq!(scene.told(), (Some("403 Forbidden".to_owned()), None));
    // The older one is forgotten by the API server, and takes nothing with it.
    let gone = |name: &str, said| told(name, "web-1", 0, said);
    assert!(
        !scene
            .world
            .remove(scene.events, &gone("f.1", MISSING), at(1000))
    );
    assert_eq!(scene.told(), (Some("403 Forbidden".to_owned()), None));
    assert!(
        scene
            .world
            .remove(scene.events, &gone("f.2", DENIED), at(1000))
    );
    assert_eq!(scene.told(), (None, None));
    // What the Pod's own status says is newer.
    assert!(scene.hear("f.3", "web-2", 400, MISSING));
    let runs = json!([{"name": "app", "state": {"running": {}},
        "imageID": format!("app@sha256:{}", "a".repeat(64))}]);
    scene.put_pod("web-2", &runs);
    assert_eq!(scene.told(), (None, None));
    // It pulled it at last.
    assert!(scene.hear("f.3", "web-1", 400, MISSING));
    assert!(scene.hear("p.1", "web-1", 500, PULLED));
    assert_eq!(scene.told(), (None, None));
}

#[test]
fn that_something_broken_was_pulled_is_told_with_its_time() {
    let mut scene = Scene::new("app:1");
    assert!(scene.hear("p.1", "web-1", 500, PULLED));
    assert_eq!(scene.told(), (None, Some(500)));
    assert!(!scene.hear("p.2", "web-1", 600, PRESENT));
    assert!(scene.hear("p.3", "web-2", 700, PULLED));
    assert_eq!(scene.told(), (None, Some(700)));
    // A list of Pods that is made anew does not lose it, and who begins anew forgets it.
    scene.world.replace(scene.events, Records::new(), at(1000));
    assert_eq!(scene.told(), (None, None));
}

#[test]
fn whatever_becomes_of_events_the_source_is_as_complete_as_without() {
    let mut scene = Scene::new("app:1");
    for unit in 0..scene.world.units() {
        if unit != scene.events && unit != POD {
            scene.world.replace(unit, Records::new(), at(10));
        }
    }
    scene.world.well(POD, at(10));
    let view = scene.world.view();
    assert_eq!((view.incomplete, view.absent), (None, vec![]));
    assert_eq!(view.complete_at, Some(at(10)));
    for (failure, absent) in [
        (Failure::Refused("events is forbidden: no".to_owned()), 1),
        (Failure::Other("it hangs".to_owned()), 0),
        (Failure::Absent, 0),
    ] {
        scene.world.fail(scene.events, &failure, at(20));
        let view = scene.world.view();
        assert_eq!((view.incomplete, view.absent.len()), (None, absent));
        assert_eq!(view.complete_at, Some(at(10)));
    }
}
