//! Whether the API server has a kind, and under which plural: asked before each list of a kind that
//! may not be installed.
//!
//! "It is not there" is a claim like any other. It counts only where discovery answered well, and where
//! no other version of the same kind is served: an object does not go away with a version.

use std::time::Duration;

use kube::Client;
use serde::Deserialize;

use super::Shared;
use super::api::{self, Failure};
use super::kinds::{Kind, is_object_name};

/// How often it is asked for a kind that is not there. Twice in a row it says that one is gone.
pub(super) const DISCOVERY_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
struct ResourceList {
    resources: Vec<Resource>,
}

#[derive(Debug, Deserialize)]
struct Resource {
    /// The plural; a subresource has a `/` in it.
    name: String,
    kind: String,
    namespaced: bool,
}

#[derive(Debug, Deserialize)]
struct GroupList {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    name: String,
    versions: Vec<Version>,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: String,
}

/// Tells the world where the kind is. [`Failure::NotInstalled`] where that is nowhere.
pub(super) async fn find(shared: &Shared, unit: usize) -> Result<(), Failure> {
    let kind = shared.kind(unit);
    if !kind.is_optional {
        return Ok(());
    }
    let client = shared.client();
    let (version, found) = match in_version(&client, &kind, &kind.version).await {
        Ok(Some(found)) => (kind.version.to_string(), found),
        Ok(None) | Err(Failure::Absent) => elsewhere(&client, &kind).await?,
        Err(failure) => return Err(failure),
    };
    // They become parts of a path.
    if !is_object_name(&found.name) || !is_object_name(&version) {
        return Err(Failure::Other(
            "discovery gives it a name that is none".to_owned(),
        ));
    }
    let found = kind.found(version, found.name, found.namespaced);
    shared.tell(|world, _now| world.found(unit, found));
    Ok(())
}

async fn in_version(
    client: &Client,
    kind: &Kind,
    version: &str,
) -> Result<Option<Resource>, Failure> {
    let path = format!("/apis/{}/{version}", kind.group);
    let list: ResourceList = api::get(client, &path).await?;
    let mut resources = list.resources.into_iter();
    Ok(resources.find(|resource| *resource.kind == *kind.name && !resource.name.contains('/')))
}

/// Where a kind is that is not in its version, or why that is nowhere.
async fn elsewhere(client: &Client, kind: &Kind) -> Result<(String, Resource), Failure> {
    let groups: GroupList = match api::get(client, "/apis").await {
        Ok(groups) => groups,
        // That nothing at all is there is no answer about one kind.
        Err(Failure::Absent) => {
            return Err(Failure::Other("discovery does not answer".to_owned()));
        }
        Err(failure) => return Err(failure),
    };
    let group = groups.groups.into_iter().find(|it| *it.name == *kind.group);
    for Version { version } in group.into_iter().flat_map(|group| group.versions) {
        let failure = match in_version(client, kind, &version).await {
            // It has just come.
            Ok(Some(_)) if *version == *kind.version => {
                Failure::Other("discovery is not of one mind about it".to_owned())
            }
            Ok(Some(found)) if kind.takes_any_version => return Ok((version, found)),
            Ok(Some(_)) => {
                let Kind {
                    group,
                    version: wanted,
                    ..
                } = kind;
                Failure::Other(format!(
                    "it is not served as {group}/{wanted}, but as {group}/{version}; write that \
                     apiVersion"
                ))
            }
            Ok(None) => continue,
            Err(Failure::Absent) => {
                Failure::Other(format!("{version} is listed by discovery, and not there"))
            }
            Err(failure) => failure,
        };
        return Err(failure);
    }
    Err(Failure::NotInstalled)
}
