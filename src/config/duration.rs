//! Durations as people write them: `90s`, `10m`, `2h`, `7d`, `1h30m`.

use std::fmt::Write as _;
use std::time::Duration;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Ten years; what is longer is a slip of the pen, and would overflow dates.
const SECONDS_MAX: u64 = 3_650 * 86_400;

/// Parses whole numbers with units, the largest first; the error is the way out.
pub(super) fn parse(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected a number with a unit, as 90s, 10m, 2h or 7d";
    const TOO_LONG: &str = "expected at most 3650d";
    let mut units = UNITS.iter();
    let mut rest = text;
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .filter(|&digits| digits > 0)
            .ok_or(EXPECTED)?;
        let (number, after) = rest.split_at(digits);
        let mut after = after.chars();
        let unit = after.next().ok_or(EXPECTED)?;
        let &(_, length) = units.find(|(name, _)| *name == unit).ok_or(EXPECTED)?;
        // The digits parse unless there are too many of them.
        let number: u64 = number.parse().map_err(|_overflow| TOO_LONG)?;
        seconds = number
            .checked_mul(length)
            .and_then(|part| seconds.checked_add(part))
            .filter(|&seconds| seconds <= SECONDS_MAX)
            .ok_or(TOO_LONG)?;
        rest = after.as_str();
    }
    if text.is_empty() {
        return Err(EXPECTED);
    }
    Ok(Duration::from_secs(seconds))
}

/// The shortest way to write it that [`parse`] reads back; parts of a second are dropped.
pub fn shown(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut text = String::new();
    for (unit, length) in UNITS {
        let number = rest / length;
        rest %= length;
        if number > 0 {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "{number}{unit}");
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_numbers_with_units_the_largest_first() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("10m", Some(600)),
            ("2h", Some(7_200)),
            ("7d", Some(604_800)),
            ("1d2h3m4s", Some(93_784)),
            ("0s", Some(0)),
            ("3650d", Some(SECONDS_MAX)),
            ("3651d", None),
            ("99999999999999999999s", None),
            ("30m1h", None),
            ("1h1h", None),
            ("", None),
            ("10", None),
            ("h", None),
            ("10 m", None),
            ("-1s", None),
            ("1.5h", None),
            ("500ms", None),
            ("10é", None),
        ] {
            assert_eq!(
                parse(text).ok().map(|duration| duration.as_secs()),
                seconds,
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(seconds in 0..=SECONDS_MAX) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(parse(&shown(duration)), Ok(duration));
        }
    }
}
