//! The `Link` header (RFC 8288), by which a registry says where a list goes on (distribution-spec,
//! "Listing Referrers"). Pure.

/// The target of the first link to the next page, as it is written: often relative.
pub(super) fn next(value: &str) -> Option<&str> {
    split(value, ',').into_iter().find_map(|link| {
        let mut parts = split(link, ';').into_iter();
        let target = parts.next()?.trim().strip_prefix('<')?.strip_suffix('>')?;
        parts.any(is_next).then_some(target)
    })
}

/// A relation is one or more words, quoted or not.
fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel")
        && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
}

/// Splits where the separator stands neither in a target nor in a quoted text.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut is_target, mut is_quoted, mut is_escaped) = (false, false, false);
    let separates = move |character: char| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            _ if was_escaped => {}
            '\\' if is_quoted => is_escaped = true,
            '"' if !is_target => is_quoted = !is_quoted,
            '<' if !is_quoted => is_target = true,
            '>' if !is_quoted => is_target = false,
            _ => return character == separator && !is_target && !is_quoted,
        }
        false
    };
    text.split(separates).collect()
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn the_next_page_is_found_among_other_links() {
        for (value, expected) in [
            (
                r#"</v2/a/referrers/d?n=2&last=x>; rel="next""#,
                Some("/v2/a/referrers/d?n=2&last=x"),
            ),
            ("<?last=a,b;c>;rel=next", Some("?last=a,b;c")),
            (r#"<one>; rel="prev", <two>; REL="Last Next""#, Some("two")),
            (
                r#"<one>; title="a \", <x>; rel=next"; rel=prev, < two>;rel=next"#,
                Some(" two"),
            ),
            (r#"<one>; rel="prev""#, None),
            (r#"<one>; title="rel=next""#, None),
            ("<one>; rel=nextish", None),
            ("one; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next(value), expected, "{value}");
        }
    }
}
