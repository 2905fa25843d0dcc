//! The machine against a world written as text: each fault is a line.

use super::*;
use crate::verify::depth::{Place, Stretch};
use crate::verify::finding::Report;
use crate::verify::node::{BlobEdge, ChildEdge, Node};
use crate::verify::target::Needs;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// A registry as a map from names to what it answers.
#[derive(Default)]
struct World {
    tags: HashMap<&'static str, &'static str>,
    nodes: HashMap<Digest, Arc<Node>>,
    /// Objects that are not there.
    gone: HashSet<Digest>,
    /// Objects that are there again when asked a second time.
    flapping: HashSet<Digest>,
    faults: HashMap<Digest, Code>,
    sizes: HashMap<Digest, u64>,
    /// Blobs whose HEAD lies: only so many bytes can be read.
    short: HashMap<Digest, u64>,
    /// Blobs with other content.
    rotten: HashSet<Digest>,
    dead: bool,
    control_dead: bool,
    lies: bool,
    asked: Vec<Ask>,
    /// Moves the tag after that many questions.
    moves: Option<(usize, &'static str, &'static str)>,
}

impl World {
    /// `app -> idx[amd64 m1(c1 b1 b2), arm64 m2(c2 b1)]`
    fn standard() -> Self {
        let mut world = Self::default();
        world.tags.insert("app", "idx");
        world.index("idx", &[("linux/amd64", "m1"), ("linux/arm64", "m2")]);
        world.image("m1", &["c1", "b1", "b2"]);
        world.image("m2", &["c2", "b1"]);
        world
    }

    fn index(&mut self, name: &str, children: &[(&str, &str)]) {
        let edge = |(platform, child): &(&str, &str)| ChildEdge {
            digest: digest(child),
            size: 10,
            platform: (!platform.is_empty()).then(|| platform.parse().unwrap()),
            is_blob: false,
        };
        let shape = Shape::Index(children.iter().map(edge).collect());
        self.nodes
            .insert(digest(name), Arc::new(Node { size: 10, shape }));
    }

    fn image(&mut self, name: &str, blobs: &[&str]) {
        let edge = |blob: &&str| BlobEdge {
            digest: digest(blob),
            size: 7,
            is_distributable: true,
        };
        let edges: Vec<BlobEdge> = blobs.iter().map(edge).collect();
        let shape = Shape::Image {
            config: edges[0],
            layers: edges[1..].into(),
        };
        self.nodes
            .insert(digest(name), Arc::new(Node { size: 10, shape }));
    }

    fn answer(&mut self, question: &Question) -> Answer {
        self.asked.push(question.ask.clone());
        if let Some((after, tag, to)) = self.moves
            && self.asked.len() > after
        {
            self.tags.insert(tag, to);
        }
        let failed = |code: Code| Answer::Failed {
            code,
            message: "scripted".into(),
        };
        if self.dead {
            return failed(Code::Unreachable);
        }
        match &question.ask {
            Ask::Canary { .. } if self.lies => Answer::Manifest {
                node: None,
                size: None,
            },
            Ask::Canary { .. } => Answer::Absent,
            Ask::Control { .. } if self.control_dead => failed(Code::Timeout),
            Ask::Control { .. } => Answer::Alive,
            Ask::Tag { tag, .. } => match self.tags.get(&**tag) {
                Some(name) => Answer::Tag {
                    digest: digest(name),
                },
                None => Answer::Absent,
            },
            Ask::Config { .. } => Answer::Config {
                platform: "linux/amd64".parse().ok(),
            },
            Ask::ReadControl { digest, .. } if self.short.contains_key(digest) => {
                Answer::Short { read: 0 }
            }
            Ask::ReadControl { .. } => Answer::Blob { size: Some(7) },
            Ask::Blob { digest, depth, .. }
                if *depth > Depth::Head && self.short.contains_key(digest) =>
            {
                Answer::Short {
                    read: self.short[digest],
                }
            }
            Ask::Blob { digest, depth, .. }
                if *depth == Depth::Content && self.rotten.contains(digest) =>
            {
                Answer::WrongDigest
            }
            Ask::Manifest { digest, .. } | Ask::Access { digest } | Ask::Blob { digest, .. } => {
                if let Some(code) = self.faults.get(digest) {
                    return failed(*code);
                }
                if self.flapping.remove(digest) || self.gone.contains(digest) {
                    return Answer::Absent;
                }
                let is_blob = matches!(question.ask, Ask::Blob { .. });
                let size =
                    Some(
                        self.sizes
                            .get(digest)
                            .copied()
                            .unwrap_or(if is_blob { 7 } else { 10 }),
                    );
                if is_blob {
                    Answer::Blob { size }
                } else {
                    Answer::Manifest {
                        node: self.nodes.get(digest).cloned(),
                        size,
                    }
                }
            }
        }
    }

