//! Runs a credential helper: `docker-credential-NAME get`, the host on its standard input, without a
//! shell, within bounds of time and output.

use std::ffi::OsStr;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::Unavailable;
use crate::credentials::Credential;
use crate::credentials::helpers::{self, HelperCall};
use crate::oci::reference::shown;

/// Long enough for a helper that asks a cloud, and for a person who is asked for a password.
const BOUND: Duration = Duration::from_secs(30);
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// A longer word in what a failing helper says may be a token.
const WORD_CHARS_MAX: usize = 48;

/// The credential that a helper has; `None` if it says that it has none.
pub(super) async fn get(call: &HelperCall) -> Result<Option<Credential>, Unavailable> {
    get_from(call.name.program().as_ref(), call, BOUND).await
}

async fn get_from(
    program: &OsStr,
    call: &HelperCall,
    bound: Duration,
) -> Result<Option<Credential>, Unavailable> {
    let unavailable = |problem: &str| {
        let (program, server) = (call.name.program(), shown(&call.server));
        Unavailable::new(format!(
            "the credential helper {program}, asked for {server}: {problem}"
        ))
    };
    let ended = match tokio::time::timeout(bound, run(program, &call.server)).await {
        Err(_elapsed) => {
            return Err(unavailable(&format!(
                "it did not end within {} s and was stopped",
                bound.as_secs_f64()
            )));
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(unavailable(
                "there is no such program on the PATH; install it, or take it out of the docker config",
            ));
        }
        Ok(Err(error)) => return Err(unavailable(&format!("it cannot be run: {error}"))),
        Ok(Ok(ended)) => ended,
    };
    if ended.stdout.len() > OUTPUT_BYTES_MAX {
        return Err(unavailable("its answer is larger than 64 KiB"));
    }
    if ended.is_success {
        return helpers::read_answer(call, &ended.stdout).map_err(unavailable);
    }
    if helpers::is_not_found(&ended.stdout) {
        return Ok(None);
    }
    Err(unavailable(&format!(
        "it failed with {}{}",
        ended.status,
        complaint(&ended)
    )))
}

struct Ended {
    is_success: bool,
    status: String,
    stdout: Zeroizing<Vec<u8>>,
    stderr: Zeroizing<Vec<u8>>,
}

async fn run(program: &OsStr, server: &str) -> io::Result<Ended> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // One that is not waited for any longer is not left behind.
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that answers without reading is as good.
        drop(stdin.write_all(server.as_bytes()).await);
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr, status) = tokio::join!(read(stdout), read(stderr), child.wait());
    let status = status?;
    Ok(Ended {
        is_success: status.success(),
        status: status.to_string(),
        stdout: stdout?,
        stderr: stderr?,
    })
}

/// One byte more than is allowed, so that too much shows. The pipe is closed then.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut output = Zeroizing::new(Vec::new());
    if let Some(pipe) = pipe {
        let mut pipe = pipe.take(OUTPUT_BYTES_MAX as u64 + 1);
        pipe.read_to_end(&mut output).await?;
    }
    Ok(output)
}

/// What a failing helper said, without what may be a secret. The protocol has errors on standard
/// output, where a credential would be as well: whatever looks like JSON is not shown.
fn complaint(ended: &Ended) -> String {
    let stdout = String::from_utf8_lossy(&ended.stdout);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let said = [stdout.as_ref(), stderr.as_ref()]
        .into_iter()
        .filter(|text| !text.contains(['{', '"']))
        .flat_map(str::split_whitespace)
        .map(|word| {
            if word.chars().count() > WORD_CHARS_MAX {
                "[not shown]"
            } else {
                word
            }
        })
        .collect::<Vec<_>>()
        .join(" ");
    if said.is_empty() {
        return String::new();
    }
    format!(": {}", shown(&said))
}

#[cfg(test)]
mod tests;
