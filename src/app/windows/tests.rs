//! Real time, by a clock that is somewhere else.

use std::path::Path;
use std::sync::Mutex;

use super::*;

/// No machine is so busy that it takes longer.
const BOUND: Duration = Duration::from_mins(1);

/// The machine's clock, moved.
#[derive(Debug)]
struct Moved {
    by: Mutex<SignedDuration>,
}

impl Moved {
    fn to(time: &str) -> Arc<Self> {
        let clock = Arc::new(Self {
            by: Mutex::default(),
        });
        clock.set(time);
        clock
    }

    fn set(&self, time: &str) {
        let time: Timestamp = time.parse().unwrap();
        let now = crate::clock::SystemClock.now();
        *self.by.lock().unwrap() = time.duration_since(now);
    }
}

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        crate::clock::SystemClock.now() + *self.by.lock().unwrap()
    }
}

fn config(windows: &str) -> Arc<Config> {
    let text = format!("gc: {{windows: [{windows}]}}");
    Arc::new(crate::config::parse(&text, "p", Path::new("")).unwrap())
}

/// Which are open.
fn open(windows: &Windows) -> Vec<&str> {
    let open = windows.all().filter(|it| it.open.is_some());
    open.map(|it| it.label.as_str()).collect()
}

/// What it publishes, while it runs.
async fn watched<T>(
    clock: &Arc<Moved>,
    windows: &str,
    look_every: Duration,
    watch: impl AsyncFnOnce(watch::Receiver<Arc<Windows>>, watch::Sender<Arc<Config>>) -> T,
) -> T {
    let (new_config, configs) = watch::channel(config(windows));
    let (publish, published) = watch::channel(Arc::default());
    let stop = CancellationToken::new();
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let run = run(configs, publish, clock, look_every, stop.clone());
    let watching = async {
        let result = watch(published, new_config).await;
        stop.cancel();
        result
    };
    let both = async { tokio::join!(run, watching).1 };
    tokio::time::timeout(BOUND, both)
        .await
        .expect("within the bound")
}

#[tokio::test]
async fn it_wakes_when_a_window_opens_and_when_it_closes() {
    let clock = Moved::to("2026-11-22T10:29:58Z");
    let window = "{name: a, schedule: \"30 10 * * *\", duration: 2s}";
    // Nobody looks meanwhile: it is the scheduler that wakes.
    let never = Duration::from_hours(24);
    watched(&clock, window, never, async |mut published, _keep| {
        let before = published.wait_for(|it| it.all().next().is_some()).await;
        assert_eq!(open(&before.unwrap()), Vec::<&str>::new());
        let during = published
            .wait_for(|it| !open(it).is_empty())
            .await
            .unwrap()
            .clone();
        let opening = during.groups[0].open.clone().unwrap();
        assert!(opening.contains(during.at));
        assert_eq!(opening.id().to_string(), "a@2026-11-22T10:30:00Z");
        assert_eq!(during.groups[0].next.len(), NEXT);
        let after = published.wait_for(|it| open(it).is_empty()).await.unwrap();
        assert!(after.at >= opening.end, "not before its end");
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_is_set_is_noticed_and_a_new_configuration_is_taken() {
    let clock = Moved::to("2026-11-22T10:45:00Z");
    let window = "{name: a, schedule: \"30 10 * * *\", duration: 1h}";
    let often = Duration::from_millis(20);
    watched(&clock, window, often, async |mut published, configs| {
        published.wait_for(|it| open(it) == ["a"]).await.unwrap();
        clock.set("2026-11-22T10:00:00Z");
        let earlier = published
            .wait_for(|it| open(it).is_empty())
            .await
            .unwrap()
            .clone();
        let next = earlier.all().next().unwrap().next.clone().unwrap();
        assert_eq!(next.id().to_string(), "a@2026-11-22T10:30:00Z");
        clock.set("2026-11-23T10:30:00Z");
        published.wait_for(|it| open(it) == ["a"]).await.unwrap();
        configs.send_replace(config("{name: b, schedule: \"0 0 * * *\", duration: 1h}"));
        let new = published
            .wait_for(|it| it.all().any(|it| it.label == "b"))
            .await
            .unwrap();
        assert_eq!(open(&new), Vec::<&str>::new());
    })
    .await;
}