    fn count(&self, of: impl Fn(&Ask) -> bool) -> usize {
        self.asked.iter().filter(|ask| of(ask)).count()
    }
}

fn cadence() -> Cadence {
    Cadence {
        interval: SECOND * 600,
        blob_interval: SECOND * 3600,
    }
}

fn target(tag: &str, needs: Needs) -> Target {
    Target {
        repository: "team/app".into(),
        root: Root::Tag(tag.into()),
        content: AuthId::OWN,
        access: None,
        needs,
    }
}

fn run(table: Table, world: &mut World, targets: &[Target], now: i64) -> (Finished, Vec<Report>) {
    run_with(table, world, targets, now, Effort::default())
}

fn run_with(
    table: Table,
    world: &mut World,
    targets: &[Target],
    now: i64,
    effort: Effort,
) -> (Finished, Vec<Report>) {
    let mut now = Timestamp::from_second(now).unwrap();
    let targets: Arc<[Target]> = targets.into();
    let mut round = Round::begin(
        table,
        Arc::clone(&targets),
        cadence(),
        effort,
        digest("canary"),
        now,
    );
    let mut open = Vec::new();
    loop {
        while let Some(question) = round.next_question() {
            open.push(question);
        }
        if open.is_empty() {
            assert!(round.is_done(), "the machine stopped with questions left");
            break;
        }
        // The oldest first: answers come in another order than the questions were made.
        let question = open.remove(0);
        let answer = world.answer(&question);
        now += SignedDuration::from_millis(1);
        round.record(question, answer, now);
    }
    let finished = round.finish();
    let reports = targets
        .iter()
        .map(|target| judge::judge(target, &finished.table, &finished.resolved, cadence(), now))
        .collect();
    (finished, reports)
}

/// One image, one round.
fn check(world: &mut World, needs: Needs) -> Report {
    run(Table::default(), world, &[target("app", needs)], 0)
        .1
        .remove(0)
}

fn nodes(platforms: &[&str]) -> Needs {
    Needs::These(
        platforms
            .iter()
            .map(|platform| platform.parse().unwrap())
            .collect(),
    )
}

fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn a_whole_image_is_pullable_on_all_platforms() {
    let mut world = World::standard();
    let report = check(&mut world, Needs::All);
    assert_eq!(
        (
            report.verdict,
            report.findings.len(),
            report.platforms.len()
        ),
        (Verdict::Pullable, 0, 2)
    );
    assert!(report.proven_at.is_some() && report.fresh_until > report.proven_at);
    // idx, m1, m2; c1, b1, b2, c2: one question each, although b1 is shared.
    assert_eq!(world.count(|ask| matches!(ask, Ask::Manifest { .. })), 3);
    assert_eq!(world.count(|ask| matches!(ask, Ask::Blob { .. })), 4);
    assert_eq!(world.count(|ask| matches!(ask, Ask::Tag { .. })), 1);
}

