//! The files that a storage may have: three manifests, of which two share a layer and the third has it by a
//! mount. They stand in the order in which a run takes them.

use std::fmt;

use crate::collection::item::ItemId;

/// A manifest by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Manifest {
    /// Names the shared layer.
    A,
    /// Names the shared layer and one of its own.
    B,
    /// Of another repository, which has the shared layer by a mount.
    C,
}

use Manifest::{A, B, C};

pub(super) const MANIFESTS: [Manifest; 3] = [A, B, C];

impl Manifest {
    fn bit(self) -> u8 {
        1 << (self as u8)
    }

    /// By which its repository has it.
    pub(super) fn revision(self) -> File {
        match self {
            A => File::RevisionA,
            B => File::RevisionB,
            C => File::RevisionC,
        }
    }

    pub(super) fn bytes(self) -> File {
        match self {
            A => File::BytesA,
            B => File::BytesB,
            C => File::BytesC,
        }
    }

    /// The links of what it names.
    pub(super) fn links(self) -> &'static [File] {
        match self {
            A => &[File::LinkShared],
            B => &[File::LinkShared, File::LinkOwn],
            C => &[File::LinkMounted],
        }
    }

    /// All that has to be there for it to be pulled.
    pub(super) fn closure(self) -> Files {
        let links = self.links().iter();
        let below = links.flat_map(|link| [*link, link.data()]);
        [self.revision(), self.bytes()]
            .into_iter()
            .chain(below)
            .collect()
    }
}

/// Some manifests.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Manifests(u8);

impl Manifests {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn of(all: &[Manifest]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < all.len() {
            bits |= 1 << (all[at] as u8);
            at += 1;
        }
        Self(bits)
    }

    pub(super) fn has(self, manifest: Manifest) -> bool {
        self.0 & manifest.bit() != 0
    }

    pub(super) fn add(&mut self, manifest: Manifest) {
        self.0 |= manifest.bit();
    }

    pub(super) fn remove(&mut self, manifest: Manifest) {
        self.0 &= !manifest.bit();
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Manifest> {
        MANIFESTS.into_iter().filter(move |it| self.has(*it))
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Manifests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

/// A file, in the order of the items' classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum File {
    RevisionA,
    RevisionB,
    RevisionC,
    BytesA,
    BytesB,
    BytesC,
    LinkShared,
    LinkOwn,
    LinkMounted,
    DataShared,
    DataOwn,
}

const FILES: [File; 11] = [
    File::RevisionA,
    File::RevisionB,
    File::RevisionC,
    File::BytesA,
    File::BytesB,
    File::BytesC,
    File::LinkShared,
    File::LinkOwn,
    File::LinkMounted,
    File::DataShared,
    File::DataOwn,
];

pub(super) const LINKS: [File; 3] = [File::LinkShared, File::LinkOwn, File::LinkMounted];

impl File {
    fn bit(self) -> u16 {
        1 << (self as u16)
    }

    /// The bytes that a link of a layer names.
    pub(super) fn data(self) -> Self {
        match self {
            Self::LinkOwn => Self::DataOwn,
            _ => Self::DataShared,
        }
    }

    pub(super) fn is_manifest_bytes(self) -> bool {
        matches!(self, Self::BytesA | Self::BytesB | Self::BytesC)
    }

    pub(super) fn is_data(self) -> bool {
        matches!(self, Self::DataShared | Self::DataOwn)
    }

    pub(super) fn is_link(self) -> bool {
        LINKS.contains(&self)
    }

    /// The manifest that its repository has by it.
    pub(super) fn revision_of(self) -> Option<Manifest> {
        MANIFESTS.into_iter().find(|it| it.revision() == self)
    }

    /// What goes back with it.
    pub(super) fn needs(self) -> Files {
        if self.is_link() {
            return [self.data()].into_iter().collect();
        }
        let Some(manifest) = self.revision_of() else {
            return Files::NONE;
        };
        let links = manifest.links().iter().copied();
        std::iter::once(manifest.bytes()).chain(links).collect()
    }
}

/// Some files.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Files(u16);

impl Files {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn has(self, file: File) -> bool {
        self.0 & file.bit() != 0
    }

    pub(super) fn add(&mut self, file: File) {
        self.0 |= file.bit();
    }

    pub(super) fn remove(&mut self, file: File) {
        self.0 &= !file.bit();
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = File> {
        FILES.into_iter().filter(move |it| self.has(*it))
    }

    /// The item of a run that took these, by its number.
    pub(super) fn file(self, item: ItemId) -> File {
        let mut all = self.iter();
        all.nth(item.index()).expect("a run has its items")
    }

    /// The number of an item of a run that took these.
    pub(super) fn item(self, file: File) -> Option<ItemId> {
        let number = (self.0 & (file.bit() - 1)).count_ones();
        self.has(file).then_some(ItemId(number))
    }
}

impl FromIterator<File> for Files {
    fn from_iter<I: IntoIterator<Item = File>>(files: I) -> Self {
        let mut all = Self::NONE;
        files.into_iter().for_each(|file| all.add(file));
        all
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}
