//! Lengths of pictures, in thousandths of their width. Whatever a picture shows stands beside it as text, so
//! that nobody has to see it. Pure.

use jiff::{SignedDuration, Timestamp};

/// A part of a bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// A class of the style sheet.
    pub tone: &'static str,
    pub x: u64,
    pub width: u64,
}

/// So much is seen of what is next to nothing.
const LEAST: u64 = 4;
const WHOLE: u64 = 1000;

/// How long `part` is where `whole` is the whole width.
pub(super) fn share(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    let share = u128::from(part) * u128::from(WHOLE) / u128::from(whole);
    u64::try_from(share).unwrap_or(WHOLE).min(WHOLE)
}

/// Like [`share`], and seen where it is anything at all.
pub(super) fn seen(part: u64, whole: u64) -> u64 {
    match part {
        0 => 0,
        _ => share(part, whole).max(LEAST),
    }
}

/// Parts that make a whole, one after the other; each that is not nothing is seen.
pub(super) fn stacked(parts: &[(&'static str, u64)]) -> Vec<Segment> {
    let whole: u64 = parts.iter().map(|(_, part)| part).sum();
    let mut segments = Vec::new();
    let mut before: u64 = 0;
    for (tone, part) in parts {
        let x = share(before, whole);
        before = before.saturating_add(*part);
        let width = share(before, whole).saturating_sub(x);
        if *part > 0 {
            let width = width.max(LEAST);
            let x = x.min(WHOLE - width);
            segments.push(Segment { tone, x, width });
        }
    }
    segments
}

/// A span of time that is drawn from its start to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Axis {
    /// Where a time is; outside it is the nearest end.
    pub(super) fn x(&self, at: Timestamp) -> u64 {
        let whole = milliseconds(self.end.duration_since(self.start));
        share(milliseconds(at.duration_since(self.start)), whole)
    }

    /// From one time to another, as far as they are within it.
    pub(super) fn segment(
        &self,
        tone: &'static str,
        from: Timestamp,
        until: Timestamp,
    ) -> Option<Segment> {
        if until <= self.start || from >= self.end {
            return None;
        }
        let x = self.x(from);
        let width = self.x(until).saturating_sub(x).max(LEAST);
        let x = x.min(WHOLE - width);
        Some(Segment { tone, x, width })
    }
}

fn milliseconds(duration: SignedDuration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_a_bar_and_none_is_lost() {
        let segment = |tone, x, width| Segment { tone, x, width };
        assert_eq!(
            stacked(&[("a", 1), ("b", 0), ("c", 3)]),
            [segment("a", 0, 250), segment("c", 250, 750)]
        );
        assert_eq!(
            stacked(&[("a", 1_000_000), ("b", 1)]),
            [segment("a", 0, 999), segment("b", 996, 4)]
        );
        assert_eq!(stacked(&[("a", 0)]), []);
        assert_eq!(
            (share(1, 0), share(5, 2), seen(0, 9), seen(1, 9999)),
            (0, 1000, 0, 4)
        );
        assert_eq!(share(u64::MAX, u64::MAX), 1000);
    }

    #[test]
    fn a_time_is_where_it_belongs() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let axis = Axis {
            start: at(100),
            end: at(200),
        };
        assert_eq!(
            (axis.x(at(0)), axis.x(at(150)), axis.x(at(900))),
            (0, 500, 1000)
        );
        let segment = axis.segment("open", at(50), at(110)).unwrap();
        assert_eq!((segment.x, segment.width), (0, 100));
        let segment = axis.segment("open", at(199), at(300)).unwrap();
        assert_eq!((segment.x, segment.width), (990, 10));
        assert_eq!(axis.segment("open", at(200), at(300)), None);
        assert_eq!(axis.segment("open", at(0), at(100)), None);
    }
}
