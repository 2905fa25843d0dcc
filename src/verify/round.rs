//! One round over the images of one registry, as a machine: it says what to ask, and is told the
//! answers. It reads no clock and opens no connection, so that each fault is a line in a test.
//!
//! Depth first: the newest question is asked first, so that an image's walk ends soon after its tag
//! was resolved, and a tag that moves meanwhile is rare.
//!
//! A `404` is only a claim. It becomes `Missing` when a control object of the same registry answered
//! after it and a second request on a new connection says the same. Three requests, at once: a
//! registry behind a lagging replica or a broken proxy does not page anybody.
//!
//! A read that ends too early is a claim of another kind, see [`Shorts`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::depth::{Depth, Effort, Scrub};
use super::finding::{Code, Report, Verdict};
use super::judge;
use super::node::Shape;
use super::question::{Answer, Ask, Question, Trace};
use super::shorts::{Readable, Shorts};
use super::table::{Fact, ObjectKey, ObjectKind, ObjectState, RepositoryId, Table, TagKey};
use super::target::{AuthId, Cadence, Root, Target};
use super::unanswered::Unanswered;
use crate::oci::digest::Digest;

/// An index in an index in an index in an index: deeper ones are not followed.
pub const DEPTH_MAX: u8 = 4;
/// Most objects that are followed below one root.
pub const NODES_MAX: u32 = 4096;
/// A walk that took longer has its tag resolved again.
const WALK_LONG: SignedDuration = SignedDuration::from_secs(30);
/// So many failures to reach the registry in a row, none reached between them, end the round: the
/// rest would only wait for the same timeout.
const UNREACHED_IN_A_ROW_MAX: u32 = 16;
/// What a blob is taken to cost whose size the registry does not tell.
const SCRUB_SIZE_UNKNOWN: u64 = 16 << 20;
/// A registry that could not be asked for what cannot exist is asked once more, at the end.
const CANARIES_MAX: u8 = 2;
/// The root in the trace of a canary that is asked for on account of one repository.
const OF_REPOSITORY: u32 = u32::MAX;
/// How often a tag is followed within one round when it keeps moving.
const RESOLUTIONS_MAX: u8 = 4;

/// What a tag was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagState {
    Resolved { digest: Digest, at: Timestamp },
    Missing { at: Timestamp },
    Unknown { code: Code, message: Arc<str> },
}

/// The results of a round that do not outlive it.
#[derive(Debug, Default)]
pub struct Resolved {
    tags: TagStates,
    /// Roots under which not everything was followed.
    pub(super) over_budget: HashSet<Digest>,
    /// The registry claims to have what cannot exist.
    pub(super) untrusted: bool,
    /// Whether it claims that could not be asked, for this reason: then nothing that it says is a proof.
    pub(super) unasked: Option<(Code, Arc<str>)>,
    /// Repositories of which the same is true.
    pub(super) untrusted_repositories: HashSet<RepositoryId>,
    /// Where their own could not be asked, and why: a mismatch there is no fact yet.
    pub(super) doubted_repositories: HashMap<RepositoryId, (Code, Arc<str>)>,
}

/// By the numbers of the tags.
#[derive(Debug, Default)]
struct TagStates(Vec<Option<TagState>>);

impl TagStates {
    fn get(&self, id: u32) -> Option<&TagState> {
        self.0.get(id as usize)?.as_ref()
    }

    fn slot(&mut self, id: u32) -> &mut Option<TagState> {
        let at = id as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, None);
        }
        self.0.get_mut(at).expect("there is room for it")
    }
}

impl Resolved {
    /// What a tag was found to be.
    pub(super) fn tag(&self, table: &Table, key: &TagKey) -> Option<&TagState> {
        self.tags.get(table.known_tag(key)?)
    }
}

