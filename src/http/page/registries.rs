//! Each registry: whether it answers, how fast, what is known of its images and how often they are looked
//! at. Pure.

use askama::Template;
use jiff::{SignedDuration, Timestamp};

use super::super::filter::Filter;
use super::address;
use super::head::Tally;
use super::picture::{self, Segment};
use super::words::{self, Moment};
use crate::state::{RegistryStatus, Snapshot};
use crate::traffic::{LATENCY_BOUNDS, Traffic};
use crate::verify::finding::Verdict;

/// What is shown at most: any tenant can name any host. The metrics have all of them.
const REGISTRIES_SHOWN: usize = 200;

#[derive(Template)]
#[template(path = "registries.html")]
pub(super) struct RegistriesPage {
    version: &'static str,
    at: Moment,
    title: String,
    registries: Vec<RegistryCard>,
    more: usize,
}

struct RegistryCard {
    name: String,
    href: String,
    is_up: Option<bool>,
    images: String,
    verdicts: Vec<VerdictCount>,
    bar: Vec<Segment>,
    coverage: Option<String>,
    completed: Option<Moment>,
    clean: Option<Moment>,
    took: Option<String>,
    every: String,
    objects: String,
    bytes: String,
    requests: String,
    per_minute: Option<String>,
    per_day: String,
    failed: String,
    limited: String,
    latency: Option<Latency>,
    rate_limit: Option<String>,
    paused_until: Option<Moment>,
    concurrency: Option<usize>,
}

struct VerdictCount {
    verdict: Verdict,
    is_zero: bool,
    count: String,
    href: String,
}

struct Latency {
    middle: String,
    most: String,
    bars: Vec<LatencyBar>,
}

struct LatencyBar {
    x: usize,
    y: u64,
    height: u64,
    label: String,
    count: String,
}

/// Of the picture's viewBox.
const BAR_STEP: usize = 20;
const BAR_HEIGHT: u64 = 40;

impl RegistriesPage {
    /// `traffic` is what was asked of a host since `since`.
    pub(super) fn of(
        snapshot: &Snapshot,
        traffic: impl Fn(&str) -> Traffic,
        since: Timestamp,
        now: Timestamp,
    ) -> Self {
        let tally = Tally::of(snapshot);
        let mut registries: Vec<&RegistryStatus> = snapshot.registries.iter().collect();
        // What is down or broken first.
        registries.sort_by_key(|registry| {
            let [_, unknown, broken] = tally.of_registry(&registry.host);
            (registry.is_up != Some(false), broken == 0, unknown == 0)
        });
        let down = registries.iter().filter(|it| it.is_up == Some(false));
        let title = match down.count() {
            0 => "registries".to_owned(),
            count => format!("{count} of {} registries down", registries.len()),
        };
        let more = registries.len().saturating_sub(REGISTRIES_SHOWN);
        registries.truncate(REGISTRIES_SHOWN);
        let passed = now.duration_since(since);
        let cards = registries.into_iter().map(|registry| {
            let counts = tally.of_registry(&registry.host);
            RegistryCard::of(registry, counts, &traffic(&registry.host), passed, now)
        });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            at: Moment::of(snapshot.at, now),
            title,
            registries: cards.collect(),
            more,
        }
    }
}

impl RegistryCard {
    fn of(
        registry: &RegistryStatus,
        [pullable, unknown, broken]: [usize; 3],
        traffic: &Traffic,
        passed: SignedDuration,
        now: Timestamp,
    ) -> Self {
        let images = pullable + unknown + broken;
        let counts = [
            (Verdict::Broken, broken),
            (Verdict::Unknown, unknown),
            (Verdict::Pullable, pullable),
        ];
        let parts = counts.map(|(verdict, count)| (verdict.as_str(), count as u64));
        let of = |verdict: &str| {
            let only = Filter {
                registry: registry.host.to_string(),
                verdict: verdict.to_owned(),
                ..Filter::default()
            };
            address::filtered("/", &only, 0)
        };
        let verdicts = counts.map(|(verdict, count)| VerdictCount {
            verdict,
            is_zero: count == 0,
            count: words::number(count),
            href: of(verdict.as_str()),
        });
        // Of the first minute nothing is said: a part of it would be a wild guess.
        let seconds = u64::try_from(passed.as_secs()).unwrap_or_default();
        let seconds = (seconds >= 60).then_some(seconds);
        let known = (images - unknown) as u64;
        Self {
            name: registry.host.to_string(),
            href: of(""),
            is_up: registry.is_up,
            images: words::counted(images, "image"),
            verdicts: verdicts.into_iter().collect(),
            bar: picture::stacked(&parts),
            coverage: (images > 0).then(|| words::percent(known, images as u64)),
            completed: registry.last_completed_at.map(|at| Moment::of(at, now)),
            clean: registry.last_clean_at.map(|at| Moment::of(at, now)),
            took: registry.last_duration.map(words::took),
            every: words::every(registry.interval),
            objects: count(registry.objects.iter().map(|count| count.blobs).sum()),
            bytes: words::bytes(registry.objects.iter().map(|count| count.bytes).sum()),
            requests: count(traffic.requests),
            per_minute: seconds.map(|it| count(traffic.requests.saturating_mul(60) / it)),
            per_day: count(registry.requests_per_day),
            failed: count(traffic.failed),
            limited: count(traffic.limited),
            latency: Latency::of(traffic),
            rate_limit: registry
                .rate_limit_remaining
                .map(|left| count(u64::try_from(left).unwrap_or_default())),
            paused_until: traffic.paused_until.map(|at| Moment::of(at, now)),
            concurrency: traffic.concurrency,
        }
    }
}

impl Latency {
    fn of(traffic: &Traffic) -> Option<Self> {
        let most = *traffic.latency.iter().max()?;
        let labels = LATENCY_BOUNDS.into_iter().chain([f64::INFINITY]);
        let bars = traffic.latency.iter().zip(labels).enumerate();
        let bars = bars.map(|(place, (count, bound))| {
            let height = picture::seen(*count, most) * BAR_HEIGHT / 1000;
            let height = height.max(u64::from(*count > 0));
            LatencyBar {
                x: place * BAR_STEP,
                y: BAR_HEIGHT - height,
                height,
                label: within(bound),
                count: self::count(*count),
            }
        });
        Some(Self {
            middle: within(traffic.quantile(0.5)?),
            most: within(traffic.quantile(0.99)?),
            bars: bars.collect(),
        })
    }
}

/// `100 ms or less`
fn within(bound: f64) -> String {
    let last = LATENCY_BOUNDS.last().copied().unwrap_or_default();
    if bound > last {
        return format!("more than {last} s");
    }
    if bound < 1.0 {
        return format!("{} ms or less", (bound * 1000.0).round());
    }
    format!("{bound} s or less")
}

fn count(count: u64) -> String {
    words::number(usize::try_from(count).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_is_said_by_the_bound_of_the_bucket() {
        let mut traffic = Traffic::default();
        assert!(Latency::of(&traffic).is_none());
        traffic.latency[2] = 100;
        traffic.latency[11] = 3;
        let latency = Latency::of(&traffic).unwrap();
        assert_eq!(
            (latency.middle.as_str(), latency.most.as_str()),
            ("50 ms or less", "more than 30 s")
        );
        assert_eq!(
            (
                latency.bars[2].height,
                latency.bars[11].height,
                latency.bars[0].height
            ),
            (40, 1, 0)
        );
        assert_eq!(within(2.5), "2.5 s or less");
    }
}
