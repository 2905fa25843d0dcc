//! The headers in which a quota is announced.
//!
//! Docker Hub: `ratelimit-limit: 100;w=21600`. The IETF's drafts up to the seventh: `RateLimit-Limit`,
//! `RateLimit-Remaining` and `RateLimit-Reset` in seconds, the limit with its policies behind it. GitLab: the
//! same names with the reset as a time. Envoy and others in front of a registry: the same with `X-` before it.

use jiff::{SignedDuration, Timestamp};

/// No window is taken to be longer: what cannot be is not obeyed for ever.
const WINDOW_MAX_SECONDS: i64 = 86_400;
/// A reset above this is a time, not a number of seconds.
const RESET_IS_TIME_ABOVE: i64 = 1_000_000_000;

/// What one answer says of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    pub limit: Option<u64>,
    pub remaining: u64,
    pub window: Option<SignedDuration>,
    pub resets_at: Option<Timestamp>,
}

impl Announced {
    /// Reads the headers; `None` where they say nothing of what is left.
    pub fn read<'h>(header: impl Fn(&str) -> Option<&'h str>, now: Timestamp) -> Option<Self> {
        Self::with_names(
            &header,
            ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"],
            now,
        )
        .or_else(|| {
            let names = [
                "x-ratelimit-limit",
                "x-ratelimit-remaining",
                "x-ratelimit-reset",
            ];
            Self::with_names(&header, names, now)
        })
    }

    fn with_names<'h>(
        header: &impl Fn(&str) -> Option<&'h str>,
        [limit, remaining, reset]: [&str; 3],
        now: Timestamp,
    ) -> Option<Self> {
        let remaining = header(remaining)?;
        let limit = header(limit).unwrap_or_default();
        let count = first(remaining)?;
        let most = first(limit);
        let resets_at = header(reset)
            .and_then(|reset| reset.trim().parse::<i64>().ok())
            .and_then(|reset| resets_at(reset, now));
        let window = window(limit, most)
            .or_else(|| window(remaining, Some(count)))
            .or_else(|| Some(resets_at?.duration_since(now)));
        Some(Self {
            limit: most,
            remaining: count,
            window: window.map(bounded),
            resets_at,
        })
    }
}

fn resets_at(reset: i64, now: Timestamp) -> Option<Timestamp> {
    let at = if reset > RESET_IS_TIME_ABOVE {
        Timestamp::from_second(reset).ok()?
    } else {
        now.checked_add(SignedDuration::from_secs(reset)).ok()?
    };
    let latest = now
        .saturating_add(SignedDuration::from_secs(WINDOW_MAX_SECONDS))
        .ok()?;
    Some(at.clamp(now, latest))
}

/// The number that a header begins with.
fn first(value: &str) -> Option<u64> {
    number(value.split(',').next()?)
}

fn number(item: &str) -> Option<u64> {
    item.split(';').next()?.trim().parse().ok()
}

/// `;w=SECONDS` of the policy that this quota is.
fn window(value: &str, quota: Option<u64>) -> Option<SignedDuration> {
    let policies = value.split(',').filter(|item| number(item) == quota);
    let seconds = policies
        .flat_map(|item| item.split(';').skip(1))
        .find_map(|parameter| {
            parameter
                .trim()
                .strip_prefix("w=")?
                .trim()
                .parse::<i64>()
                .ok()
        });
    seconds.map(SignedDuration::from_secs)
}

fn bounded(window: SignedDuration) -> SignedDuration {
    window.clamp(
        SignedDuration::from_secs(1),
        SignedDuration::from_secs(WINDOW_MAX_SECONDS),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Option<Announced> {
        let header = |name: &str| {
            let found = headers.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| *value)
        };
        Announced::read(header, Timestamp::from_second(1_800_000_000).unwrap())
    }

    fn check(
        headers: &[(&str, &str)],
        limit: Option<u64>,
        remaining: u64,
        window: Option<i64>,
        resets_in: Option<i64>,
    ) {
        let expected = Announced {
            limit,
            remaining,
            window: window.map(SignedDuration::from_secs),
            resets_at: resets_in
                .map(|seconds| Timestamp::from_second(1_800_000_000 + seconds).unwrap()),
        };
        assert_eq!(read(headers), Some(expected), "{headers:?}");
    }

    #[test]
    fn quotas_are_announced_in_several_ways() {
        // https://docs.docker.com/docker-hub/usage/pulls/
        let hub = [
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "76;w=21600"),
        ];
        check(&hub, Some(100), 76, Some(21_600), None);
        // draft-ietf-httpapi-ratelimit-headers-07, section 6
        let draft = [
            ("ratelimit-limit", "10, 10;w=1, 50;w=60"),
            ("ratelimit-remaining", "9"),
            ("ratelimit-reset", "1"),
        ];
        check(&draft, Some(10), 9, Some(1), Some(1));
        let plain = [("ratelimit-limit", "10"), ("ratelimit-remaining", " 9 ")];
        check(&plain, Some(10), 9, None, None);
        // GitLab: the reset is a time.
        let gitlab = [
            ("ratelimit-limit", "60"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", "1800000030"),
        ];
        check(&gitlab, Some(60), 0, Some(30), Some(30));
        // Envoy
        let envoy = [
            ("x-ratelimit-limit", "10, 10;w=60;name=\"a\""),
            ("x-ratelimit-remaining", "3"),
            ("x-ratelimit-reset", "48"),
        ];
        check(&envoy, Some(10), 3, Some(60), Some(48));
        check(
            &[("ratelimit-remaining", "5;w=60")],
            None,
            5,
            Some(60),
            None,
        );
    }

    #[test]
    fn what_cannot_be_is_bounded_or_not_read() {
        let long = [
            ("ratelimit-limit", "10;w=315360000"),
            ("ratelimit-remaining", "1"),
            ("ratelimit-reset", "315360000"),
        ];
        check(&long, Some(10), 1, Some(86_400), Some(86_400));
        let past = [
            ("ratelimit-remaining", "1"),
            ("ratelimit-reset", "1700000000"),
        ];
        check(&past, None, 1, Some(1), Some(0));
        assert_eq!(read(&[("ratelimit-limit", "10")]), None);
        for value in ["", "many", "-1", "18446744073709551616"] {
            assert_eq!(read(&[("ratelimit-remaining", value)]), None, "{value}");
        }
    }
}
