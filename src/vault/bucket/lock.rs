//! The bucket's own lock: one collector at a time, each with a number of its own.
//!
//! It is an object that is only ever written in the place of exactly the one that was read. Whoever has it says
//! every few seconds that they live. One that was not given back is not taken while it is fresh, and after that
//! what its holder sent may still arrive: who takes it waits. How old it is, is told by the server's clock alone.
//!
//! A holder that was stopped and goes on must not take anything away any more: before each request that does, it
//! is asked how long ago the lock was last seen to be ours ([`Lock::fence`]), by a clock that goes on meanwhile.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::Vault;
use crate::clock::{Clock as _, SystemClock};
use crate::second::Second;
use crate::storage::s3::{Etag, PutNew, Replaced, S3};
use crate::vault::LockError;

const LOCK: &str = "pullproof/lock";
const CANARY: &str = "pullproof/canary";
const BYTES_MAX: u64 = 4096;

/// A holder says so often that it lives.
const BEAT: Duration = Duration::from_secs(15);
/// Within this after it was last written it is only looked at.
const LOOKED_AT: Duration = Duration::from_secs(10);
/// So long after it was last seen to be ours something may be taken away.
const FRESH: Duration = Duration::from_secs(40);
/// So long after its last sign of life a holder is taken to live, in seconds.
const ALIVE: i64 = 60;
/// So long after its last sign of life nothing of a holder's arrives any more, in seconds.
const DRAIN: i64 = 150;

const CANARY_TEXT: &[u8] =
    b"pullproof tries to write this again where it is, to see that the server refuses it.\n";

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    shared: Arc<Shared>,
    runtime: Handle,
    epoch: u32,
    drained_at: Option<Second>,
    /// Ends the beat when it is dropped.
    _beat: mpsc::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    s3: Arc<S3>,
    held: tokio::sync::Mutex<Held>,
    /// When it was last seen to be ours; `None` once it is not.
    seen: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Held {
    state: State,
    etag: Etag,
    written: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// How many there were before, and this one.
    epoch: u32,
    /// Who has it, for people.
    holder: String,
    /// Two processes of one name are two.
    #[serde(default)]
    nonce: u64,
    renewed: Second,
    released: bool,
}

impl State {
    fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("it is text and numbers");
        text.push(b'\n');
        text
    }

    fn is_ours(&self, other: &Self) -> bool {
        (self.epoch, self.nonce) == (other.epoch, other.nonce)
    }
}

impl Lock {
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    pub fn drained_at(&self) -> Option<Second> {
        self.drained_at
    }

    /// Whether something may be taken away by it now.
    pub fn fence(&self) -> impl Fn() -> bool + Sync + '_ {
        || {
            let seen = self.shared.seen.lock().expect("no thread panics with it");
            seen.is_some_and(|seen| seen.elapsed() < FRESH)
        }
    }

    pub fn renew(&mut self) -> io::Result<bool> {
        self.runtime.block_on(self.shared.renew(LOOKED_AT))
    }

    pub fn release(self) -> io::Result<()> {
        self.runtime.block_on(self.shared.release())
    }
}

impl Shared {
    /// Whether it is still ours. It is written anew where it was not for so long.
    async fn renew(&self, after: Duration) -> io::Result<bool> {
        let mut held = self.held.lock().await;
        if self
            .seen
            .lock()
            .expect("no thread panics with it")
            .is_none()
        {
            return Ok(false);
        }
        let began = Instant::now();
        let is_ours = if held.written.elapsed() < after {
            let there = self.s3.current(LOCK).await?;
            let etag = there.and_then(|there| there.etag);
            etag.as_ref() == Some(&held.etag) || self.look(&mut held).await?
        } else {
            let state = State {
                renewed: SystemClock.now().into(),
                ..held.state.clone()
            };
            self.replace(&mut held, state).await?
        };
        let mut seen = self.seen.lock().expect("no thread panics with it");
        *seen = is_ours.then_some(began);
        Ok(is_ours)
    }

