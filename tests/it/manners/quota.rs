//! Docker Hub, scripted: tokens, quota headers, and its way of counting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, Method};
use axum::response::IntoResponse as _;
use jiff::Timestamp;
use pullproof::clock::Clock as _;
use pullproof::verify::finding::Code;
use serde_json::json;

use super::rounds::{Desk, Hands, images};
use super::scripted::{Asked, Play, Scripted};

const LIMIT: u64 = 100;
const WINDOW: i64 = 21_600;
const HOUR: i64 = 3600;

/// The quota as the registry keeps it.
#[derive(Debug)]
struct Ledger {
    began: Timestamp,
    used: u64,
    /// The times of the pulls that we made.
    ours: Vec<Timestamp>,
}

struct Hub {
    registry: Scripted,
    ledger: Arc<Mutex<Ledger>>,
}

impl Hub {
    fn start(count: usize, hands: &Arc<Hands>) -> Self {
        let ledger = Arc::new(Mutex::new(Ledger {
            began: hands.now(),
            used: 0,
            ours: Vec::new(),
        }));
        let (shared, hands) = (Arc::clone(&ledger), Arc::clone(hands));
        let registry = Scripted::start(count, move |asked| {
            let play = play(&asked, &mut shared.lock().unwrap(), hands.now());
            async { play }
        });
        Self { registry, ledger }
    }

    /// Others pull.
    fn others(&self, count: u64) {
        self.ledger.lock().unwrap().used += count;
    }

    fn ours(&self) -> Vec<Timestamp> {
        self.ledger.lock().unwrap().ours.clone()
    }
}

fn play(asked: &Asked, ledger: &mut Ledger, now: Timestamp) -> Play {
    let text = |name: &str| asked.headers.get(name).map(|value| value.to_str().unwrap());
    if asked.path == "/token" {
        let token = json!({"token": "anybody", "expires_in": 300});
        return Play::Instead(axum::Json(token).into_response());
    }
    if text("authorization") != Some("Bearer anybody") {
        let host = text("host").unwrap();
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"hub\"");
        return Play::status(401, &[("www-authenticate", challenge)]);
    }
    if !asked.path.contains("/manifests/") {
        return Play::well();
    }
    if now.duration_since(ledger.began).as_secs() >= WINDOW {
        ledger.began = now;
        ledger.used = 0;
    }
    let is_over = ledger.used >= LIMIT;
    if asked.is_pull() {
        ledger.ours.push(now);
        ledger.used += u64::from(!is_over);
    }
    let left = LIMIT - ledger.used.min(LIMIT);
    let headers = [
        ("ratelimit-limit", format!("{LIMIT};w={WINDOW}")),
        ("ratelimit-remaining", format!("{left};w={WINDOW}")),
        ("docker-ratelimit-source", "192.0.2.1".to_owned()),
    ];
    if is_over && asked.is_pull() {
        return Play::status(429, &headers);
    }
    let mut more = HeaderMap::new();
    for (name, value) in headers {
        more.insert(name, value.parse().unwrap());
    }
    Play::With(more)
}

