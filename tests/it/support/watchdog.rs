//! Ends what the test binary started, however the test binary ends.
//!
//! A guard's `drop` does not run for a static, nor when the binary is killed. So one shell waits
//! at the far end of a pipe: it is told of every process group, and of directories to remove. The
//! kernel closes the pipe when this process is gone, and then the shell kills and removes.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex};

static WATCHDOG: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| Mutex::new(start()));

const SCRIPT: &str = r#"
groups=
while read -r verb argument; do
    case $verb in
        watch) groups="$groups $argument" ;;
        # A group that is gone must not be killed later: its number may be another's by then.
        forget)
            kept=
            for group in $groups; do [ "$group" = "$argument" ] || kept="$kept $group"; done
            groups=$kept
            ;;
        remove) set -- "$@" "$argument" ;;
    esac
done
for group in $groups; do kill -KILL "-$group"; done
# Twice: what a dying process still wrote goes in the second round.
[ $# = 0 ] || rm -rf "$@" || rm -rf "$@"
"#;

#[expect(
    clippy::zombie_processes,
    reason = "it ends after this process, and init reaps it"
)]
fn start() -> ChildStdin {
    let mut shell = Command::new("sh")
        .args(["-c", SCRIPT, "watchdog"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C goes to the terminal's group; the watchdog must outlive it.
        .process_group(0)
        .spawn()
        .expect("sh starts");
    shell.stdin.take().expect("stdin is piped")
}

/// Kills this process group when the test binary is gone.
pub(crate) fn watch(group: u32) {
    tell("watch", &group.to_string());
}

/// The group was reaped.
pub(crate) fn forget(group: u32) {
    tell("forget", &group.to_string());
}

/// Removes this directory when the test binary is gone.
pub(crate) fn remove(directory: &Path) {
    tell("remove", &directory.display().to_string());
}

fn tell(verb: &str, argument: &str) {
    let mut pipe = WATCHDOG
        .lock()
        .expect("nobody panics while holding the pipe");
    // One write for one line: the shell's `read` must never see half of it.
    pipe.write_all(format!("{verb} {argument}\n").as_bytes())
        .expect("the watchdog reads");
}
