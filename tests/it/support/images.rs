//! Images as people push them, built from scratch by real clients.

use std::process::Command;

use super::clients::Clients;
use super::parts;
use super::process::run_well;

pub(crate) const PLATFORMS: [&str; 2] = ["amd64", "arm64"];

/// The media types of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Oci,
    Docker,
}

impl Format {
    fn of_image(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::Docker => "docker",
        }
    }

    fn of_push(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::Docker => "v2s2",
        }
    }
}

/// Pushes an image of one platform and one layer by crane; the content makes its digests unique.
/// Yields the digest of its manifest.
pub(crate) async fn push_image(clients: &Clients, reference: &str, content: &str) -> String {
    let directory = tempfile::tempdir_in(clients.home()).expect("the home is there");
    std::fs::write(directory.path().join("content"), content).expect("the directory is there");
    let layer = directory.path().join("layer.tar");
    let mut tar = Command::new(parts::path("tar"));
    // No time and no owner in it: the same content makes the same digest.
    tar.args([
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "-C",
    ])
    .arg(directory.path())
    .arg("-cf")
    .arg(&layer)
    .arg("content");
    run_well(tar).await;
    let layer = layer
        .to_str()
        .expect("temporary directories have plain names");
    clients
        .crane(&["append", "--oci-empty-base", "-f", layer, "-t", reference])
        .await;
    clients
        .crane(&["digest", reference])
        .await
        .trim()
        .to_owned()
}

/// Builds an image for linux/amd64 and linux/arm64 by buildah and pushes it as an index under one
/// tag, with the children untagged. Each platform has a layer of its own on top of one that both
/// share; the content makes their digests unique. Yields the digest of the index.
pub(crate) async fn push_index(
    clients: &Clients,
    reference: &str,
    content: &str,
    format: Format,
) -> String {
    let buildah = async |arguments: &[&str]| clients.buildah(arguments).await.trim().to_owned();
    // Names of this build's own, so that one client can push several.
    let unique = local_name(reference);
    let base = format!("localhost/{unique}-base");
    let list = format!("localhost/{unique}-index");
    let write = |name: &str, text: String| {
        std::fs::write(clients.home().join(name), text).expect("the home is there");
    };

    write("shared", format!("{content}, shared"));
    let container = buildah(&["from", "scratch"]).await;
    buildah(&["copy", &container, "shared", "/shared"]).await;
    buildah(&[
        "commit",
        "--rm",
        "--format",
        format.of_image(),
        &container,
        &base,
    ])
    .await;

    buildah(&["manifest", "create", &list]).await;
    for platform in PLATFORMS {
        let image = format!("localhost/{unique}-{platform}");
        write("own", format!("{content}, {platform}"));
        let container = buildah(&["from", "--pull-never", &base]).await;
        buildah(&["copy", &container, "own", "/own"]).await;
        buildah(&["config", "--os", "linux", "--arch", platform, &container]).await;
        buildah(&[
            "commit",
            "--rm",
            "--format",
            format.of_image(),
            &container,
            &image,
        ])
        .await;
        buildah(&["manifest", "add", &list, &image]).await;
    }
    push_index_again(clients, reference, format).await
}

/// Pushes what [`push_index`] built for this reference once more, as one does when the registry
/// has lost it. Yields the digest of the index.
pub(crate) async fn push_index_again(clients: &Clients, reference: &str, format: Format) -> String {
    let list = format!("localhost/{}-index", local_name(reference));
    let target = format!("docker://{reference}");
    clients
        .buildah(&[
            "manifest",
            "push",
            "--all",
            "--format",
            format.of_push(),
            &list,
            &target,
        ])
        .await;
    clients
        .crane(&["digest", reference])
        .await
        .trim()
        .to_owned()
}

fn local_name(reference: &str) -> String {
    reference
        .rsplit('/')
        .next()
        .expect("at least one part")
        .replace(':', "-")
}