/// What is meant with a tag in this round.
#[derive(Debug, Clone, Copy, Default)]
struct TagPlan {
    resolutions: u8,
    /// Its image is to be walked, not only asked for.
    is_walked: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Round {
    table: Table,
    targets: Arc<[Target]>,
    /// How many targets' roots were asked for. The others wait, so that the stack holds one image's
    /// questions and not a whole registry's.
    begun: usize,
    cadence: Cadence,
    effort: Effort,
    now: Timestamp,
    stack: Vec<Question>,
    in_flight: usize,
    resolved: Resolved,
    /// By the numbers of the tags.
    plans: Vec<TagPlan>,
    budgets: Vec<u32>,
    roots: Vec<Digest>,
    /// Claims of absence that wait for a control asked after them.
    claims: Vec<Question>,
    /// Claims that the control now in flight will vouch for.
    controlled: Vec<Question>,
    shorts: Shorts,
    /// The scrub that this round has not begun yet.
    to_scrub: Option<Scrub>,
    proven: Option<(AuthId, Arc<str>, Digest, ObjectKind)>,
    unreached: u32,
    gave_up: Option<(Code, Arc<str>)>,
    started_at: Timestamp,
    finishing: bool,
    canary: Digest,
    /// How often the registry was asked for what cannot exist.
    canaries: u8,
    /// Repositories that had a canary of their own.
    canaried: HashSet<RepositoryId>,
    /// The registry said something that only a registry says.
    has_spoken: bool,
    /// It said that it was asked too much.
    was_limited: bool,
    unanswered: Unanswered,
}

/// What a finished round leaves.
#[derive(Debug)]
pub struct Finished {
    pub table: Table,
    pub resolved: Resolved,
    /// The registry answered at least once, and was not given up.
    pub is_up: bool,
    /// Where the scrub goes on, and what it has left.
    pub scrub: Option<Scrub>,
}

impl Round {
    /// Begins a round. `canary` is a digest that nobody can have made.
    pub fn begin(
        mut table: Table,
        targets: Arc<[Target]>,
        cadence: Cadence,
        effort: Effort,
        canary: Digest,
        now: Timestamp,
    ) -> Self {
        table.round = table.round.wrapping_add(1);
        let mut round = Self {
            table,
            targets,
            begun: 0,
            cadence,
            effort,
            now,
            stack: Vec::new(),
            in_flight: 0,
            resolved: Resolved::default(),
            plans: Vec::new(),
            budgets: Vec::new(),
            roots: Vec::new(),
            claims: Vec::new(),
            controlled: Vec::new(),
            shorts: Shorts::default(),
            to_scrub: effort.scrub.filter(|_| effort.depth == Depth::Content),
            proven: None,
            unreached: 0,
            gave_up: None,
            started_at: now,
            finishing: false,
            canary,
            canaries: 1,
            canaried: HashSet::new(),
            has_spoken: false,
            was_limited: false,
            unanswered: Unanswered::default(),
        };
        let targets = Arc::clone(&round.targets);
        for target in targets.iter() {
            round.plan_root(target, target.content, true);
            if let Some(access) = target.access {
                round.plan_root(target, access, false);
            }
        }
        if let Some(target) = targets.first() {
            round.ask_canary(target, false, Trace::default());
        }
        round
    }

    /// The next question, if there is one now. None while others are in flight may become some when
    /// they are answered; [`Self::is_done`] tells the end.
    pub fn next_question(&mut self) -> Option<Question> {
        if let Some((code, message)) = self.gave_up.clone() {
            self.claims.extend(self.shorts.give_up());
            while let Some(question) = self.pop().or_else(|| self.claims.pop()) {
                self.fail(&question, code, &message);
            }
            return None;
        }
        if self.controlled.is_empty() && !self.claims.is_empty() {
            self.controlled = std::mem::take(&mut self.claims);
            let control = self.control(true);
            self.in_flight += 1;
            return Some(control);
        }
        if let Some(control) = self.shorts.control() {
            self.in_flight += 1;
            return Some(control);
        }
        if let Some(question) = self.pop() {
            self.in_flight += 1;
            return Some(question);
        }
        if self.in_flight == 0 && !self.finishing {
            self.last_steps();
            if let Some(question) = self.shorts.control().or_else(|| self.stack.pop()) {
                self.in_flight += 1;
                return Some(question);
            }
            self.finishing = true;
        }
        None
    }

    /// The newest question, or that of the next root.
    fn pop(&mut self) -> Option<Question> {
        while self.stack.is_empty() {
            let targets = Arc::clone(&self.targets);
            let target = targets.get(self.begun)?;
            self.begun += 1;
            self.ask_root(target, target.content, true);
            if let Some(access) = target.access {
                self.ask_root(target, access, false);
            }
        }
        self.stack.pop()
    }

