//! What clients can pull of a tree, over a real registry.

use std::path::Path;

use crate::support::clients::Clients;
use crate::support::registry::{Options, Registry, Version};

/// Validates a tag with all that it leads to by two clients, over a real registry.
pub(crate) async fn can_pull(version: Version, root: &Path, reference: &str) -> Result<(), String> {
    let registry = Registry::start(Options::new(version, root).read_only()).await;
    let clients = Clients::of(&registry).await;
    let reference = format!("{}/{reference}", registry.host());
    let crane = ["validate", "--fast", "--insecure", "--remote", &reference];
    clients.attempt("crane", &crane).await?;
    let target = format!("ocidir://{}", clients.home().join("copy").display());
    let regctl = ["image", "copy", "--referrers", &reference, &target];
    clients.attempt("regctl", &regctl).await?;
    Ok(())
}
