//! What a request's path asks for. Pure.
//!
//! Names and references go through the grammar that image references have, so that no path can lead
//! outside the tree: there is no `..`, no empty component, none that starts with `_`. Nothing is
//! percent-decoded, since nothing that the grammar allows needs it.

use super::problem::Problem;
use crate::oci::digest::Digest;
use crate::oci::reference::Reference;

/// A readable thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Base,
    ManifestByTag { repository: String, tag: String },
    ManifestByDigest { repository: String, digest: Digest },
    Blob { repository: String, digest: Digest },
    Tags { repository: String },
}

impl Route {
    /// A repository may itself be called `a/manifests/b`, so the path is read from the right.
    pub(super) fn parse(path: &str) -> Result<Self, Problem> {
        let rest = path.strip_prefix("/v2").ok_or(Problem::NoRoute)?;
        if rest.is_empty() || rest == "/" {
            return Ok(Self::Base);
        }
        let rest = rest.strip_prefix('/').ok_or(Problem::NoRoute)?;
        let (rest, last) = rest.rsplit_once('/').ok_or(Problem::NoRoute)?;
        let (name, kind) = rest.rsplit_once('/').ok_or(Problem::NoRoute)?;
        match (kind, last) {
            ("manifests", reference) => manifest(name, reference),
            ("blobs", digest) => Ok(Self::Blob {
                digest: parse_digest(digest)?,
                repository: repository(name)?,
            }),
            ("tags", "list") => Ok(Self::Tags {
                repository: repository(name)?,
            }),
            (_, _) => Err(Problem::NoRoute),
        }
    }
}

fn manifest(name: &str, reference: &str) -> Result<Route, Problem> {
    let repository = repository(name)?;
    if reference.contains(':') {
        let digest = parse_digest(reference)?;
        return Ok(Route::ManifestByDigest { repository, digest });
    }
    // What cannot be a tag is none that is here.
    let full = format!("{HOST}/{repository}:{reference}");
    match full.parse::<Reference>() {
        Ok(parsed) if parsed.tag() == Some(reference) => Ok(Route::ManifestByTag {
            repository,
            tag: reference.to_owned(),
        }),
        Ok(_) | Err(_) => Err(Problem::ManifestUnknown),
    }
}

/// Stands in for a host: the grammar knows whole references only.
const HOST: &str = "registry.invalid";

fn repository(name: &str) -> Result<String, Problem> {
    match format!("{HOST}/{name}").parse::<Reference>() {
        // A name with a tag or digest in it parses too, as another repository.
        Ok(parsed) if parsed.repository() == name => Ok(name.to_owned()),
        Ok(_) | Err(_) => Err(Problem::NameInvalid),
    }
}

fn parse_digest(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|_invalid| Problem::DigestInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn paths_are_read_from_the_right() {
        let digest: Digest = DIGEST.parse().unwrap();
        let tagged = |repository: &str, tag: &str| Route::ManifestByTag {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
        };
        for (path, route) in [
            ("/v2".to_owned(), Route::Base),
            ("/v2/".to_owned(), Route::Base),
            ("/v2/app/manifests/v1".to_owned(), tagged("app", "v1")),
            (
                "/v2/a/manifests/b/manifests/v1".to_owned(),
                tagged("a/manifests/b", "v1"),
            ),
            (
                "/v2/a/tags/list/manifests/list".to_owned(),
                tagged("a/tags/list", "list"),
            ),
            (
                format!("/v2/a/b/manifests/{DIGEST}"),
                Route::ManifestByDigest {
                    repository: "a/b".to_owned(),
                    digest,
                },
            ),
            (
                format!("/v2/a/blobs/b/blobs/{DIGEST}"),
                Route::Blob {
                    repository: "a/blobs/b".to_owned(),
                    digest,
                },
            ),
            (
                "/v2/a/b/tags/list".to_owned(),
                Route::Tags {
                    repository: "a/b".to_owned(),
                },
            ),
        ] {
            assert_eq!(Route::parse(&path).unwrap(), route, "{path}");
        }
    }

    #[test]
    fn nothing_but_the_grammar_becomes_a_path() {
        for name in [
            "..",
            ".",
            "../../etc",
            "a/../b",
            "a//b",
            "/a",
            "a/",
            "",
            "_layers",
            "a/_manifests",
            "%2e%2e",
            "a%2f..%2fb",
            "a\\..\\b",
            "A",
            "a:b",
            "a@sha256:00",
            "a\0b",
            "é",
        ] {
            for path in [
                format!("/v2/{name}/manifests/v1"),
                format!("/v2/{name}/blobs/{DIGEST}"),
                format!("/v2/{name}/tags/list"),
            ] {
                assert!(Route::parse(&path).is_err(), "{path}");
            }
        }
        for last in [
            "",
            ".",
            "..",
            "%2e%2e",
            ".v1",
            "a b",
            "sha256:..",
            "sha512:00",
            "é",
        ] {
            assert!(
                Route::parse(&format!("/v2/a/manifests/{last}")).is_err(),
                "{last}"
            );
            assert!(
                Route::parse(&format!("/v2/a/blobs/{last}")).is_err(),
                "{last}"
            );
        }
        for path in [
            "",
            "/",
            "/v1/",
            "/v2x",
            "/v2/a",
            "/v2/_catalog",
            "/v2/a/other/b",
        ] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
    }
}