    async fn release(&self) -> io::Result<()> {
        let mut held = self.held.lock().await;
        *self.seen.lock().expect("no thread panics with it") = None;
        let state = State {
            renewed: SystemClock.now().into(),
            released: true,
            ..held.state.clone()
        };
        if self.replace(&mut held, state).await? {
            return Ok(());
        }
        Err(io::Error::other("somebody else has it already"))
    }

    async fn replace(&self, held: &mut Held, state: State) -> io::Result<bool> {
        let began = Instant::now();
        let replaced = self.s3.replace(LOCK, &state.text(), &held.etag).await;
        match replaced {
            Ok(Replaced::Written { etag }) => {
                *held = Held {
                    state,
                    etag,
                    written: began,
                };
                Ok(true)
            }
            // By somebody else, or by ourselves where the answer was lost.
            Ok(Replaced::Changed) => self.look(held).await,
            Err(error) => match self.look(held).await {
                Ok(true) if held.state == state => Ok(true),
                Ok(false) => Ok(false),
                Ok(true) | Err(_) => Err(error),
            },
        }
    }

    /// Reads whose it is, and what it is now if it is ours.
    async fn look(&self, held: &mut Held) -> io::Result<bool> {
        let Some(object) = self.s3.get(LOCK, BYTES_MAX).await? else {
            return Ok(false);
        };
        let state: Option<State> = serde_json::from_slice(&object.bytes).ok();
        let ours = state.filter(|state| state.is_ours(&held.state));
        let (Some(state), Some(etag)) = (ours, object.etag) else {
            return Ok(false);
        };
        held.state = state;
        held.etag = etag;
        Ok(true)
    }
}

