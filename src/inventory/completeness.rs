//! Complete or nothing: whether an inventory is the whole truth, and if not, why. Pure.
//!
//! What collects garbage takes a [`CompleteInventory`] and nothing else, and only [`complete`] makes one.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Inventory, SourceState};

/// A source that says that it is complete says so again this often at least: a cluster with each bookmark
/// and at the latest with the end of a watch (290 s), a file every 30 s.
const FRESH_MAX: SignedDuration = SignedDuration::from_mins(10);

/// What the configuration says of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// One that is not may be away, and pages nobody.
    pub is_required: bool,
    /// How long its last complete state stands in for it; `None`: not at all.
    pub max_age: Option<SignedDuration>,
    /// Whether what is read of it is all that it could name.
    pub is_whole: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            is_required: true,
            max_age: None,
            is_whole: true,
        }
    }
}

/// A source that names much less than it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shrunk {
    /// Distinct references, before and now.
    pub from: usize,
    pub to: usize,
    /// When it was seen first.
    pub since: Timestamp,
}

impl fmt::Display for Shrunk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, since } = self;
        write!(
            formatter,
            "it named {from} references and names {to} since {}",
            since.strftime("%Y-%m-%dT%H:%M:%SZ")
        )
    }
}

/// How a source stands, as far as a gate asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Read in full.
    Complete,
    /// Its last complete state stands in for it, until then.
    StandsIn(Timestamp),
    /// Neither.
    Incomplete,
}

/// How a source stands at a time.
pub fn standing(
    incomplete: Option<&str>,
    complete_at: Option<Timestamp>,
    rules: &Rules,
    now: Timestamp,
) -> Standing {
    if incomplete.is_none() {
        return Standing::Complete;
    }
    let until = complete_at
        .zip(rules.max_age)
        .and_then(|(at, age)| at.checked_add(age).ok());
    match until {
        Some(until) if now <= until => Standing::StandsIn(until),
        Some(_) | None => Standing::Incomplete,
    }
}

/// The contract's name of what closes a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    InventoryIncomplete,
    InventoryShrunk,
}

impl RefusalCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InventoryIncomplete => "inventory_incomplete",
            Self::InventoryShrunk => "inventory_shrunk",
        }
    }
}

/// Why an inventory may not be the whole truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: RefusalCode,
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code.as_str(), self.message)
    }
}

/// An inventory that was the whole truth at a time. Made by [`complete`] only: its fields are private to
/// this file, and it is neither read from a disk nor has it a default.
#[derive(Debug)]
pub struct CompleteInventory {
    inventory: Arc<Inventory>,
    at: Timestamp,
}

impl CompleteInventory {
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// When it was found to be complete.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// Takes an inventory for the whole truth, or says everything that speaks against it.
pub fn complete(
    inventory: &Arc<Inventory>,
    now: Timestamp,
) -> Result<CompleteInventory, Vec<Refusal>> {
    let sources = inventory.sources.iter();
    let refusals = refusals(sources.map(|source| Facts::from(&**source)), now);
    if refusals.is_empty() {
        Ok(CompleteInventory {
            inventory: Arc::clone(inventory),
            at: now,
        })
    } else {
        Err(refusals)
    }
}

/// What a gate asks of a source.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub name: &'a str,
    pub incomplete: Option<&'a str>,
    pub complete_at: Option<Timestamp>,
    pub rules: &'a Rules,
    pub shrunk: Option<&'a Shrunk>,
}

impl<'a> From<&'a SourceState> for Facts<'a> {
    fn from(source: &'a SourceState) -> Self {
        Self {
            name: &source.name,
            incomplete: source.incomplete.as_deref(),
            complete_at: source.complete_at,
            rules: &source.rules,
            shrunk: source.shrunk.as_ref(),
        }
    }
}

/// Everything that speaks against taking these sources for the whole truth.
pub fn refusals<'a>(sources: impl Iterator<Item = Facts<'a>>, now: Timestamp) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = Vec::new();
    let mut is_read = false;
    for source in sources {
        is_read = true;
        refuse(&source, now, &mut refusals);
    }
    if !is_read {
        refusals.push(Refusal {
            code: RefusalCode::InventoryIncomplete,
            message: "no source was read yet".to_owned(),
        });
    }
    refusals
}

