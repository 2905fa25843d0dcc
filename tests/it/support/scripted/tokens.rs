//! Whom a scripted registry lets in, and the tokens that it gives out.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use super::answer::Reply;
use super::{AUTH, REGISTRY, Seen};

pub(crate) const USER: &str = "robot";
pub(crate) const PASSWORD: &str = "correct-horse";

/// Whom the registry lets in.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    #[default]
    Everybody,
    /// Who names [`USER`] and [`PASSWORD`].
    Password,
    /// Who has a token of the server at this realm; it is given to [`USER`], and to nobody else
    /// unless `to_anybody`.
    Token { realm: String, to_anybody: bool },
}

impl Access {
    /// The registry's own host also gives tokens.
    pub(crate) fn tokens() -> Self {
        Self::Token {
            realm: format!("http://{REGISTRY}/token"),
            to_anybody: false,
        }
    }
}

/// The tokens that were given out: for which scope each is.
#[derive(Debug, Default)]
pub(crate) struct Issued(BTreeMap<String, String>);

/// The user and the password of a request.
pub(crate) fn is_user(seen: &Seen) -> bool {
    let expected = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    seen.header("authorization") == Some(&expected)
}

impl Issued {
    pub(crate) fn issue(&mut self, seen: &Seen, to_anybody: bool) -> Reply {
        if !to_anybody && !is_user(seen) {
            return Reply::error(401, "UNAUTHORIZED");
        }
        let url = format!("http://{AUTH}/?{}", seen.query);
        let url: reqwest::Url = url.parse().expect("a query was parsed once already");
        let scope = url.query_pairs().find(|(name, _)| name == "scope");
        let scope = scope.map(|(_, scope)| scope.into_owned());
        let token = format!("token-{}", self.0.len() + 1);
        self.0.insert(token.clone(), scope.unwrap_or_default());
        let body = json!({"token": token, "expires_in": 300}).to_string();
        Reply::new(200, Bytes::from(body)).with("content-type", "application/json")
    }

    /// `None` lets the request in.
    pub(crate) fn refusal(&self, access: &Access, seen: &Seen) -> Option<Reply> {
        let repository = super::answer::repository(&seen.path);
        let challenge = match access {
            Access::Everybody => return None,
            Access::Password if is_user(seen) => return None,
            Access::Password => r#"Basic realm="registry""#.to_owned(),
            Access::Token { realm, .. } => {
                let scope = format!("repository:{}:pull", repository.unwrap_or_default());
                let token = seen
                    .header("authorization")
                    .and_then(|it| it.strip_prefix("Bearer "));
                let granted = token.and_then(|token| self.0.get(token));
                if granted.is_some_and(|granted| *granted == scope || repository.is_none()) {
                    return None;
                }
                format!(r#"Bearer realm="{realm}",service="{REGISTRY}",scope="{scope}""#)
            }
        };
        Some(Reply::error(401, "UNAUTHORIZED").with("www-authenticate", &challenge))
    }
}
