//! What a HEAD can know, what a byte proves, and what only a hash does.

use super::scene::Scene;
use crate::cli::run::{Ended, pullproof};
use crate::support::parts::require;
use crate::support::registry::Version;

async fn verify(scene: &Scene, depth: &str, references: &[&str]) -> Ended {
    let host = scene.registry.host();
    let options = [
        "verify",
        "--plain-http",
        &host,
        "--depth",
        depth,
        "-o",
        "json",
    ];
    pullproof(&[&options, references].concat()).await
}

/// How one blob is damaged, and what each depth says of it.
struct Damage {
    name: &'static str,
    harm: fn(&std::path::Path),
    head: &'static [&'static str],
    read: &'static [&'static str],
    content: &'static [&'static str],
}

const DAMAGES: [Damage; 4] = [
    Damage {
        name: "gone",
        harm: |data| std::fs::remove_file(data).unwrap(),
        head: &[],
        read: &["layer_missing"],
        content: &["layer_missing"],
    },
    Damage {
        name: "empty",
        harm: |data| std::fs::write(data, "").unwrap(),
        head: &[],
        read: &["layer_missing"],
        content: &["layer_missing"],
    },
    Damage {
        name: "truncated",
        harm: |data| {
            let content = std::fs::read(data).unwrap();
            std::fs::write(data, &content[..content.len() / 2]).unwrap();
        },
        head: &[],
        read: &["size_mismatch"],
        content: &["size_mismatch"],
    },
    Damage {
        name: "flipped",
        harm: |data| {
            let mut content = std::fs::read(data).unwrap();
            let middle = content.len() / 2;
            content[middle] ^= 1;
            std::fs::write(data, content).unwrap();
        },
        head: &[],
        read: &[],
        content: &["digest_mismatch"],
    },
];

async fn each_depth_finds_what_it_can(version: Version) {
    let scene = Scene::new(version).await;
    let whole = scene.push("whole:1").await;
    let mut references = vec![whole];
    for damage in &DAMAGES {
        references.push(scene.push(&format!("{}:1", damage.name)).await);
    }
    let references: Vec<&str> = references.iter().map(String::as_str).collect();
    // The registry has seen all of it, and remembers.
    let before = verify(&scene, "content", &references).await;
    assert_eq!(before.code, 0, "{before:?}");
    assert_eq!(before.json()["depth"], "content");
    for (damage, reference) in DAMAGES.iter().zip(&references[1..]) {
        let layer = crate::cli::first_layer(&scene.clients, reference).await;
        (damage.harm)(&scene.data(&layer));
    }
    for depth in ["head", "read", "content"] {
        let ended = verify(&scene, depth, &references).await;
        assert_eq!(ended.codes("/whole:1"), [""; 0], "{depth}");
        for damage in &DAMAGES {
            let expected = match depth {
                "head" => damage.head,
                "read" => damage.read,
                _ => damage.content,
            };
            let found = ended.codes(&format!("/{}:1", damage.name));
            assert_eq!(found, expected, "{} at {depth}: {ended:?}", damage.name);
        }
    }
}

#[tokio::test]
async fn each_depth_finds_what_it_can_on_2_8_2() {
    require!("docker-registry", "crane", "regctl");
    each_depth_finds_what_it_can(Version::V2).await;
}

#[tokio::test]
async fn each_depth_finds_what_it_can_on_3_1() {
    require!("registry-3.1", "crane", "regctl");
    each_depth_finds_what_it_can(Version::V3).await;
}

/// A collector that took everything, or a disk that is not mounted: nothing reads, so nothing is said
/// to be lost of what the registry still claims.
#[tokio::test]
async fn where_nothing_can_be_read_nothing_is_said_to_be_lost() {
    require!("registry-3.1", "crane", "regctl");
    let scene = Scene::new(Version::V3).await;
    let reference = scene.push("app:1").await;
    assert_eq!(verify(&scene, "read", &[&reference]).await.code, 0);
    for digest in scene.blobs(&reference).await {
        std::fs::remove_file(scene.data(&digest)).unwrap();
    }
    let ended = verify(&scene, "read", &[&reference]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    let codes = ended.codes("/app:1");
    assert!(codes.iter().all(|code| code == "server_error"), "{codes:?}");
}
