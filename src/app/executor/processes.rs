//! Which processes belong to a collector: those of its process group, and those that have its mark in their
//! environment, wherever they have gone.

use std::fs;

use rustix::process::{Pid, getpid};

/// In the environment of all that a run starts.
pub(super) const MARK: &str = "PULLPROOF_RUN";

/// The living processes of a group, or with a mark; those that have ended and were not waited for are not among
/// them. An error is that nobody can tell.
pub(super) fn living(group: Option<Pid>, mark: &str) -> std::io::Result<Vec<Pid>> {
    let mark = format!("{MARK}={mark}");
    let own = getpid();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Some(pid) = Pid::from_raw(pid).filter(|pid| *pid != own) else {
            continue;
        };
        // What ended meanwhile is not living.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let Some((state, of)) = parse(&stat) else {
            continue;
        };
        if matches!(state, 'Z' | 'X' | 'x') {
            continue;
        }
        let is_marked = || {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            let mut words = environment.split(|byte| *byte == 0);
            words.any(|word| word == mark.as_bytes())
        };
        if group.is_some_and(|group| group.as_raw_nonzero().get() == of) || is_marked() {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The state and the process group in `/proc/PID/stat`: behind the name, which may have anything in it.
fn parse(stat: &str) -> Option<(char, i32)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    let state = words.next()?.chars().next()?;
    let group = words.nth(1)?.parse().ok()?;
    Some((state, group))
}

/// Which start of which machine this is; nothing of another one's processes is here.
pub fn machine() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        let stat = "12 (a) S 1 2 3) R 1 77 3 0 -1";
        assert_eq!(parse(stat), Some(('R', 77)));
        assert_eq!(parse("12 (cat) Z 1 9"), Some(('Z', 9)));
        assert_eq!(parse("nothing"), None);
    }
}
