//! From what a round left to what is told of one reference, or of one digest.

use std::collections::HashMap;
use std::sync::Arc;

use super::endpoints::{asked, by_mirrors, held};
use super::kept::{self, viewed};
use super::tree::Object;
use super::view::{EndpointTree, Explain, InventoryState, ObjectView, OtherView};
use crate::images::{Image, ImageKey, Images};
use crate::inventory::Inventory;
use crate::inventory::marks::AllMarks;
use crate::oci::digest::Digest;
use crate::oci::reference::Reference;
use crate::state::{ImageState, SourceStatus};
use crate::verify::finding::{Finding, Report, Verdict};
use crate::view::SourceView;

/// What the round left, in the order of the images.
#[derive(Debug)]
pub struct Known<'a> {
    pub images: Arc<Images>,
    pub states: Vec<Arc<ImageState>>,
    pub trees: HashMap<Arc<ImageKey>, Object>,
    /// `None` where none was read: then it is not known who uses it.
    pub inventory: Option<&'a Inventory>,
}

/// What is told, and the trees that it is told of.
#[derive(Debug)]
pub struct Told<'a> {
    pub view: Explain,
    pub tree: Option<&'a Object>,
    /// Those of the view's endpoints, in their order.
    pub trees: Vec<Option<&'a Object>>,
}