#[test]
fn each_missing_object_is_named_with_the_way_to_it() {
    for (name, code, path, platform) in [
        ("idx", Code::ManifestMissing, vec![], None),
        ("m2", Code::ChildMissing, vec!["idx"], Some("linux/arm64")),
        (
            "c2",
            Code::ConfigMissing,
            vec!["idx", "m2"],
            Some("linux/arm64"),
        ),
        (
            "b2",
            Code::LayerMissing,
            vec!["idx", "m1"],
            Some("linux/amd64"),
        ),
    ] {
        let mut world = World::standard();
        world.gone.insert(digest(name));
        let report = check(&mut world, Needs::All);
        assert_eq!(report.verdict, Verdict::Broken, "{name}");
        assert_eq!(codes(&report), [code]);
        let finding = &report.findings[0];
        assert_eq!(finding.subject, Some(digest(name)));
        assert_eq!(
            finding.path,
            path.into_iter().map(digest).collect::<Vec<_>>()
        );
        assert_eq!(
            finding
                .platform
                .as_ref()
                .map(ToString::to_string)
                .as_deref(),
            platform
        );
        assert_eq!(report.proven_at, None);
        // The claim, a control, and the same again: nothing is missing by one answer.
        assert_eq!(world.count(|ask| matches!(ask, Ask::Control { .. })), 1);
        assert_eq!(
            world.count(|ask| matches!(ask,
                Ask::Manifest { digest: d, .. } | Ask::Blob { digest: d, .. } if *d == digest(name))),
            2
        );
    }
}

#[test]
fn a_missing_tag_is_broken_and_confirmed() {
    let mut world = World::standard();
    world.tags.clear();
    let report = check(&mut world, Needs::All);
    assert_eq!(
        (report.verdict, codes(&report)),
        (Verdict::Broken, vec![Code::TagMissing])
    );
    assert_eq!(world.count(|ask| matches!(ask, Ask::Tag { .. })), 2);
}

#[test]
fn a_claim_that_does_not_repeat_is_no_fact() {
    let mut world = World::standard();
    world.flapping.insert(digest("m2"));
    assert_eq!(check(&mut world, Needs::All).verdict, Verdict::Pullable);
}

#[test]
fn a_registry_that_fails_the_control_makes_nothing_missing() {
    let mut world = World::standard();
    world.gone.insert(digest("m2"));
    world.control_dead = true;
    let report = check(&mut world, Needs::All);
    assert_eq!(
        (report.verdict, codes(&report)),
        (Verdict::Unknown, vec![Code::Timeout])
    );
}

#[test]
fn every_fault_that_is_no_proof_is_unknown() {
    for code in Code::ALL
        .iter()
        .filter(|code| code.verdict() == Verdict::Unknown)
    {
        for name in ["idx", "m1", "c1", "b2"] {
            let mut world = World::standard();
            world.faults.insert(digest(name), *code);
            let report = check(&mut world, Needs::All);
            assert_eq!(
                (report.verdict, codes(&report)),
                (Verdict::Unknown, vec![*code]),
                "{name}"
            );
        }
    }
}

#[test]
fn a_wrong_size_is_broken_and_a_size_that_is_not_told_is_not() {
    let mut world = World::standard();
    world.sizes.insert(digest("b2"), 6);
    let report = check(&mut world, Needs::All);
    assert_eq!(
        (report.verdict, codes(&report)),
        (Verdict::Broken, vec![Code::SizeMismatch])
    );
}

#[test]
fn what_nobody_needs_is_listed_and_decides_nothing() {
    let mut world = World::standard();
    world.gone.insert(digest("m2"));
    let report = check(&mut world, nodes(&["linux/amd64"]));
    assert_eq!(
        (report.verdict, codes(&report)),
        (Verdict::Pullable, vec![Code::ChildMissing])
    );
    assert!(!report.findings[0].needed);
    assert_eq!(
        report
            .platforms
            .iter()
            .map(|p| (p.needed, p.verdict))
            .collect::<Vec<_>>(),
        [(true, Verdict::Pullable), (false, Verdict::Broken)]
    );
    assert_eq!(
        check(&mut world, nodes(&["linux/arm64"])).verdict,
        Verdict::Broken
    );
}

#[test]
fn a_missing_attestation_is_nobodys_loss() {
    let mut world = World::standard();
    world.index("idx", &[("linux/amd64", "m1"), ("unknown/unknown", "gone")]);
    world.gone.insert(digest("gone"));
    assert_eq!(check(&mut world, Needs::All).verdict, Verdict::Pullable);
}

