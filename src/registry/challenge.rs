//! `WWW-Authenticate` of RFC 9110, section 11: what a registry wants to see.
//!
//! A strict, bounded parser, since the header comes from whoever answered: several challenges in one
//! header, quoted commas, and nonsense of any length.

/// Headers longer than this are not read.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// How a registry wants to be authenticated to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    /// The distribution token flow: ask `realm` for a token for `service`.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

/// The challenge to answer, of all that the headers hold; a token is preferred to a password.
pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers.filter(|header| header.len() <= HEADER_BYTES_MAX) {
        for (scheme, parameters) in parse(header) {
            let get = |name: &str| {
                parameters
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = get("realm")
            {
                return Some(Challenge::Bearer {
                    realm,
                    service: get("service"),
                });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

type Parsed = Vec<(String, Vec<(String, String)>)>;

/// `scheme key="value", key=value, scheme …`. What does not fit ends the parse; what fitted counts.
fn parse(header: &str) -> Parsed {
    let mut challenges: Parsed = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let word_end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        if word_end == 0 {
            break;
        }
        let (word, after) = rest.split_at(word_end);
        let after_space = after.trim_start_matches([' ', '\t']);
        if let Some(value) = after_space.strip_prefix('=') {
            let Some((_, parameters)) = challenges.last_mut() else {
                break;
            };
            let Some((value, after_value)) = take_value(value.trim_start_matches([' ', '\t']))
            else {
                break;
            };
            parameters.push((word.to_owned(), value));
            rest = after_value;
        } else {
            challenges.push((word.to_owned(), Vec::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    challenges
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

fn take_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn real_and_ugly_headers() {
        let check = |headers: &[&str], expected: Option<Challenge>| {
            assert_eq!(choose(headers.iter().copied()), expected, "{headers:?}");
        };
        check(
            &[
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            ],
            Some(bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
            )),
        );
        check(&[r#"Basic realm="Registry Realm""#], Some(Challenge::Basic));
        check(
            &[r#"basic realm="x", BEARER Realm="https://t/""#],
            Some(bearer("https://t/", None)),
        );
        check(
            &[r#"Basic realm="x""#, r#"Bearer realm=https://t/,service=s"#],
            Some(bearer("https://t/", Some("s"))),
        );
        check(
            &[r#"Bearer realm="a \"b\", c""#],
            Some(bearer(r#"a "b", c"#, None)),
        );
        check(&[r#"Bearer realm="never closed"#], None);
        check(&["Bearer"], None);
        check(&[""], None);
        check(
            &[&format!("Bearer realm=\"{}\"", "a".repeat(1 << 20))],
            None,
        );
    }

    proptest! {
        #[test]
        fn hostile_headers_never_panic(header in "\\PC{0,200}") {
            choose([header.as_str()].into_iter());
        }
    }
}
