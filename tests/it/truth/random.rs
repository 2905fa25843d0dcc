//! Random images, random faults, and the oracle at the end: no false `broken`, no false `pullable`.
//!
//! A check is drawn from its seed alone. `PULLPROOF_TRUTH_SEED=N` runs that one check and prints it;
//! `PULLPROOF_TRUTH_DROP=0,2` leaves out what it drew first and third, which shrinks it by hand.

mod draw;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use jiff::SignedDuration;
use pullproof::clock::Clock;
use pullproof::credential_source::Fixed;
use pullproof::prover::Prover;
use pullproof::registry::client::Client;
use pullproof::registry::stats::Stats;
use pullproof::registry::transport::Deadlines;
use pullproof::verify;
use pullproof::verify::depth::{Policy, Rotation};
use pullproof::verify::finding::Verdict;
use pullproof::verify::target::Needs;

use super::client::{CADENCE, HandClock, Setup, clock, needs};
use super::oracle::{Depth, Truth};
use crate::support::scripted::tokens::Access;
use crate::support::scripted::{REGISTRY, Script, Scripted, Seen};
use draw::Check;

/// Each has a registry of its own: so many checks run at once.
const SLOTS: usize = 16;
/// The first seed of the gate's run; the long run draws one.
const SEED: u64 = 20_261_121;

