//! The ledger's rows: which references were named, from when until when, and to what they led.
//!
//! A row is written when a reference appears and when it goes; what is named at the time is only marked
//! so, and one row for all says when that was last true. So a hundred thousand references that stay cost
//! one row an hour.

use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};

use super::Store;
use crate::oci::digest::Digest;
use crate::remembered::Unsaved;
use crate::second::Second;

/// Canonical reference to the seconds of its first and last sighting; [`NAMED`] while something names it.
const SEEN: TableDefinition<'_, &str, (i64, i64)> = TableDefinition::new("seen");
/// Canonical reference and a digest that it led to, to the hours of the first and last time.
const LED_TO: TableDefinition<'_, (&str, &[u8; 32]), (i64, i64)> = TableDefinition::new("led_to");
/// [`SINCE`], [`ALIVE`] and [`LIVES`].
const TIMES: TableDefinition<'_, &str, i64> = TableDefinition::new("seen_times");

pub(super) type LedToTable<'a> = redb::Table<'a, (&'static str, &'static [u8; 32]), (i64, i64)>;

const NAMED: i64 = i64::MAX;
/// The second from which on the ledger knows.
const SINCE: &str = "since";
/// The second at which what is marked as named last was.
const ALIVE: &str = "alive";

/// How often a daemon began on this file.
const LIVES: &str = "lives";

const HOUR: i64 = 3600;

/// One reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub reference: Box<str>,
    /// `None`: it was named when that was last written.
    pub last: Option<Second>,
}

/// All that the ledger remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub since: Option<Second>,
    pub alive: Option<Second>,
    pub rows: Vec<Row>,
}

/// What is to be written, together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub at: Option<Second>,
    pub rows: Vec<Row>,
    /// References that were seen too long ago.
    pub expired: Vec<Box<str>>,
    /// Digests that were last led to before this are forgotten.
    pub digests_before: Option<Second>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A digest that a reference led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedTo {
    pub reference: Box<str>,
    pub digest: Digest,
    pub first: Second,
    pub last: Second,
}

impl Store {
    pub(super) fn make_seen_tables(&self) -> Result<(), redb::Error> {
        self.file.with(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(SEEN)?;
            transaction.open_table(LED_TO)?;
            transaction.open_table(TIMES)?;
            transaction.commit()?;
            Ok(())
        })
    }

    /// All rows.
    pub fn seen(&self) -> Result<Seen, redb::Error> {
        self.file.with(|database| {
            let transaction = database.begin_read()?;
            let times = transaction.open_table(TIMES)?;
            let time = |name| -> Result<Option<Second>, redb::Error> {
                Ok(times.get(name)?.map(|at| Second::new(at.value())))
            };
            let rows = transaction.open_table(SEEN)?;
            let rows = rows.iter()?.map(|row| {
                let (reference, times) = row?;
                let (_, last) = times.value();
                Ok(Row {
                    reference: reference.value().into(),
                    last: (last != NAMED).then(|| Second::new(last)),
                })
            });
            Ok(Seen {
                since: time(SINCE)?,
                alive: time(ALIVE)?,
                rows: rows.collect::<Result<_, redb::Error>>()?,
            })
        })
    }

    /// Writes all of it, or nothing.
    pub fn write_seen(&self, changes: &Changes) -> Result<(), redb::Error> {
        self.file.with(|database| {
            let transaction = database.begin_write()?;
            write_rows(&transaction, changes)?;
            if let Some(before) = changes.digests_before {
                let mut led_to = transaction.open_table(LED_TO)?;
                led_to.retain(|_, (_, last)| last >= before.get())?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// Counts the starts of daemons on this file; yields the number of this one, from 1.
    pub fn begin_life(&self) -> Result<u64, redb::Error> {
        self.file.with(|database| {
            let transaction = database.begin_write()?;
            let mut times = transaction.open_table(TIMES)?;
            let before = times.get(LIVES)?.map_or(0, |lives| lives.value());
            times.insert(LIVES, before + 1)?;
            drop(times);
            transaction.commit()?;
            Ok(u64::try_from(before + 1).unwrap_or_default())
        })
    }

    /// Notes what ran of references: it led to it, whatever it leads to now.
    pub fn note_ran(&self, rows: &[(Box<str>, Digest)], at: Second) -> Result<(), redb::Error> {
        self.file.with(|database| {
            let transaction = database.begin_write()?;
            let mut led_to = transaction.open_table(LED_TO)?;
            for (reference, digest) in rows {
                note(&mut led_to, reference, digest, at.get())?;
            }
            drop(led_to);
            transaction.commit()?;
            Ok(())
        })
    }

    /// Every digest that a reference is known to have led to.
    pub fn led_to(&self) -> Result<Vec<LedTo>, redb::Error> {
        self.file.with(|database| {
            let table = database.begin_read()?.open_table(LED_TO)?;
            let rows = table.iter()?.map(|row| {
                let (key, times) = row?;
                let ((reference, digest), (first, last)) = (key.value(), times.value());
                Ok(LedTo {
                    reference: reference.into(),
                    digest: Digest::from_bytes(*digest),
                    first: Second::new(first),
                    last: Second::new(last),
                })
            });
            rows.collect()
        })
    }
}

fn write_rows(transaction: &WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    let mut seen = transaction.open_table(SEEN)?;
    let mut led_to = transaction.open_table(LED_TO)?;
    let mut times = transaction.open_table(TIMES)?;
    if let Some(at) = changes.at {
        if times.get(SINCE)?.is_none() {
            times.insert(SINCE, at.get())?;
        }
        // A clock that was set back does not make what is named look old.
        let known = times.get(ALIVE)?.map_or(i64::MIN, |known| known.value());
        times.insert(ALIVE, known.max(at.get()))?;
    }
    for row in &changes.rows {
        let first = seen.get(&*row.reference)?.map(|times| times.value().0);
        let at = changes.at.or(row.last).map_or(0, Second::get);
        let last = row.last.map_or(NAMED, Second::get);
        seen.insert(&*row.reference, (first.unwrap_or(at), last))?;
    }
    for reference in &changes.expired {
        seen.remove(&**reference)?;
        let digests = (&**reference, &[0; 32])..=(&**reference, &[u8::MAX; 32]);
        led_to.retain_in(digests, |_, _| false)?;
    }
    Ok(())
}

/// Notes to what the images of a part led. By the hour, so that a round over images that stay costs no
/// write.
pub(super) fn note_digests(
    table: &mut LedToTable<'_>,
    unsaved: &Unsaved,
) -> Result<(), redb::Error> {
    for (key, (_, image)) in unsaved.keys.iter().zip(&unsaved.images) {
        let Some(digest) = image.report.digest else {
            continue;
        };
        let reference = key.reference.to_string();
        note(table, &reference, &digest, image.asked_at.as_second())?;
    }
    Ok(())
}

fn note(
    table: &mut LedToTable<'_>,
    reference: &str,
    digest: &Digest,
    at: i64,
) -> Result<(), redb::Error> {
    let hour = at - at.rem_euclid(HOUR);
    let row = (reference, digest.as_bytes());
    let known = table.get(row)?.map(|times| times.value());
    match known {
        Some((_, last)) if last >= hour => {}
        Some((first, _)) => drop(table.insert(row, (first, hour))?),
        None => drop(table.insert(row, (hour, hour))?),
    }
    Ok(())
}

pub(super) fn open_led_to(transaction: &WriteTransaction) -> Result<LedToTable<'_>, redb::Error> {
    Ok(transaction.open_table(LED_TO)?)
}
