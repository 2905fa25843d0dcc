use std::path::Path;

use super::*;
use crate::clock::SystemClock;
use crate::config;
use crate::inventory::{Inventory, SourceState, references};
use crate::state::storages::StorageStatus;

const HOST: &str = "registry.example:5000";

/// The planner of one storage with nothing in it.
struct Scene {
    root: tempfile::TempDir,
    publish: watch::Sender<Arc<Published>>,
    storages: watch::Receiver<Arc<Storages>>,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Scene {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["blobs/sha256", "repositories"] {
            let tree = root.path().join(crate::storage::layout::ROOT);
            std::fs::create_dir_all(tree.join(directory)).unwrap();
        }
        let (publish, published) = watch::channel(Arc::default());
        let mut tasks = JoinSet::new();
        let stop = CancellationToken::new();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let watched = Watched {
            published,
            led_to: None,
            clock: Arc::clone(&clock),
        };
        let planner = Planner::of(&watched, &Stats::default(), &clock);
        let storages = planner.spawn(&mut tasks, &stop);
        Self {
            root,
            publish,
            storages,
            stop,
            tasks,
        }
    }

    fn config(&self) -> Arc<Config> {
        let text = format!(
            "registries: [{{host: \"{HOST}\", kind: distribution, storage: {{filesystem: {{root: {}}}}}}}]",
            self.root.path().display()
        );
        Arc::new(config::parse(&text, "", Path::new("")).unwrap())
    }

    fn publish(&self, config: &Arc<Config>, sources: Vec<SourceState>) {
        let inventory = Inventory {
            sources: sources.into_iter().map(Arc::new).collect(),
        };
        self.publish.send_replace(Arc::new(Published {
            config: Arc::clone(config),
            inventory: Arc::new(inventory),
        }));
    }

    /// Lets so much time pass, as far as waiting is concerned.
    async fn after(&self, time: Duration) -> Arc<Storages> {
        tokio::time::sleep(time).await;
        Arc::clone(&self.storages.borrow())
    }

    async fn next(&mut self) -> StorageStatus {
        self.storages.changed().await.unwrap();
        self.storages.borrow_and_update()[HOST].clone()
    }

    async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

fn list(name: &str) -> SourceState {
    references::read_text(name, "", SystemClock.now())
}

fn codes(status: &StorageStatus) -> Vec<&'static str> {
    let refused = status.refused.iter();
    refused.map(|it| it.code.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_refused_while_a_source_is_read_for_the_first_time() {
    let mut scene = Scene::new();
    let config = scene.config();
    assert!(scene.after(READING_MAX * 3).await.is_empty());
    scene.publish(&config, vec![list("one"), SourceState::unread("two")]);
    assert!(scene.after(READING_MAX / 2).await.is_empty());
    scene.publish(&config, vec![list("one"), list("two")]);
    let status = scene.next().await;
    assert!(status.planned.is_some(), "{status:?}");
    assert!(status.refusals.is_empty(), "{status:?}");

    // By another configuration all of them are read anew.
    let config = scene.config();
    scene.publish(&config, vec![list("one"), SourceState::unread("two")]);
    let told = scene.after(READING_MAX / 2).await;
    assert_eq!(told[HOST], status);
    scene.publish(&config, vec![list("one"), list("two")]);
    assert_eq!(codes(&scene.next().await), [""; 0]);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_failed_or_does_not_end_is_a_refusal() {
    let mut scene = Scene::new();
    let config = scene.config();
    let failed = SourceState {
        incomplete: Some("it cannot be reached".to_owned()),
        is_awaited: false,
        ..SourceState::unread("two")
    };
    scene.publish(&config, vec![list("one"), failed]);
    assert_eq!(codes(&scene.next().await), ["inventory_incomplete"]);

    let config = scene.config();
    scene.publish(&config, vec![SourceState::unread("two")]);
    let begun = Instant::now();
    let status = scene.next().await;
    assert!(begun.elapsed() >= READING_MAX, "{:?}", begun.elapsed());
    assert_eq!(codes(&status), ["inventory_incomplete"]);
    assert_eq!(status.refusals, [("inventory_incomplete", 2)].into());
    scene.end().await;
}
