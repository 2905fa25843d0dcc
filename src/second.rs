//! A time of day in four bytes, for what is kept of each image. Pure.

use std::fmt;
use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A whole second of Unix time, from 1970 to February 2106; what lies outside is taken for the nearest
/// of them. An `Option` of it takes no more room, which is why one is added.
///
/// It is read and written as any time is, and a fraction is dropped: a proof is never younger by it,
/// and never counts for longer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Second(NonZeroU32);

const _: () = assert!(size_of::<Option<Second>>() == 4);

impl Second {
    /// Seconds since 1970.
    pub fn new(second: i64) -> Self {
        let last = i64::from(u32::MAX) - 1;
        let number = u32::try_from(second.clamp(0, last)).unwrap_or_default();
        Self(NonZeroU32::MIN.saturating_add(number))
    }

    /// Seconds since 1970.
    pub fn get(self) -> i64 {
        i64::from(self.0.get()) - 1
    }
}

impl From<Timestamp> for Second {
    fn from(at: Timestamp) -> Self {
        Self::new(at.as_second())
    }
}

impl From<Second> for Timestamp {
    fn from(second: Second) -> Self {
        Self::from_second(second.get()).expect("a time reaches further than 32 bits of seconds")
    }
}

impl fmt::Display for Second {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Timestamp::from(*self), formatter)
    }
}

impl fmt::Debug for Second {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Second {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Timestamp::from(*self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Second {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_keeps_its_second_and_never_gets_younger() {
        for (text, kept) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("2026-11-20T08:30:00.999999999Z", "2026-11-20T08:30:00Z"),
            ("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"),
            ("2106-02-07T06:28:14Z", "2106-02-07T06:28:14Z"),
            ("9999-01-01T00:00:00Z", "2106-02-07T06:28:14Z"),
        ] {
            let at: Timestamp = text.parse().unwrap();
            let second = Second::from(at);
            assert_eq!(second.to_string(), kept, "{text}");
            assert_eq!(Second::new(second.get()), second, "{text}");
            let json = serde_json::to_value(second).unwrap();
            assert_eq!(json, kept, "{text}");
            assert_eq!(serde_json::from_value::<Second>(json).unwrap(), second);
        }
    }
}
