//! `metrics.labels`: which labels of Kubernetes ride along, and what they are called in Prometheus.

use std::collections::HashMap;

use crate::inventory::marks::Chosen;
use crate::metrics::catalog::RESERVED;

use super::check::Checker;
use super::problem::quoted;

/// Each makes every series of a workload larger.
const LABELS_MAX: usize = 10;
const PREFIX_BYTES_MAX: usize = 253;
const NAME_BYTES_MAX: usize = 63;

/// The chosen labels, each with its name in metrics.
pub(super) fn check(checker: &mut Checker<'_, '_>, keys: Vec<String>) -> Vec<Chosen> {
    const PATH: &str = "metrics.labels";
    if keys.len() > LABELS_MAX {
        let message = format!(
            "{} labels are more than {LABELS_MAX}: each makes every series of a workload larger; \
             keep those that alerts are routed by",
            keys.len()
        );
        checker.report.add(PATH, message);
    }
    let mut taken: HashMap<String, String> = HashMap::new();
    let mut chosen = Vec::with_capacity(keys.len());
    for (index, key) in keys.into_iter().enumerate() {
        let name = sanitised(&key);
        match problem(&key, &name, &taken) {
            Some(message) => checker.report.add(&format!("{PATH}[{index}]"), message),
            None => {
                taken.insert(name.clone(), key.clone());
                chosen.push(Chosen {
                    key: key.into(),
                    name: name.into(),
                });
            }
        }
    }
    chosen
}

fn problem(key: &str, name: &str, taken: &HashMap<String, String>) -> Option<String> {
    let shown = quoted(key);
    if !is_label_key(key) {
        return Some(format!(
            "{shown} is not the key of a label: expected letters, digits, `-`, `_` and `.`, with a \
             domain and a slash before it or none, as team or app.kubernetes.io/part-of"
        ));
    }
    if let Some(other) = taken.get(name) {
        return Some(if other == key {
            format!("{shown} is chosen already; once is enough")
        } else {
            format!(
                "{shown} is `{name}` in Prometheus, and so is {} before it; keep one of them",
                quoted(other)
            )
        });
    }
    let is_ours =
        RESERVED.contains(&name) || ["__", "exported_"].iter().any(|own| name.starts_with(own));
    is_ours.then(|| {
        format!(
            "{shown} is `{name}` in Prometheus, which is a label of pullproof's, of alerts' or of \
             targets' own; choose another, or label the workloads with a key of your own, as \
             example.com/{key}"
        )
    })
}

/// As Prometheus names labels: everything else becomes an underscore.
fn sanitised(key: &str) -> String {
    let fit = key
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let is_digit = key.starts_with(|c: char| c.is_ascii_digit());
    is_digit.then_some('_').into_iter().chain(fit).collect()
}

/// The grammar of Kubernetes: a name, and before it the domain of whoever made it up.
fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_word = |word: &str, others: &[u8]| {
        let bytes = word.as_bytes();
        is_edge(bytes.first())
            && is_edge(bytes.last())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || others.contains(byte))
    };
    let is_domain = |prefix: &str| {
        prefix.len() <= PREFIX_BYTES_MAX
            && prefix.split('.').all(|word| is_word(word, b"-"))
            && !prefix.contains(|c: char| c.is_ascii_uppercase())
    };
    prefix.is_none_or(is_domain) && name.len() <= NAME_BYTES_MAX && is_word(name, b"-_.")
}
