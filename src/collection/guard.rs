//! What the machine does so that nothing is lost, each by its name. Pure.
//!
//! In production all of them hold. The model checker takes one away at a time and has to find what is lost
//! then: a guard that nobody misses would not be one.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guard {
    /// What is taken is held before it is purged.
    TwoPhases,
    /// It is held for as long as was said.
    Hold,
    /// Before it is purged everything is marked again, and what is wanted goes back.
    Remark,
    /// Every replica is asked for what was taken, and what one still believes in goes back.
    Settling,
    /// What replicas remember together is forgotten once nothing that began before something was taken can
    /// still be under way.
    Forgetting,
    /// New links are looked at until no push that began before can end.
    Watch,
    /// All that could be pulled is proven after something was taken.
    Proof,
    /// Two listings have to agree.
    SecondListing,
    /// The lock is looked at before each batch.
    LockCheck,
    /// What the holder before may still have under way is waited for.
    Drain,
    /// What is to be done is written before it is done.
    Intent,
    /// With what goes back goes all that it needs.
    Closure,
}

impl Guard {
    pub const ALL: [Self; 12] = [
        Self::TwoPhases,
        Self::Hold,
        Self::Remark,
        Self::Settling,
        Self::Forgetting,
        Self::Watch,
        Self::Proof,
        Self::SecondListing,
        Self::LockCheck,
        Self::Drain,
        Self::Intent,
        Self::Closure,
    ];
}

/// Those that hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guards {
    #[cfg(test)]
    without: Option<Guard>,
    _all: (),
}

impl Guards {
    /// All of them. There is no other way in production.
    pub fn all() -> Self {
        Self {
            #[cfg(test)]
            without: None,
            _all: (),
        }
    }

    /// All but one.
    #[cfg(test)]
    pub fn without(guard: Guard) -> Self {
        Self {
            without: Some(guard),
            _all: (),
        }
    }

    #[cfg(test)]
    pub fn has(self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    #[cfg(not(test))]
    pub fn has(self, _guard: Guard) -> bool {
        true
    }
}