#[test]
fn a_platform_that_nodes_need_and_the_index_lacks_is_broken() {
    let report = check(
        &mut World::standard(),
        nodes(&["linux/amd64", "linux/riscv64"]),
    );
    assert_eq!(
        (report.verdict, codes(&report)),
        (Verdict::Broken, vec![Code::PlatformMissing])
    );
    assert_eq!(report.platforms[2].digest, None);
}

#[test]
fn a_registry_that_has_what_cannot_exist_proves_nothing() {
    let mut world = World::standard();
    world.lies = true;
    let report = check(&mut world, Needs::All);
    assert_eq!(
        (report.verdict, codes(&report)),
        (Verdict::Unknown, vec![Code::Untrusted])
    );
}

#[test]
fn a_dead_registry_is_given_up_and_everything_is_unknown() {
    let mut world = World {
        dead: true,
        ..World::standard()
    };
    let targets: Vec<Target> = (0..500)
        .map(|n| target(&format!("t{n}"), Needs::All))
        .collect();
    let (finished, reports) = run(Table::default(), &mut world, &targets, 0);
    assert!(!finished.is_up);
    assert!(
        reports
            .iter()
            .all(|report| codes(report) == [Code::Unreachable])
    );
}

#[test]
fn the_second_round_gets_no_manifest_and_asks_blobs_only_when_due() {
    let mut world = World::standard();
    let targets = [target("app", Needs::All)];
    let (finished, _) = run(Table::default(), &mut world, &targets, 0);
    world.asked.clear();
    let (finished, reports) = run(finished.table, &mut world, &targets, 600);
    assert_eq!(
        world.count(|ask| matches!(ask, Ask::Manifest { known: false, .. })),
        0
    );
    assert_eq!(
        world.count(|ask| matches!(ask, Ask::Manifest { known: true, .. })),
        3
    );
    assert_eq!(world.count(|ask| matches!(ask, Ask::Blob { .. })), 0);
    assert_eq!(
        reports[0].proven_at.unwrap().get(),
        0,
        "a proof is as old as its oldest object"
    );
    world.asked.clear();
    run(finished.table, &mut world, &targets, 3700);
    assert_eq!(world.count(|ask| matches!(ask, Ask::Blob { .. })), 4);
}

#[test]
fn a_tag_that_moves_while_it_is_walked_is_judged_by_what_it_names_at_the_end() {
    let mut world = World::standard();
    world.index("new", &[("linux/amd64", "m1")]);
    world.gone.insert(digest("m2"));
    world.moves = Some((3, "app", "new"));
    let report = check(&mut world, Needs::All);
    assert_eq!(
        (report.verdict, report.digest),
        (Verdict::Pullable, Some(digest("new")))
    );
}

#[test]
fn loops_and_deep_indexes_end() {
    let mut world = World::standard();
    world.index("idx", &[("", "a")]);
    for (name, child) in [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "idx")] {
        world.index(name, &[("", child)]);
    }
    let report = check(&mut world, Needs::All);
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(codes(&report).contains(&Code::Unsupported));
}

#[test]
fn a_diamond_of_indexes_costs_what_it_has_and_not_what_it_spans() {
    let mut world = World::standard();
    let wide: Vec<(&str, &str)> = vec![("", "l1"); 500];
    world.index("idx", &wide);
    world.index("l1", &vec![("", "l2"); 500]);
    world.index("l2", &vec![("", "l3"); 500]);
    world.image("l3", &["c1"]);
    let report = check(&mut world, Needs::All);
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(world.asked.len() < 50 && report.findings.len() < 10);
}

