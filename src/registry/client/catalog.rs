//! The repositories of a registry, by distribution's `/v2/_catalog`, which is no part of the distribution-spec.

use std::collections::BTreeSet;
use std::sync::Arc;

use reqwest::Method;
use serde::Deserialize;

use super::tags::Untold;
use super::{Client, by_digest};
use crate::oci::digest::Digest;
use crate::oci::reference::{Reference, shown};
use crate::registry::stats::Operation;
use crate::registry::transport::{Right, Wanted};
use crate::verify::finding::Code;
use crate::verify::target::AuthId;

/// Repositories that are asked for at once.
const PAGE: usize = 1000;
const PAGES_MAX: usize = 256;

#[derive(Deserialize)]
struct RawCatalog {
    /// `null` is how Go writes an empty list; without the key it is no catalog.
    #[serde(deserialize_with = "Option::deserialize")]
    repositories: Option<Vec<String>>,
}

impl Client {
    /// All repositories.
    ///
    /// # Errors
    ///
    /// Of a part of them nothing is told, nor by a registry that has no such list.
    pub async fn catalog(&self, auth: AuthId) -> Result<BTreeSet<Arc<str>>, Untold> {
        let (operation, none) = (Operation::Catalog, Digest::of(b""));
        let repository: Arc<str> = "_catalog".into();
        let wanted = Wanted {
            path: "v2/_catalog".to_owned(),
            query: Some(format!("n={PAGE}")),
            is_manifest: false,
            right: Right::Catalog,
            ..by_digest(operation, auth, &repository, &none, Method::GET)
        };
        let bodies = self.pages(wanted, PAGES_MAX).await.whole("repositories")?;
        let mut all = BTreeSet::new();
        for body in &bodies {
            let page = read(body).map_err(|problem| Untold {
                code: Code::ServerError,
                message: problem.into(),
            })?;
            all.extend(page);
        }
        Ok(all)
    }
}

/// One page.
fn read(body: &[u8]) -> Result<Vec<Arc<str>>, String> {
    let raw: serde_json::Result<RawCatalog> = serde_json::from_slice(body);
    let raw = raw.map_err(|error| format!("the list of repositories cannot be read: {error}"))?;
    let names = raw.repositories.unwrap_or_default().into_iter();
    let checked = names.map(|name| {
        // It becomes a part of a path.
        let reference: Result<Reference, _> = format!("a.example/{name}:tag").parse();
        match reference {
            Ok(reference) if reference.repository() == name => Ok(name.into()),
            Ok(_) | Err(_) => Err(format!(
                "`{}` in the list of repositories is none",
                shown(&name)
            )),
        }
    });
    checked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_catalog_is_no_empty_one() {
        let names = |body: &str| -> Result<Vec<String>, String> {
            let names = read(body.as_bytes())?;
            Ok(names.iter().map(ToString::to_string).collect())
        };
        assert_eq!(
            names(r#"{"repositories":["a","team/b"]}"#).unwrap(),
            ["a", "team/b"]
        );
        for empty in [r#"{"repositories":null}"#, r#"{"repositories":[]}"#] {
            assert!(names(empty).unwrap().is_empty(), "{empty}");
        }
        for other in [
            "",
            "[]",
            "{}",
            r#"{"repositories":"a"}"#,
            r#"{"repositories":["../etc"]}"#,
            r#"{"repositories":["a:b"]}"#,
            r#"{"repositories":["Team/b"]}"#,
            r#"{"repositories":["a?n=1"]}"#,
        ] {
            names(other).unwrap_err();
        }
    }
}
