//! What is linked and gone, and what several have.

use super::case::{image, rows};
use super::scenes::shared as scenes;
use crate::support::parts::require;

#[tokio::test]
async fn dangling_links_are_no_manifests() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::dangling_revision();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 4 blobs, 0 of 4 links; freed 7 of 7",
            "lost 0 of 4 blobs, 0 of 4 links; freed 7 of 7"
        ]
    );
    // Which of them was a config, nobody can tell any more.
    let gone = ["config", "layer-1", "layer-2"].map(|it| format!("layer app gone.{it}"));
    let ours = case.plan().await;
    let expected = rows(&[gone.to_vec(), image("app", "old")], &[]);
    assert_eq!(case.told(&ours.planned.rows()), expected);
    assert_eq!(ours.planned.count("dangling_links"), 1);
}

#[tokio::test]
async fn a_layer_that_garbage_shares_stays() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::layer_shared_with_garbage();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 7 blobs, 0 of 7 links; freed 9 of 9",
            "lost 0 of 7 blobs, 0 of 7 links; freed 9 of 9"
        ]
    );
    let expected = rows(
        &[image("other", "other-old")],
        &[
            "config app old.config",
            "config other unused.config",
            "layer app own",
            "layer_link other shared",
            "manifest app old",
            "manifest other unused",
        ],
    );
    assert_eq!(case.garbage().await, expected);
}

/// It is only a layer's link that goes when another repository needs the layer.
#[tokio::test]
async fn garbage_that_two_repositories_link_is_counted_once() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::garbage_in_two_repositories();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 8 blobs, 0 of 8 links; freed 4 of 4",
            "lost 0 of 8 blobs, 0 of 8 links; freed 4 of 4"
        ]
    );
    // Its data goes with the first repository by name, and the other's links with it.
    let with_data = image("mounted", "other-old");
    let links = [
        "config other other-old.config",
        "layer other other-old.layer-1",
        "layer other other-old.layer-2",
        "manifest other other-old",
    ]
    .map(|it| format!("{it} (link)"));
    let all = [with_data, links.to_vec()];
    assert_eq!(case.garbage().await, rows(&all, &[]));
}
