//! The redis in which replicas of a registry remember what they have is made to forget it.
//!
//! distribution's cache of descriptors has no end of time, outlives every restart, and no API empties it. Its
//! keys are `blobs::DIGEST`, `repository::NAME::blobs` and `repository::NAME::blobs::DIGEST`
//! (distribution `registry/storage/cache/redis`); whatever else is in the same database is not touched.

use self::resp::{Connection, Reply};
use crate::config::Redis;

mod resp;

const KEYS: [&str; 2] = ["blobs::", "repository::"];
/// So many keys are looked at, and removed, at once.
const PAGE: &[u8] = b"1000";
/// Nobody has it.
const NOBODYS: &[u8] = b"blobs::pullproof";

/// Whether it could be made to forget: it is there, takes what is written, and has all keys. The error says
/// what to do.
pub(super) async fn look(redis: &Redis) -> Result<(), String> {
    async {
        let mut connection = Connection::open(redis).await?;
        connection.ask(&[b"PING"]).await?;
        let about = match connection.ask(&[b"INFO"]).await? {
            Reply::Text(about) => String::from_utf8_lossy(&about).into_owned(),
            _ => return Err("what it answers to INFO is no text".to_owned()),
        };
        let says = |fact: &str| about.lines().any(|line| line.trim_end() == fact);
        if says("cluster_enabled:1") {
            return Err(
                "it is one of a cluster, which has a part of the keys alone, and clusters are not supported; \
                 give the registry a redis of its own"
                    .to_owned(),
            );
        }
        if says("role:slave") {
            return Err(
                "it is a replica, which takes nothing that is written; name its master".to_owned(),
            );
        }
        connection
            .ask(&[b"SCAN", b"0", b"MATCH", NOBODYS, b"COUNT", b"1"])
            .await?;
        connection.ask(&[b"UNLINK", NOBODYS]).await.map(drop)
    }
    .await
    .map_err(|problem| format!("the redis at {redis}: {problem} (`gc.settle.redis`)"))
}

/// Removes what it remembers of blobs, and says how many keys that were. What is written meanwhile may stay.
pub(super) async fn forget(redis: &Redis) -> Result<u64, String> {
    forgotten(redis)
        .await
        .map_err(|problem| format!("the redis at {redis}: {problem} (`gc.settle.redis`)"))
}

async fn forgotten(redis: &Redis) -> Result<u64, String> {
    let mut connection = Connection::open(redis).await?;
    let mut removed = 0_u64;
    for prefix in KEYS {
        let pattern = format!("{prefix}*");
        let mut cursor = b"0".to_vec();
        loop {
            let words: [&[u8]; 6] = [
                b"SCAN",
                &cursor,
                b"MATCH",
                pattern.as_bytes(),
                b"COUNT",
                PAGE,
            ];
            let page = connection.ask(&words).await?;
            let (next, keys) = scanned(page).ok_or("what it answers to SCAN is no page of keys")?;
            let keys = keys.iter().filter(|key| key.starts_with(prefix.as_bytes()));
            let command: Vec<&[u8]> = std::iter::once(&b"UNLINK"[..])
                .chain(keys.map(Vec::as_slice))
                .collect();
            if command.len() > 1 {
                match connection.ask(&command).await? {
                    Reply::Number(count) => {
                        removed = removed.saturating_add(count.try_into().unwrap_or(0));
                    }
                    _ => return Err("what it answers to UNLINK is no number".to_owned()),
                }
            }
            cursor = next;
            if cursor == b"0" {
                break;
            }
        }
    }
    Ok(removed)
}

/// Where the next page begins, and the keys of this one.
fn scanned(page: Reply) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let Reply::List(parts) = page else {
        return None;
    };
    let Ok([Reply::Text(next), Reply::List(keys)]) = <[Reply; 2]>::try_from(parts) else {
        return None;
    };
    let keys = keys.into_iter().map(|key| match key {
        Reply::Text(key) => Some(key),
        _ => None,
    });
    Some((next, keys.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_keys_is_a_cursor_and_keys_and_nothing_else() {
        let text = |it: &str| Reply::Text(it.as_bytes().to_vec());
        let page = |parts: Vec<Reply>| scanned(Reply::List(parts));
        let keys = Reply::List(vec![text("blobs::a")]);
        assert_eq!(
            page(vec![text("17"), keys.clone()]),
            Some((b"17".to_vec(), vec![b"blobs::a".to_vec()]))
        );
        assert_eq!(page(vec![text("0")]), None);
        assert_eq!(page(vec![text("0"), keys.clone(), keys]), None);
        let odd = Reply::List(vec![Reply::Nothing]);
        assert_eq!(page(vec![text("0"), odd]), None);
        assert_eq!(scanned(Reply::Number(0)), None);
    }
}
