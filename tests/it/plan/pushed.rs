//! Trees that real clients pushed to real registries, with all that piles up in one.

use super::case::Case;
use super::served::can_pull;
use super::tree::Tree;
use crate::support::clients::Clients;
use crate::support::http::client;
use crate::support::images::{Format, push_image, push_index};
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};

#[tokio::test]
async fn a_registry_of_2_8() {
    check(Version::V2).await;
}

#[tokio::test]
async fn a_registry_of_3_1() {
    check(Version::V3).await;
}

async fn check(version: Version) {
    require!(
        "docker-registry",
        "registry-3.1",
        "buildah",
        "crane",
        "regctl",
        "skopeo"
    );
    let mut tree = Tree::new();
    let options = Options::new(version, tree.root()).with_deletes();
    let mut registry = Registry::start(options).await;
    let clients = Clients::of(&registry).await;
    let at = |reference: &str| format!("{}/{reference}", registry.host());

    let oci = push_index(&clients, &at("team/app:oci"), "app", Format::Oci).await;
    let docker = push_index(&clients, &at("team/docker:list"), "docker", Format::Docker).await;
    // Into another repository, by links alone.
    let (source, target) = (at("team/app:oci"), at("mirror/team/app:oci"));
    clients.crane(&["copy", &source, &target]).await;
    // Copied by another client, one platform only.
    let (source, target) = (at("team/app:oci"), at("team/app/amd64:copy"));
    let (source, target) = (format!("docker://{source}"), format!("docker://{target}"));
    let skopeo = ["copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
    clients
        .skopeo(&[&skopeo[..], &[&source, &target]].concat())
        .await;
    // What refers to an image: by a list that no registry of these has, and so by a tag.
    std::fs::write(clients.home().join("note"), "a note").unwrap();
    let put = ["artifact", "put", "--artifact-type", "application/example"];
    let subject = at("team/app:oci");
    let put = [&put[..], &["--subject", &subject, "-f", "note"]].concat();
    clients.regctl(&put).await;

    // A tag that moved, one image that runs and one that does not.
    let moving = at("team/app:latest");
    let gone = push_image(&clients, &moving, "gone").await;
    let running = push_image(&clients, &moving, "running").await;
    push_image(&clients, &moving, "next").await;
    // A manifest that was deleted by its digest, and a tag that was.
    let deleted = push_image(&clients, &at("team/deleted:v1"), "deleted").await;
    let untagged = push_image(&clients, &at("team/deleted:v2"), "untagged").await;
    for (digest, name) in [
        (&oci, "oci"),
        (&docker, "docker"),
        (&gone, "gone"),
        (&running, "running"),
        (&deleted, "deleted"),
        (&untagged, "untagged"),
    ] {
        tree.call(digest, name);
    }
    clients
        .crane(&["delete", &at(&format!("team/deleted@{deleted}"))])
        .await;
    // 2.8.2 has no way to take only a tag away, so as an operator does.
    tree.untag("team/deleted", "v2");
    // An upload that nobody ended.
    let url = format!("{}/v2/team/uploading/blobs/uploads/", registry.url());
    let answer = client().post(url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 202);
    registry.stop();

    let case = Case::of(&tree).runs("team/app", &tree.find("running"));
    assert_eq!(
        case.deeds().await,
        [
            "lost 12 of 26 blobs, 8 of 38 links; freed 9 of 9",
            "lost 3 of 26 blobs, 3 of 38 links; freed 9 of 9"
        ]
    );
    let ours = case.plan().await;
    let expected = [
        "config team/app gone.config",
        "config team/deleted untagged.config",
        // A manifest that was deleted leaves its data, which no repository links.
        "layer - deleted",
        "layer team/app gone.layer-1",
        "layer team/deleted deleted.config",
        "layer team/deleted deleted.layer-1",
        "layer team/deleted untagged.layer-1",
        "manifest team/app gone",
        "manifest team/deleted untagged",
        "tag_history team/app:latest gone",
    ];
    assert_eq!(case.told(&ours.planned.rows()), expected);
    for version in Version::ALL {
        for tag in [
            "team/app:oci",
            "team/docker:list",
            "mirror/team/app:oci",
            "team/app/amd64:copy",
            "team/app:latest",
        ] {
            assert_eq!(can_pull(version, ours.root(), tag).await, Ok(()), "{tag}");
        }
        let reference = format!("team/app@{running}");
        assert_eq!(can_pull(version, ours.root(), &reference).await, Ok(()));
    }
}
