//! Asks a registry what it is.

use std::time::Duration;

use reqwest::{Response, header};

use super::Client;
use crate::registry::kind::{Kind, Look, Told};
use crate::registry::wire;

/// All questions together may take so long.
const ASKING_MAX: Duration = Duration::from_secs(15);
/// Signs are short; a longer body is none.
const BODY_BYTES_MAX: usize = 64 << 10;

impl Client {
    /// What the registry is, by its answers to whoever does not say who asks. The error is why nobody can
    /// say.
    pub async fn kind(&self) -> Result<Kind, String> {
        let asked = tokio::time::timeout(ASKING_MAX, self.look_at_kind());
        asked.await.unwrap_or_else(|_elapsed| {
            Err(format!("it did not answer in {} s", ASKING_MAX.as_secs()))
        })
    }

    async fn look_at_kind(&self) -> Result<Kind, String> {
        for look in Look::ALL {
            let answer = self.transport.look(look.path()).await;
            let answer = answer.map_err(|failure| failure.message.to_string())?;
            if let Some(kind) = tells(look, answer).await? {
                return Ok(kind);
            }
        }
        Ok(Kind::Distribution)
    }
}

async fn tells(look: Look, answer: Response) -> Result<Option<Kind>, String> {
    let status = answer.status().as_u16();
    let headers = answer.headers().clone();
    let body = wire::read_some(answer, BODY_BYTES_MAX).await;
    let texts = |name| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|it| it.to_str().ok())
    };
    let allowed: Vec<&str> = texts(header::ACCESS_CONTROL_ALLOW_HEADERS).collect();
    look.tells(&Told {
        status,
        challenges: texts(header::WWW_AUTHENTICATE).collect(),
        allowed_headers: allowed.join(",").to_ascii_lowercase(),
        body: &body,
    })
}