    /// What is done when nothing is left to ask: in this order, each when the one before has no more.
    fn last_steps(&mut self) {
        self.find_readable();
        if self.shorts.is_waiting() {
            return;
        }
        self.stack.extend(self.unanswered.again());
        if !self.stack.is_empty() {
            return;
        }
        if self.resolved.unasked.is_some() && self.canaries < CANARIES_MAX {
            self.canaries += 1;
            let targets = Arc::clone(&self.targets);
            if let Some(target) = targets.first() {
                self.ask_canary(target, true, Trace::default());
            }
            return;
        }
        if let Some(scrub) = self.to_scrub.take() {
            self.scrub(scrub);
        }
        if self.stack.is_empty() {
            self.resolve_again();
        }
    }

    pub fn is_done(&self) -> bool {
        self.in_flight == 0
            && self.stack.is_empty()
            && self.begun == self.targets.len()
            && self.claims.is_empty()
            && (self.finishing || self.gave_up.is_some())
    }

    /// Takes the answer to a question that [`Self::next_question`] gave.
    pub fn record(&mut self, question: Question, answer: Answer, now: Timestamp) {
        self.now = self.now.max(now);
        self.in_flight -= 1;
        // Whoever stands in front of a dead registry answers 5xx too.
        self.has_spoken |= !matches!(
            answer,
            Answer::Failed {
                code: Code::ServerError | Code::Unreachable | Code::Timeout | Code::Tls,
                ..
            }
        );
        self.unanswered.heard(&question, &answer);
        self.was_limited |= matches!(
            answer,
            Answer::Failed {
                code: Code::RateLimited,
                ..
            }
        );
        match &answer {
            Answer::Failed {
                code: code @ (Code::Unreachable | Code::Timeout | Code::Tls),
                message,
            } => {
                self.unreached += 1;
                if self.unreached >= UNREACHED_IN_A_ROW_MAX {
                    self.gave_up = Some((*code, Arc::clone(message)));
                }
            }
            Answer::Tag { .. }
            | Answer::Manifest { .. }
            | Answer::Blob { .. }
            | Answer::Config { .. }
            | Answer::Alive
            | Answer::Absent
            | Answer::WrongDigest
            | Answer::Short { .. }
            | Answer::Failed { .. } => self.unreached = 0,
        }
        match question.ask.clone() {
            Ask::Canary { .. } => self.record_canary(&question, &answer),
            Ask::Control { proven } => self.record_control(proven.is_some(), &answer),
            Ask::ReadControl { .. } => self.record_read_control(&answer),
            Ask::Tag { tag, .. } => self.record_tag(question, tag, answer),
            Ask::Manifest { digest, .. } => {
                self.record_object(question, digest, ObjectKind::Manifest, answer);
            }
            Ask::Access { digest } => {
                self.record_object(question, digest, ObjectKind::Access, answer);
            }
            Ask::Blob { digest, .. } => {
                self.record_object(question, digest, ObjectKind::Blob, answer);
            }
            Ask::Config { digest } => {
                // A config that cannot be read leaves the platform open; its absence is found by
                // the question for the blob itself.
                if let Answer::Config { platform } = answer {
                    self.table.configs.insert(digest, platform);
                }
            }
        }
    }

    /// How many questions are known to be open, for a progress bar.
    pub fn open(&self) -> usize {
        let waiting = self.targets.len() - self.begun;
        waiting + self.stack.len() + self.in_flight + self.claims.len() + self.shorts.len()
    }

    pub fn finish(mut self) -> Finished {
        let is_up = match self.gave_up {
            // It answers, although not with what was asked for.
            Some((code, _)) => code == Code::Untrusted,
            // One that asks for patience is there.
            None => {
                self.has_spoken
                    && (self.unreached == 0 || self.proven.is_some() || self.was_limited)
            }
        };
        for (state, id) in self.resolved.tags.0.iter().zip(0_u32..) {
            if let Some(tag) = self.table.tag_mut(id) {
                match state {
                    Some(TagState::Resolved { digest, .. }) => tag.last = Some(*digest),
                    Some(TagState::Missing { .. }) => tag.last = None,
                    Some(TagState::Unknown { .. }) | None => {}
                }
            }
        }
        Finished {
            table: self.table,
            resolved: self.resolved,
            is_up,
            scrub: self.effort.scrub,
        }
    }

    /// Says what will be meant with a target's tag, before it or another target with the same tag is
    /// asked for.
    fn plan_root(&mut self, target: &Target, auth: AuthId, is_walked: bool) {
        if let Root::Tag(tag) = &target.root {
            let id = self.table.repository_id(&target.repository);
            let tag = self.table.tag_id((auth, id, Arc::clone(tag)));
            let round = self.table.round;
            if let Some(known) = self.table.tag_mut(tag) {
                known.round = round;
            }
            self.plan(tag).is_walked |= is_walked;
        }
    }

