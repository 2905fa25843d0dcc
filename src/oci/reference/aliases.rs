//! Other names of one registry's storage: a reference that is written with one of them names what is under
//! the registry's own name. Pure.

use std::collections::BTreeMap;

use super::Reference;

/// The hosts that are other names, in lower case: host names have no case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aliases(BTreeMap<String, String>);

impl Aliases {
    /// Of these pairs of an alias and the host that it is another name of.
    pub fn of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let pairs = pairs.map(|(alias, host)| (alias.to_ascii_lowercase(), host.to_owned()));
        Self(pairs.collect())
    }

    /// The host that this is another name of.
    pub fn host_of(&self, host: &str) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let host = self.0.get(&host.to_ascii_lowercase())?;
        Some(host)
    }

    /// What a reference names, by the registry's own name; `None` if it is written with that already.
    pub fn canonical(&self, reference: &Reference) -> Option<Reference> {
        let host = self.host_of(reference.host())?;
        let repository = reference.repository();
        let tag = reference.tag().map(|tag| format!(":{tag}"));
        let digest = reference.digest().map(|digest| format!("@{digest}"));
        let (tag, digest) = (tag.unwrap_or_default(), digest.unwrap_or_default());
        format!("{host}/{repository}{tag}{digest}").parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_the_registry_itself() {
        let pairs = [
            ("Registry.Internal", "registry.example:5000"),
            ("r.svc:443", "registry.example:5000"),
        ];
        let aliases = Aliases::of(pairs.into_iter());
        let digest = format!("sha256:{}", "a".repeat(64));
        for (written, expected) in [
            ("registry.internal/team/app:v1", "/team/app:v1".to_owned()),
            ("registry.INTERNAL/app", "/app:latest".to_owned()),
            (
                &*format!("r.svc:443/a/b:1@{digest}"),
                format!("/a/b:1@{digest}"),
            ),
            (&*format!("r.svc:443/a@{digest}"), format!("/a@{digest}")),
        ] {
            let canonical = aliases.canonical(&written.parse().unwrap()).unwrap();
            assert_eq!(
                canonical.to_string(),
                format!("registry.example:5000{expected}")
            );
            assert_eq!(aliases.canonical(&canonical), None);
        }
        for other in ["r.svc/a:1", "registry.example/app:v1", "nginx"] {
            assert_eq!(aliases.canonical(&other.parse().unwrap()), None, "{other}");
        }
    }
}
