//! Addresses of pages: the state is in them, so that they can be sent. Pure.

use std::fmt::Write as _;

use super::super::filter::Filter;

/// The page that shows one reference.
pub(super) fn image(reference: &str) -> String {
    format!("/image?reference={}", encoded(reference))
}

/// `path` with everything that the filter says, from `offset` on.
pub(super) fn filtered(path: &str, filter: &Filter, offset: usize) -> String {
    let Filter {
        q,
        verdict,
        registry,
        namespace,
        cluster,
        class,
        offset: _,
        limit,
    } = filter;
    let texts = [
        ("q", q),
        ("verdict", verdict),
        ("registry", registry),
        ("namespace", namespace),
        ("cluster", cluster),
        ("class", class),
    ];
    let mut parts: Vec<String> = texts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key}={}", encoded(value)))
        .collect();
    if offset > 0 {
        parts.push(format!("offset={offset}"));
    }
    if let Some(limit) = limit {
        parts.push(format!("limit={limit}"));
    }
    if parts.is_empty() {
        return path.to_owned();
    }
    format!("{path}?{}", parts.join("&"))
}

/// RFC 3986: all but the unreserved characters, so that it is one value whatever it holds.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(encoded, "%{byte:02X}").expect("a String takes every write");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_one_value() {
        assert_eq!(
            image("r:5000/a+b?&\"é"),
            "/image?reference=r%3A5000%2Fa%2Bb%3F%26%22%C3%A9"
        );
    }

    #[test]
    fn only_what_is_given_is_said() {
        let mut filter = Filter::default();
        assert_eq!(filtered("/", &filter, 0), "/");
        filter.verdict = "broken".to_owned();
        filter.limit = Some(50);
        assert_eq!(
            filtered("/", &filter, 100),
            "/?verdict=broken&offset=100&limit=50"
        );
    }
}