    fn plan(&mut self, tag: u32) -> &mut TagPlan {
        let at = tag as usize;
        if at >= self.plans.len() {
            self.plans.resize(at + 1, TagPlan::default());
        }
        self.plans.get_mut(at).expect("there is room for it")
    }

    fn ask_root(&mut self, target: &Target, auth: AuthId, expand: bool) {
        let id = self.table.repository_id(&target.repository);
        match &target.root {
            Root::Tag(tag) => {
                let number = self.table.tag_id((auth, id, Arc::clone(tag)));
                let plan = self.plan(number);
                if plan.resolutions == 0 {
                    plan.resolutions = 1;
                    let last = self.table.tag(number).and_then(|known| known.last);
                    let tag = Arc::clone(tag);
                    self.push(
                        auth,
                        &target.repository,
                        Ask::Tag { tag, last },
                        Trace::default(),
                    );
                }
            }
            Root::Digest(digest) if expand => self.visit_root(auth, &target.repository, *digest),
            Root::Digest(digest) => {
                let key = ObjectKey {
                    auth,
                    repository: id,
                    digest: *digest,
                    kind: ObjectKind::Access,
                };
                if self.reach(key, 0) {
                    self.push(
                        auth,
                        &target.repository,
                        Ask::Access { digest: *digest },
                        Trace::default(),
                    );
                }
            }
        }
    }

    fn push(&mut self, auth: AuthId, repository: &Arc<str>, ask: Ask, trace: Trace) {
        let repository = Arc::clone(repository);
        self.stack.push(Question {
            auth,
            repository,
            ask,
            confirm: false,
            trace,
        });
    }

    fn visit_root(&mut self, auth: AuthId, repository: &Arc<str>, digest: Digest) {
        let root = u32::try_from(self.roots.len()).expect("fewer than 2^32 roots");
        self.roots.push(digest);
        self.budgets.push(NODES_MAX);
        self.visit_manifest(auth, repository, digest, Trace { root, depth: 0 });
    }

    /// Marks an object as reached. True if it has to be asked for.
    fn reach(&mut self, key: ObjectKey, depth: u8) -> bool {
        let round = self.table.round;
        let suspect = self.table.suspects.get(&(key.repository, key.digest));
        let suspect = suspect.copied().unwrap_or_default();
        let state = self.table.objects.get_or_insert(
            key,
            ObjectState {
                fact: Fact::Unasked,
                proven_at: None,
                read_at: None,
                suspect: Depth::Head,
                round: round.wrapping_sub(1),
                depth,
            },
        );
        if state.round == round {
            return false;
        }
        self.table.objects.update(&key, |state| {
            state.round = round;
            state.depth = depth;
            state.suspect = state.suspect.max(suspect);
        });
        true
    }

    fn visit_manifest(
        &mut self,
        auth: AuthId,
        repository: &Arc<str>,
        digest: Digest,
        trace: Trace,
    ) {
        let id = self.table.repository_id(repository);
        let key = ObjectKey {
            auth,
            repository: id,
            digest,
            kind: ObjectKind::Manifest,
        };
        if self.reach(key, trace.depth) {
            let known = self.table.has_node(&digest);
            let suspect = self.table.objects.get(&key).map(|state| state.suspect);
            let whole = self.effort.depth.max(suspect.unwrap_or_default()) > Depth::Head;
            let ask = Ask::Manifest {
                digest,
                known,
                whole,
            };
            self.push(auth, repository, ask, trace);
        } else if let Some(state) = self.table.objects.get(&key)
            && state.depth > trace.depth
        {
            // Reached again on a shorter way: what was too deep then may not be now.
            self.table
                .objects
                .update(&key, |state| state.depth = trace.depth);
            if matches!(state.fact, Fact::Present { .. }) {
                self.expand(auth, repository, digest, trace);
            }
        }
    }

