//! A program of this machine: its arguments as they are, no shell, a process group of its own. It blocks.

use std::io::{self, PipeReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::processes::{self, living};
use super::tail::Tail;
use super::{Ended, Outcome, Watch, permitted, rest};
use crate::collection::gate::Permit;

pub use super::processes::machine;

/// Between being asked to end and being killed.
const GRACE: Duration = Duration::from_secs(10);
/// So long what was killed may take to be gone.
const GONE: Duration = Duration::from_secs(5);
/// How often it is looked at whether it has ended.
const LOOKED: Duration = Duration::from_millis(50);
/// So long what was said before its end may take to arrive.
const DRAINED: Duration = Duration::from_secs(2);

/// Runs a program to its end, or ends it with all that it started. What it starts is known by its process group,
/// and by a mark of its own in its environment.
pub fn run(
    permit: &Permit,
    epoch: u32,
    argv: &[String],
    mark: &str,
    watch: &mut Watch<'_>,
) -> Outcome {
    let Some((program, arguments)) = argv.split_first() else {
        return Outcome::unstarted("no program is named".to_owned());
    };
    if let Err(problem) = permitted(permit, epoch, watch.clock) {
        return Outcome::unstarted(problem);
    }
    let (mut child, output) = match spawn(program, arguments, mark) {
        Ok(started) => started,
        Err(error) => return Outcome::unstarted(format!("{program} cannot be started: {error}")),
    };
    info!(program, pid = child.id(), mark, "started");
    let said = Said::of(output);
    let ended = watched(&mut child, mark, watch);
    Outcome {
        ended,
        said: said.end(),
    }
}

/// With what it says, in the order in which it says it.
fn spawn(program: &str, arguments: &[String], mark: &str) -> io::Result<(Child, PipeReader)> {
    let (output, writer) = io::pipe()?;
    let child = Command::new(program)
        .args(arguments)
        .env(processes::MARK, mark)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    Ok((child, output))
}

/// Ends what a run that died has left of its program. What may go on all the same is the error.
pub fn end(mark: &str, runtime: &Handle) -> Result<usize, String> {
    let left = living(None, mark).map_err(|error| unlooked(&error))?;
    end_all(None, mark, None, runtime).map(|()| left.len())
}

fn watched(child: &mut Child, mark: &str, watch: &mut Watch<'_>) -> Ended {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) => {}
            Err(error) => break Err(format!("it cannot be waited for: {error}")),
        }
        if let Some(why) = watch.over() {
            break Err(why);
        }
        rest(watch.runtime, LOOKED);
    };
    let left = living(group, mark);
    match (ended, left) {
        (Ok(status), Ok(left)) if left.is_empty() => by_itself(status),
        (Ok(status), left) => {
            let left = left.map_or(0, |left| left.len());
            match end_all(group, mark, Some(child), watch.runtime) {
                Ok(()) => Ended::Badly(format!(
                    "it ended ({status}) and left {left} of its processes, which were ended"
                )),
                Err(problem) => Ended::Unknown(problem),
            }
        }
        (Err(why), _) => {
            warn!(mark, "the command is ended: {why}");
            match end_all(group, mark, Some(child), watch.runtime) {
                Ok(()) => Ended::Badly(format!("it was ended: {why}")),
                Err(problem) => Ended::Unknown(format!("{why}, and {problem}")),
            }
        }
    }
}

fn by_itself(status: ExitStatus) -> Ended {
    if status.success() {
        Ended::Well
    } else {
        Ended::Badly(format!("it failed: {status}"))
    }
}

/// First it is asked, then it is killed: all of it. An error is that something lives on.
fn end_all(
    group: Option<Pid>,
    mark: &str,
    mut child: Option<&mut Child>,
    runtime: &Handle,
) -> Result<(), String> {
    for (signal, within) in [(Signal::TERM, GRACE), (Signal::KILL, GONE)] {
        let begun = Instant::now();
        let mut is_told = false;
        loop {
            // Whose parent we are is gone only once it was waited for.
            let child = child.as_deref_mut();
            let waited = child.map(Child::try_wait).transpose();
            let left = living(group, mark).map_err(|error| unlooked(&error))?;
            if left.is_empty() && waited.is_ok_and(|it| it.is_none_or(|it| it.is_some())) {
                return Ok(());
            }
            // What it forks meanwhile is killed too; to be asked once is enough.
            if !is_told || signal == Signal::KILL {
                is_told = true;
                if let Some(group) = group {
                    kill_process_group(group, signal).ok();
                }
                for pid in left {
                    kill_process(pid, signal).ok();
                }
            }
            if begun.elapsed() >= within {
                break;
            }
            rest(runtime, LOOKED);
        }
    }
    Err("some of its processes live on although they were killed".to_owned())
}

fn unlooked(error: &io::Error) -> String {
    format!("its processes cannot be looked at in /proc: {error}")
}

/// What a program says, taken by a thread of its own.
struct Said {
    tail: Arc<Mutex<Tail>>,
    ended: Receiver<()>,
}

impl Said {
    fn of(mut output: PipeReader) -> Self {
        let tail: Arc<Mutex<Tail>> = Arc::default();
        let (sender, ended) = channel();
        let taken = Arc::clone(&tail);
        std::thread::spawn(move || {
            let mut part = [0; 8192];
            while let Ok(count @ 1..) = output.read(&mut part) {
                let mut tail = taken.lock().unwrap_or_else(PoisonError::into_inner);
                tail.take(part.get(..count).unwrap_or_default());
            }
            drop(sender);
        });
        Self { tail, ended }
    }

    /// What has left the group may hold it open: it is not waited for long.
    fn end(self) -> Tail {
        self.ended.recv_timeout(DRAINED).ok();
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.clone()
    }
}