impl Known<'_> {
    fn all(&self) -> impl Iterator<Item = (&Arc<Image>, &ImageState)> {
        self.images
            .images
            .iter()
            .zip(self.states.iter().map(|state| &**state))
    }

    fn marks(&self) -> AllMarks {
        self.inventory.map(Inventory::marks).unwrap_or_default()
    }

    pub fn inventory_state(&self) -> Option<InventoryState> {
        let inventory = self.inventory?;
        let not_followed = self
            .all()
            .filter(|(_, state)| state.verdict() != Verdict::Pullable);
        Some(InventoryState {
            complete: inventory.is_complete(),
            images: self.images.images.len(),
            not_followed: not_followed.count(),
            sources: inventory
                .sources
                .iter()
                .map(|source| SourceView::from(&SourceStatus::from(&**source)))
                .collect(),
        })
    }

    /// The tree of an image at each of its endpoints, the one that is written first.
    fn trees(&self, image: &Image) -> Vec<Option<&Object>> {
        let others = self.images.others.get(&image.key);
        let others = others.into_iter().flatten().map(|other| &other.key);
        let others = others.filter(|key| self.images.get(key).is_some());
        [&image.key]
            .into_iter()
            .chain(others)
            .map(|key| self.trees.get(key))
            .collect()
    }

    /// The tree at the endpoint whose report is the image's.
    fn decisive(&self, image: &Image, state: &ImageState) -> Option<&Object> {
        let mut endpoints = state.endpoints().iter();
        let at = endpoints.position(|one| Arc::ptr_eq(&one.report, &state.report));
        *self.trees(image).get(at.unwrap_or_default())?
    }

    /// The image by the worst of its entries; the others are told in a line each.
    pub fn reference(&self, reference: &Reference, blank: Explain) -> Told<'_> {
        let mut entries: Vec<(&Arc<Image>, &ImageState)> = self.all().collect();
        entries.sort_by_key(|(_, state)| std::cmp::Reverse(state.verdict()));
        let first = entries.first();
        // Where the worst was shown nothing, the tree is as another one was shown it.
        let mut trees = entries
            .iter()
            .map(|(image, state)| self.decisive(image, state));
        let tree = trees.find_map(|tree| tree);
        let root = tree.and_then(|tree| tree.digest);
        let report = first.map_or_else(Report::never_checked, |(_, state)| {
            Report::clone(&state.report)
        });
        let marks = self.marks();
        let mut keeps = Vec::new();
        let mut used_by = Vec::new();
        for (image, state) in &entries {
            let tree = self.decisive(image, state).or(tree);
            used_by.extend(kept::users(state));
            keeps.extend(
                tree.zip(root)
                    .and_then(|(tree, root)| kept::kept(state, tree, &root, &marks))
                    .filter(|kept| !kept.used_by.is_empty()),
            );
        }
        if let (Some(inventory), Some(tree)) = (self.inventory, tree) {
            let mut digests = Vec::new();
            tree.visit(&mut Vec::new(), &mut |_, object| {
                digests.extend(object.digest.filter(|_| object.kind.is_manifest()));
            });
            kept::add_others(&mut used_by, kept::users_of_digests(inventory, &digests));
        }
        used_by.sort();
        used_by.dedup();
        let others = entries.iter().skip(1).map(|(_, state)| OtherView {
            credential: state.credential().map(ToOwned::to_owned),
            verdict: state.verdict(),
            findings: state.report.findings.to_vec(),
        });
        let trees = first.map(|(image, _)| self.trees(image));
        let trees = trees.unwrap_or_default();
        let endpoints = first.map(|(_, state)| state.endpoints());
        let endpoints = endpoints.unwrap_or_default();
        let told = endpoints.iter().zip(&trees);
        let told = told.map(|(endpoint, tree)| EndpointTree {
            endpoint: endpoint.into(),
            tree: tree.map(ObjectView::from),
        });
        let view = Explain {
            reference: Some(reference.to_string()),
            digest: report.digest.or(root),
            verdict: report.verdict,
            message: first.and_then(|(_, state)| by_mirrors(state)),
            findings: report.findings.to_vec(),
            endpoints: told.collect(),
            other_credentials: others.collect(),
            used_by: viewed(&used_by, &marks),
            keeps,
            ..blank
        };
        Told { view, tree, trees }
    }

    /// Every place where the digest is, and the tree below it where it stands worst.
    pub fn digest(&self, digest: &Digest, blank: Explain) -> Told<'_> {
        let marks = self.marks();
        let mut keeps = Vec::new();
        let mut used_by = Vec::new();
        let mut findings: Vec<Finding> = Vec::new();
        let mut message = None;
        let mut worst: Option<&Object> = None;
        for (image, state) in self.all() {
            let trees = self.trees(image);
            let Some((kept, at_worst)) = held(state, &trees, digest, &marks) else {
                continue;
            };
            if kept.state != at_worst {
                message.get_or_insert_with(|| {
                    format!(
                        "not at every endpoint of {}: it is {} at one and {at_worst} at another",
                        kept.reference, kept.state
                    )
                });
            }
            used_by.extend(kept.used_by.iter().map(|it| it.user.clone()));
            keeps.push(kept);
            let below = |one: &&Finding| one.subject == Some(*digest) || one.path.contains(digest);
            let reports = asked(state, &trees).flat_map(|(report, _)| &report.findings);
            for finding in reports.filter(below) {
                if !findings.contains(finding) {
                    findings.push(finding.clone());
                }
            }
            for tree in asked(state, &trees).filter_map(|(_, tree)| tree) {
                tree.visit(&mut Vec::new(), &mut |_, object| {
                    let is_worse = worst.is_none_or(|before| before.state < object.state);
                    if object.digest == Some(*digest) && is_worse {
                        worst = Some(object);
                    }
                });
            }
        }
        if let Some(inventory) = self.inventory {
            kept::add_others(&mut used_by, kept::users_of_digests(inventory, &[*digest]));
        }
        used_by.sort();
        used_by.dedup();
        let hex = digest.hex();
        let mut exchanges = blank.exchanges;
        exchanges.retain(|one| one.path.as_ref().is_some_and(|path| path.contains(&hex)));
        let verdict = keeps.iter().map(|kept| kept.state).max();
        let view = Explain {
            digest: Some(*digest),
            verdict: verdict.unwrap_or(Verdict::Unknown),
            message: message.or_else(|| worst.is_none().then(|| self.not_found())),
            findings,
            exchanges,
            used_by: viewed(&used_by, &marks),
            keeps,
            ..blank
        };
        Told {
            view,
            tree: worst,
            trees: Vec::new(),
        }
    }

    fn not_found(&self) -> String {
        let count = self.images.images.len();
        let not_followed = self
            .all()
            .filter(|(_, state)| state.verdict() != Verdict::Pullable)
            .count();
        let sources = self.inventory.iter().flat_map(|one| one.sources.iter());
        let incomplete: Vec<&str> = sources
            .filter(|source| source.incomplete.is_some())
            .map(|source| &*source.name)
            .collect();
        let mut message = match count {
            0 => "the inventory has no image that could be looked through".to_owned(),
            1 => "the only image of the inventory does not hold it".to_owned(),
            count => format!("none of the {count} images of the inventory holds it"),
        };
        if not_followed > 0 {
            message.push_str(&format!(
                ", but {not_followed} of them could not be followed to the end and may hold it"
            ));
        }
        if !incomplete.is_empty() {
            message.push_str(&format!("; incomplete: {}", incomplete.join(", ")));
        }
        message.push_str(
            "; to look at it in a repository, name it as HOST/REPOSITORY@sha256:…; to look through \
             more images, name them with --references, -f or --context",
        );
        message
    }
}