    fn visit_blob(
        &mut self,
        auth: AuthId,
        repository: &Arc<str>,
        digest: Digest,
        size: u64,
        trace: Trace,
    ) {
        let id = self.table.repository_id(repository);
        let key = ObjectKey {
            auth,
            repository: id,
            digest,
            kind: ObjectKind::Blob,
        };
        if !self.reach(key, trace.depth) {
            return;
        }
        let state = self.table.objects.get(&key).expect("it was just reached");
        // With a budget, the scrub decides at the end what is hashed.
        let depth = match (self.effort.depth, self.effort.scrub) {
            (Depth::Content, Some(_)) => Depth::Read,
            (depth, _) => depth,
        };
        let depth = depth.max(state.suspect);
        let has_turn = self
            .effort
            .share
            .is_some_and(|share| share.contains(&digest));
        let due = match depth {
            Depth::Head => self.is_due(&state, state.proven_at),
            Depth::Read => self.is_due(&state, state.read_at),
            Depth::Content => true,
        };
        if due || has_turn {
            let depth = if has_turn {
                depth.max(Depth::Read)
            } else {
                depth
            };
            let ask = Ask::Blob {
                digest,
                size,
                depth,
            };
            self.push(auth, repository, ask, trace);
        }
    }

    /// Whether a blob is to be asked for, given when it was last proven at the depth in question.
    fn is_due(&self, state: &ObjectState, last: Option<Timestamp>) -> bool {
        // A round begins when an interval has passed, and asks a little later: half an interval of
        // slack keeps a blob from being asked only every second time. A proof from the future, by a
        // clock that was set back, is none.
        let slack = self.cadence.interval / 2;
        let is_proven = matches!(state.fact, Fact::Present { .. })
            && last.is_some_and(|at| {
                at <= self.started_at
                    && self.started_at.duration_since(at) + slack < self.cadence.blob_interval
            });
        !is_proven
    }

    /// Asks for what a present manifest names.
    fn expand(&mut self, auth: AuthId, repository: &Arc<str>, digest: Digest, trace: Trace) {
        let Some(node) = self.table.node(&digest) else {
            return;
        };
        let width = match &node.shape {
            Shape::Index(children) => children.len(),
            Shape::Image { layers, .. } => layers.len() + 1,
            Shape::Unsupported(_) | Shape::Invalid(_) => 0,
        };
        let width = u32::try_from(width).expect("bounded by the parser");
        let budget = self
            .budgets
            .get_mut(trace.root as usize)
            .expect("roots have budgets");
        if trace.depth >= DEPTH_MAX || *budget < width {
            let root = self
                .roots
                .get(trace.root as usize)
                .expect("roots have digests");
            self.resolved.over_budget.insert(*root);
            return;
        }
        *budget -= width;
        let below = Trace {
            root: trace.root,
            depth: trace.depth + 1,
        };
        match &node.shape {
            Shape::Index(children) => {
                for child in children.iter().rev() {
                    if child.is_blob {
                        self.visit_blob(auth, repository, child.digest, child.size, below);
                    } else {
                        self.visit_manifest(auth, repository, child.digest, below);
                    }
                }
            }
            Shape::Image { config, layers } => {
                if trace.depth == 0 && !self.table.configs.contains_key(&config.digest) {
                    let ask = Ask::Config {
                        digest: config.digest,
                    };
                    self.push(auth, repository, ask, below);
                }
                for edge in layers.iter().rev().chain([config]) {
                    if edge.is_distributable {
                        self.visit_blob(auth, repository, edge.digest, edge.size, below);
                    }
                }
            }
            Shape::Unsupported(_) | Shape::Invalid(_) => {}
        }
    }

    /// Asks for a digest that cannot exist.
    fn ask_canary(&mut self, target: &Target, confirm: bool, trace: Trace) {
        self.stack.push(Question {
            auth: target.content,
            repository: Arc::clone(&target.repository),
            ask: Ask::Canary {
                digest: self.canary,
            },
            confirm,
            trace,
        });
    }

    fn record_canary(&mut self, question: &Question, answer: &Answer) {
        let has_everything = matches!(
            answer,
            Answer::Tag { .. } | Answer::Manifest { .. } | Answer::Blob { .. } | Answer::Alive
        );
        let failed = match answer {
            Answer::Failed { code, message } => Some((*code, Arc::clone(message))),
            _ => None,
        };
        if question.trace.root == OF_REPOSITORY {
            let id = self.table.repository_id(&question.repository);
            if has_everything {
                self.resolved.untrusted_repositories.insert(id);
            } else if let Some(doubt) = failed {
                self.resolved.doubted_repositories.insert(id, doubt);
            }
            return;
        }
        self.resolved.unasked = failed.filter(|(code, _)| {
            matches!(
                code,
                Code::Unreachable | Code::Timeout | Code::Tls | Code::RateLimited
            )
        });
        if has_everything {
            self.resolved.untrusted = true;
            let message = "it answers 200 for a digest that cannot exist";
            self.gave_up = Some((Code::Untrusted, message.into()));
        }
    }

