//! `/api/v1/keepset`: what must stay pullable, for a collector and for another pullproof. To whoever knows
//! the token, and over TLS only: by it garbage is collected.
//!
//! Another pullproof asks with `firstHand=true`: it is told what is read here, and nothing that is told
//! here by others. With `unless=CONTENT` it is told so where it has all of that.

use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::sync::watch;

use super::UiState;
use super::api::bad_query;
use crate::clock::Clock;
use crate::config::Config;
use crate::inventory::keepset::{KeepSet, LedTo};
use crate::inventory::marks::Marks;
use crate::inventory::peer::told::{self, Users};
use crate::inventory::running::RunningUse;
use crate::inventory::{ImageUse, Inventory, SourceState, completeness};
use crate::mirrors;
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;
use crate::state::Snapshot;
use crate::view::{ForPeer, KeepSetAnswer, Said};

/// Digests that references led to meanwhile are looked for this often where nothing else changed.
const CONTENT_AGE_MAX: SignedDuration = SignedDuration::from_mins(1);

/// Reads to what references led.
pub type ReadLedTo = Arc<dyn Fn() -> Result<Vec<LedTo>, String> + Send + Sync>;

/// What is asked for.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    first_hand: bool,
    /// What whoever asks has already.
    #[serde(default)]
    unless: Option<Digest>,
}

/// An inventory, and the configuration by which it was read.
#[derive(Debug, Default)]
pub struct Published {
    pub config: Arc<Config>,
    pub inventory: Arc<Inventory>,
}

/// Who says it, and of what.
#[derive(Clone)]
pub struct KeepSetSource {
    /// Both at once: what was read by an old configuration is not all that a new one asks for.
    pub published: watch::Receiver<Arc<Published>>,
    pub led_to: ReadLedTo,
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Is added to the number of a snapshot, so that it grows over restarts too.
    pub sequence_base: u64,
    pub daemon: Digest,
    /// The digest of the token.
    pub token: Digest,
    pub clock: Arc<dyn Clock>,
    /// What another pullproof was told last.
    pub last: Arc<Mutex<Option<Content>>>,
}

/// A content, and what it was made of.
#[derive(Debug)]
pub struct Content {
    digest: Digest,
    at: Timestamp,
    configuration: Digest,
    of: Vec<Named>,
}

/// What a source named, without keeping it.
#[derive(Debug)]
struct Named {
    /// `None` where there are none.
    uses: Option<Weak<[ImageUse]>>,
    running: Option<Weak<[Arc<RunningUse>]>>,
    platforms: Option<Arc<[Platform]>>,
    marks: Marks,
}

