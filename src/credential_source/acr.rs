//! Azure's registry: an access token of Microsoft's identity platform, as a service principal, a
//! workload identity or a managed identity, is exchanged at the registry for a refresh token.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::cached::{Cached, Fetched, Provider};
use super::http::{self, Http, environment};
use super::{CredentialSource, Unavailable};
use crate::credentials::{Credential, Keyring};

const AUTHORITY: &str = "https://login.microsoftonline.com";
const INSTANCE: &str = "http://169.254.169.254";
const RESOURCE: &str = "https://management.azure.com/";
/// As the registry knows whoever comes with a refresh token.
const USER: &str = "00000000-0000-0000-0000-000000000000";
/// Where the refresh token does not say how long it lives: less than the three hours of all so far.
const LIFE_DEFAULT: Duration = Duration::from_hours(1);
const LIFE_MAX: Duration = Duration::from_hours(3);

/// How the refresh token of one registry is got.
#[derive(Debug)]
pub struct Options {
    pub host: Arc<str>,
    /// The URL at which the registry is dialled.
    pub endpoint: String,
    /// PEM bundles to trust there besides the system's.
    pub authorities: Vec<Bytes>,
    pub proxy: Option<String>,
    pub identity: Identity,
}

/// Who we are.
#[derive(Debug)]
pub enum Identity {
    ServicePrincipal {
        tenant: String,
        client: String,
        secret: PathBuf,
    },
    /// What the environment says: a workload identity, else the managed identity of the machine; with an
    /// id, the user-assigned one.
    Environment { client: Option<String> },
}

pub fn source(options: Options) -> Result<Arc<dyn CredentialSource>, reqwest::Error> {
    let http = Http::new(&options.authorities, options.proxy.as_deref())?;
    Ok(Arc::new(Cached::new(Acr { options, http })))
}

#[derive(Debug)]
struct Acr {
    options: Options,
    http: Http,
}

#[derive(Deserialize)]
struct AccessToken {
    #[serde(deserialize_with = "http::secret")]
    access_token: SecretString,
}

#[derive(Deserialize)]
struct RefreshToken {
    #[serde(deserialize_with = "http::secret")]
    refresh_token: SecretString,
}

impl Acr {
    async fn get(&self) -> Result<Fetched, Unavailable> {
        let Options { host, endpoint, .. } = &self.options;
        let AccessToken { access_token } = self.access_token().await?;
        let what = "the registry's /oauth2/exchange";
        let url = format!("{}/oauth2/exchange", endpoint.trim_end_matches('/'));
        let form = [
            ("grant_type", "access_token"),
            ("service", host),
            ("access_token", access_token.expose_secret()),
        ];
        let RefreshToken { refresh_token } = self.post(what, &url, &form).await?;
        let life = life(refresh_token.expose_secret()).unwrap_or(LIFE_DEFAULT);
        let password = SecretString::default();
        let credential = Credential::new(USER.to_owned(), password, Some(refresh_token), None);
        let credential = credential.with_id(format!("acr:{host}"));
        let keyring = Keyring::of_host(host, credential);
        Ok(Fetched::with_life(keyring, life.min(LIFE_MAX)))
    }

    async fn access_token(&self) -> Result<AccessToken, Unavailable> {
        let (client, secret) = match &self.options.identity {
            Identity::ServicePrincipal {
                tenant,
                client,
                secret,
            } => {
                let secret = http::file("the file of the client secret", secret).await?;
                return self
                    .of_platform(tenant, client, ("client_secret", secret))
                    .await;
            }
            Identity::Environment { client } => (client, environment("AZURE_CLIENT_SECRET")),
        };
        let client = client.clone().or_else(|| environment("AZURE_CLIENT_ID"));
        let tenant = environment("AZURE_TENANT_ID");
        if let (Some(tenant), Some(client)) = (&tenant, &client) {
            if let Some(secret) = secret {
                let proof = ("client_secret", secret.into());
                return self.of_platform(tenant, client, proof).await;
            }
            if let Some(file) = environment("AZURE_FEDERATED_TOKEN_FILE") {
                let token = http::file("AZURE_FEDERATED_TOKEN_FILE", Path::new(&file)).await?;
                let proof = ("client_assertion", token);
                return self.of_platform(tenant, client, proof).await;
            }
        }
        self.of_instance(client.as_deref()).await
    }

    /// The client credentials grant (RFC 6749, 4.4), with a secret or with another's token (RFC 7523).
    async fn of_platform(
        &self,
        tenant: &str,
        client: &str,
        (key, proof): (&str, SecretString),
    ) -> Result<AccessToken, Unavailable> {
        let authority = environment("AZURE_AUTHORITY_HOST");
        let authority = authority.as_deref().unwrap_or(AUTHORITY);
        let authority = authority.trim_end_matches('/');
        let url = format!("{authority}/{tenant}/oauth2/v2.0/token");
        let scope = format!("{RESOURCE}.default");
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("scope", &scope),
            (key, proof.expose_secret()),
        ];
        if key == "client_assertion" {
            form.push((
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ));
        }
        self.post("Microsoft's identity platform", &url, &form)
            .await
    }

    async fn of_instance(&self, client: Option<&str>) -> Result<AccessToken, Unavailable> {
        let what = "there is no client secret and no AZURE_FEDERATED_TOKEN_FILE, and the \
                    instance's metadata service";
        let base = environment("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        let base = base.as_deref().unwrap_or(INSTANCE).trim_end_matches('/');
        let mut query = vec![("api-version", "2018-02-01"), ("resource", RESOURCE)];
        query.extend(client.map(|client| ("client_id", client)));
        let url = format!(
            "{base}/metadata/identity/oauth2/token?{}",
            http::form(&query)
        );
        let (client, url) = self.http.client(what, &url)?;
        http::send_for(what, client.get(url).header("metadata", "true")).await
    }

    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        url: &str,
        form: &[(&str, &str)],
    ) -> Result<T, Unavailable> {
        let (client, url) = self.http.client(what, url)?;
        let request = client
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(http::form(form));
        http::send_for(what, request).await
    }
}

impl Provider for Acr {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Unavailable>> {
        Box::pin(self.get())
    }
}

/// How long a JWT says that it lives: from its own two times, since our clock may be another. It is not
/// verified here; the registry that gave it is the one that will judge it.
fn life(token: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        iat: u64,
        exp: u64,
    }
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let Claims { iat, exp } = serde_json::from_slice(&claims).ok()?;
    exp.checked_sub(iat).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_its_life_by_its_own_clock() {
        let token = |claims: &str| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        let hours = token(r#"{"iat": 1700000000, "exp": 1700010800, "x": 1}"#);
        assert_eq!(life(&hours), Some(LIFE_MAX));
        assert_eq!(life(&token(r#"{"iat": 2, "exp": 1}"#)), None);
        assert_eq!(life(&token(r#"{"exp": 1}"#)), None);
        assert_eq!(life("opaque"), None);
    }
}