fn refuse(source: &Facts<'_>, now: Timestamp, refusals: &mut Vec<Refusal>) {
    let Facts {
        name,
        incomplete,
        complete_at,
        rules,
        shrunk,
    } = source;
    let mut refuse = |code, message| refusals.push(Refusal { code, message });
    match standing(*incomplete, *complete_at, rules, now) {
        Standing::Complete => {
            let age = complete_at.map(|at| now.duration_since(at));
            if age.is_none_or(|age| age > FRESH_MAX) {
                let when = complete_at.map_or_else(|| "no time".to_owned(), |at| at.to_string());
                let message =
                    format!("{name}: it was complete at {when}, and did not say so since");
                refuse(RefusalCode::InventoryIncomplete, message);
            }
        }
        Standing::StandsIn(_) => {}
        Standing::Incomplete => {
            let reason = incomplete.unwrap_or_default();
            let stood = match (rules.max_age, complete_at) {
                (_, None) => "; it was never read in full".to_owned(),
                (None, Some(at)) => format!("; it was last read in full at {at}"),
                (Some(age), Some(at)) => {
                    format!("; its last complete state, of {at}, is older than maxAge ({age:#})")
                }
            };
            let message = format!("{name}: {reason}{stood}");
            refuse(RefusalCode::InventoryIncomplete, message);
        }
    }
    if !rules.is_whole {
        let message = format!(
            "{name}: only some namespaces of it are read; `scopeIsAll: true` vouches that nothing \
             else names images"
        );
        refuse(RefusalCode::InventoryIncomplete, message);
    }
    if let Some(shrunk) = shrunk {
        let message =
            format!("{name}: {shrunk}; `pullproof inventory accept {name}` if that is meant");
        refuse(RefusalCode::InventoryShrunk, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::references;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn source() -> SourceState {
        references::read_text("keep", "registry.example/a:1", at(1000))
    }

    fn refusals(source: SourceState, now: i64) -> Vec<String> {
        let inventory = Arc::new(Inventory {
            sources: vec![Arc::new(source)],
        });
        match complete(&inventory, at(now)) {
            Ok(complete) => {
                assert_eq!(complete.at(), at(now));
                assert_eq!(complete.inventory().sources.len(), 1);
                Vec::new()
            }
            Err(refusals) => refusals.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn all_of_it_must_be_so() {
        assert!(refusals(source(), 1000).is_empty());
        assert!(refusals(source(), 1600).is_empty());
        // A clock that was set back makes nothing old.
        assert!(refusals(source(), 0).is_empty());
        let silent = refusals(source(), 1601);
        assert!(silent[0].contains("did not say so since"), "{silent:?}");

        let scoped = SourceState {
            rules: Rules {
                is_whole: false,
                ..Rules::default()
            },
            ..source()
        };
        let scoped = refusals(scoped, 1000);
        assert!(
            scoped[0].starts_with("inventory_incomplete: keep: only some"),
            "{scoped:?}"
        );

        let shrunk = SourceState {
            shrunk: Some(Shrunk {
                from: 10,
                to: 1,
                since: at(900),
            }),
            ..source()
        };
        assert_eq!(
            refusals(shrunk, 1000),
            [
                "inventory_shrunk: keep: it named 10 references and names 1 since 1970-01-01T00:15:00Z; \
              `pullproof inventory accept keep` if that is meant"
            ]
        );
        let nothing = complete(&Arc::default(), at(0)).unwrap_err();
        assert_eq!(nothing[0].code, RefusalCode::InventoryIncomplete);
    }

    #[test]
    fn the_last_complete_state_stands_within_its_age_and_not_longer() {
        let away = |max_age: Option<i64>| SourceState {
            incomplete: Some("it does not answer".to_owned()),
            rules: Rules {
                max_age: max_age.map(SignedDuration::from_secs),
                ..Rules::default()
            },
            ..source()
        };
        assert!(refusals(away(Some(3600)), 4600).is_empty());
        let old = refusals(away(Some(3600)), 4601);
        assert!(old[0].contains("older than maxAge"), "{old:?}");
        let none = refusals(away(None), 1001);
        assert!(
            none[0].contains("it does not answer; it was last read in full at"),
            "{none:?}"
        );
        let never = SourceState {
            complete_at: None,
            ..away(Some(3600))
        };
        assert!(refusals(never, 1001)[0].contains("never read in full"));
    }
}
