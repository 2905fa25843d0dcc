//! Shares and amounts as people write them: `5%`, `50MiB`.

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

/// Parses a percentage from 0 to 100 into a fraction; the error is the way out.
pub(super) fn percent(text: &str) -> Result<f64, &'static str> {
    const EXPECTED: &str = "expected a percentage from 0% to 100%, as 5% or 0.5%";
    let number = text.strip_suffix('%').ok_or(EXPECTED)?;
    let is_plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.parse().map_err(|_not_a_number| EXPECTED)?;
    if is_plain && number <= 100.0 {
        Ok(number / 100.0)
    } else {
        Err(EXPECTED)
    }
}

/// Parses a whole number of bytes with its unit; the error is the way out.
pub(super) fn bytes(text: &str) -> Result<u64, &'static str> {
    const EXPECTED: &str =
        "expected a whole number with a unit (B, KiB, MiB, GiB or TiB), as 50MiB";
    let (number, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
        .ok_or(EXPECTED)?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EXPECTED);
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or("that is more than there can be")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_amounts_are_numbers_with_a_unit() {
        for (text, expected) in [
            ("5%", Some(0.05)),
            ("0%", Some(0.0)),
            ("100%", Some(1.0)),
            ("0.5%", Some(0.005)),
            ("101%", None),
            ("-1%", None),
            ("nan%", None),
            ("%", None),
            ("5", None),
        ] {
            assert_eq!(percent(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("50MiB", Some(50 << 20)),
            ("0B", Some(0)),
            ("1TiB", Some(1 << 40)),
            ("99999999999TiB", None),
            ("50MB", None),
            ("MiB", None),
            ("+5B", None),
            ("50", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }
}
