//! The slots that requests to one registry share: a semaphore whose size a [`Limiter`] decides.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::limiter::{Limiter, Outcome, Sample};

#[derive(Debug)]
pub(super) struct Slots {
    semaphore: Semaphore,
    state: Mutex<State>,
    in_flight: AtomicUsize,
}

#[derive(Debug)]
struct State {
    limiter: Limiter,
    /// Slots there are, free and taken.
    slots: usize,
}

/// One request's slot. Dropped without a word it was given up, and teaches nothing.
#[derive(Debug)]
pub(super) struct Slot<'s> {
    slots: &'s Slots,
    permit: Option<SemaphorePermit<'s>>,
    in_flight: usize,
    generation: u32,
}

impl Slots {
    pub(super) fn new(max: usize) -> Self {
        let limiter = Limiter::new(max);
        let slots = limiter.limit();
        Self {
            semaphore: Semaphore::new(slots),
            state: Mutex::new(State { limiter, slots }),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// How many there may be now.
    pub(super) fn limit(&self) -> usize {
        self.lock().limiter.limit()
    }

    pub(super) fn set_max(&self, max: usize) {
        let mut state = self.lock();
        state.limiter.set_max(max);
        self.fit(&mut state);
    }

    /// Waits for a slot, in order of arrival.
    pub(super) async fn acquire(&self) -> Slot<'_> {
        let permit = self
            .semaphore
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        Slot {
            slots: self,
            permit: Some(permit),
            in_flight,
            generation: self.lock().limiter.generation(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("never held across a panic")
    }

    /// Makes there be as many slots as the limiter wants; those that are taken go when they are free.
    fn fit(&self, state: &mut State) {
        let limit = state.limiter.limit();
        if limit > state.slots {
            self.semaphore.add_permits(limit - state.slots);
            state.slots = limit;
        } else if limit < state.slots {
            state.slots -= self.semaphore.forget_permits(state.slots - limit);
        }
    }
}

impl Slot<'_> {
    /// Gives it back with what the request showed.
    pub(super) fn end(mut self, kind: usize, latency: Duration, outcome: Outcome) {
        let sample = Sample {
            kind,
            latency,
            outcome,
            in_flight: self.in_flight,
            generation: self.generation,
        };
        self.slots.lock().limiter.take(sample);
        self.give_back();
    }

    fn give_back(&mut self) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        self.slots.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.slots.lock();
        self.slots.fit(&mut state);
        if state.slots > state.limiter.limit() {
            permit.forget();
            state.slots -= 1;
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_as_many_slots_as_the_limiter_wants() {
        let slots = Slots::new(32);
        assert_eq!(slots.semaphore.available_permits(), 8);
        for _ in 0..5 {
            let mut taken = Vec::new();
            while let Ok(slot) = tokio::time::timeout(Duration::ZERO, slots.acquire()).await {
                taken.push(slot);
            }
            assert_eq!(taken.len(), slots.limit());
            for slot in taken {
                slot.end(0, Duration::from_millis(1), Outcome::Answered);
            }
        }
        assert_eq!(slots.semaphore.available_permits(), 32);

        // Halved while all are taken: what comes back goes until 16 are left.
        let mut taken = Vec::new();
        for _ in 0..32 {
            taken.push(slots.acquire().await);
        }
        let slot = taken.pop().unwrap();
        slot.end(0, Duration::ZERO, Outcome::Overloaded);
        assert_eq!(slots.limit(), 16);
        taken.truncate(16);
        assert_eq!(slots.semaphore.available_permits(), 0);
        taken.truncate(10);
        assert_eq!(slots.semaphore.available_permits(), 6);
        // Those that are given up come back too.
        drop(taken);
        assert_eq!(slots.semaphore.available_permits(), 16);

        slots.set_max(3);
        assert_eq!(slots.semaphore.available_permits(), 3);
        assert_eq!(slots.in_flight.load(Ordering::Relaxed), 0);
    }
}
