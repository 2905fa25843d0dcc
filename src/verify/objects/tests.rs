use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::verify::depth::Depth;
use crate::verify::finding::Code;
use crate::verify::table::{Fact, ObjectKind, Table};
use crate::verify::target::AuthId;

/// What a row holds of itself, and what is kept beside it.
fn size() -> impl Strategy<Value = u64> {
    let border = u64::from(u32::MAX);
    prop_oneof![
        Just(0),
        border - 3..border + 3,
        Just(u64::MAX),
        any::<u64>()
    ]
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        Just(Fact::Unasked),
        Just(Fact::Missing),
        Just(Fact::WrongDigest),
        Just(Fact::Present { size: None }),
        size().prop_map(|size| Fact::Present { size: Some(size) }),
        size().prop_map(|read| Fact::Short { read }),
        ("[a-c]?", any::<bool>()).prop_map(|(message, is_late)| Fact::Unknown {
            code: if is_late { Code::Timeout } else { Code::Tls },
            message: message.into()
        }),
    ]
}

fn time() -> impl Strategy<Value = Option<Timestamp>> {
    let second = prop_oneof![Just(0), Just(u32::MAX - 1), any::<u32>()];
    prop::option::of(second.prop_map(|second| {
        let second = second.min(u32::MAX - 1);
        Timestamp::from_second(i64::from(second)).unwrap()
    }))
}

fn state(round: impl Strategy<Value = u16>) -> impl Strategy<Value = ObjectState> {
    let suspect = prop_oneof![Just(Depth::Head), Just(Depth::Read), Just(Depth::Content)];
    (fact(), time(), time(), suspect, round, any::<u8>()).prop_map(
        |(fact, proven_at, read_at, suspect, round, depth)| ObjectState {
            fact,
            proven_at,
            read_at,
            suspect,
            round,
            depth,
        },
    )
}

/// Who asks, where, and as what.
fn place() -> impl Strategy<Value = (u8, u8, ObjectKind)> {
    let kind = prop_oneof![
        Just(ObjectKind::Manifest),
        Just(ObjectKind::Blob),
        Just(ObjectKind::Access)
    ];
    prop_oneof![
        // The same one often, and many.
        (0_u8..2, 0_u8..2, kind.clone()),
        (0_u8..20, 0_u8..20, kind)
    ]
}

proptest! {
    #[test]
    fn it_holds_what_a_map_holds(
        steps in prop::collection::vec((0_u8..40, place(), state(0_u16..3)), 0..200),
        kept in 0_u16..3,
        again in prop::collection::vec((0_u8..40, place(), state(Just(9))), 0..60),
    ) {
        let mut objects = Objects::default();
        let mut map: HashMap<ObjectKey, ObjectState> = HashMap::new();
        let mut named: HashMap<Digest, u32> = HashMap::new();
        let mut table = Table::default();
        let mut key = |n: u8, (auth, repository, kind): (u8, u8, ObjectKind)| ObjectKey {
            auth: AuthId(u32::from(auth)),
            repository: table.repository_id(&repository.to_string().into()),
            digest: Digest::of(&[n]),
            kind,
        };
        for (n, place, new) in steps {
            let key = key(n, place);
            if n % 7 == 0 {
                named.insert(key.digest, objects.id(key.digest));
            }
            if n % 4 != 3 {
                objects.get_or_insert(key, new.clone());
                map.entry(key).or_insert_with(|| new.clone());
            }
            if n % 5 == 0 {
                let is_known = objects.update(&key, |state| *state = new.clone());
                prop_assert_eq!(is_known, map.contains_key(&key));
                if is_known {
                    map.insert(key, new);
                }
            }
        }
        prop_assert_eq!(objects.iter().collect::<HashMap<_, _>>(), map.clone());
        prop_assert_eq!(objects.are_of_round(kept), map.values().all(|state| state.round == kept));
        for (digest, id) in &named {
            prop_assert_eq!(objects.digest(*id), *digest);
            prop_assert_eq!(objects.known_id(digest), Some(*id));
        }
        let renumbered = objects.forget(kept, |id| named.values().any(|named| *named == id));
        map.retain(|_, state| state.round == kept);
        let distinct: HashSet<Digest> =
            map.keys().map(|key| key.digest).chain(named.keys().copied()).collect();
        prop_assert_eq!(objects.numbers() - objects.bare, map.len());
        let only_named = |digest: &&Digest| map.keys().all(|key| key.digest != **digest);
        prop_assert_eq!(objects.bare, distinct.iter().filter(only_named).count());
        for (digest, id) in named {
            prop_assert_eq!(objects.digest(renumbered[id as usize]), digest);
            prop_assert_eq!(objects.known_id(&digest), Some(renumbered[id as usize]));
        }
        for (n, place, new) in again {
            let key = key(n, place);
            objects.get_or_insert(key, new.clone());
            map.entry(key).or_insert(new);
        }
        let mut doubts = HashSet::new();
        let mut sizes = HashSet::new();
        for state in map.values() {
            match &state.fact {
                Fact::Unknown { code, message } => {
                    doubts.insert((*code, message));
                }
                Fact::Present { size: Some(size) } | Fact::Short { read: size }
                    if *size >= u64::from(u32::MAX) =>
                {
                    sizes.insert(*size);
                }
                _ => {}
            }
        }
        prop_assert_eq!(objects.details.kept(), (doubts.len(), sizes.len()));
        prop_assert_eq!(objects.len(), map.len());
        prop_assert_eq!(objects.is_empty(), map.is_empty());
        prop_assert_eq!(objects.iter().collect::<HashMap<_, _>>(), map.clone());
        for (key, state) in &map {
            prop_assert_eq!(objects.get(key), Some(state.clone()));
        }
    }
}