impl Vault {
    pub fn lock(&self, holder: &str, now: Second) -> Result<Lock, LockError> {
        let (held, drained_at) = self.block(async {
            self.is_fenced().await?;
            self.acquire(holder, now).await
        })?;
        let epoch = held.state.epoch;
        let shared = Arc::new(Shared {
            s3: Arc::clone(&self.s3),
            seen: Mutex::new(Some(held.written)),
            held: tokio::sync::Mutex::new(held),
        });
        let (beat, ends) = mpsc::channel();
        let (beating, runtime) = (Arc::clone(&shared), self.runtime.clone());
        std::thread::Builder::new()
            .name("lock".to_owned())
            .spawn(move || {
                while ends.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                    // What could not be told now is told by the next: until then it gets less fresh.
                    if let Ok(false) = runtime.block_on(beating.renew(Duration::ZERO)) {
                        break;
                    }
                }
            })
            .map_err(LockError::Io)?;
        Ok(Lock {
            shared,
            runtime: self.runtime.clone(),
            epoch,
            drained_at,
            _beat: beat,
        })
    }

    /// Whether the server keeps one from writing over the other: some know nothing of that, and do as if.
    async fn is_fenced(&self) -> Result<(), LockError> {
        let refused = |header: &str| {
            LockError::Unsupported(format!(
                "the server writes over {CANARY} although it was asked not to ({header}): two collectors would \
                 not know of each other, and a bucket there is not collected; use a server that honours \
                 conditional writes"
            ))
        };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::Unsupported => LockError::Unsupported(format!(
                "{error}: it takes conditional writes to keep two collectors apart"
            )),
            _ => LockError::Io(error),
        };
        if let PutNew::Written { .. } =
            self.s3.put_new(CANARY, CANARY_TEXT).await.map_err(failed)?
            && let PutNew::Written { .. } =
                self.s3.put_new(CANARY, CANARY_TEXT).await.map_err(failed)?
        {
            return Err(refused("If-None-Match"));
        }
        let Some(other) = Etag::new("00000000000000000000000000000000") else {
            return Ok(());
        };
        match self.s3.replace(CANARY, CANARY_TEXT, &other).await {
            Ok(Replaced::Changed) => Ok(()),
            Ok(Replaced::Written { .. }) => Err(refused("If-Match")),
            Err(error) => Err(failed(error)),
        }
    }

    async fn acquire(
        &self,
        holder: &str,
        now: Second,
    ) -> Result<(Held, Option<Second>), LockError> {
        use std::hash::{BuildHasher as _, Hasher as _};
        let found = self.s3.get(LOCK, BYTES_MAX).await?;
        let mut state = State {
            epoch: 1,
            holder: holder.to_owned(),
            nonce: std::hash::RandomState::new().build_hasher().finish(),
            renewed: now,
            released: false,
        };
        let (mut drained_at, mut before) = (None, None);
        if let Some(object) = found {
            let text = String::from_utf8_lossy(&object.bytes);
            let damaged = || LockError::Damaged(text.chars().take(80).collect());
            let last: State = serde_json::from_str(&text).map_err(|_not_ours| damaged())?;
            if !last.released {
                let own = now.get().saturating_sub(last.renewed.get());
                let age = object.age.unwrap_or(own).max(0);
                if age < ALIVE {
                    return Err(LockError::Held(format!(
                        "{} (it was here {age} s ago; if it died, its lock ends in {} s)",
                        last.holder,
                        ALIVE.saturating_sub(age)
                    )));
                }
                if age < DRAIN {
                    let left = DRAIN.saturating_sub(age);
                    drained_at = Some(Second::new(now.get().saturating_add(left)));
                }
            }
            state.epoch = last.epoch.saturating_add(1);
            before =
                Some(object.etag.ok_or_else(|| {
                    io::Error::other(format!("{LOCK} has no ETag to replace it by"))
                })?);
        }
        let written = Instant::now();
        let put = match &before {
            None => match self.s3.put_new(LOCK, &state.text()).await {
                Ok(PutNew::Written { etag }) => Ok(Some(etag)),
                Ok(PutNew::AlreadyThere) => Ok(None),
                Err(error) => Err(error),
            },
            Some(before) => match self.s3.replace(LOCK, &state.text(), before).await {
                Ok(Replaced::Written { etag }) => Ok(Some(etag)),
                Ok(Replaced::Changed) => Ok(None),
                Err(error) => Err(error),
            },
        };
        // Some servers look first and write then: what is there now is what counts.
        let there = self.s3.get(LOCK, BYTES_MAX).await;
        match (put, there) {
            (_, Ok(Some(object))) if object.bytes == state.text() => {
                let etag = object.etag.ok_or_else(|| {
                    io::Error::other(format!("{LOCK} has no ETag to replace it by"))
                })?;
                let held = Held {
                    state,
                    etag,
                    written,
                };
                Ok((held, drained_at))
            }
            (Ok(_), Ok(_)) => Err(LockError::Held("another process".to_owned())),
            (Err(error), _) | (_, Err(error)) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(runtime: &Handle) -> Lock {
        let settings = crate::config::S3 {
            endpoint: None,
            region: "us-east-1".to_owned(),
            bucket: "registry".to_owned(),
            prefix: String::new(),
            access_key: None,
            ca: None,
            max_concurrency: 1,
        };
        let state = State {
            epoch: 1,
            holder: "a test".to_owned(),
            nonce: 1,
            renewed: Second::new(0),
            released: false,
        };
        let held = Held {
            state,
            etag: Etag::new("1").unwrap(),
            written: Instant::now(),
        };
        Lock {
            shared: Arc::new(Shared {
                s3: Arc::new(S3::new(&settings).unwrap()),
                seen: Mutex::new(Some(held.written)),
                held: tokio::sync::Mutex::new(held),
            }),
            runtime: runtime.clone(),
            epoch: 1,
            drained_at: None,
            _beat: mpsc::channel().0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_seen_to_be_ours_for_long_takes_nothing_away() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let lock = lock(&Handle::current());
        assert!(lock.fence()());
        tokio::time::advance(BEAT).await;
        assert!(lock.fence()());
        tokio::time::advance(FRESH).await;
        assert!(!lock.fence()());
        *lock.shared.seen.lock().unwrap() = None;
        assert!(!lock.fence()());
    }

    /// Who takes it over waits until nothing may be sent by it any more, and what was sent has arrived.
    #[test]
    fn who_is_taken_to_be_dead_takes_nothing_away_any_more() {
        let fresh = i64::try_from(FRESH.as_secs()).unwrap();
        assert!(BEAT * 2 < FRESH && fresh < ALIVE && ALIVE < DRAIN - fresh);
    }
}