#[test]
fn a_workload_that_may_not_pull_is_unknown_and_the_content_still_exists() {
    let mut world = World::standard();
    let with_secret = Target {
        access: Some(AuthId(1)),
        ..target("app", Needs::All)
    };
    let table = Table::default();
    let now = Timestamp::UNIX_EPOCH;
    let targets: Arc<[Target]> = [with_secret.clone()].into();
    let mut round = Round::begin(
        table,
        targets,
        cadence(),
        Effort::default(),
        digest("canary"),
        now,
    );
    while let Some(question) = round.next_question() {
        let answer = if question.auth == AuthId(1) {
            Answer::Failed {
                code: Code::Forbidden,
                message: "denied".into(),
            }
        } else {
            world.answer(&question)
        };
        round.record(question, answer, now);
    }
    let finished = round.finish();
    let report = judge::judge(
        &with_secret,
        &finished.table,
        &finished.resolved,
        cadence(),
        now,
    );
    assert_eq!(
        (report.verdict, codes(&report)),
        (Verdict::Unknown, vec![Code::Forbidden])
    );
    assert!(
        report
            .platforms
            .iter()
            .all(|platform| platform.verdict == Verdict::Pullable)
    );
}

#[test]
fn the_table_forgets_what_no_image_names() {
    let mut world = World::standard();
    let (finished, _) = run(
        Table::default(),
        &mut world,
        &[target("app", Needs::All)],
        0,
    );
    world.index("idx", &[("linux/amd64", "m1")]);
    world.tags.insert("app", "new");
    world.index("new", &[("linux/amd64", "m1")]);
    let (finished, _) = run(
        finished.table,
        &mut world,
        &[target("app", Needs::All)],
        600,
    );
    let mut table = finished.table;
    assert_eq!(table.manifests(), 4);
    table.forget_unreached();
    assert_eq!((table.manifests(), table.objects.len()), (2, 5));
}

#[test]
fn other_content_is_broken_only_when_it_comes_twice() {
    for (times, verdict) in [(1, Verdict::Pullable), (2, Verdict::Broken)] {
        let mut lies = times;
        let (_, report) = scripted(&mut World::standard(), &mut |question| {
            let is_lied_about = matches!(&question.ask,
                Ask::Manifest { digest: asked, .. } if *asked == digest("m2"));
            (is_lied_about && lies > 0).then(|| {
                lies -= 1;
                Answer::WrongDigest
            })
        });
        assert_eq!(report.verdict, verdict);
        let expected: &[Code] = if times == 2 {
            &[Code::DigestMismatch]
        } else {
            &[]
        };
        assert_eq!(codes(&report), expected);
    }
}

/// Runs one image with answers of one's own where the script has some.
fn scripted(
    world: &mut World,
    script: &mut dyn FnMut(&Question) -> Option<Answer>,
) -> (Finished, Report) {
    scripted_with(world, Effort::default(), script)
}

fn scripted_with(
    world: &mut World,
    effort: Effort,
    script: &mut dyn FnMut(&Question) -> Option<Answer>,
) -> (Finished, Report) {
    let targets: Arc<[Target]> = [target("app", Needs::All)].into();
    let now = Timestamp::UNIX_EPOCH;
    let mut round = Round::begin(
        Table::default(),
        Arc::clone(&targets),
        cadence(),
        effort,
        digest("canary"),
        now,
    );
    let mut asked = 0;
    while let Some(question) = round.next_question() {
        asked += 1;
        assert!(asked < 100, "the round does not end");
        let answer = script(&question).unwrap_or_else(|| world.answer(&question));
        round.record(question, answer, now);
    }
    let finished = round.finish();
    let report = judge::judge(
        &targets[0],
        &finished.table,
        &finished.resolved,
        cadence(),
        now,
    );
    (finished, report)
}

#[test]
fn a_tag_that_says_nothing_when_it_is_asked_again_ends_the_round() {
    for code in [Code::Unauthorized, Code::ServerError, Code::Forbidden] {
        let mut world = World::standard();
        world.faults.insert(digest("m2"), code);
        let mut tags = 0;
        let (_, report) = scripted(&mut world, &mut |question| {
            let is_tag = matches!(question.ask, Ask::Tag { .. });
            tags += u32::from(is_tag);
            (is_tag && tags > 1).then(|| Answer::Failed {
                code,
                message: "scripted".into(),
            })
        });
        assert_eq!(
            (report.verdict, codes(&report)),
            (Verdict::Unknown, vec![code])
        );
    }
}