/// The most of these that lie within one window.
fn most_in_a_window(times: &[Timestamp]) -> usize {
    let within = |begin: &Timestamp| {
        let passed =
            |time: &&Timestamp| (0..WINDOW).contains(&time.duration_since(*begin).as_secs());
        times.iter().filter(passed).count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

#[tokio::test]
async fn a_tenth_of_the_quota_is_used_and_no_more_while_everything_is_proven_in_the_end() {
    const IMAGES: usize = 12;
    let hands = Arc::<Hands>::default();
    let hub = Hub::start(IMAGES, &hands);
    let host = hub.registry.host();
    let desk = Desk::without_entries(&hands, std::slice::from_ref(&host));
    let images = images(&hub.registry.references(IMAGES));
    // The daemon has two for each registry; what one uses the other has not.
    let (mut one, mut two) = (desk.prover(&host), desk.prover(&host));

    let first = desk.round(&mut one, &images).await;
    // HEADs count as used before they are known to be free.
    let used = hub.ours().len();
    assert!((1..=10).contains(&used), "{used}: {first:?}");
    assert!(first.is_only(Code::RateLimited), "{first:?}");
    assert!(
        first
            .others
            .iter()
            .all(|(_, message)| message.contains("`registries`")),
        "{first:?}"
    );
    // Three whole images of three manifests each at most.
    assert!(first.pullable <= 3, "{first:?}");
    desk.round(&mut two, &images).await;
    assert!((used..=10).contains(&hub.ours().len()));

    let mut rounds = BTreeMap::from([(0, first.pullable)]);
    for hour in 1..=30 {
        hands.turn(HOUR);
        // What was fetched once is asked for by HEAD, which goes on whatever is used.
        let found = desk.round(&mut one, &images).await;
        rounds.insert(hour, found.pullable);
        if hour % 5 == 0 {
            desk.round(&mut two, &images).await;
        }
    }
    assert_eq!(rounds[&30], IMAGES, "{rounds:?}");
    // Each manifest once, never more than a tenth in any window, and not slower than that either.
    assert_eq!(hub.ours().len(), 3 * IMAGES, "{rounds:?}");
    assert!((8..=10).contains(&most_in_a_window(&hub.ours())));
    // Once everything is known, a round costs no pull.
    hub.registry.take_asked();
    desk.round(&mut one, &images).await;
    let asked = hub.registry.take_asked();
    assert!(asked.len() > 3 * IMAGES && !asked.iter().any(Asked::is_pull));
}

#[tokio::test]
async fn an_entry_may_use_more_but_the_last_tenth_is_everybodys() {
    const IMAGES: usize = 12;
    let hands = Arc::<Hands>::default();
    let hub = Hub::start(IMAGES, &hands);
    let host = hub.registry.host();
    let desk = Desk::with_entries(&hands, std::slice::from_ref(&host));
    let images = images(&hub.registry.references(IMAGES));
    let mut prover = desk.prover(&host);
    assert_eq!(desk.round(&mut prover, &images).await.pullable, IMAGES);
    assert_eq!(hub.ours().len(), 3 * IMAGES);

    // Nodes pull until next to nothing is left: the first answers say so, and no more are asked for.
    hub.others(LIMIT - 3 * IMAGES as u64 - 10);
    hub.registry.take_asked();
    let found = desk.round(&mut prover, &images).await;
    assert!(found.is_only(Code::RateLimited), "{found:?}");
    let asked = hub.registry.take_asked();
    // Those that were under way with the one that was told.
    assert!((1..=32).contains(&asked.len()), "{}", asked.len());

    // Not one more until the window is over.
    for _ in 0..5 {
        hands.turn(HOUR);
        let found = desk.round(&mut prover, &images).await;
        assert!(found.is_only(Code::RateLimited), "{found:?}");
    }
    assert_eq!(hub.registry.take_asked().len(), 0);
    hands.turn(HOUR);
    assert_eq!(desk.round(&mut prover, &images).await.pullable, IMAGES);
}

#[tokio::test]
async fn a_registry_that_counts_every_request_is_asked_a_tenth_of_them() {
    let hands = Arc::<Hands>::default();
    let used = Arc::new(Mutex::new(0_u64));
    let counted = Arc::clone(&used);
    let registry = Scripted::start(5, move |_| {
        let mut used = counted.lock().unwrap();
        *used += 1;
        let mut more = HeaderMap::new();
        more.insert("x-ratelimit-limit", "200".parse().unwrap());
        more.insert("x-ratelimit-remaining", (200 - *used).into());
        more.insert("x-ratelimit-reset", "3600".parse().unwrap());
        async { Play::With(more) }
    });
    let host = registry.host();
    let desk = Desk::without_entries(&hands, std::slice::from_ref(&host));
    let mut prover = desk.prover(&host);
    let images = images(&registry.references(5));
    for _ in 0..3 {
        desk.round(&mut prover, &images).await;
    }
    let asked = registry.take_asked();
    assert_eq!(asked.len(), 20);
    assert!(asked.iter().any(|asked| asked.method == Method::HEAD));
}
