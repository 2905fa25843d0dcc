//! The keys of a docker config, as the kubelet reads them: `[scheme://]host[:port][/path]`.
//!
//! `*` stands for any part of one label of the host. A path is a prefix of text, not of components:
//! `registry.example/team` fits `registry.example/teams/app`, as on the node.

/// The longest key that is looked at: a host name has 253 bytes, a repository 255.
pub(super) const KEY_BYTES_MAX: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    key: String,
    host_bytes: usize,
}

impl Pattern {
    /// `None` if it cannot name a registry: the kubelet leaves such an entry out.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > KEY_BYTES_MAX {
            return None;
        }
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .unwrap_or(text);
        // What url.Parse takes for user, query and fragment has no place in a registry's name.
        if rest.contains(['@', '?', '#', '%', '\\'])
            || rest.contains(char::is_whitespace)
            || rest.contains(char::is_control)
        {
            return None;
        }
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if host.is_empty() {
            return None;
        }
        let path = match path {
            "/" | "/v1/" | "/v2/" => "",
            _ if path.starts_with("/v1/") || path.starts_with("/v2/") => {
                path.get(3..).unwrap_or_default()
            }
            other => other,
        };
        Some(Self {
            key: format!("{host}{path}"),
            host_bytes: host.len(),
        })
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn fits(&self, host: &str, repository: &str) -> bool {
        let (pattern, path) = self.key.split_at(self.host_bytes);
        let (pattern_name, pattern_port) = split_port(pattern);
        let (name, port) = split_port(host);
        // The kubelet takes the brackets of an address without a port for a class of characters.
        if port.is_none() && name.starts_with('[') {
            return false;
        }
        let labels = pattern_name.split('.');
        let path_fits = match path.strip_prefix('/') {
            Some(prefix) => repository.starts_with(prefix),
            None => true,
        };
        pattern_port == port
            && path_fits
            && labels.clone().count() == name.split('.').count()
            && labels
                .zip(name.split('.'))
                .all(|(pattern, label)| label_fits(pattern, label))
    }
}

/// A colon within brackets belongs to an IPv6 address.
fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        Some(_) | None => (host, None),
    }
}

/// One `*` or many, each for any run of characters. Goes back only to the last star, so the cost is
/// at most the product of the two lengths, which are bounded.
fn label_fits(pattern: &str, label: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = label.strip_prefix(first) else {
        return false;
    };
    let Some(mut part) = parts.next() else {
        return rest.is_empty();
    };
    for next in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
        part = next;
    }
    rest.ends_with(part)
}
