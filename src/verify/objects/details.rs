//! What a fact says beside what it is: a size, or why something is unknown. Four bytes of it are in
//! the row; what does not fit there is kept beside the rows, and the row has its number.

use std::sync::Arc;

use crate::verify::finding::Code;
use crate::verify::shared::Shared;
use crate::verify::table::Fact;

/// The size that was not told. This one and larger ones do not fit in a row.
const NO_SIZE: u32 = u32::MAX;

/// What a row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// No object: the digest alone.
    Bare,
    Unasked,
    Present,
    /// Present, and its size is kept beside the rows.
    PresentLarge,
    Missing,
    WrongDigest,
    Short,
    /// Short, and what could be read is kept beside the rows.
    ShortLarge,
    Unknown,
}

impl Tag {
    /// By their numbers.
    pub(super) const ALL: [Self; 9] = [
        Self::Bare,
        Self::Unasked,
        Self::Present,
        Self::PresentLarge,
        Self::Missing,
        Self::WrongDigest,
        Self::Short,
        Self::ShortLarge,
        Self::Unknown,
    ];
}

/// What is kept beside the rows. An outage makes many unknown for few reasons, and few objects are
/// larger than 4 GiB.
#[derive(Debug, Default)]
pub(super) struct Details {
    doubts: Shared<(Code, Arc<str>)>,
    sizes: Shared<u64>,
}

impl Details {
    pub(super) fn pack(&mut self, fact: Fact) -> (Tag, u32) {
        match fact {
            Fact::Unasked => (Tag::Unasked, NO_SIZE),
            Fact::Present { size: None } => (Tag::Present, NO_SIZE),
            Fact::Present { size: Some(size) } => self.size(size, Tag::Present, Tag::PresentLarge),
            Fact::Missing => (Tag::Missing, NO_SIZE),
            Fact::WrongDigest => (Tag::WrongDigest, NO_SIZE),
            Fact::Short { read } => self.size(read, Tag::Short, Tag::ShortLarge),
            Fact::Unknown { code, message } => (Tag::Unknown, self.doubts.hold((code, message))),
        }
    }

    fn size(&mut self, size: u64, fits: Tag, large: Tag) -> (Tag, u32) {
        match u32::try_from(size) {
            Ok(size) if size != NO_SIZE => (fits, size),
            Ok(_) | Err(_) => (large, self.sizes.hold(size)),
        }
    }

    pub(super) fn unpack(&self, tag: Tag, detail: u32) -> Fact {
        match tag {
            Tag::Bare | Tag::Unasked => Fact::Unasked,
            Tag::Present => Fact::Present {
                size: (detail != NO_SIZE).then_some(u64::from(detail)),
            },
            Tag::PresentLarge => Fact::Present {
                size: Some(*self.sizes.get(detail)),
            },
            Tag::Missing => Fact::Missing,
            Tag::WrongDigest => Fact::WrongDigest,
            Tag::Short => Fact::Short {
                read: u64::from(detail),
            },
            Tag::ShortLarge => Fact::Short {
                read: *self.sizes.get(detail),
            },
            Tag::Unknown => {
                let (code, message) = self.doubts.get(detail);
                Fact::Unknown {
                    code: *code,
                    message: Arc::clone(message),
                }
            }
        }
    }

    /// Forgets what was packed, once.
    pub(super) fn release(&mut self, tag: Tag, detail: u32) {
        match tag {
            Tag::PresentLarge | Tag::ShortLarge => self.sizes.release(detail),
            Tag::Unknown => self.doubts.release(detail),
            Tag::Bare
            | Tag::Unasked
            | Tag::Present
            | Tag::Missing
            | Tag::WrongDigest
            | Tag::Short => {}
        }
    }

    /// How many doubts and sizes are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.doubts.len(), self.sizes.len())
    }
}
