//! The order of resource versions.
//!
//! For objects of the API server's own storage, custom resources included, they are decimal numbers
//! that only grow (`KEP-5504`, "Comparable Resource Version"; clients may compare them since 1.35, and
//! they were etcd's revisions all the time).

use std::cmp::Ordering;

/// Whether one version is known to be before the other. Of what is no number nothing is known.
pub(super) fn is_older(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (digits(one), digits(other)) else {
        return false;
    };
    let order = one.len().cmp(&other.len()).then_with(|| one.cmp(other));
    order == Ordering::Less
}

/// Without leading zeros: of any length, so that no version is too large.
fn digits(version: &str) -> Option<&str> {
    let is_number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| version.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers_of_any_length() {
        let long = "9".repeat(40);
        for (one, other, expected) in [
            ("9", "10", true),
            ("10", "9", false),
            ("10", "10", false),
            ("009", "10", true),
            ("0", "1", true),
            ("18446744073709551615", "18446744073709551616", true),
            ("10", long.as_str(), true),
            (long.as_str(), "10", false),
        ] {
            assert_eq!(is_older(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_number_has_no_order() {
        for (one, other) in [("", "1"), ("1", ""), ("a", "b"), ("-1", "1"), ("1", "2a")] {
            assert!(!is_older(one, other), "{one} {other}");
        }
    }
}
