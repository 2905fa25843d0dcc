//! One case of the table: a script, and what each round over it must give.

use std::sync::Arc;

use jiff::SignedDuration;
use pullproof::clock::Clock;
use pullproof::images::Images;
use pullproof::inventory::Inventory;
use pullproof::registry::stats::Stats;
use pullproof::state::{ImageState, State};
use pullproof::verify::finding::{Code, Report, Verdict};
use pullproof::verify::target::Needs;

use super::client::{Setup, clock};
use crate::support::scripted::fault::Rule;
use crate::support::scripted::{Script, Scripted, Seen};

type Checked = Result<(), String>;
type Edit = Box<dyn Fn(&mut Script) + Send + Sync>;

/// What a round left behind.
pub(super) struct Outcome {
    pub(super) seen: Vec<Seen>,
    pub(super) report: Report,
    pub(super) rate_limit_remaining: Option<i64>,
    pub(super) is_up: bool,
    /// The first image as pages and metrics see it.
    pub(super) image: Arc<ImageState>,
}

impl Outcome {
    /// How many requests there were with this method and this in their path.
    pub(super) fn count(&self, method: &str, part_of_path: &str) -> usize {
        self.seen
            .iter()
            .filter(|seen| seen.is(method, part_of_path))
            .count()
    }
}

type Look = Box<dyn Fn(&Outcome, &[Outcome]) -> Checked + Send + Sync>;

struct Round {
    before: Vec<Edit>,
    is_restart: bool,
    verdict: Verdict,
    codes: Vec<Code>,
    /// What may stand for them: which of two requests at once is refused first decides.
    or: Option<Code>,
    looks: Vec<Look>,
}

/// A named case; its name begins with its row's.
pub(super) struct Case {
    pub(super) name: &'static str,
    script: Script,
    pub(super) setup: Setup,
    tls: Option<Arc<rustls::ServerConfig>>,
    listen: &'static str,
    references: Vec<(String, Needs)>,
    rounds: Vec<Round>,
    next: (Vec<Edit>, bool),
}

impl Case {
    /// One image, by the reference that it is asked for.
    pub(super) fn new(name: &'static str, script: Script, reference: &str) -> Self {
        Self {
            name,
            script,
            setup: Setup::default(),
            tls: None,
            listen: "127.0.0.1:0",
            references: vec![(reference.to_owned(), Needs::All)],
            rounds: Vec::new(),
            next: (Vec::new(), false),
        }
    }

    pub(super) fn needs(mut self, needs: Needs) -> Self {
        self.references[0].1 = needs;
        self
    }

    pub(super) fn setup(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(&mut self.setup);
        self
    }

