//! What somebody typed to ask the inventory for, and what is said where it names nothing there.

use std::path::Path;
use std::str::FromStr;

use crate::cli::explain::{InvalidSubject, Subject};
use crate::oci::reference::{Reference, shown};
use crate::view::InventoryImage;

/// How many references are named that may have been meant.
const MEANT_MAX: usize = 3;

#[derive(Debug, Clone)]
pub(super) struct Typed {
    text: String,
    subject: Subject,
}

impl FromStr for Typed {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self {
            text: text.to_owned(),
            subject: text.parse()?,
        })
    }
}

impl Typed {
    /// What to write instead, where it is the name of a file of manifests: `a.yaml` would be an image of
    /// Docker Hub's.
    pub(super) fn as_file(&self) -> Option<String> {
        let path = Path::new(&self.text);
        let extension = path.extension()?.to_str()?;
        let is_manifest = ["yaml", "yml", "json"].contains(&extension) && path.is_file();
        is_manifest.then(|| {
            let file = shown(&self.text);
            format!("{file} is a file; did you mean -f {file}?")
        })
    }

    /// Whether it names the image, or something that is known of it without asking a registry.
    pub(super) fn means(&self, image: &InventoryImage) -> bool {
        match &self.subject {
            Subject::Reference(reference) => image.reference == reference.to_string(),
            Subject::Digest(digest) => {
                let pinned = image.reference.rsplit_once('@').map(|(_, digest)| digest);
                image.running.contains(digest) || pinned == Some(&*digest.to_string())
            }
        }
    }

    /// What is said where none of all images is meant.
    pub(super) fn nobody(&self, all: &[String]) -> String {
        match &self.subject {
            Subject::Reference(reference) => {
                let meant = meant(all, self.repository(reference));
                format!("{reference}: no source names it{meant}\n")
            }
            Subject::Digest(digest) => format!(
                "{digest}: no reference is pinned to it and no Pod runs it; \
                 `pullproof explain {digest}` looks inside the images too\n"
            ),
        }
    }

    /// As it was typed, and not as Docker Hub completes it.
    fn repository<'a>(&self, reference: &'a Reference) -> &'a str {
        let repository = reference.repository();
        let typed = repository.strip_prefix("library/");
        typed
            .filter(|_| !self.text.contains("library/"))
            .unwrap_or(repository)
    }
}

/// Those of the same name elsewhere, or with another tag.
fn meant(all: &[String], repository: &str) -> String {
    let ending = format!("/{repository}");
    let is_meant = |text: &&String| {
        let reference = text.parse::<Reference>();
        reference.is_ok_and(|it| format!("{}/{}", it.host(), it.repository()).ends_with(&ending))
    };
    let meant: Vec<&str> = all.iter().filter(is_meant).map(String::as_str).collect();
    let Some(some) = meant
        .get(..meant.len().min(MEANT_MAX))
        .filter(|it| !it.is_empty())
    else {
        return String::new();
    };
    let more = match meant.len() - some.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("; there are {}{more}", some.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_names_is_looked_for_elsewhere() {
        let all = [
            "docker.io/library/nginx:1",
            "registry.example/merged:1",
            "registry.example/team/merged:1",
            "registry.example/team/merged:2",
            "registry.example/team/unmerged:1",
            "registry.example/team/merged/app:1",
            "not A reference/merged",
        ]
        .map(str::to_owned);
        let nobody = |text: &str| text.parse::<Typed>().unwrap().nobody(&all);
        let names = |text: &str| {
            nobody(text)
                .split_once("; there are ")
                .map(|it| it.1.to_owned())
        };
        assert_eq!(
            nobody("merged"),
            "docker.io/library/merged:latest: no source names it; there are registry.example/merged:1, \
             registry.example/team/merged:1, registry.example/team/merged:2\n"
        );
        let of_team = "registry.example/team/merged:1, registry.example/team/merged:2\n";
        assert_eq!(
            names("other.example/team/merged:3").as_deref(),
            Some(of_team)
        );
        assert_eq!(names("library/merged"), None);
        assert_eq!(
            names("nginx:2").as_deref(),
            Some("docker.io/library/nginx:1\n")
        );
        let nobody = nobody("registry.example/none:1");
        assert_eq!(nobody, "registry.example/none:1: no source names it\n");
        let many: Vec<String> = (0..5)
            .map(|tag| format!("registry.example/app:{tag}"))
            .collect();
        let told = "app".parse::<Typed>().unwrap().nobody(&many);
        assert!(told.ends_with("/app:2 and 2 more\n"), "{told}");
    }
}
