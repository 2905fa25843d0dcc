//! The mirrors' part of the check.

use super::check::Checker;
use super::problem::quoted;
use super::raw;
use crate::mirrors::{Location, Rule};
use crate::oci::reference::{DOCKER_HUB, Reference};

impl Checker<'_, '_> {
    /// What is written under `mirrors` of the entry with this host.
    pub(super) fn mirrors(&mut self, path: &str, host: &str, raw: Vec<raw::Mirror>) -> Vec<Rule> {
        let mut rules = Vec::with_capacity(raw.len());
        for (index, mirror) in raw.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            let of = mirror.of.unwrap_or_else(|| host.to_owned());
            let mirror = self.location(&format!("{path}.host"), &mirror.host.unwrap_or_default());
            let of = self.location(&format!("{path}.of"), &of);
            if let (Some(mirror), Some(of)) = (mirror, of) {
                if mirror == of {
                    let message = format!("{} would mirror itself", quoted(&mirror.host));
                    self.report.add(&format!("{path}.host"), message);
                }
                rules.push(Rule { mirror, of });
            }
        }
        rules
    }

    /// A host, with the path under which a cache keeps what it mirrors where it has one.
    fn location(&mut self, path: &str, text: &str) -> Option<Location> {
        // Two components more, so that Docker Hub's `library/` does not come in.
        let parsed = format!("{text}/a/a").parse::<Reference>().ok();
        let names_hub =
            [DOCKER_HUB, "index.docker.io"].contains(&text.split('/').next().unwrap_or_default());
        let location = parsed.and_then(|reference| {
            let prefix = reference.repository().strip_suffix("a/a")?;
            Some(Location {
                host: reference.host().to_owned(),
                prefix: prefix.trim_end_matches('/').to_owned(),
            })
        });
        match location {
            Some(location) if location.host != DOCKER_HUB || names_hub => Some(location),
            Some(_) | None => {
                let message = format!(
                    "{} is not a host as workloads write it, with a path behind it if need be, as \
                     mirror.example or harbor.example/hub",
                    quoted(text)
                );
                self.report.add(path, message);
                None
            }
        }
    }
}
