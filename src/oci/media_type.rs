//! The media types of manifests and layers that decide how a body is read.

/// What a body is, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An OCI image index or a Docker manifest list: names child manifests.
    Index,
    /// An OCI image manifest or a Docker v2 schema 2 manifest: names config and layers.
    Manifest,
    /// Docker v2 schema 1, signed or not: obsolete, its layers carry no sizes.
    Schema1,
    /// Anything else: a blob, or a manifest of a kind that is not known here.
    Other,
}

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What every manifest request accepts. All of them, always: distribution 3 answers 404 for an OCI
/// index to a client that does not say it takes one, and rewrites lists for old clients.
pub const ACCEPT_MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.oci.artifact.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1";

pub fn kind(media_type: &str) -> Kind {
    match bare(media_type) {
        OCI_INDEX | DOCKER_LIST => Kind::Index,
        OCI_MANIFEST | DOCKER_MANIFEST => Kind::Manifest,
        SCHEMA1 | SCHEMA1_SIGNED => Kind::Schema1,
        _ => Kind::Other,
    }
}

/// What a manifest says that it is, and else what it looks like: its media type may be left out, and then it was
/// told beside it when it was pushed.
pub fn declared(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Declared {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let declared: Option<Declared> = serde_json::from_slice(body).ok();
    let looks = match &declared {
        Some(it) if it.manifests.is_some() => OCI_INDEX,
        _ => OCI_MANIFEST,
    };
    let said = declared.and_then(|it| it.media_type);
    let said = said.filter(|it| !it.is_empty());
    said.unwrap_or_else(|| looks.to_owned())
}

/// The artifact manifest of the image-spec's 1.1 candidates. It was withdrawn, and clients of that time
/// have pushed it.
pub fn is_artifact(media_type: &str) -> bool {
    bare(media_type) == OCI_ARTIFACT
}

/// A registry may append `; charset=utf-8`.
fn bare(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_what_it_says_and_else_what_it_looks_like() {
        for (body, expected) in [
            (
                format!(r#"{{"mediaType":"{DOCKER_LIST}","manifests":[]}}"#),
                DOCKER_LIST,
            ),
            (r#"{"manifests":[]}"#.to_owned(), OCI_INDEX),
            (r#"{"config":{}}"#.to_owned(), OCI_MANIFEST),
            (r#"{"mediaType":"","manifests":[]}"#.to_owned(), OCI_INDEX),
        ] {
            assert_eq!(declared(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn parameters_do_not_hide_the_kind() {
        assert_eq!(
            kind("application/vnd.oci.image.index.v1+json; charset=utf-8"),
            Kind::Index
        );
        assert_eq!(kind(DOCKER_MANIFEST), Kind::Manifest);
        assert_eq!(kind("text/html"), Kind::Other);
    }
}