#[test]
fn an_index_of_nothing_is_nothing_to_pull() {
    for children in [&[][..], &[("unknown/unknown", "m1")][..]] {
        let mut world = World::standard();
        world.index("idx", children);
        let report = check(&mut world, Needs::All);
        assert_eq!(
            (report.verdict, codes(&report)),
            (Verdict::Broken, vec![Code::PlatformMissing])
        );
    }
}

#[test]
fn other_content_from_what_answers_everything_is_no_fact() {
    let hangs = || Answer::Failed {
        code: Code::Timeout,
        message: "no answer".into(),
    };
    for (second_canary, verdict, code) in [
        (None, Verdict::Broken, Code::SizeMismatch),
        (Some(Answer::Alive), Verdict::Unknown, Code::Untrusted),
        (Some(hangs()), Verdict::Unknown, Code::Timeout),
    ] {
        let mut world = World::standard();
        world.sizes.insert(digest("b2"), 6);
        let mut canaries = 0;
        let (finished, report) = scripted(&mut world, &mut |question| {
            canaries += u32::from(matches!(question.ask, Ask::Canary { .. }));
            // A maintenance page that began after the first canary was well.
            let is_second = matches!(question.ask, Ask::Canary { .. }) && canaries > 1;
            second_canary.clone().filter(|_| is_second)
        });
        assert_eq!(
            (report.verdict, codes(&report), canaries),
            (verdict, vec![code], 2)
        );
        assert!(finished.is_up);
        let verdicts = report.platforms.iter().map(|platform| platform.verdict);
        assert_eq!(verdicts.max(), (code != Code::Untrusted).then_some(verdict));
    }
}

#[test]
fn what_had_no_answer_is_asked_once_more_before_the_round_ends() {
    for code in [Code::ServerError, Code::Timeout, Code::Unreachable] {
        let mut world = World::standard();
        let mut failed: HashSet<String> = HashSet::new();
        let (finished, report) = scripted(&mut world, &mut |question| {
            let is_canary = matches!(question.ask, Ask::Canary { .. });
            let asked = format!("{:?}", question.ask);
            // Each fails at first, but for what tells that anybody is there.
            (!is_canary && failed.len().is_multiple_of(2) && failed.insert(asked)).then(|| {
                Answer::Failed {
                    code,
                    message: "scripted".into(),
                }
            })
        });
        assert_eq!(report.verdict, Verdict::Pullable, "{:?}", codes(&report));
        assert!(finished.is_up);
    }
}

#[test]
fn what_is_missing_the_second_time_is_confirmed_all_the_same() {
    let mut world = World::standard();
    world.gone.insert(digest("b2"));
    let (mut fails, mut controls) = (1, 0);
    let (_, report) = scripted(&mut world, &mut |question| {
        controls += u32::from(matches!(question.ask, Ask::Control { .. }));
        let is_it = matches!(question.ask, Ask::Blob { digest: of, .. } if of == digest("b2"));
        (is_it && std::mem::take(&mut fails) > 0).then(|| Answer::Failed {
            code: Code::ServerError,
            message: "scripted".into(),
        })
    });
    assert_eq!((codes(&report), controls), (vec![Code::LayerMissing], 1));
}

#[test]
fn what_never_has_an_answer_is_asked_for_three_times_a_round_and_by_a_refusal_once() {
    for (code, times) in [
        (Code::ServerError, 3),
        (Code::Forbidden, 1),
        (Code::RateLimited, 1),
    ] {
        let mut world = World::standard();
        world.faults.insert(digest("b2"), code);
        let report = check(&mut world, Needs::All);
        assert_eq!(codes(&report), [code]);
        let is_it = |ask: &Ask| matches!(ask, Ask::Blob { digest: of, .. } if *of == digest("b2"));
        assert_eq!(world.count(is_it), times, "{code:?}");
    }
}

