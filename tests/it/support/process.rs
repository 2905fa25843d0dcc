//! A real program as a value: started with its output in files and in a process group of its own,
//! ended and reaped when the value is dropped.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::FutureExt as _;
use rustix::process::{Pid, Signal, kill_process_group};

use super::wait::try_until;
use super::watchdog;

/// How long a program may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How much of a log a failure shows.
const TAIL_LINES: usize = 30;

/// How a program is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// SIGTERM, and SIGKILL after a grace period: what it writes at its end matters.
    Terminate,
    /// SIGKILL: its state is thrown away anyhow, and its own shutdown would take seconds.
    Kill,
}

#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    group: u32,
    ending: Ending,
    log: PathBuf,
    output: PathBuf,
    status: Arc<OnceLock<ExitStatus>>,
    exited: Mutex<Receiver<()>>,
}

impl Process {
    /// Starts it. Standard error goes to `NAME.log` in the directory, standard output to
    /// `NAME.out`; both are appended to, so that a program started again keeps its history.
    pub(crate) fn start(
        mut command: Command,
        name: &str,
        directory: &Path,
        ending: Ending,
    ) -> Self {
        let log = directory.join(format!("{name}.log"));
        let output = directory.join(format!("{name}.out"));
        let open = |path: &Path| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .expect("the directory is there")
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(open(&output))
            .stderr(open(&log))
            // A group of its own, so that what it starts in turn ends with it.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let group = child.id();
        watchdog::watch(group);

        // A thread reaps it, so that its end is known at once and can be waited for with a bound.
        let status = Arc::new(OnceLock::new());
        let (sender, exited) = sync_channel(1);
        let slot = Arc::clone(&status);
        std::thread::spawn(move || {
            let outcome = child.wait().expect("nobody else reaps this child");
            watchdog::forget(group);
            slot.set(outcome).expect("set once, here");
            // Nobody may be waiting any more, and that is fine.
            sender.try_send(()).ok();
        });
        Self {
            name: name.to_owned(),
            group,
            ending,
            log,
            output,
            status,
            exited: Mutex::new(exited),
        }
    }

    /// How it ended, or none while it runs.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.status.get().copied()
    }

    /// The process, for a test that looks at it from outside.
    pub(crate) fn id(&self) -> u32 {
        self.group
    }

    /// What it has written to its standard output so far.
    pub(crate) fn output(&self) -> String {
        read(&self.output)
    }

    /// What it has written to its standard error so far.
    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// The end of what it wrote, for a panic's message.
    pub(crate) fn tail(&self) -> String {
        format!("{}{}", tail(&read(&self.output)), tail(&read(&self.log)))
    }

    /// Looks until the probe yields something. Panics with the end of the log after the bound, or
    /// as soon as the program has ended.
    pub(crate) async fn wait_until<T>(
        &self,
        what: &str,
        bound: Duration,
        mut probe: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let outcome = try_until(bound, async || match self.status() {
            Some(status) => Some(Err(status)),
            None => probe().await.map(Ok),
        })
        .await;
        match outcome {
            Ok(Ok(found)) => found,
            Ok(Err(status)) => panic!(
                "{} ended with {status} while a test waited until {what}:\n{}",
                self.name,
                self.tail()
            ),
            Err(()) => panic!(
                "{}: waited {bound:?} in vain until {what}:\n{}",
                self.name,
                self.tail()
            ),
        }
    }

    /// Looks until it accepts connections. Nothing is sent, so that no access log shows it.
    pub(crate) async fn wait_until_it_listens(&self, port: u16, bound: Duration) {
        self.wait_until(&format!("it listens on port {port}"), bound, async || {
            tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .ok()
        })
        .await;
    }

    /// Freezes it, as a machine that hangs: connections are accepted by the kernel, nothing
    /// answers.
    pub(crate) async fn pause(&self) {
        self.signal(Signal::STOP);
        // The signal reaches one thread after the other, and one that still runs may still answer.
        self.wait_until("all its threads are stopped", GRACE, async || {
            let threads = std::fs::read_dir(format!("/proc/{}/task", self.group)).ok()?;
            let states: Vec<Option<char>> = threads
                .flatten()
                .map(|thread| state(&thread.path().join("stat")))
                .collect();
            states.iter().all(|state| *state == Some('T')).then_some(())
        })
        .await;
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it and reaps it. Does nothing when it has ended already.
    pub(crate) fn stop(&self) {
        if self.status().is_some() {
            return;
        }
        if self.ending == Ending::Terminate {
            self.signal(Signal::TERM);
            // A paused program sees its SIGTERM only when it goes on.
            self.signal(Signal::CONT);
            if self.ends_within(GRACE) {
                return;
            }
        }
        self.signal(Signal::KILL);
        // Bounded all the same: a process in an uninterruptible state must not hang the tests.
        if !self.ends_within(GRACE) {
            eprintln!("{} does not die", self.name);
        }
    }

    fn ends_within(&self, bound: Duration) -> bool {
        let exited = self.exited.lock().expect("nobody panics while waiting");
        exited.recv_timeout(bound) != Err(RecvTimeoutError::Timeout)
    }

    fn signal(&self, signal: Signal) {
        if self.status().is_some() {
            return;
        }
        let group = i32::try_from(self.group)
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        // It may end between the look and the signal; then there is nothing left to signal.
        kill_process_group(group, signal).ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a program to its end: its standard output, or what it said and how it ended.
///
/// On a thread that may block, so that a server of ours in the same runtime goes on answering it.
pub(crate) async fn run(mut command: Command) -> Result<String, String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let shown = words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ");
    let outcome = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output())
        .await
        .expect("it does not panic")
        .map_err(|error| format!("{shown} does not start: {error}"))?;
    let stdout = String::from_utf8_lossy(&outcome.stdout).into_owned();
    if outcome.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&outcome.stderr);
    Err(format!(
        "{shown} ended with {}:\n{stdout}{stderr}",
        outcome.status
    ))
}

