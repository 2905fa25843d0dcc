//! What a registry is, by how it answers whoever does not say who asks. Pure.
//!
//! All of them speak the distribution-spec and say `Docker-Distribution-Api-Version: registry/2.0`. What
//! tells them apart:
//!
//! - **Harbor** wants tokens for the service `harbor-registry` on `/v2/` (`src/core/service/token`,
//!   `src/server/middleware/v2auth`), and answers `Pong` to `/api/v2.0/ping`. Its registry behind that,
//!   dialled past Harbor, wants a password for `harbor-registry-basic-realm`.
//! - **zot** lets browsers send `X-ZOT-API-CLIENT` (its CORS headers), and lists extensions named `_zot`.
//!
//! Nothing tells distribution for sure: it is what shows no sign of another.

use serde::Deserialize;

use super::challenge::{self, Challenge};

/// What a registry is, as far as it decides itself what is garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// distribution, or what collects no garbage behind its back either.
    Distribution,
    Zot,
    Harbor,
    /// It could not be asked.
    Unknown,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Distribution => "distribution",
            Self::Zot => "zot",
            Self::Harbor => "harbor",
            Self::Unknown => "unknown",
        }
    }
}

/// What is asked, in this order, until one answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    FrontDoor,
    HarborPing,
    Extensions,
}

impl Look {
    pub(super) const ALL: [Self; 3] = [Self::FrontDoor, Self::HarborPing, Self::Extensions];

    /// Below the endpoint.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::FrontDoor => "v2/",
            Self::HarborPing => "api/v2.0/ping",
            Self::Extensions => "v2/_oci/ext/discover",
        }
    }

    /// What an answer tells; `None` where it shows no sign. The error is why it tells nothing at all.
    pub(super) fn tells(self, answer: &Told<'_>) -> Result<Option<Kind>, String> {
        let status = answer.status;
        let is_answer = match self {
            Self::FrontDoor => matches!(status, 200 | 401 | 403),
            Self::HarborPing | Self::Extensions => {
                matches!(status, 200..300 | 400..500) && status != 429
            }
        };
        if !is_answer {
            return Err(format!("it answered {status} to /{}", self.path()));
        }
        let is_there = status == 200;
        Ok(match self {
            Self::FrontDoor if answer.is_challenge_of_harbor() => Some(Kind::Harbor),
            Self::FrontDoor if answer.allowed_headers.contains("x-zot-api-client") => {
                Some(Kind::Zot)
            }
            Self::HarborPing if is_there && is_pong(answer.body) => Some(Kind::Harbor),
            Self::Extensions if is_there && has_zots(answer.body) => Some(Kind::Zot),
            Self::FrontDoor | Self::HarborPing | Self::Extensions => None,
        })
    }
}

/// An answer, as far as it is looked at.
#[derive(Debug, Default)]
pub(super) struct Told<'a> {
    pub(super) status: u16,
    /// All of `WWW-Authenticate`.
    pub(super) challenges: Vec<&'a str>,
    /// `Access-Control-Allow-Headers` in lower case.
    pub(super) allowed_headers: String,
    pub(super) body: &'a [u8],
}

impl Told<'_> {
    fn is_challenge_of_harbor(&self) -> bool {
        let challenge = challenge::choose(self.challenges.iter().copied());
        let is_token = matches!(
            challenge,
            Some(Challenge::Bearer { service: Some(service), .. }) if service == "harbor-registry"
        );
        let mut challenges = self.challenges.iter();
        let realms = ["realm=\"harbor\"", "realm=\"harbor-registry-basic-realm\""];
        is_token || challenges.any(|it| realms.iter().any(|realm| it.contains(realm)))
    }
}

fn is_pong(body: &[u8]) -> bool {
    matches!(body.trim_ascii(), b"Pong" | b"\"Pong\"")
}

/// `_oci/ext/discover` of the distribution-spec's extensions.
fn has_zots(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Extensions {
        extensions: Vec<Extension>,
    }
    #[derive(Deserialize)]
    struct Extension {
        #[serde(default)]
        name: String,
        #[serde(default)]
        endpoints: Vec<String>,
    }
    let Ok(Extensions { extensions }) = serde_json::from_slice(body) else {
        return false;
    };
    extensions
        .iter()
        .any(|it| it.name == "_zot" || it.endpoints.iter().any(|path| path.contains("/_zot/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front_door(status: u16, challenge: &str) -> Result<Option<Kind>, String> {
        Look::FrontDoor.tells(&Told {
            status,
            challenges: vec![challenge],
            ..Told::default()
        })
    }

    #[test]
    fn each_is_told_by_its_own_words_and_no_other() {
        let harbor = r#"Bearer realm="https://h.example/service/token",service="harbor-registry""#;
        assert_eq!(front_door(401, harbor), Ok(Some(Kind::Harbor)));
        let inner = r#"Basic realm="harbor-registry-basic-realm""#;
        assert_eq!(front_door(401, inner), Ok(Some(Kind::Harbor)));
        // A name that somebody gave a plain registry.
        let plain = r#"Bearer realm="https://harbor.example/token",service="my-harbor-registry""#;
        assert_eq!(front_door(401, plain), Ok(None));
        assert_eq!(front_door(401, r#"Basic realm="Registry Realm""#), Ok(None));
        assert_eq!(front_door(200, ""), Ok(None));
        let zot = Told {
            status: 401,
            allowed_headers: "authorization,content-type,x-zot-api-client".to_owned(),
            ..Told::default()
        };
        assert_eq!(Look::FrontDoor.tells(&zot), Ok(Some(Kind::Zot)));
        let answered = |look: Look, status, body: &str| {
            look.tells(&Told {
                status,
                body: body.as_bytes(),
                ..Told::default()
            })
        };
        assert_eq!(
            answered(Look::HarborPing, 200, "Pong\n"),
            Ok(Some(Kind::Harbor))
        );
        // A page for everything that it does not know.
        assert_eq!(
            answered(Look::HarborPing, 200, "<html>Pong</html>"),
            Ok(None)
        );
        assert_eq!(answered(Look::HarborPing, 404, "Pong"), Ok(None));
        let extensions =
            r#"{"extensions":[{"name":"_zot","url":"…","endpoints":["/v2/_zot/ext/search"]}]}"#;
        assert_eq!(
            answered(Look::Extensions, 200, extensions),
            Ok(Some(Kind::Zot))
        );
        let others = r#"{"extensions":[{"name":"_catalog","endpoints":["/v2/_catalog"]}]}"#;
        assert_eq!(answered(Look::Extensions, 200, others), Ok(None));
        assert_eq!(answered(Look::Extensions, 404, ""), Ok(None));
    }

    #[test]
    fn what_is_no_answer_of_a_registry_is_no_absence_of_signs() {
        for status in [204, 301, 404, 429, 500, 503] {
            let problem = front_door(status, "").unwrap_err();
            assert!(problem.contains(&status.to_string()), "{problem}");
        }
        for look in [Look::HarborPing, Look::Extensions] {
            for status in [302, 429, 502] {
                let told = Told {
                    status,
                    ..Told::default()
                };
                assert!(look.tells(&told).is_err(), "{look:?} {status}");
            }
        }
    }
}
