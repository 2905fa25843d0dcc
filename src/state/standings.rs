//! What all images were found to be, in the order of the images: no name is kept for it.

use std::sync::Arc;

use super::standing::Standing;
use crate::images::{Image, ImageKey, Images};
use crate::second::Second;

/// One standing for each image, in the order of [`Images::all`].
#[derive(Debug, Default)]
pub(super) struct Standings {
    images: Arc<Images>,
    all: Vec<Standing>,
}

impl Standings {
    pub(super) fn images(&self) -> &Arc<Images> {
        &self.images
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Arc<Image>, &Standing)> {
        self.images.all().zip(&self.all)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = (&Arc<Image>, &mut Standing)> {
        self.images.all().zip(&mut self.all)
    }

    /// Where an image stands.
    pub(super) fn position(&self, key: &ImageKey) -> Option<usize> {
        position(&self.images, key)
    }

    pub(super) fn at(&self, position: usize) -> Option<(&Arc<Image>, &Standing)> {
        Some((self.image(position)?, self.all.get(position)?))
    }

    pub(super) fn at_mut(&mut self, position: usize) -> Option<&mut Standing> {
        self.all.get_mut(position)
    }

    fn image(&self, position: usize) -> Option<&Arc<Image>> {
        let named = &self.images.images;
        let endpoint = |position| self.images.endpoints.get(position);
        named
            .get(position)
            .or_else(|| endpoint(position.checked_sub(named.len())?))
    }

    /// The last proof of an image's reference by any credential.
    pub(super) fn proven_by_any(&self, position: usize) -> Option<Second> {
        let (image, standing) = self.at(position)?;
        let reference = &image.key.reference;
        // Entries of one reference stand together.
        let is_same = |at: &usize| {
            self.image(*at)
                .is_some_and(|other| other.key.reference == *reference)
        };
        let before = (0..position).rev().take_while(is_same);
        let after = (position + 1..self.all.len()).take_while(is_same);
        let near = before.chain(after).filter_map(|at| self.all.get(at));
        let near = near.filter_map(|other| other.proven_at).max();
        standing.proven_at.max(near).max(self.proven_far(position))
    }

    /// Of the images that a workload names for an endpoint that nobody names, and the other way round.
    fn proven_far(&self, position: usize) -> Option<Second> {
        if self.images.endpoints.is_empty() {
            return None;
        }
        let named = self.images.images.len();
        let reference = &self.image(position)?.key.reference;
        let same = if position < named {
            let endpoints = &self.images.endpoints;
            let is_before = |image: &Arc<Image>| image.key.reference < *reference;
            let first = endpoints.partition_point(is_before);
            let is_same = |image: &&Arc<Image>| image.key.reference == *reference;
            let count = endpoints.iter().skip(first).take_while(is_same).count();
            named + first..named + first + count
        } else {
            let is_before = |image: &Arc<Image>| image.key.reference < *reference;
            let first = self.images.images.partition_point(is_before);
            first..first + self.images.of_reference(reference).len()
        };
        let others = self.all.get(same).unwrap_or_default();
        others.iter().filter_map(|other| other.proven_at).max()
    }

    /// Takes other images; gives back what was found of those that are not among them.
    pub(super) fn replace(&mut self, images: Arc<Images>) -> Vec<(Arc<Image>, Standing)> {
        if Arc::ptr_eq(&self.images, &images) {
            return Vec::new();
        }
        let mut all = Vec::with_capacity(images.images.len() + images.endpoints.len());
        for image in images.all() {
            let before = self.position(&image.key);
            let is_other = before
                .and_then(|position| self.image(position))
                .is_none_or(|before| !Arc::ptr_eq(before, image));
            let mut standing = before
                .and_then(|position| self.at_mut(position))
                .map_or_else(Standing::default, std::mem::take);
            if is_other {
                standing.shown = None;
            }
            all.push(standing);
        }
        let before = std::mem::replace(&mut self.all, all);
        let gone = self.images.all().zip(before);
        let gone = gone.filter(|(_, standing)| standing.report.is_some());
        let gone = gone.map(|(image, standing)| (Arc::clone(image), standing));
        let gone = gone.collect();
        self.images = images;
        gone
    }
}

/// Where an image is in the order of [`Images::all`].
fn position(images: &Images, key: &ImageKey) -> Option<usize> {
    let by_key = |image: &Arc<Image>| (*image.key).cmp(key);
    let named = images.images.binary_search_by(by_key).ok();
    named.or_else(|| {
        let endpoint = images.endpoints.binary_search_by(by_key).ok()?;
        Some(images.images.len() + endpoint)
    })
}