    pub(super) fn tls(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    pub(super) fn listen(mut self, address: &'static str) -> Self {
        self.listen = address;
        self
    }

    /// From the first round on.
    pub(super) fn rule(mut self, rule: Rule) -> Self {
        self.script.rules.push(rule);
        self
    }

    /// Before the round whose outcome is told next.
    pub(super) fn before(mut self, edit: impl Fn(&mut Script) + Send + Sync + 'static) -> Self {
        self.next.0.push(Box::new(edit));
        self
    }

    /// The next round is one of a process that was started anew, over the same store of manifests.
    pub(super) fn restart(mut self) -> Self {
        self.next.1 = true;
        self
    }

    /// A round, and what it must give: the verdict, and the codes of all findings that are needed.
    pub(super) fn gives(mut self, verdict: Verdict, codes: &[Code]) -> Self {
        let (before, is_restart) = std::mem::take(&mut self.next);
        self.rounds.push(Round {
            before,
            is_restart,
            verdict,
            codes: codes.to_vec(),
            or: None,
            looks: Vec::new(),
        });
        self
    }

    pub(super) fn pullable(self) -> Self {
        self.gives(Verdict::Pullable, &[])
    }

    pub(super) fn broken(self, code: Code) -> Self {
        self.gives(Verdict::Broken, &[code])
    }

    pub(super) fn unknown(self, code: Code) -> Self {
        self.gives(Verdict::Unknown, &[code])
    }

    /// Unknown for one reason or the other.
    pub(super) fn unknown_or(mut self, code: Code, or: Code) -> Self {
        self = self.unknown(code);
        if let Some(round) = self.rounds.last_mut() {
            round.or = Some(or);
        }
        self
    }

    /// What else must be true of the round that was told last; `what` is shown where it is not.
    pub(super) fn and(
        self,
        what: &'static str,
        is_so: impl Fn(&Outcome) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.and_since(what, move |outcome, _before| is_so(outcome))
    }

    /// The same, with the rounds before.
    pub(super) fn and_since(
        mut self,
        what: &'static str,
        is_so: impl Fn(&Outcome, &[Outcome]) -> bool + Send + Sync + 'static,
    ) -> Self {
        let look: Look = Box::new(move |outcome, before| {
            if is_so(outcome, before) {
                return Ok(());
            }
            let seen: Vec<String> = outcome.seen.iter().map(line).collect();
            Err(format!("not so: {what}; asked: {}", seen.join(", ")))
        });
        let round = self.rounds.last_mut().expect("a round was told");
        round.looks.push(look);
        self
    }

    /// Runs its rounds; an error says what the first wrong one gave.
    pub(super) async fn run(self) -> Checked {
        assert!(!self.rounds.is_empty(), "{} expects nothing", self.name);
        let Self {
            script,
            setup,
            references,
            ..
        } = self;
        let server = Scripted::start_at(self.listen, script, self.tls).await;
        let clock = clock();
        let stats = Stats::default();
        let mut prover = setup.prover(&server, &stats, &clock);
        let images: Vec<_> = references
            .iter()
            .map(|(reference, needs)| setup.image(reference, needs.clone()))
            .collect();
        let mut state = State::default();
        let all = Images {
            endpoints: Vec::new(),
            others: std::collections::HashMap::new(),
            images: images.clone(),
            malformed: Vec::new(),
        };
        state.set_inventory(&Inventory::default(), Arc::new(all));
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (number, round) in self.rounds.into_iter().enumerate() {
            for edit in &round.before {
                server.edit(edit);
            }
            if round.is_restart {
                prover = setup.prover(&server, &stats, &clock);
            }
            let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
            let result = prover.round(&images, true, &shared, &|_progress| {}).await;
            let report = result.reports[0].2.clone();
            let (rate_limit_remaining, is_up) = (result.rate_limit_remaining, result.is_up);
            state.record(result);
            let snapshot = state.snapshot(shared.now());
            let outcome = Outcome {
                seen: server.take_seen(),
                report,
                rate_limit_remaining,
                is_up,
                image: snapshot.images[0].clone(),
            };
            let checked = holds(&round, &outcome, &outcomes);
            checked.map_err(|problem| format!("round {}: {problem}", number + 1))?;
            outcomes.push(outcome);
            clock.advance(SignedDuration::from_hours(1));
        }
        Ok(())
    }
}

fn holds(round: &Round, outcome: &Outcome, before: &[Outcome]) -> Checked {
    let report = &outcome.report;
    let mut codes: Vec<Code> = report
        .findings
        .iter()
        .filter(|finding| finding.needed)
        .map(|finding| finding.code)
        .collect();
    codes.sort_unstable();
    codes.dedup();
    if let Some(or) = round.or {
        for code in &mut codes {
            if *code == or {
                *code = round.codes[0];
            }
        }
        codes.dedup();
    }
    if (report.verdict, &codes) != (round.verdict, &round.codes) {
        let findings: Vec<String> = report
            .findings
            .iter()
            .map(|finding| format!("{}: {}", finding.code, finding.message))
            .collect();
        let seen: Vec<String> = outcome.seen.iter().map(line).collect();
        return Err(format!(
            "gave {} {codes:?} and not {} {:?}; found [{}]; asked: {}",
            report.verdict,
            round.verdict,
            round.codes,
            findings.join("; "),
            seen.join(", ")
        ));
    }
    round
        .looks
        .iter()
        .try_for_each(|look| look(outcome, before))
}

fn line(seen: &Seen) -> String {
    let Seen {
        connection,
        host,
        method,
        path,
        ..
    } = seen;
    format!("{connection}: {method} {host}{path}")
}
