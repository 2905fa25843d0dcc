//! The quotas of one registry: one for each address or account that it tells apart. Pure.
//!
//! A credential has a quota of its own until the registry names what it counts by
//! (`docker-ratelimit-source`): then several credentials of one account share that account's.

use std::collections::HashMap;

use jiff::Timestamp;

use super::quota::{Announced, Kind, Quota, Refusal, Reservation};

/// So many are told apart; of more, those about which nothing is known go first.
const QUOTAS_MAX: usize = 256;
/// A longer name of a source is not one.
const SOURCE_BYTES_MAX: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// The id of a credential; empty for nobody.
    Credential(Box<str>),
    Source(Box<str>),
}

/// A request that may be sent, and on whose account.
#[derive(Debug)]
#[must_use = "what is not given back stays in flight for ever"]
pub struct Ticket {
    key: Key,
    reservation: Reservation,
}

/// All quotas of one registry.
#[derive(Debug, Default)]
pub struct Quotas {
    quotas: HashMap<Key, Quota>,
    sources: HashMap<Box<str>, Box<str>>,
}

impl Quotas {
    /// Whether requests of this credential have to go one at a time.
    pub fn is_in_doubt(&self, credential: &str) -> bool {
        self.quotas
            .get(&self.key(credential))
            .is_none_or(Quota::is_in_doubt)
    }

    /// [`Quota::reserve`] for a credential.
    pub fn reserve(
        &mut self,
        credential: &str,
        kind: Kind,
        share: Option<u64>,
        now: Timestamp,
    ) -> Result<Ticket, Refusal> {
        self.bound(now);
        let key = self.key(credential);
        let quota = self.quotas.entry(key.clone()).or_default();
        let reservation = quota.reserve(kind, share, now)?;
        Ok(Ticket { key, reservation })
    }

    /// [`Quota::settle`]. `source` is what the registry counts by, if it said.
    pub fn settle(
        &mut self,
        ticket: Ticket,
        announced: Option<Announced>,
        source: Option<&str>,
        now: Timestamp,
    ) {
        let mut key = ticket.key;
        if let Key::Credential(credential) = &key {
            let source = source.filter(|source| source.len() <= SOURCE_BYTES_MAX);
            if let (Some(source), true) = (source, self.quotas.len() < QUOTAS_MAX) {
                self.sources.insert(credential.clone(), source.into());
                let unnamed = self.quotas.remove(&key);
                let named = self.quotas.entry(Key::Source(source.into())).or_default();
                named.absorb(unnamed.unwrap_or_default());
            }
            // It may have been named while this request was under way.
            key = self.key(credential);
        } else if let Key::Source(of) = &key
            && let Some(source) = source.filter(|source| *source != &**of)
            && source.len() <= SOURCE_BYTES_MAX
            && self.quotas.len() < QUOTAS_MAX
        {
            // Another address from now on, as behind a pool of gateways: what was used stays with the old.
            for known in self.sources.values_mut().filter(|known| *known == of) {
                *known = source.into();
            }
        }
        let quota = self.quotas.entry(key).or_default();
        quota.settle(ticket.reservation, announced, now);
    }

    /// Whether nothing would be lost with them.
    pub fn are_idle(&mut self, now: Timestamp) -> bool {
        self.quotas.values_mut().all(|quota| quota.is_idle(now))
    }

    fn key(&self, credential: &str) -> Key {
        match self.sources.get(credential) {
            Some(source) => Key::Source(source.clone()),
            None => Key::Credential(credential.into()),
        }
    }

    fn bound(&mut self, now: Timestamp) {
        if self.quotas.len() >= QUOTAS_MAX {
            self.quotas.retain(|_, quota| !quota.is_idle(now));
        }
        if self.sources.len() >= 4 * QUOTAS_MAX {
            let quotas = &self.quotas;
            self.sources
                .retain(|_, source| quotas.contains_key(&Key::Source(source.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::quota::SHARE;
    use jiff::SignedDuration;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn announced() -> Announced {
        Announced {
            limit: Some(100),
            remaining: 100,
            window: Some(SignedDuration::from_secs(60)),
            resets_at: None,
        }
    }

    /// How many pulls a credential gets.
    fn pulls(quotas: &mut Quotas, credential: &str, source: Option<&str>) -> usize {
        let mut count = 0;
        while let Ok(ticket) = quotas.reserve(credential, Kind::Pull, Some(SHARE), now()) {
            quotas.settle(ticket, Some(announced()), source, now());
            count += 1;
            assert!(count <= 100);
        }
        count
    }

    #[test]
    fn credentials_have_quotas_of_their_own_unless_the_registry_counts_them_as_one() {
        let mut quotas = Quotas::default();
        assert_eq!(pulls(&mut quotas, "", None), 10);
        assert_eq!(pulls(&mut quotas, "a", None), 10);
        assert_eq!(pulls(&mut quotas, "b", Some("account")), 10);
        // Only its first shows that it is the same account.
        assert_eq!(pulls(&mut quotas, "c", Some("account")), 1);
        assert_eq!(pulls(&mut quotas, "b", Some("account")), 0);
    }

    #[test]
    fn a_request_under_way_is_counted_where_its_credential_turned_out_to_belong() {
        let mut quotas = Quotas::default();
        let reserve = |quotas: &mut Quotas| quotas.reserve("a", Kind::Pull, Some(SHARE), now());
        let first = reserve(&mut quotas).unwrap();
        let second = reserve(&mut quotas).unwrap();
        quotas.settle(first, Some(announced()), Some("account"), now());
        quotas.settle(second, Some(announced()), None, now());
        assert_eq!(quotas.quotas.len(), 1);
        assert_eq!(pulls(&mut quotas, "a", Some("account")), 8);
    }

    #[test]
    fn sources_without_end_are_bounded() {
        let mut quotas = Quotas::default();
        for number in 0..10_000 {
            let credential = format!("c{}", number % 7);
            let source = format!("source {number}");
            let ticket = quotas
                .reserve(&credential, Kind::Other, None, now())
                .unwrap();
            quotas.settle(ticket, None, Some(&source), now());
        }
        assert!(quotas.quotas.len() <= QUOTAS_MAX, "{}", quotas.quotas.len());
        assert!(quotas.sources.len() <= 4 * QUOTAS_MAX);
    }
}
