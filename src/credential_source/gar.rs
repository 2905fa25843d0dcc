//! Google's registry: an access token, of a service account's key, of a token exchanged for another
//! cloud's or cluster's (workload identity federation), or of what the metadata server takes us for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::cached::{Cached, Fetched, Provider};
use super::http::{self, Http, environment};
use super::{CredentialSource, Unavailable};
use crate::clock::Clock;
use crate::credentials::{Credential, Keyring};

const WHAT: &str = "Google's token service";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const METADATA_HOST: &str = "169.254.169.254";
/// As registries know whoever comes with an access token.
const USER: &str = "oauth2accesstoken";

/// How the access token of one registry is got.
#[derive(Debug)]
pub struct Options {
    pub host: Arc<str>,
    /// What Google calls application default credentials; without it, `GOOGLE_APPLICATION_CREDENTIALS`,
    /// else the metadata server.
    pub file: Option<PathBuf>,
}

pub fn source(
    options: Options,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn CredentialSource>, reqwest::Error> {
    let http = Http::new(&[], None)?;
    Ok(Arc::new(Cached::new(Gar {
        options,
        http,
        clock,
    })))
}

#[derive(Debug)]
struct Gar {
    options: Options,
    http: Http,
    clock: Arc<dyn Clock>,
}

/// The two files that can be used without a person.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Document {
    ServiceAccount(ServiceAccount),
    ExternalAccount(ExternalAccount),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    #[serde(deserialize_with = "http::secret")]
    private_key: SecretString,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

#[derive(Deserialize)]
struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: String,
    credential_source: SubjectToken,
    service_account_impersonation_url: Option<String>,
}

#[derive(Deserialize)]
struct SubjectToken {
    file: Option<PathBuf>,
    format: Option<SubjectFormat>,
}

#[derive(Deserialize)]
struct SubjectFormat {
    subject_token_field_name: Option<String>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(deserialize_with = "http::secret")]
    access_token: SecretString,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    #[serde(deserialize_with = "http::secret")]
    access_token: SecretString,
    expire_time: Timestamp,
}

/// Where Google does not say how long a token lives, it is an hour.
const LIFE_DEFAULT: Duration = Duration::from_hours(1);

type Living = (SecretString, Duration);

impl Token {
    fn living(self) -> Living {
        let life = self.expires_in.map_or(LIFE_DEFAULT, Duration::from_secs);
        (self.access_token, life.min(LIFE_DEFAULT))
    }
}

impl Gar {
    async fn get(&self) -> Result<Fetched, Unavailable> {
        let host = &self.options.host;
        let of_environment = || environment("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from);
        let (token, life) = match self.options.file.clone().or_else(of_environment) {
            Some(file) => self.of_file(&file).await?,
            None => self.of_metadata().await?,
        };
        let credential = Credential::new(USER.to_owned(), token, None, None);
        let credential = credential.with_id(format!("gar:{host}"));
        let keyring = Keyring::of_host(host, credential);
        Ok(Fetched::with_life(keyring, life))
    }

    async fn of_file(&self, path: &Path) -> Result<Living, Unavailable> {
        let what = "the file of Google's credentials";
        let text = http::file(what, path).await?;
        let problem = |text: &str| Unavailable::new(format!("{what} {}: {text}", path.display()));
        let document: Document = serde_json::from_str(text.expose_secret()).map_err(|_quotes| {
            problem("it is not the JSON of a service account's key or of an external account")
        })?;
        match document {
            Document::ServiceAccount(account) => {
                let url = account.token_uri.as_deref();
                let url = url.unwrap_or("https://oauth2.googleapis.com/token");
                let assertion = assertion(&account, url, self.clock.now()).map_err(&problem)?;
                let form = http::form(&[
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", &assertion),
                ]);
                Ok(self.post(url, form).await?.living())
            }
            Document::ExternalAccount(account) => self.of_external(&account, problem).await,
            Document::Other => Err(problem(
                "its type is neither service_account nor external_account; others need a person",
            )),
        }
    }

    async fn of_external(
        &self,
        account: &ExternalAccount,
        problem: impl Fn(&str) -> Unavailable,
    ) -> Result<Living, Unavailable> {
        let SubjectToken { file, format } = &account.credential_source;
        let file = file.as_ref().ok_or_else(|| {
            problem("its credential_source is not a file, which is the only one that is supported")
        })?;
        let subject = http::file("the subject token", file).await?;
        let field = format.as_ref();
        let subject = match field.and_then(|format| format.subject_token_field_name.as_deref()) {
            None => subject,
            Some(field) => {
                let json: serde_json::Value = serde_json::from_str(subject.expose_secret())
                    .map_err(|_quotes| problem("its subject token is not JSON"))?;
                let token = json.get(field).and_then(|token| token.as_str());
                token
                    .map(SecretString::from)
                    .ok_or_else(|| problem("its subject token has not the field that it names"))?
            }
        };
        let form = http::form(&[
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("audience", &account.audience),
            ("scope", SCOPE),
            (
                "requested_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("subject_token_type", &account.subject_token_type),
            ("subject_token", subject.expose_secret()),
        ]);
        let federated = self.post(&account.token_url, form).await?;
        let Some(url) = &account.service_account_impersonation_url else {
            return Ok(federated.living());
        };
        let what = "Google's service account impersonation";
        let (client, url) = self.http.client(what, url)?;
        let request = client
            .post(url)
            .bearer_auth(federated.access_token.expose_secret())
            .header("content-type", "application/json")
            .body(json!({"scope": [SCOPE], "lifetime": "3600s"}).to_string());
        let answer: Impersonated = http::send_for(what, request).await?;
        let life = answer.expire_time.duration_since(self.clock.now());
        let life = Duration::try_from(life).unwrap_or_default();
        Ok((answer.access_token, life.min(LIFE_DEFAULT)))
    }

    async fn post(&self, url: &str, form: String) -> Result<Token, Unavailable> {
        let (client, url) = self.http.client(WHAT, url)?;
        let request = client
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        http::send_for(WHAT, request).await
    }

    async fn of_metadata(&self) -> Result<Living, Unavailable> {
        let what = "there is no file of credentials, and Google's metadata server";
        let host = environment("GCE_METADATA_HOST");
        let host = host.as_deref().unwrap_or(METADATA_HOST);
        let url =
            format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
        let (client, url) = self.http.client(what, &url)?;
        let request = client.get(url).header("metadata-flavor", "Google");
        let token: Token = http::send_for(what, request).await?;
        Ok(token.living())
    }
}

impl Provider for Gar {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Unavailable>> {
        Box::pin(self.get())
    }
}

/// A JWT (RFC 7523) that says for an hour, signed by the account's key, who asks.
fn assertion(
    account: &ServiceAccount,
    audience: &str,
    now: Timestamp,
) -> Result<String, &'static str> {
    const NOT_A_KEY: &str = "its private_key is not an RSA key in PEM (PKCS #8)";
    let der = PrivatePkcs8KeyDer::from_pem_slice(account.private_key.expose_secret().as_bytes())
        .map_err(|_quotes| NOT_A_KEY)?;
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_quotes| NOT_A_KEY)?;
    let issued = now.as_second();
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if let (Some(id), Some(header)) = (&account.private_key_id, header.as_object_mut()) {
        header.insert("kid".to_owned(), json!(id));
    }
    let claims = json!({
        "iss": account.client_email, "scope": SCOPE, "aud": audience, "iat": issued, "exp": issued + 3600,
    });
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .map_err(|_unspecified| "its private_key does not sign")?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
