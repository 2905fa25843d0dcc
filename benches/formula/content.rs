//! What the formula registry holds: manifests whose bytes follow from their place.

use std::fmt::Write as _;

use super::sha256;

pub(crate) const TAGS: u32 = 5;
const PLATFORMS: [(&str, &str); 2] = [("amd64", ""), ("arm64", r#","variant":"v8""#)];
const OWN_LAYERS: u32 = 3;
const PLATFORM_LAYERS: u32 = 5;
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub(crate) type Digest = [u8; 32];

/// What a digest names, in which repository.
#[derive(Clone, Copy)]
pub(crate) enum Object {
    Index {
        repository: u32,
        tag: u32,
        size: u32,
    },
    Image {
        repository: u32,
        tag: u32,
        platform: u8,
        size: u32,
    },
    Blob {
        repository: u32,
        size: u32,
    },
}

impl Object {
    pub(crate) fn repository(self) -> u32 {
        match self {
            Self::Index { repository, .. }
            | Self::Image { repository, .. }
            | Self::Blob { repository, .. } => repository,
        }
    }
}

pub(crate) fn hex(digest: &Digest) -> String {
    digest
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes every write");
            hex
        })
}

pub(crate) fn from_hex(hex: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    let pairs = hex.as_bytes().chunks_exact(2);
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// A blob's digest is that of its name: nobody reads its bytes.
fn blob(repository: u32, name: &str) -> (Digest, u32) {
    let digest = sha256::of(format!("{repository} {name}").as_bytes());
    let [a, b, c, ..] = digest;
    (digest, 1000 + u32::from_le_bytes([a, b, c, 0]))
}

/// The config first, then the layers.
pub(crate) fn blobs(repository: u32, tag: u32, platform: u8) -> Vec<(Digest, u32)> {
    let mut all = vec![blob(repository, &format!("config {tag} {platform}"))];
    all.push(blob(repository, "base"));
    all.extend((0..PLATFORM_LAYERS).map(|layer| blob(repository, &format!("{platform} {layer}"))));
    let own = |layer| blob(repository, &format!("{tag} {platform} {layer}"));
    all.extend((0..OWN_LAYERS).map(own));
    all
}

pub(crate) fn image(repository: u32, tag: u32, platform: u8) -> String {
    let descriptor = |media_type: &str, (digest, size): &(Digest, u32)| {
        let digest = hex(digest);
        format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{digest}","size":{size}}}"#)
    };
    let blobs = blobs(repository, tag, platform);
    let (config, layers) = blobs.split_first().expect("the config is always there");
    let layers: Vec<String> = layers
        .iter()
        .map(|layer| descriptor(LAYER, layer))
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
        descriptor(CONFIG, config),
        layers.join(",")
    )
}

pub(crate) fn index(children: &[(Digest, usize)]) -> String {
    let children = children.iter().zip(PLATFORMS);
    let children = children.map(|((digest, size), (architecture, variant))| {
        let digest = hex(digest);
        format!(r#"{{"mediaType":"{MANIFEST}","digest":"sha256:{digest}","size":{size},"platform":{{"os":"linux","architecture":"{architecture}"{variant}}}}}"#)
    });
    let children: Vec<String> = children.collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
        children.join(",")
    )
}

/// The bytes of a manifest. Blobs have none.
pub(crate) fn content(object: Object) -> Option<String> {
    match object {
        Object::Index {
            repository, tag, ..
        } => Some(index(&[0, 1].map(|platform| {
            let body = image(repository, tag, platform);
            (sha256::of(body.as_bytes()), body.len())
        }))),
        Object::Image {
            repository,
            tag,
            platform,
            ..
        } => Some(image(repository, tag, platform)),
        Object::Blob { .. } => None,
    }
}

pub(crate) fn length(body: &str) -> u32 {
    u32::try_from(body.len()).expect("a manifest is small")
}
