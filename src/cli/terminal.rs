//! What a person sees: colours only on a terminal that wants them, errors on stderr.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

/// Prints data. A reader that has gone away (`| head`) is not an error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Says something on stderr. There is nobody to tell if that fails.
pub fn complain(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// The one reader of the environment for what is no flag of ours.
pub fn environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the edge")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub fn home() -> Option<PathBuf> {
    environment("HOME").map(PathBuf::from)
}

/// How to mark text.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    is_on: bool,
}

impl Paint {
    pub fn for_stdout() -> Self {
        Self {
            is_on: std::io::stdout().is_terminal() && environment("NO_COLOR").is_none(),
        }
    }

    #[cfg(test)]
    pub fn off() -> Self {
        Self { is_on: false }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.is_on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    pub fn red(self, text: &str) -> String {
        self.with("1;31", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }
}