/// Runs a program to its end, and panics with what it said when it fails.
pub(crate) async fn run_well(command: Command) -> String {
    match run(command).await {
        Ok(stdout) => stdout,
        Err(failure) => panic!("{failure}"),
    }
}

/// A port on which nothing listens.
///
/// Taken below the range from which the kernel serves outgoing connections, so that no connection
/// of another test takes it before the server does; and counted up, so that two tests never get
/// the same one. The process id spreads test binaries that run beside each other.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 22_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(COUNT))
        .expect("a remainder below the count");
    for _ in 0..COUNT {
        let offset = (u32::from(spread) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed)))
            % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).expect("a remainder below the count");
        if TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

fn read(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    lines[skipped..]
        .iter()
        .flat_map(|line| ["  ", line, "\n"])
        .collect()
}

#[tokio::test]
async fn a_dropped_process_is_dead_and_reaped() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    // The inner one too: it is in the same group.
    command.args(["-c", "sleep 600 & echo $!; wait"]);
    let process = Process::start(command, "sleeper", directory.path(), Ending::Terminate);
    let inner = process
        .wait_until("it names its child", Duration::from_secs(10), async || {
            process.output().trim().parse::<u32>().ok()
        })
        .await;
    let outer = process.id();
    assert!(is_running(outer) && is_running(inner));
    drop(process);
    assert!(!is_running(outer));
    super::wait::wait_until(
        "the inner one is gone",
        Duration::from_secs(10),
        async || (!is_running(inner)).then_some(()),
    )
    .await;
}

#[tokio::test]
async fn a_process_that_ignores_sigterm_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "trap '' TERM; echo ready; while :; do sleep 600; done",
    ]);
    let process = Process::start(command, "stubborn", directory.path(), Ending::Kill);
    process
        .wait_until("its trap is set", Duration::from_secs(10), async || {
            process.output().contains("ready").then_some(())
        })
        .await;
    process.stop();
    assert_eq!(process.status().and_then(|status| status.signal()), Some(9));
}

#[tokio::test]
async fn waiting_for_a_process_that_ended_shows_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "echo no such table >&2; exit 3"]);
    let process = Process::start(command, "broken", directory.path(), Ending::Terminate);
    let waiting = process.wait_until("it listens", Duration::from_secs(10), async || None::<()>);
    let panic = AssertUnwindSafe(waiting).catch_unwind().await.unwrap_err();
    assert_eq!(
        panic.downcast_ref::<String>().unwrap(),
        "broken ended with exit status: 3 while a test waited until it listens:\n  no such table\n"
    );
}

#[test]
fn free_ports_differ() {
    let ports: std::collections::BTreeSet<u16> = (0..50).map(|_| free_port()).collect();
    assert_eq!(ports.len(), 50);
}

/// The letter by which the kernel says what a process or thread does; none when it is gone.
fn state(stat: &Path) -> Option<char> {
    let text = std::fs::read_to_string(stat).ok()?;
    // The name before it stands in parentheses and may hold anything, parentheses too.
    text.rsplit_once(") ")?.1.chars().next()
}

/// A zombie does not run.
fn is_running(process: u32) -> bool {
    state(Path::new(&format!("/proc/{process}/stat"))).is_some_and(|state| state != 'Z')
}