#[test]
fn a_registry_that_fails_more_than_it_answers_is_left_alone() {
    let mut world = World::standard();
    world.tags.insert("app", "large");
    let blobs = ["c", "l1", "l2", "l3", "l4", "l5", "l6", "l7"];
    world.image("large", &blobs);
    let mut asked = 0;
    let (_, report) = scripted(&mut world, &mut |question| {
        let is_blob = matches!(question.ask, Ask::Blob { .. });
        asked += usize::from(is_blob);
        is_blob.then(|| Answer::Failed {
            code: Code::ServerError,
            message: "scripted".into(),
        })
    });
    assert_eq!(report.verdict, Verdict::Unknown);
    assert_eq!(asked, blobs.len());
}

#[test]
fn a_registry_that_only_says_5xx_is_not_up() {
    let mut world = World::standard();
    let (finished, report) = scripted(&mut world, &mut |_| {
        Some(Answer::Failed {
            code: Code::ServerError,
            message: "503".into(),
        })
    });
    assert!(!finished.is_up);
    assert_eq!(report.verdict, Verdict::Unknown);
}

fn reading(depth: Depth) -> Effort {
    Effort {
        depth,
        ..Effort::default()
    }
}

#[test]
fn a_head_that_lies_is_found_by_reading_and_stays_found() {
    let mut world = World::standard();
    world.short.insert(digest("b2"), 0);
    let targets = [target("app", Needs::All)];
    let (finished, reports) = run(Table::default(), &mut world, &targets, 0);
    assert_eq!(
        reports[0].verdict,
        Verdict::Pullable,
        "what a HEAD can know"
    );
    let effort = reading(Depth::Read);
    let (finished, reports) = run_with(finished.table, &mut world, &targets, 600, effort);
    assert_eq!(codes(&reports[0]), [Code::LayerMissing]);
    assert_eq!(
        world.count(|ask| matches!(ask, Ask::ReadControl { .. })),
        1,
        "one control for all claims"
    );
    // A later round that does not read all still reads what was found broken by reading.
    let (finished, reports) = run(finished.table, &mut world, &targets, 1200);
    assert_eq!(codes(&reports[0]), [Code::LayerMissing]);
    world.short.clear();
    let (_, reports) = run(finished.table, &mut world, &targets, 1800);
    assert_eq!(reports[0].verdict, Verdict::Pullable);
}

#[test]
fn what_another_round_found_broken_inside_is_not_taken_for_whole() {
    let suspects = crate::verify::suspects::Suspects::new(Vec::new());
    let mut world = World::standard();
    world.rotten.insert(digest("b1"));
    let targets = [target("app", Needs::All)];
    let effort = reading(Depth::Content);
    let (finished, reports) = run_with(Table::default(), &mut world, &targets, 0, effort);
    assert_eq!(reports[0].verdict, Verdict::Broken);
    suspects.learn(&finished.table);
    let remembered = suspects.list();
    assert_eq!(remembered.len(), 1);
    // Another table, after a restart: a HEAD would say that it is whole.
    let suspects = crate::verify::suspects::Suspects::new(remembered);
    let mut table = Table::default();
    suspects.tell(&mut table);
    let (finished, reports) = run(table, &mut world, &targets, 10);
    assert_eq!(
        codes(&reports[0]),
        [Code::DigestMismatch, Code::DigestMismatch]
    );
    suspects.learn(&finished.table);
    assert_eq!(suspects.list().len(), 1);
    world.rotten.clear();
    let mut table = finished.table;
    suspects.tell(&mut table);
    let (finished, reports) = run(table, &mut world, &targets, 20);
    assert_eq!(reports[0].verdict, Verdict::Pullable);
    suspects.learn(&finished.table);
    assert!(suspects.list().is_empty(), "it was hashed, and is whole");
}