impl Named {
    fn of(source: &SourceState) -> Self {
        Self {
            uses: weak(&source.uses),
            running: weak(&source.running),
            platforms: source.platforms.clone(),
            marks: source.marks.clone(),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        is_same(self.uses.as_ref(), other.uses.as_ref())
            && is_same(self.running.as_ref(), other.running.as_ref())
            && self.platforms == other.platforms
            && self.marks == other.marks
    }
}

fn weak<T>(list: &Arc<[T]>) -> Option<Weak<[T]>> {
    (!list.is_empty()).then(|| Arc::downgrade(list))
}

fn is_same<T>(one: Option<&Weak<[T]>>, other: Option<&Weak<[T]>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.ptr_eq(other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

impl Content {
    /// Whether these sources name the same, whenever they were read.
    fn is_of(&self, configuration: Digest, sources: &[Arc<SourceState>], now: Timestamp) -> bool {
        let is_same = |(one, other): (&Named, &Arc<SourceState>)| one.is_same(&Named::of(other));
        now.duration_since(self.at).abs() <= CONTENT_AGE_MAX
            && self.configuration == configuration
            && self.of.len() == sources.len()
            && self.of.iter().zip(sources).all(is_same)
    }
}

impl fmt::Debug for KeepSetSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeepSetSource")
            .finish_non_exhaustive()
    }
}

impl KeepSetSource {
    fn knows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|given| given.to_str().ok());
        let token = given.and_then(|given| given.strip_prefix("Bearer "));
        // Digests are compared, so how long it takes says nothing of the token.
        token.is_some_and(|token| Digest::of(token.trim().as_bytes()) == self.token)
    }

    fn answer(&self, asked: Asked) -> Result<KeepSetAnswer, String> {
        let published = Arc::clone(&self.published.borrow());
        let Published { config, inventory } = &*published;
        let inventory = Arc::clone(inventory);
        let now = self.clock.now();
        let said = Said {
            daemon: self.daemon,
            // Of what it means, so that a comment changes nothing.
            configuration: Digest::of(format!("{config:?}").as_bytes()),
            sequence: self.sequence_base + self.snapshots.borrow().sequence,
            at: now,
        };
        let (inventory, nothing) = if asked.first_hand {
            let nothing = told::nothing_of_its_own(&inventory);
            (Arc::new(told::first_hand(&inventory)), nothing)
        } else {
            (inventory, None)
        };
        let complete = match nothing {
            Some(refusal) => Err(vec![refusal]),
            None => completeness::complete(&inventory, now),
        };
        let answer = |inventory, refusals| KeepSetAnswer {
            said,
            inventory,
            aliases: config.aliases(),
            complete: false,
            set: None,
            refusals,
            peer: asked.first_hand.then_some(ForPeer::default()),
        };
        let complete = match complete {
            Ok(complete) => complete,
            Err(refusals) => return Ok(answer(inventory, refusals)),
        };
        let mut answer = KeepSetAnswer {
            complete: true,
            ..answer(inventory, Vec::new())
        };
        // Of what whoever asks has already, nothing is put together.
        if let Some(peer) = &mut answer.peer
            && let Some(content) = self.content(said, &answer.inventory)
            && asked.unless == Some(content)
        {
            peer.content = Some(content);
            peer.unchanged = true;
            return Ok(answer);
        }
        let keep = SignedDuration::try_from(config.inventory.keep_seen);
        let keep = keep.unwrap_or(SignedDuration::MAX);
        // Another pullproof knows by its own configuration what mirrors what.
        let mirrors = if asked.first_hand {
            Vec::new()
        } else {
            config.mirrors()
        };
        let endpoints = |reference: &Reference| {
            let others = mirrors::others(&mirrors, reference).into_iter();
            others.map(|(_, reference)| reference).collect()
        };
        let set = KeepSet::with_endpoints(
            &complete,
            &answer.aliases,
            &endpoints,
            (self.led_to)()?.into_iter(),
            keep,
        );
        if let Some(peer) = &mut answer.peer {
            let content = Users::of(&answer.inventory, &answer.aliases).content(&set);
            let content = content.map_err(|error| format!("telling it failed: {error}"))?;
            let sources = answer.inventory.sources.iter();
            *self.last.lock().expect("never held across a panic") = Some(Content {
                digest: content,
                at: now,
                configuration: said.configuration,
                of: sources.map(|it| Named::of(it)).collect(),
            });
            peer.content = Some(content);
            peer.unchanged = asked.unless == Some(content);
        }
        answer.set = Some(set);
        Ok(answer)
    }

    /// What would be told of this inventory, where that is known.
    fn content(&self, said: Said, inventory: &Inventory) -> Option<Digest> {
        let last = self.last.lock().expect("never held across a panic");
        let last = last.as_ref()?;
        let is_of = last.is_of(said.configuration, &inventory.sources, said.at);
        is_of.then_some(last.digest)
    }
}

pub(super) async fn keepset(
    State(state): State<UiState>,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Some(source) = state.ui.keepset else {
        let problem = "the keep-set is served over TLS and to whoever knows a token: set http.tls, \
                       http.token and state.directory\n";
        return (StatusCode::FORBIDDEN, problem).into_response();
    };
    if !source.knows(&headers) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"pullproof\"")];
        let problem = "the token of http.token is needed, as `Authorization: Bearer TOKEN`\n";
        return (StatusCode::UNAUTHORIZED, challenge, problem).into_response();
    }
    let Query(asked) = match asked {
        Ok(asked) => asked,
        Err(rejection) => return bad_query(&rejection),
    };
    // It reads a disk.
    let answer = tokio::task::spawn_blocking(move || source.answer(asked)).await;
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(problem)) => {
            return (StatusCode::SERVICE_UNAVAILABLE, problem + "\n").into_response();
        }
        Err(panic) => {
            return (StatusCode::INTERNAL_SERVER_ERROR, format!("{panic}\n")).into_response();
        }
    };
    let write = move |to: &mut dyn fmt::Write| answer.write(Text(to)).map_err(|_gone| fmt::Error);
    let body = state.bodies.body(write).await;
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Takes what is written as JSON, of which every piece is text.
struct Text<'a>(&'a mut dyn fmt::Write);

impl std::io::Write for Text<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(std::io::Error::other)?;
        self.0.write_str(text).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
