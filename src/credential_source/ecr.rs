//! Amazon's registry: a signed request gives a password for 12 hours.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;

use super::aws::{self, sigv4};
use super::cached::{Cached, Fetched, Provider};
use super::http::{self, Http};
use super::{CredentialSource, Unavailable};
use crate::clock::Clock;
use crate::credentials::{Credential, Keyring};

const WHAT: &str = "ECR's API";
const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const BODY: &str = "{}";
/// What AWS promises; no token is trusted for longer.
const LIFE_MAX: Duration = Duration::from_hours(12);

/// How the password of one registry is got.
#[derive(Debug)]
pub struct Options {
    pub host: Arc<str>,
    pub region: String,
    /// The URL of the API.
    pub endpoint: String,
    /// An access key; without one, what the environment gives.
    pub access_key: Option<PathBuf>,
}

pub fn source(
    options: Options,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn CredentialSource>, reqwest::Error> {
    let http = Http::new(&[], None)?;
    Ok(Arc::new(Cached::new(Ecr {
        options,
        http,
        clock,
    })))
}

#[derive(Debug)]
struct Ecr {
    options: Options,
    http: Http,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    authorization_data: Vec<Authorization>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    authorization_token: String,
    /// Seconds since 1970, with a fraction.
    expires_at: f64,
}

impl Ecr {
    async fn get(&self) -> Result<Fetched, Unavailable> {
        let Options {
            host,
            region,
            endpoint,
            access_key,
        } = &self.options;
        let keys = aws::keys(&self.http, access_key.as_deref(), region).await?;
        let (client, url) = self.http.client(WHAT, endpoint)?;
        let now = self.clock.now();
        let date = sigv4::date(now);
        let authority = url.authority().to_owned();
        let mut headers = vec![
            ("content-type", CONTENT_TYPE),
            ("host", &authority),
            ("x-amz-date", &date),
        ];
        if let Some(token) = &keys.session_token {
            headers.push(("x-amz-security-token", token.expose_secret()));
        }
        headers.push(("x-amz-target", TARGET));
        let signed = sigv4::Request {
            method: "POST",
            path: url.path(),
            query: "",
            headers: &headers,
            body: BODY.as_bytes(),
        };
        let scope = sigv4::Scope {
            region,
            service: "ecr",
            at: now,
        };
        let authorization = sigv4::authorization(&signed, &scope, &keys.id, &keys.secret);
        let request = headers
            .iter()
            .fold(client.post(url.clone()), |request, (name, value)| {
                request.header(*name, *value)
            })
            .header("authorization", authorization)
            .body(BODY);
        let answer: Answer = http::send_for(WHAT, request).await?;
        let without = || Unavailable::new(format!("{WHAT} answered without a password"));
        let data = answer.authorization_data.first().ok_or_else(without)?;
        let pair = STANDARD
            .decode(data.authorization_token.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_quotes| without())?;
        let pair = std::str::from_utf8(&pair).map_err(|_quotes| without())?;
        let (user, password) = pair.split_once(':').ok_or_else(without)?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "the seconds of a time fit a double's 53 bits"
        )]
        let life = data.expires_at - now.as_second() as f64;
        let life = Duration::try_from_secs_f64(life.max(0.0)).unwrap_or_default();
        let credential = Credential::new(user.to_owned(), password.into(), None, None);
        let credential = credential.with_id(format!("ecr:{host}"));
        let keyring = Keyring::of_host(host, credential);
        Ok(Fetched::with_life(keyring, life.min(LIFE_MAX)))
    }
}

impl Provider for Ecr {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Unavailable>> {
        Box::pin(self.get())
    }
}
