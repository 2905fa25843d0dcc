//! One manifest as bytes, and back.
//!
//! Numbers are written as in LEB128: seven bits a byte, the lowest first. An edge is how far the
//! number of its digest is from the one before, a flag, and a size. Digests that were first met in
//! one manifest have numbers that follow each other: most edges are five bytes.

pub(super) const INDEX: u64 = 0;
pub(super) const IMAGE: u64 = 1;
pub(super) const UNSUPPORTED: u64 = 2;
pub(super) const INVALID: u64 = 3;

/// How many bits the shape has beside the count.
const SHAPE_BITS: u32 = 2;

/// A manifest without its edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed<'a> {
    pub(super) id: u32,
    /// Bytes of the manifest itself.
    pub(super) size: u64,
    pub(super) shape: u64,
    /// Why it cannot be followed.
    pub(super) text: &'a str,
}

/// What a manifest names. Of an image the first is the config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) id: u32,
    pub(super) size: u64,
    /// Of a child: it is a blob. Of a blob: it is distributable.
    pub(super) flag: bool,
    /// Of a child: the number of its platform.
    pub(super) platform: Option<u32>,
}

impl Packed<'_> {
    /// Appends it.
    pub(super) fn write(&self, edges: &[Edge], bytes: &mut Vec<u8>) {
        write(bytes, u64::from(self.id));
        write(bytes, self.size);
        let count = edges.len().max(self.text.len()) as u64;
        write(bytes, count << SHAPE_BITS | self.shape);
        let mut before = self.id;
        for edge in edges {
            let apart = i64::from(edge.id) - i64::from(before);
            write(bytes, zigzag(apart) << 1 | u64::from(edge.flag));
            write(bytes, edge.size);
            if self.shape == INDEX {
                let platform = edge.platform.map_or(0, |number| 1 + u64::from(number));
                write(bytes, platform);
            }
            before = edge.id;
        }
        bytes.extend_from_slice(self.text.as_bytes());
    }
}

/// What was written is read in the same order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// The next manifest. Its edges replace those that are in `edges`.
    pub(super) fn manifest(&mut self, edges: &mut Vec<Edge>) -> Packed<'a> {
        edges.clear();
        let (id, size, shape, count) = self.head();
        let mut text = "";
        if matches!(shape, INDEX | IMAGE) {
            let mut before = id;
            for _ in 0..count {
                let edge = self.edge(before, shape == INDEX);
                before = edge.id;
                edges.push(edge);
            }
        } else {
            text = self.text(count);
        }
        Packed {
            id,
            size,
            shape,
            text,
        }
    }

    /// Number, bytes, shape and count of the next manifest.
    pub(super) fn head(&mut self) -> (u32, u64, u64, usize) {
        let id = u32::try_from(self.number()).expect("it was one");
        let size = self.number();
        let shape = self.number();
        let count = usize::try_from(shape >> SHAPE_BITS).expect("it was one");
        (id, size, shape & ((1 << SHAPE_BITS) - 1), count)
    }

    fn edge(&mut self, before: u32, is_child: bool) -> Edge {
        let flagged = self.number();
        let id = i64::from(before) + unzigzag(flagged >> 1);
        let size = self.number();
        let platform = if is_child { self.number() } else { 0 };
        let small = |number: u64| u32::try_from(number).expect("it was one");
        Edge {
            id: u32::try_from(id).expect("it was one"),
            size,
            flag: flagged & 1 == 1,
            platform: platform.checked_sub(1).map(small),
        }
    }

    fn number(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first().expect("it was written");
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn text(&mut self, length: usize) -> &'a str {
        let (text, rest) = self.0.split_at_checked(length).expect("it was written");
        self.0 = rest;
        std::str::from_utf8(text).expect("it was one")
    }
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

/// Small for what is near zero on either side.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