    fn control(&self, by_object: bool) -> Question {
        let (auth, repository, proven) = match (&self.proven, self.targets.first()) {
            (Some((auth, repository, digest, kind)), _) if by_object => {
                (*auth, Arc::clone(repository), Some((*digest, *kind)))
            }
            (_, Some(target)) => (target.content, Arc::clone(&target.repository), None),
            (_, None) => (AuthId::OWN, "".into(), None),
        };
        let ask = Ask::Control { proven };
        Question {
            auth,
            repository,
            ask,
            confirm: true,
            trace: Trace::default(),
        }
    }

    fn record_control(&mut self, was_object: bool, answer: &Answer) {
        match answer {
            Answer::Alive | Answer::Tag { .. } | Answer::Manifest { .. } | Answer::Blob { .. } => {
                for mut question in std::mem::take(&mut self.controlled) {
                    question.confirm = true;
                    self.stack.push(question);
                }
            }
            // The object that was proven is gone itself, for instance in a collection that is at
            // work right now: the registry's own front door decides.
            Answer::Absent | Answer::WrongDigest | Answer::Short { .. } | Answer::Config { .. }
                if was_object =>
            {
                self.proven = None;
                self.claims.append(&mut self.controlled);
            }
            Answer::Absent | Answer::WrongDigest | Answer::Short { .. } | Answer::Config { .. } => {
                let message =
                    "it said that something is missing, and then did not answer a control".into();
                for question in std::mem::take(&mut self.controlled) {
                    self.fail(&question, Code::ServerError, &message);
                }
            }
            Answer::Failed { code, message } => {
                for question in std::mem::take(&mut self.controlled) {
                    self.fail(&question, *code, message);
                    self.unanswered.add(&question, *code);
                }
            }
        }
    }

    fn record_read_control(&mut self, answer: &Answer) {
        match answer {
            Answer::Blob { .. } => self.stack.extend(self.shorts.confirmable()),
            Answer::Failed { code, message } => {
                for question in self.shorts.give_up() {
                    self.fail(&question, *code, message);
                }
            }
            // That one cannot be read either: another has to vouch.
            Answer::Tag { .. }
            | Answer::Manifest { .. }
            | Answer::Config { .. }
            | Answer::Alive
            | Answer::Absent
            | Answer::WrongDigest
            | Answer::Short { .. } => self.shorts.refuse_control(),
        }
    }

    /// Reads that ended early wait for a blob that reads well. If none did by itself, one is looked
    /// for among those that the registry says it has.
    fn find_readable(&mut self) {
        while self.shorts.is_stuck() {
            if let Some(readable) = self.readable_candidate() {
                self.shorts.propose(readable);
                continue;
            }
            let message =
                "no byte of it could be read, and no other blob to compare with either".into();
            for question in self.shorts.give_up() {
                self.fail(&question, Code::ServerError, &message);
            }
        }
    }

    /// A blob that the registry says it has, rather of the same repository.
    fn readable_candidate(&self) -> Option<Readable> {
        let (auth, repository) = self.shorts.place()?;
        let home = self.table.known_repository(repository)?;
        let candidates = self.table.objects.iter().filter_map(|(key, state)| {
            let size = match state.fact {
                Fact::Present { size: Some(size) } if size > 0 => size,
                _ => return None,
            };
            let fits = key.kind == ObjectKind::Blob
                && key.auth == auth
                && state.round == self.table.round
                && !self.shorts.is_ruled_out(&key.digest);
            fits.then_some((key, size))
        });
        let (key, size) = candidates.min_by_key(|(key, _)| (key.repository != home, key.digest))?;
        let repository = self.table.names().remove(&key.repository)?;
        Some(Readable {
            auth,
            repository,
            digest: key.digest,
            size,
        })
    }

    /// Hashes blobs for this round's budget.
    fn scrub(&mut self, scrub: Scrub) {
        let round = self.table.round;
        let present = self.table.objects.iter().filter_map(|(key, state)| {
            let size = match state.fact {
                Fact::Present { size } => size.unwrap_or(SCRUB_SIZE_UNKNOWN),
                _ => return None,
            };
            let is_reached = key.kind == ObjectKind::Blob && state.round == round;
            is_reached.then_some((key.digest, size, key))
        });
        let (chosen, after) = scrub.choose(present.collect());
        self.effort.scrub = Some(after);
        let names = self.table.names();
        for (digest, size, key) in chosen {
            let repository = names.get(&key.repository).expect("it has a name");
            let ask = Ask::Blob {
                digest,
                size,
                depth: Depth::Content,
            };
            self.push(key.auth, repository, ask, Trace::default());
        }
    }