#[test]
fn a_short_read_counts_only_beside_one_that_is_well() {
    // Nothing can be read: the disk may be away. That is not known, and not broken.
    let mut world = World::standard();
    for blob in ["b1", "b2", "c1", "c2"] {
        world.short.insert(digest(blob), 0);
    }
    let targets = [target("app", Needs::All)];
    let effort = reading(Depth::Read);
    let (_, reports) = run_with(Table::default(), &mut world, &targets, 0, effort);
    assert_eq!(reports[0].verdict, Verdict::Unknown, "{:?}", reports[0]);
    // Cut off in the middle: its size is what is wrong.
    let mut world = World::standard();
    world.short.insert(digest("b2"), 3);
    let (_, reports) = run_with(Table::default(), &mut world, &targets, 0, effort);
    assert_eq!(codes(&reports[0]), [Code::SizeMismatch]);
    // Short once, and well when it is asked again.
    let mut world = World::standard();
    let mut is_first = true;
    let (_, report) = scripted_with(&mut world, effort, &mut |question| {
        let is_b2 =
            matches!(question.ask, Ask::Blob { digest: asked, .. } if asked == digest("b2"));
        (is_b2 && std::mem::take(&mut is_first)).then_some(Answer::Short { read: 0 })
    });
    assert_eq!(report.verdict, Verdict::Pullable);
    assert!(!is_first);
}

/// The rotation's turn of one blob, and by the wildest chance of another.
fn turn_of(digest: &Digest) -> Stretch {
    Stretch::in_rounds(Place::of(digest), NonZeroU32::MAX).0
}

#[test]
fn a_control_is_looked_for_where_only_one_blob_was_read() {
    let mut world = World::standard();
    world.short.insert(digest("b2"), 0);
    let targets = [target("app", Needs::All)];
    let (finished, _) = run(Table::default(), &mut world, &targets, 0);
    // The rotation's turn of that one blob.
    let effort = Effort {
        share: Some(turn_of(&digest("b2"))),
        ..Effort::default()
    };
    let (_, reports) = run_with(finished.table, &mut world, &targets, 600, effort);
    assert_eq!(codes(&reports[0]), [Code::LayerMissing]);
}

#[test]
fn the_scrub_hashes_by_its_budget_and_goes_on() {
    let mut world = World::standard();
    world.rotten.insert(digest("b2"));
    let targets = [target("app", Needs::All)];
    let mut scrub = Scrub::default();
    let mut table = Table::default();
    let mut hashed = Vec::new();
    for round in 0..4 {
        let effort = Effort {
            depth: Depth::Content,
            share: None,
            scrub: Some(scrub.replenished(7)),
        };
        world.asked.clear();
        let (finished, reports) = run_with(table, &mut world, &targets, round * 600, effort);
        let of_round: Vec<Digest> = world
            .asked
            .iter()
            .filter_map(|ask| match ask {
                Ask::Blob {
                    digest,
                    depth: Depth::Content,
                    ..
                } => Some(*digest),
                _ => None,
            })
            .collect();
        hashed.extend(of_round);
        scrub = finished.scrub.unwrap();
        table = finished.table;
        let is_found = hashed.contains(&digest("b2"));
        assert_eq!(reports[0].verdict == Verdict::Broken, is_found, "{round}");
    }
    hashed.sort();
    hashed.dedup();
    assert_eq!(hashed.len(), 4, "four blobs of 7 bytes in four rounds");
}

#[test]
fn an_unchanged_tag_is_asked_for_with_what_it_named() {
    let mut world = World::standard();
    let targets = [target("app", Needs::All)];
    let (finished, _) = run(Table::default(), &mut world, &targets, 0);
    assert_eq!(
        world.count(|ask| matches!(ask, Ask::Tag { last: None, .. })),
        1
    );
    let idx = digest("idx");
    world.asked.clear();
    let (finished, _) = run(finished.table, &mut world, &targets, 600);
    assert_eq!(
        world.count(|ask| matches!(ask, Ask::Tag { last: Some(last), .. } if *last == idx)),
        1
    );
    // A walk that does not end well resolves again, without believing what it knew.
    world.gone.insert(digest("b1"));
    world.asked.clear();
    run(finished.table, &mut world, &targets, 4200);
    assert_eq!(
        world.count(|ask| matches!(ask, Ask::Tag { last: None, .. })),
        1
    );
}
