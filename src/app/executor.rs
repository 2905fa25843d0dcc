//! Collectors that are not ours: started with a permit only, watched, ended in time. What they did is for
//! whoever started them to find out; that one ended well says nothing.

use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::collection::gate::Permit;
use crate::second::Second;

pub mod command;
pub mod harbor;
pub mod job;
mod processes;
pub mod tail;

use tail::Tail;

/// How often it is asked whether a collector may go on.
const ASKED: Duration = Duration::from_secs(2);

/// How a collector ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By itself, and it says that all went well.
    Well,
    /// Otherwise: why, in words. Nothing of it goes on.
    Badly(String),
    /// Some of it may go on.
    Unknown(String),
}

/// What came of a collector.
#[derive(Debug)]
pub struct Outcome {
    pub ended: Ended,
    /// The last of what it said.
    pub said: Tail,
}

impl Outcome {
    pub fn unstarted(problem: String) -> Self {
        Self {
            ended: Ended::Badly(problem),
            said: Tail::default(),
        }
    }
}

/// Whether a collector may go on; an error is why not.
pub type MayGoOn<'a> = dyn FnMut() -> Result<(), String> + 'a;

/// When a collector is to be ended, and by whom it is looked after.
pub struct Watch<'a> {
    pub clock: &'a dyn Clock,
    pub runtime: &'a Handle,
    /// The hard stop of the window, or the deadline before it.
    pub until: Timestamp,
    pub may_go_on: &'a mut MayGoOn<'a>,
    /// When that was asked last.
    asked: Option<Instant>,
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Watch");
        shown.field("until", &self.until).finish_non_exhaustive()
    }
}

impl<'a> Watch<'a> {
    pub fn new(
        clock: &'a dyn Clock,
        runtime: &'a Handle,
        until: Timestamp,
        may_go_on: &'a mut MayGoOn<'a>,
    ) -> Self {
        Self {
            clock,
            runtime,
            until,
            may_go_on,
            asked: None,
        }
    }

    /// Why it is to be ended now.
    fn over(&mut self) -> Option<String> {
        if self.clock.now() >= self.until {
            return Some("its time was over".to_owned());
        }
        if self.asked.is_none_or(|asked| asked.elapsed() >= ASKED) {
            self.asked = Some(Instant::now());
            return (self.may_go_on)().err();
        }
        None
    }
}

/// It blocks, and so it is not for the runtime's own threads.
fn rest(runtime: &Handle, long: Duration) {
    runtime.block_on(async { tokio::time::sleep(long).await });
}

/// That something may be started now by whoever has the lock by this epoch.
fn permitted(permit: &Permit, epoch: u32, clock: &dyn Clock) -> Result<(), String> {
    if permit.holds(epoch, Second::from(clock.now())) {
        Ok(())
    } else {
        Err("the permit does not hold any more; it was not started".to_owned())
    }
}
