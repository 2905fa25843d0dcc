//! One object in 52 bytes.

use jiff::Timestamp;

use super::details::{Details, Tag};
use crate::oci::digest::Digest;
use crate::verify::depth::Depth;
use crate::verify::table::{ObjectKind, ObjectState};

const NEVER: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) digest: Digest,
    /// The number of who asks and where. A bare row has none.
    pub(super) place: u32,
    /// See [`Details`].
    detail: u32,
    proven_at: u32,
    read_at: u32,
    pub(super) round: u16,
    depth: u8,
    /// From the lowest bit: two of the kind, two of the suspect, four of the tag.
    flags: u8,
}

const _: () = assert!(
    size_of::<Row>() == 52,
    "a million rows are most of the memory"
);

impl Row {
    /// A digest that is named, and nothing else.
    pub(super) fn bare(digest: Digest) -> Self {
        Self {
            digest,
            place: 0,
            detail: 0,
            proven_at: NEVER,
            read_at: NEVER,
            round: 0,
            depth: 0,
            flags: flags(ObjectKind::Blob, Depth::Head, Tag::Bare),
        }
    }

    pub(super) fn new(
        digest: Digest,
        kind: ObjectKind,
        place: u32,
        state: ObjectState,
        details: &mut Details,
    ) -> Self {
        let (tag, detail) = details.pack(state.fact);
        Self {
            digest,
            place,
            detail,
            proven_at: second(state.proven_at),
            read_at: second(state.read_at),
            round: state.round,
            depth: state.depth,
            flags: flags(kind, state.suspect, tag),
        }
    }

    pub(super) fn unpack(&self, details: &Details) -> ObjectState {
        ObjectState {
            fact: details.unpack(self.tag(), self.detail),
            proven_at: time(self.proven_at),
            read_at: time(self.read_at),
            suspect: match self.flags >> 2 & 3 {
                0 => Depth::Head,
                1 => Depth::Read,
                _ => Depth::Content,
            },
            round: self.round,
            depth: self.depth,
        }
    }

    /// Forgets what is kept of it beside the rows: it is there no more.
    pub(super) fn release(&self, details: &mut Details) {
        details.release(self.tag(), self.detail);
    }

    pub(super) fn is_bare(&self) -> bool {
        self.tag() == Tag::Bare
    }

    pub(super) fn kind(&self) -> ObjectKind {
        match self.flags & 3 {
            0 => ObjectKind::Manifest,
            1 => ObjectKind::Blob,
            _ => ObjectKind::Access,
        }
    }

    fn tag(&self) -> Tag {
        let tag = Tag::ALL.get(usize::from(self.flags >> 4));
        *tag.expect("it was packed")
    }
}

fn flags(kind: ObjectKind, suspect: Depth, tag: Tag) -> u8 {
    kind as u8 | (suspect as u8) << 2 | (tag as u8) << 4
}

/// Clocks before 1970 and after 2106 are wrong; a proof by such a clock is none.
fn second(at: Option<Timestamp>) -> u32 {
    at.and_then(|at| u32::try_from(at.as_second()).ok())
        .unwrap_or(NEVER)
}

fn time(second: u32) -> Option<Timestamp> {
    (second != NEVER)
        .then(|| Timestamp::from_second(i64::from(second)).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_down_and_impossible_ones_are_none() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(
            time(second(at("2026-11-21T10:00:00.9Z"))),
            at("2026-11-21T10:00:00Z")
        );
        assert_eq!(time(second(at("1960-01-01T00:00:00Z"))), None);
        assert_eq!(time(second(None)), None);
    }
}
