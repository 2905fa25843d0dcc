//! Whether a replica takes pushes.

use std::sync::Arc;

use reqwest::{Method, header};

use super::Client;
use crate::registry::stats::Operation;
use crate::registry::transport::{Outcome, Right, Wanted};
use crate::registry::wire::text;
use crate::verify::target::AuthId;

/// What a registry of the Docker kind sends with every answer: whoever answers in its stead, a proxy, does
/// not.
const API_VERSION: header::HeaderName =
    header::HeaderName::from_static("docker-distribution-api-version");

impl Client {
    /// Asks with `OPTIONS`, which changes nothing, what may be done where blobs are uploaded, on a connection
    /// of its own. An error is why it cannot be told.
    pub async fn takes_pushes(&self, auth: AuthId, repository: &Arc<str>) -> Result<bool, String> {
        let wanted = Wanted {
            operation: Operation::Control,
            auth,
            repository,
            method: Method::OPTIONS,
            path: format!("v2/{repository}/blobs/uploads/"),
            query: None,
            is_manifest: false,
            byte: None,
            unless: None,
            is_fresh: true,
            batch: None,
            body_limit: None,
            body: None,
            right: Right::Pull,
        };
        let outcome = self.transport.send(&wanted).await;
        match outcome.map_err(|failure| failure.message.to_string())? {
            Outcome::Success(response) => {
                let headers = response.headers();
                if headers.get(API_VERSION).is_none() {
                    return Err(
                        "somebody answers OPTIONS in its stead (without Docker-Distribution-Api-Version)"
                            .to_owned(),
                    );
                }
                judge(text(headers, header::ALLOW))
            }
            Outcome::Redirect(_) => Err("it answers OPTIONS with a redirect".to_owned()),
            Outcome::NotModified => Err("it answers OPTIONS with 304".to_owned()),
            Outcome::Refused { status, .. } => Err(format!("it answers OPTIONS with {status}")),
        }
    }
}

/// By the methods that it allows. distribution's are `GET, HEAD` where it is read-only.
fn judge(allow: Option<&str>) -> Result<bool, String> {
    let allow = allow.ok_or("it does not say what it allows")?;
    let mut methods = allow.split(',').map(str::trim).filter(|it| !it.is_empty());
    let changes = |method: &str| !["GET", "HEAD", "OPTIONS"].contains(&method);
    // An empty list would be nobody's word that it may be read, either.
    let reads = allow.split(',').any(|method| method.trim() == "GET");
    if !reads {
        return Err(format!("what it allows is {allow:?}"));
    }
    Ok(methods.any(changes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_allows_anything_but_reading_takes_pushes() {
        assert_eq!(judge(Some("GET, HEAD")), Ok(false));
        assert_eq!(judge(Some("GET,HEAD,OPTIONS")), Ok(false));
        for allowed in [
            "GET, HEAD, PATCH, POST, PUT",
            "GET, HEAD, POST",
            "GET, HEAD, DELETE",
            "GET, HEAD, ANYTHING",
        ] {
            assert_eq!(judge(Some(allowed)), Ok(true), "{allowed}");
        }
        for nothing in [None, Some(""), Some(","), Some("OPTIONS"), Some("get")] {
            assert!(judge(nothing).is_err(), "{nothing:?}");
        }
    }
}