const SHORT: Deadlines = Deadlines {
    connect: Duration::from_millis(150),
    idle: Duration::from_millis(60),
    total: Duration::from_millis(100),
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_random_checks_tell_no_lie() {
    run(SEED, 5_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes: make long"]
async fn a_hundred_thousand_random_checks_tell_no_lie() {
    run(fastrand::u64(..u64::MAX / 2), 100_000).await;
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)
        .as_deref()
        .and_then(OsStr::to_str)
        .map(ToOwned::to_owned)
}

async fn run(first: u64, count: u64) {
    let one: Option<u64> = variable("PULLPROOF_TRUTH_SEED").and_then(|it| it.parse().ok());
    let dropped: Vec<usize> = variable("PULLPROOF_TRUTH_DROP")
        .map(|it| it.split(',').filter_map(|it| it.parse().ok()).collect())
        .unwrap_or_default();
    let seeds = one.map_or(first..first + count, |seed| seed..seed + 1);
    let dropped = &dropped;
    let slots = (0..SLOTS as u64).map(|number| {
        let seeds = seeds.clone();
        async move {
            let mut tally = Tally::default();
            let mut slot = None;
            for seed in seeds.filter(|seed| seed % SLOTS as u64 == number) {
                if slot.is_none() {
                    slot = Some(Slot::start(number).await);
                }
                let check = draw::check(
                    seed,
                    slot.as_ref().expect("just made").access.clone(),
                    dropped,
                );
                if one.is_some() {
                    println!("{check:#?}");
                }
                slot.as_ref()
                    .expect("just made")
                    .run(&check, &mut tally)
                    .await;
            }
            tally
        }
    });
    let tallies: Vec<Tally> = stream::iter(slots).buffer_unordered(SLOTS).collect().await;
    let tally = tallies.into_iter().fold(Tally::default(), Tally::add);
    println!("seeds from {first}: {:?}", tally.verdicts);
    assert!(
        tally.lies.is_empty(),
        "{} lies; run one alone with PULLPROOF_TRUTH_SEED:\n{}",
        tally.lies.len(),
        tally.lies.join("\n")
    );
    if one.is_none() {
        // A check in six has no rule in it, and what is told of those does not depend on the load.
        for verdict in Verdict::ALL {
            let found = tally.verdicts.get(verdict.as_str()).copied().unwrap_or(0);
            assert!(found >= count / 25, "only {found} of {count} are {verdict}");
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    verdicts: BTreeMap<&'static str, u64>,
    lies: Vec<String>,
}

impl Tally {
    fn add(mut self, other: Self) -> Self {
        for (verdict, count) in other.verdicts {
            *self.verdicts.entry(verdict).or_default() += count;
        }
        self.lies.extend(other.lies);
        self
    }
}

/// A registry and two clients of it, used for one check after another: making a client costs more
/// than a check. Nothing is carried over, since each check has repositories and bytes of its own.
struct Slot {
    server: Scripted,
    clock: Arc<HandClock>,
    access: Access,
    setup: Setup,
    hasty: Arc<Client>,
    patient: Arc<Client>,
}

impl Slot {
    async fn start(number: u64) -> Self {
        let access = match number % 4 {
            0 => Access::Password,
            1 => Access::tokens(),
            _ => Access::Everybody,
        };
        let server = Scripted::start_at("127.0.0.1:0", Script::default(), None).await;
        let clock = clock();
        let stats = Stats::default();
        let setup = Setup {
            has_credential: access != Access::Everybody,
            ..Setup::default()
        };
        let patient = Arc::new(setup.client(&server, &stats, &clock));
        let hasty = Setup {
            deadlines: SHORT,
            ..setup.clone()
        };
        let hasty = Arc::new(hasty.client(&server, &stats, &clock));
        Self {
            server,
            clock,
            access,
            setup,
            hasty,
            patient,
        }
    }

    async fn run(&self, check: &Check, tally: &mut Tally) {
        // What an earlier script asked of its guests is over: a pause is at most a quarter of an hour.
        self.clock.advance(SignedDuration::from_hours(1));
        self.server.edit(|script| *script = check.script.clone());
        self.server.take_seen();
        // Without a rule nothing is slow but the machine.
        let client = if check.script.rules.is_empty() {
            &self.patient
        } else {
            &self.hasty
        };
        let own = Arc::new(Fixed::default());
        // Both depths, in turns.
        let (policy, depth) = if check.seed.is_multiple_of(2) {
            (verify::depth::Depth::Head, Depth::Head)
        } else {
            (verify::depth::Depth::Read, Depth::Read)
        };
        let policy = Policy {
            depth: policy,
            ..Policy::default()
        };
        let mut prover = Prover::new(REGISTRY.into(), Arc::clone(client), CADENCE, own).reading(
            policy,
            Rotation::default(),
            Arc::default(),
        );
        let images: Vec<_> = check
            .images
            .iter()
            .map(|image| {
                let separator = if image.reference.contains(':') {
                    '@'
                } else {
                    ':'
                };
                let reference = format!(
                    "{REGISTRY}/{}{separator}{}",
                    check.repository, image.reference
                );
                let needs = image.needs.as_ref().map_or(Needs::All, |platforms| {
                    needs(&platforms.iter().map(String::as_str).collect::<Vec<_>>())
                });
                self.setup.image(&reference, needs)
            })
            .collect();
        let shared: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let result = prover.round(&images, true, &shared, &|_progress| {}).await;
        let truth = Truth {
            whole: &check.whole,
            script: &check.script,
            repository: &check.repository,
            depth,
            patience: SHORT.total,
        };
        for (image, (_, _, report)) in check.images.iter().zip(&result.reports) {
            *tally.verdicts.entry(report.verdict.as_str()).or_default() += 1;
            let lie = truth.lie(report, &image.reference, image.needs.as_deref());
            let timid = (check.script.rules.is_empty() && report.verdict == Verdict::Unknown)
                .then(|| "nothing hinders it".to_owned());
            if let Some(lie) = lie.or(timid) {
                let codes: Vec<_> = report
                    .findings
                    .iter()
                    .map(|it| (it.code, &it.message))
                    .collect();
                tally.lies.push(format!(
                    "seed {}: {} is {}, and {lie}; drew {:?}; found {codes:?}",
                    check.seed, image.reference, report.verdict, check.drew
                ));
            }
        }
        for seen in self.server.take_seen() {
            if let Some(problem) = indiscretion(&seen) {
                tally
                    .lies
                    .push(format!("seed {}: {problem}: {seen:?}", check.seed));
            }
        }
    }
}

/// What no request may do, whatever the registry answers.
fn indiscretion(seen: &Seen) -> Option<&'static str> {
    if seen.host != REGISTRY && seen.header("authorization").is_some() {
        return Some("somebody else heard a credential");
    }
    if ["127.", "169.254.", "10.96."]
        .iter()
        .any(|it| seen.host.starts_with(it))
    {
        return Some("an address that no registry may point to was asked");
    }
    if !["HEAD", "GET"].contains(&seen.method.as_str()) {
        return Some("it was no question");
    }
    if seen.path != "/token" && seen.header("accept-encoding") != Some("identity") {
        return Some("it asked for an encoding");
    }
    None
}
