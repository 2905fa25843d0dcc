//! Whether a registry lists all tags that it has. Pure.
//!
//! distribution 3.0 to 3.1.1 on S3 leave tags out of their list that begin like another. A tag that is not
//! listed is not seen by any policy: it may be the one that shares the digest which is deleted, and the count
//! of the newest goes wrong without it.

use std::collections::BTreeSet;
use std::sync::Arc;

/// What is wrong with the list of a repository's tags; `None` where nothing is. `known` are tags that it has,
/// as the storage says or as the registry answers for them by name.
pub fn doubt<'a>(
    listed: &BTreeSet<Arc<str>>,
    known: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let missing: Vec<&str> = known.filter(|tag| !listed.contains(*tag)).collect();
    let first = missing.first()?;
    let count = missing.len();
    let like = listed.iter().any(|tag| {
        let is_prefix = |one: &str, other: &str| other.starts_with(one);
        is_prefix(first, tag) || is_prefix(tag, first)
    });
    let why = if like {
        "; distribution 3.0 to 3.1.1 on S3 leave out tags that begin like another: 3.1.2 lists them"
    } else {
        ""
    };
    Some(format!(
        "the registry's list of tags lacks {count} that it has, as `{first}`: what it lists is not all there \
         is{why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_lacks_a_tag_that_is_there_is_not_trusted() {
        let listed: BTreeSet<Arc<str>> = ["v1", "v2"].map(Arc::from).into();
        assert_eq!(doubt(&listed, ["v1"].into_iter()), None);
        assert_eq!(doubt(&listed, std::iter::empty()), None);
        let problem = doubt(&listed, ["v1", "v1.1", "v1.2"].into_iter()).unwrap();
        assert!(
            problem.contains("lacks 2 that it has, as `v1.1`"),
            "{problem}"
        );
        assert!(problem.contains("3.1.2 lists them"), "{problem}");
        let problem = doubt(&listed, ["latest"].into_iter()).unwrap();
        assert!(!problem.contains("3.1.2"), "{problem}");
    }
}
