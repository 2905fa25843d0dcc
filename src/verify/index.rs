//! Numbers found by the hash of what they are of.

use hashbrown::HashTable;

/// A hash table doubles, and while it does the old one and the new one are both there. Of these, one
/// at a time does.
const SHARDS: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Index {
    shards: Box<[HashTable<u32>; SHARDS]>,
}

impl Index {
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let shard = self.shards.get(shard(hash)).expect("there are so many");
        shard.find(hash, |number| is_it(*number)).copied()
    }

    /// Adds a number that is not there. `hash_of` tells the hash of any that is.
    pub(super) fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        let shard = self.shards.get_mut(shard(hash)).expect("there are so many");
        shard.insert_unique(hash, number, |number| hash_of(*number));
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(HashTable::allocation_size).sum()
    }
}

/// By bits that the tables themselves do not look at.
fn shard(hash: u64) -> usize {
    (hash >> 48) as usize % SHARDS
}
