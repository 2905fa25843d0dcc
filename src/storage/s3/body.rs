//! The body of an answer as it comes: kept up to a bound, or hashed and not kept.

use futures::StreamExt as _;
use reqwest::Response;

use crate::oci::digest::{Digest, Hasher};

/// All of it. The inner error is that there is more than that.
pub(super) async fn whole(
    response: Response,
    most: u64,
) -> Result<Result<Vec<u8>, String>, String> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(root)?;
        if body.len() + chunk.len() > most {
            return Ok(Err(format!("it has more than {most} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Ok(body))
}

/// The digest of all of it, of which no more than a chunk is ever in memory.
pub(super) async fn digest(response: Response) -> Result<Digest, String> {
    let mut hasher = Hasher::default();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        hasher.update(&chunk.map_err(root)?);
    }
    Ok(hasher.finish())
}

/// The innermost cause says what happened; those around it, that something did.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(super) fn root(error: reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
