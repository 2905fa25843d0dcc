use jiff::Timestamp;

use super::*;
use crate::verify::node::{BlobEdge, ChildEdge, Shape};

const TAGS: u32 = 5;

/// Repositories as those that benches/run measures with: five tags, two platforms, nine layers, 51
/// distinct blobs; all of them found in the round of the table.
fn fill(table: &mut Table, repositories: std::ops::Range<u32>) {
    let platforms =
        ["linux/amd64", "linux/arm64/v8"].map(|platform| Some(platform.parse().unwrap()));
    for repository in repositories {
        let name: Arc<str> = format!("team/app-{repository}").into();
        let id = table.repository_id(&name);
        for tag in 0..TAGS {
            let index = digest(&name, &format!("index {tag}"));
            reach(table, id, index, ObjectKind::Manifest, 1000);
            let child = |platform: usize| ChildEdge {
                digest: digest(&name, &format!("image {tag} {platform}")),
                size: 1900,
                platform: platforms[platform].clone(),
                is_blob: false,
            };
            let children = [child(0), child(1)];
            let shape = Shape::Index(children.clone().into());
            table.add_node(index, &Node { size: 1000, shape });
            for (platform, child) in children.iter().enumerate() {
                reach(table, id, child.digest, ObjectKind::Manifest, 1900);
                let blob = |what: String| {
                    let digest = digest(&name, &what);
                    let [a, b, c, ..] = *digest.as_bytes();
                    BlobEdge {
                        digest,
                        size: 1000 + u64::from(u32::from_le_bytes([a, b, c, 0])),
                        is_distributable: true,
                    }
                };
                let shared = (0..5).map(|layer| format!("{platform} {layer}"));
                let own = (0..3).map(|layer| format!("{tag} {platform} {layer}"));
                let layers = std::iter::once("base".to_owned()).chain(shared).chain(own);
                let config = blob(format!("config {tag} {platform}"));
                let layers: Box<[BlobEdge]> = layers.map(blob).collect();
                let edges: Vec<BlobEdge> = layers.iter().copied().chain([config]).collect();
                let shape = Shape::Image { config, layers };
                table.add_node(child.digest, &Node { size: 1900, shape });
                for edge in edges {
                    reach(table, id, edge.digest, ObjectKind::Blob, edge.size);
                }
            }
        }
    }
}

fn digest(repository: &str, what: &str) -> Digest {
    Digest::of(format!("{repository} {what}").as_bytes())
}

fn reach(table: &mut Table, repository: RepositoryId, digest: Digest, kind: ObjectKind, size: u64) {
    let key = ObjectKey {
        auth: AuthId::OWN,
        repository,
        digest,
        kind,
    };
    let state = ObjectState {
        fact: Fact::Present { size: Some(size) },
        proven_at: Some(Timestamp::UNIX_EPOCH),
        read_at: Some(Timestamp::UNIX_EPOCH),
        suspect: Depth::Head,
        round: table.round,
        depth: 1,
    };
    table.objects.get_or_insert(key, state);
}

/// The daemon is to hold 100,000 references in 256 MiB, of which the tables are the largest part.
#[test]
fn a_reference_takes_no_more_bytes_than_it_may() {
    let mut table = Table::default();
    let repositories = 1000;
    fill(&mut table, 0..repositories);
    let references = repositories as usize * TAGS as usize;
    assert_eq!(table.objects.len(), references * 132 / 10);
    assert_eq!(table.manifests(), references * 3);
    let objects = table.objects.bytes() / references;
    let manifests = table.nodes.bytes() / references;
    println!("a reference: {objects} bytes of rows, {manifests} bytes of manifests");
    assert!(objects <= 860, "{objects} bytes of rows a reference");
    assert!(
        manifests <= 165,
        "{manifests} bytes of manifests a reference"
    );
}

#[test]
fn rounds_may_be_numbered_from_the_start_again() {
    let mut table = Table {
        round: u16::MAX,
        ..Table::default()
    };
    fill(&mut table, 0..2);
    table.round = table.round.wrapping_add(1);
    fill(&mut table, 2..3);
    table.forget_unreached();
    assert_eq!((table.objects.len(), table.manifests()), (66, 15));
    let name = "team/app-2".into();
    let repository = table.repository_id(&name);
    assert!(
        table
            .objects
            .iter()
            .all(|(key, _)| key.repository == repository)
    );
    assert!(table.has_node(&digest(&name, "index 0")));
    assert!(!table.has_node(&digest("team/app-1", "index 0")));
}