    fn record_tag(&mut self, question: Question, tag: Arc<str>, answer: Answer) {
        let id = self.table.repository_id(&question.repository);
        let number = self.table.tag_id((question.auth, id, tag));
        match answer {
            Answer::Tag { digest } => {
                let is_walked = self.plan(number).is_walked;
                let state = TagState::Resolved {
                    digest,
                    at: self.now,
                };
                match self.resolved.tags.slot(number).replace(state) {
                    // It did not move: what its walk found is what is there.
                    Some(TagState::Resolved { digest: before, .. }) if before == digest => {
                        self.plan(number).resolutions = RESOLUTIONS_MAX;
                    }
                    Some(_) | None if is_walked => {
                        self.visit_root(question.auth, &question.repository, digest);
                    }
                    Some(_) | None => {}
                }
            }
            Answer::Absent if question.confirm => {
                *self.resolved.tags.slot(number) = Some(TagState::Missing { at: self.now });
            }
            Answer::Absent => self.claims.push(question),
            Answer::Failed { code, message } => {
                // A tag that was resolved once in this round keeps what it was resolved to.
                let unknown = TagState::Unknown { code, message };
                self.resolved.tags.slot(number).get_or_insert(unknown);
            }
            Answer::Manifest { .. }
            | Answer::Blob { .. }
            | Answer::Config { .. }
            | Answer::Alive
            | Answer::Short { .. }
            | Answer::WrongDigest => {
                let message = "the answer was not one to the question".into();
                *self.resolved.tags.slot(number) = Some(TagState::Unknown {
                    code: Code::ServerError,
                    message,
                });
            }
        }
    }

    fn record_object(
        &mut self,
        question: Question,
        digest: Digest,
        kind: ObjectKind,
        answer: Answer,
    ) {
        let id = self.table.repository_id(&question.repository);
        let key = ObjectKey {
            auth: question.auth,
            repository: id,
            digest,
            kind,
        };
        if !question.confirm && self.has_other_size(&question.ask, &answer) {
            self.claims.push(question);
            return;
        }
        let (fact, is_present) = match answer {
            Answer::Manifest { node, size } => {
                if let Some(node) = node {
                    self.table.add_node(digest, &node);
                }
                (Fact::Present { size }, true)
            }
            Answer::Blob { size } => (Fact::Present { size }, true),
            Answer::Absent if question.confirm => (Fact::Missing, false),
            Answer::WrongDigest if question.confirm => (Fact::WrongDigest, false),
            Answer::Short { read } if question.confirm => (Fact::Short { read }, false),
            Answer::Absent | Answer::WrongDigest => {
                self.claims.push(question);
                return;
            }
            Answer::Short { .. } => {
                self.shorts.claim(question);
                return;
            }
            Answer::Failed { code, message } => (Fact::Unknown { code, message }, false),
            Answer::Tag { .. } | Answer::Config { .. } | Answer::Alive => {
                let message = "the answer was not one to the question".into();
                (
                    Fact::Unknown {
                        code: Code::ServerError,
                        message,
                    },
                    false,
                )
            }
        };
        let asked_depth = question.ask.depth();
        let now = self.now;
        let was_read = matches!(question.ask, Ask::Blob { depth, .. } if depth >= Depth::Read);
        let mut depth = 0;
        let was_reached = self.table.objects.update(&key, |state| {
            match fact {
                Fact::Missing | Fact::WrongDigest | Fact::Short { .. } => {
                    state.suspect = state.suspect.max(asked_depth);
                }
                Fact::Present { .. } if asked_depth >= state.suspect => {
                    state.suspect = Depth::Head;
                }
                Fact::Present { .. } | Fact::Unknown { .. } | Fact::Unasked => {}
            }
            state.fact = fact;
            if is_present {
                state.proven_at = Some(now);
            }
            if is_present && was_read {
                state.read_at = Some(now);
            }
            depth = state.depth;
        });
        assert!(was_reached, "it was reached before it was asked for");
        if !is_present {
            return;
        }
        if let Ask::Blob { size, .. } = question.ask
            && was_read
        {
            self.shorts.can_read(Readable {
                auth: question.auth,
                repository: Arc::clone(&question.repository),
                digest,
                size,
            });
        }
        let trace = Trace {
            depth,
            ..question.trace
        };
        let Question {
            auth, repository, ..
        } = question;
        if kind == ObjectKind::Manifest {
            self.expand(auth, &repository, digest, trace);
        }
        self.proven = Some((auth, repository, digest, kind));
    }

