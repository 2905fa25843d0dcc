//! Every endpoint of an image that has mirrors, or is one: what it is, what it has.

use super::{Scene, drawn, painted, told};
use crate::cli::explain::text::push;
use crate::explain::tree::Object;
use crate::explain::view::EndpointTree;
use crate::mirrors::Role;
use crate::oci::reference::shown;
use crate::verify::finding::Verdict;
use crate::view::EndpointView;

pub(super) fn endpoints(scene: &Scene<'_>) -> String {
    let mut text = String::new();
    let endpoints = scene.view.endpoints.iter().zip(scene.trees);
    let mut drawn_before: Vec<&Object> = Vec::new();
    for (EndpointTree { endpoint, .. }, tree) in endpoints {
        push(&mut text, &head(scene, endpoint));
        let is_whole = endpoint.verdict == Verdict::Pullable && endpoint.findings.is_empty();
        match tree {
            // Lines that say nothing new would hide those that do.
            Some(tree) if is_whole && drawn_before.iter().any(|one| one.digest == tree.digest) => {
                push(
                    &mut text,
                    "  the same digest as above; all that was asked for is there",
                );
            }
            Some(tree) => {
                text.push_str(&drawn(scene, tree));
                drawn_before.push(tree);
            }
            None => {}
        }
        for finding in &endpoint.findings {
            text.push_str(&told(scene, finding));
        }
        text.push('\n');
    }
    text
}

fn head(scene: &Scene<'_>, endpoint: &EndpointView) -> String {
    let aside = match endpoint.role {
        Role::Origin | Role::Mirror => "",
        Role::Upstream => ", for information: no node asks it for this image",
    };
    format!(
        "{} {}: {}{aside}",
        endpoint.role.as_str(),
        scene.paint.bold(&shown(&endpoint.reference)),
        painted(endpoint.verdict, scene.paint)
    )
}
