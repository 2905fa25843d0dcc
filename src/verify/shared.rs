//! Values that many hold: each is kept once, under a number, for as long as somebody holds it.

use std::collections::HashMap;
use std::hash::Hash;

#[derive(Debug)]
pub(super) struct Shared<T> {
    /// By their numbers, each with how many hold it.
    values: Vec<Option<(T, usize)>>,
    numbers: HashMap<T, u32>,
    /// Numbers that are nobody's.
    free: Vec<u32>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            numbers: HashMap::new(),
            free: Vec::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Shared<T> {
    /// The number of a value, which is held once more.
    pub(super) fn hold(&mut self, value: T) -> u32 {
        if let Some(number) = self.numbers.get(&value).copied() {
            self.slot(number).as_mut().expect("it is held").1 += 1;
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.values.push(None);
            u32::try_from(self.values.len() - 1).expect("fewer than 2^32 values")
        });
        self.numbers.insert(value.clone(), number);
        *self.slot(number) = Some((value, 1));
        number
    }

    /// The value of a number that is held.
    pub(super) fn get(&self, number: u32) -> &T {
        let value = self.values.get(number as usize).and_then(Option::as_ref);
        &value.expect("it is held").0
    }

    /// Holds it once less. A value that nobody holds is gone, and its number another's.
    pub(super) fn release(&mut self, number: u32) {
        let slot = self.slot(number);
        let (value, holders) = slot.as_mut().expect("it is held");
        *holders -= 1;
        if *holders > 0 {
            return;
        }
        let value = value.clone();
        *slot = None;
        self.numbers.remove(&value);
        if self.numbers.is_empty() {
            *self = Self::default();
        } else {
            self.free.push(number);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    fn slot(&mut self, number: u32) -> &mut Option<(T, usize)> {
        let slot = self.values.get_mut(number as usize);
        slot.expect("it is held")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_has_one_number_for_as_long_as_somebody_holds_it(
            steps in prop::collection::vec((any::<bool>(), 0_u8..6), 0..80),
        ) {
            let mut shared = Shared::default();
            let mut holders: Vec<(u8, u32)> = Vec::new();
            for (comes, value) in steps {
                if comes {
                    let number = shared.hold(value);
                    for (other, of_other) in &holders {
                        prop_assert_eq!(*other == value, *of_other == number);
                    }
                    holders.push((value, number));
                } else if let Some(at) = holders.iter().position(|(held, _)| *held == value) {
                    shared.release(holders.swap_remove(at).1);
                }
                for (value, number) in &holders {
                    prop_assert_eq!(shared.get(*number), value);
                }
                let distinct: std::collections::HashSet<u8> =
                    holders.iter().map(|(value, _)| *value).collect();
                prop_assert_eq!(shared.len(), distinct.len());
                prop_assert!(shared.values.len() <= 6, "numbers are used again");
            }
        }
    }
}