    /// Whether a HEAD told another size than the bytes must have. A claim like a 404: headers pass
    /// through proxies that write their own.
    fn has_other_size(&self, ask: &Ask, answer: &Answer) -> bool {
        match (ask, answer) {
            (Ask::Blob { size, .. }, Answer::Blob { size: Some(told) }) => told != size,
            (
                Ask::Manifest { digest, .. } | Ask::Access { digest },
                Answer::Manifest {
                    node,
                    size: Some(told),
                },
            ) => {
                let known = node.as_ref().map(|node| node.size);
                let known = known.or_else(|| self.table.node_size(digest));
                known.is_some_and(|size| size != *told)
            }
            (_, _) => false,
        }
    }

    /// Gives a question up without having asked it.
    fn fail(&mut self, question: &Question, code: Code, message: &Arc<str>) {
        let id = self.table.repository_id(&question.repository);
        let unknown = || Fact::Unknown {
            code,
            message: Arc::clone(message),
        };
        let mut fail_object = |digest: Digest, kind: ObjectKind| {
            let key = ObjectKey {
                auth: question.auth,
                repository: id,
                digest,
                kind,
            };
            self.table
                .objects
                .update(&key, |state| state.fact = unknown());
        };
        match &question.ask {
            Ask::Tag { tag, .. } => {
                let number = self.table.tag_id((question.auth, id, Arc::clone(tag)));
                let message = Arc::clone(message);
                let unknown = TagState::Unknown { code, message };
                self.resolved.tags.slot(number).get_or_insert(unknown);
            }
            Ask::Manifest { digest, .. } => fail_object(*digest, ObjectKind::Manifest),
            Ask::Access { digest } => fail_object(*digest, ObjectKind::Access),
            Ask::Blob { digest, .. } => fail_object(*digest, ObjectKind::Blob),
            Ask::Config { .. }
            | Ask::Control { .. }
            | Ask::ReadControl { .. }
            | Ask::Canary { .. } => {}
        }
    }

    /// A verdict belongs to one root digest. A tag whose walk did not end well, or took long, is
    /// resolved again; if it moved, the new root is walked.
    fn resolve_again(&mut self) {
        let targets = Arc::clone(&self.targets);
        let mut asked: HashSet<u32> = HashSet::new();
        for target in targets.iter() {
            let id = self.table.repository_id(&target.repository);
            let report = judge::judge(target, &self.table, &self.resolved, self.cadence, self.now);
            self.doubt_mismatches(target, id, &report);
            let Root::Tag(tag) = &target.root else {
                continue;
            };
            let number = self.table.tag_id((target.content, id, Arc::clone(tag)));
            let Some(TagState::Resolved { at, .. }) = self.resolved.tags.get(number) else {
                continue;
            };
            let resolved_at = *at;
            let took_long = report
                .checked_at
                .is_some_and(|end| Timestamp::from(end).duration_since(resolved_at) > WALK_LONG);
            let is_well = report.verdict == Verdict::Pullable && !took_long;
            let plan = self.plan(number);
            if !is_well && plan.resolutions < RESOLUTIONS_MAX && asked.insert(number) {
                // Counted when it is asked: an answer that says nothing must not be asked for ever.
                plan.resolutions += 1;
                let tag = Arc::clone(tag);
                let ask = Ask::Tag { tag, last: None };
                self.push(target.content, &target.repository, ask, Trace::default());
            }
        }
    }

    /// Content that is not what it should be may come from something that is not the registry: a
    /// login or maintenance page that answers 200 here, and began after the first canary or stands
    /// in front of this repository only. So the repository gets a canary of its own before it counts.
    fn doubt_mismatches(&mut self, target: &Target, id: RepositoryId, report: &Report) {
        let mut findings = report.findings.iter();
        let has_mismatch = findings.any(|finding| finding.code.is_mismatch());
        if has_mismatch && self.canaried.insert(id) {
            let trace = Trace {
                root: OF_REPOSITORY,
                depth: 0,
            };
            self.ask_canary(target, true, trace);
        }
    }
}

#[cfg(test)]
mod tests;
