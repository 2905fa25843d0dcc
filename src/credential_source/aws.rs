//! Who we are to AWS: an access key of a file or of the environment, or the role of the pod, of the
//! container or of the instance that we run in, in the order of AWS's own clients. The first that is
//! there is taken: where it fails, none behind it is tried.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::Unavailable;
use super::http::{self, Http, environment};

mod session;
pub(crate) mod sigv4;

pub(crate) use session::Session;

const INSTANCE: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";

/// What signs a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Keys {
    #[serde(rename = "AccessKeyId")]
    pub(crate) id: String,
    #[serde(rename = "SecretAccessKey", deserialize_with = "http::secret")]
    pub(crate) secret: SecretString,
    /// Of a key that lives for some hours.
    #[serde(rename = "Token", default, deserialize_with = "optional_secret")]
    pub(crate) session_token: Option<SecretString>,
}

fn optional_secret<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<SecretString>, D::Error> {
    Option::<String>::deserialize(from).map(|token| token.map(Into::into))
}

/// The keys as they are now.
pub(super) async fn keys(
    http: &Http,
    file: Option<&Path>,
    region: &str,
) -> Result<Keys, Unavailable> {
    if let Some(path) = file {
        let text = http::file("the file of the access key", path).await?;
        return from_file(text.expose_secret()).ok_or_else(|| {
            Unavailable::new(format!(
                "the file of the access key {}: expected aws_access_key_id = … and \
                 aws_secret_access_key = … in it, each in a line of its own below [default]",
                path.display()
            ))
        });
    }
    if let (Some(id), Some(secret)) = (
        environment("AWS_ACCESS_KEY_ID"),
        environment("AWS_SECRET_ACCESS_KEY"),
    ) {
        return Ok(Keys {
            id,
            secret: secret.into(),
            session_token: environment("AWS_SESSION_TOKEN").map(Into::into),
        });
    }
    if let (Some(token), Some(role)) = (
        environment("AWS_WEB_IDENTITY_TOKEN_FILE"),
        environment("AWS_ROLE_ARN"),
    ) {
        return of_web_identity(http, Path::new(&token), &role, region).await;
    }
    let full = environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let relative = environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    match full.or_else(|| relative.map(|path| format!("{CONTAINER}{path}"))) {
        Some(url) => of_container(http, &url).await,
        None => of_instance(http).await.map_err(|Unavailable(problem)| {
            Unavailable::new(format!(
                "there is no access key, no AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN and no \
                 AWS_CONTAINER_CREDENTIALS_FULL_URI, and {problem}"
            ))
        }),
    }
}

/// AWS's shared credentials file: of the profile `default`.
fn from_file(text: &str) -> Option<Keys> {
    let mut is_default = true;
    let mut found: [Option<&str>; 3] = [None; 3];
    let names = [
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
    ];
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            is_default = line == "[default]";
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_default) {
            for (known, place) in names.iter().zip(&mut found) {
                if name.trim() == *known {
                    *place = Some(value.trim());
                }
            }
        }
    }
    let [id, secret, session_token] = found.map(|value| value.filter(|value| !value.is_empty()));
    Some(Keys {
        id: id?.to_owned(),
        secret: secret?.into(),
        session_token: session_token.map(Into::into),
    })
}

/// A service account's token for a role (EKS's IRSA). The request is not signed: the token is all.
async fn of_web_identity(
    http: &Http,
    token: &Path,
    role: &str,
    region: &str,
) -> Result<Keys, Unavailable> {
    let what = "AWS's token service (STS)";
    let token = http::file("AWS_WEB_IDENTITY_TOKEN_FILE", token).await?;
    let session = environment("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "pullproof".to_owned());
    let url = environment("AWS_ENDPOINT_URL_STS")
        .unwrap_or_else(|| format!("https://sts.{region}.{}", suffix(region)));
    let body = http::form(&[
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", &session),
        ("WebIdentityToken", token.expose_secret()),
    ]);
    let (client, url) = http.client(what, &url)?;
    let request = client
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let answer = http::send(what, request).await?;
    let text = String::from_utf8_lossy(&answer);
    // Of the whole document these three are wanted, and none of them can hold a mark of XML.
    let of = |tag: &str| http::between(&text, &format!("<{tag}>"), &format!("</{tag}>"));
    match (of("AccessKeyId"), of("SecretAccessKey"), of("SessionToken")) {
        (Some(id), Some(secret), Some(token)) => Ok(Keys {
            id: id.to_owned(),
            secret: secret.into(),
            session_token: Some(token.into()),
        }),
        _ => Err(Unavailable::new(format!("{what} answered without keys"))),
    }
}

/// The domain of a region's services.
pub(crate) fn suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

/// EKS Pod Identity, and ECS.
async fn of_container(http: &Http, url: &str) -> Result<Keys, Unavailable> {
    let what = "the container's credential service";
    let (client, url) = http.client(what, url)?;
    let mut request = client.get(url);
    let file = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let token = match file {
        Some(file) => {
            let what = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
            Some(http::file(what, Path::new(&file)).await?)
        }
        None => environment("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Into::into),
    };
    if let Some(token) = token {
        request = request.header("authorization", token.expose_secret());
    }
    http::send_for(what, request).await
}

/// The role of an EC2 instance, by the second version of its metadata service.
async fn of_instance(http: &Http) -> Result<Keys, Unavailable> {
    let what = "the instance's metadata service";
    let base = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let base = base.as_deref().unwrap_or(INSTANCE).trim_end_matches('/');
    let (client, url) = http.client(what, &format!("{base}/latest/api/token"))?;
    let request = client
        .put(url)
        .header("x-aws-ec2-metadata-token-ttl-seconds", "300");
    let session = http::send(what, request).await?;
    let session = String::from_utf8_lossy(&session).into_owned();
    let get = async |path: &str| {
        let url = format!("{base}/latest/meta-data/iam/security-credentials/{path}");
        let (client, url) = http.client(what, &url)?;
        Ok(client.get(url).header("x-aws-ec2-metadata-token", &session))
    };
    let roles = http::send(what, get("").await?).await?;
    let roles = String::from_utf8_lossy(&roles);
    let role = roles
        .lines()
        .next()
        .filter(|role| !role.is_empty() && !role.contains(['/', '?', '#']))
        .ok_or_else(|| Unavailable::new(format!("{what} names no role")))?;
    http::send_for(what, get(role).await?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_profile_default_or_none() {
        let of = |text: &str| {
            from_file(text).map(|keys| {
                let token = keys.session_token.as_ref();
                (
                    keys.id.clone(),
                    keys.secret.expose_secret().to_owned(),
                    token.map(|token| token.expose_secret().to_owned()),
                )
            })
        };
        let pair = Some(("AKID".to_owned(), "a=b/c+".to_owned(), None));
        let plain = "aws_access_key_id = AKID\naws_secret_access_key=a=b/c+\n";
        assert_eq!(of(plain), pair);
        let other = "[other]\naws_access_key_id = X\naws_secret_access_key = Y\n";
        assert_eq!(of(&format!("{other}[default]\n{plain}")), pair);
        let token = of(&format!("[default]\n{plain}aws_session_token = t\n{other}")).unwrap();
        assert_eq!((token.0.as_str(), token.2.as_deref()), ("AKID", Some("t")));
        assert_eq!(of(other), None);
        assert_eq!(of("aws_access_key_id = AKID\n"), None);
        assert_eq!(of("AKID:secret"), None);
    }
}
