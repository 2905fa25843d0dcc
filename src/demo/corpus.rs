//! The benchmark's registry: as many repositories and tags as wanted, all alike and all tiny.
//!
//! Every tag is an index of two platforms, every image has six layers. Within a repository all
//! images of a platform share five layers and all images share one; nothing is shared between
//! repositories. So a repository of `t` tags has `t` indexes, `2t` images, `2t` configs and 11
//! layers: 5t + 11 objects. 200 repositories of 10 tags are 2,000 tags and 12,200 objects.

use std::io;
use std::num::NonZero;
use std::path::Path;
use std::thread;

use super::tree::{Dialect, Image, Layer, Tree};
use crate::oci::platform::Platform;

const PLATFORM_LAYERS: usize = 5;

/// Writes it below `root` and returns the reference of every tag, in a registry at `host`.
pub fn write(root: &Path, repositories: usize, tags: usize, host: &str) -> io::Result<Vec<String>> {
    let tree = Tree::new(root);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let written: Vec<io::Result<()>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let tree = &tree;
                // Repositories have nothing in common, so neither have the threads.
                scope.spawn(move || {
                    (worker..repositories)
                        .step_by(threads)
                        .try_for_each(|number| write_repository(tree, &repository(number), tags))
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                let panicked = |_panic| Err(io::Error::other("a writing thread panicked"));
                worker.join().unwrap_or_else(panicked)
            })
            .collect()
    });
    written.into_iter().collect::<io::Result<()>>()?;
    let reference = |number| move |tag| format!("{host}/{}:{}", repository(number), tag_name(tag));
    Ok((0..repositories)
        .flat_map(|number| (0..tags).map(reference(number)))
        .collect())
}

fn repository(number: usize) -> String {
    format!("bench/app-{number:04}")
}

fn tag_name(number: usize) -> String {
    format!("v1.{number}")
}

fn write_repository(tree: &Tree, repository: &str, tags: usize) -> io::Result<()> {
    let dialect = Dialect::Oci;
    let layer =
        |content: String| tree.layer(repository, dialect, &[("opt/content", content.as_bytes())]);
    let shared = layer(format!("{repository} for all\n"))?;
    let platforms = [
        Platform::new("linux", "amd64", None),
        Platform::new("linux", "arm64", Some("v8")),
    ];
    let mut bases: Vec<(Platform, Vec<Layer>)> = Vec::new();
    for platform in platforms {
        let mut layers = (0..PLATFORM_LAYERS)
            .map(|number| layer(format!("{repository} {number} for {platform}\n")))
            .collect::<io::Result<Vec<_>>>()?;
        layers.push(shared.clone());
        bases.push((platform, layers));
    }
    for tag in 0..tags {
        let tag = tag_name(tag);
        let children = bases
            .iter()
            .map(|(platform, layers)| {
                let image = Image {
                    dialect,
                    platform,
                    // What makes the images of two tags different.
                    version: &tag,
                    layers,
                };
                tree.image(repository, &image)
            })
            .collect::<io::Result<Vec<_>>>()?;
        let index = tree.index(repository, dialect, &children)?;
        tree.tag(repository, &tag, index.digest)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tempfile::TempDir;

    use super::*;
    use crate::oci::digest::Digest;
    use crate::oci::manifest::Manifest;
    use crate::oci::reference::Reference;

    /// Tags, manifests, and distinct (repository, object).
    fn count(repositories: usize, tags: usize) -> (usize, usize, usize) {
        let root = TempDir::new().unwrap();
        let references = write(root.path(), repositories, tags, "127.0.0.1:5000").unwrap();
        let tree = Tree::new(root.path());
        let mut objects: BTreeSet<(String, Digest)> = BTreeSet::new();
        let mut manifests = BTreeSet::new();
        for reference in &references {
            let reference: Reference = reference.parse().unwrap();
            let repository = reference.repository();
            let index = tree.tagged(repository, reference.tag().unwrap()).unwrap();
            let read = |digest| Manifest::parse(&tree.read(digest).unwrap(), None).unwrap();
            let Manifest::Index { children, .. } = read(index) else {
                panic!("{reference} is no index")
            };
            assert_eq!(children.len(), 2);
            manifests.insert((repository.to_owned(), index));
            for child in children {
                let Manifest::Image { config, layers, .. } = read(child.digest) else {
                    panic!("{reference} has a child that is no image")
                };
                assert_eq!(layers.len(), 6);
                manifests.insert((repository.to_owned(), child.digest));
                for blob in layers.iter().chain([&config]) {
                    tree.read(blob.digest).unwrap();
                    objects.insert((repository.to_owned(), blob.digest));
                }
            }
        }
        objects.extend(manifests.iter().cloned());
        (references.len(), manifests.len(), objects.len())
    }

    #[test]
    fn a_repository_of_t_tags_has_3t_manifests_and_5t_and_11_objects() {
        for (repositories, tags) in [(1, 1), (3, 10), (2, 4)] {
            let expected = (
                repositories * tags,
                repositories * 3 * tags,
                repositories * (5 * tags + 11),
            );
            assert_eq!(count(repositories, tags), expected);
        }
        assert_eq!(
            (200 * 10, 200 * 3 * 10, 200 * (5 * 10 + 11)),
            (2_000, 6_000, 12_200)
        );
    }
}
