//! One byte range of a body (RFC 9110, section 14), read as distribution's server reads it. Pure.

/// Which bytes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Whole,
    /// From the first to the last, both included.
    Part {
        first: u64,
        last: u64,
    },
    Unsatisfiable,
}

/// Reads a `Range` header for a body of `size` bytes. Several ranges at once are answered with the
/// whole, which the RFC allows (14.2).
pub(super) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(header) = header else {
        return Wanted::Whole;
    };
    let Some(set) = header.strip_prefix("bytes=") else {
        return Wanted::Unsatisfiable;
    };
    if set.contains(',') {
        return Wanted::Whole;
    }
    let Some((first, last)) = set.split_once('-') else {
        return Wanted::Unsatisfiable;
    };
    let (first, last) = (first.trim(), last.trim());
    let part = if first.is_empty() {
        number(last).and_then(|length| Some((size.saturating_sub(length), size.checked_sub(1)?)))
    } else {
        match (number(first), last) {
            (Some(first), "") => size.checked_sub(1).map(|end| (first, end)),
            (Some(first), last) => number(last)
                .filter(|last| first <= *last)
                .and_then(|last| Some((first, last.min(size.checked_sub(1)?)))),
            (None, _) => None,
        }
    };
    match part {
        Some((first, last)) if first <= last => Wanted::Part { first, last },
        // Nothing of an empty body can be asked for, and all of it is nothing.
        None | Some(_) if size == 0 => Wanted::Whole,
        None | Some(_) => Wanted::Unsatisfiable,
    }
}

fn number(text: &str) -> Option<u64> {
    let is_decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_decimal.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_ranges_are_cut_to_the_body() {
        let part = |first, last| Wanted::Part { first, last };
        for (header, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=0-", part(0, 9)),
            ("bytes=3-5", part(3, 5)),
            ("bytes=9-9", part(9, 9)),
            ("bytes=5-100", part(5, 9)),
            ("bytes=-1", part(9, 9)),
            ("bytes=-100", part(0, 9)),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=10-11", Wanted::Unsatisfiable),
            ("bytes=5-3", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=-", Wanted::Unsatisfiable),
            ("bytes=a-b", Wanted::Unsatisfiable),
            ("bytes=+1-2", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=5", Wanted::Unsatisfiable),
            ("items=0-1", Wanted::Unsatisfiable),
        ] {
            assert_eq!(wanted(Some(header), 10), expected, "{header}");
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
        assert_eq!(wanted(Some("bytes=0-0"), 0), Wanted::Whole);
    }
}
