//! How the listing of a bucket is divided, so that many pages are under way at once. Pure.
//!
//! S3 has no end for a listing and tells no count: only `start-after`. A range `(after, upto]` is listed
//! page by page until a key lies behind its end, so that each range costs at most one page more than its
//! keys need. Hence ranges are made where a page shows that there is more, never before: a tree of a page
//! is one request. What is known then:
//!
//! - **Hashes are spread evenly.** Where a page ends in a directory of them (blobs, layers, revisions),
//!   its keys say how dense they are, and the rest is cut into ranges of [`FILL`] keys: nearly a page
//!   each, and seldom two. That costs 1000/875 = 1.14 of the least possible.
//! - **Names are not.** Where a page ends among repositories of many keys each, one request with a
//!   delimiter yields up to 1,000 of their names; the rest is cut between those, into ranges of about
//!   [`NAMED`] keys (4 pages, of which half a page is lost: 1.13).
//! - Neither helps within one repository's tags, nor among repositories of few keys: there, pages follow
//!   one another, while other ranges are listed.
//!
//! While others wait already nothing small is cut. With that a listing costs less than 1.3 pages a
//! thousand keys and some 20 pages more; `tests` holds it to that. A wrong guess costs pages, never keys:
//! ranges share their ends, whatever these are.

use std::collections::VecDeque;

/// Keys that are hoped for in a range of hashes; a page's 1,000 are 4 standard deviations away.
const FILL: u128 = 875;
/// Keys that are hoped for in a range between names.
const NAMED: usize = 4000;
/// Keys that a name must have for the names to be asked for: 1,000 of them are then 8 pages or more.
const NAME_KEYS_MIN: usize = 8;
/// Keys of one directory that say how dense it is.
const SAMPLE_MIN: usize = 64;
/// Keys that are worth a cut while nothing else is to be done, and those that are anyway.
const CUT_MIN: u128 = 2 * FILL;
const CUT_ANYWAY: u128 = 8 * FILL;
/// Ranges that are made at once, for each page that was read: what a page says of all the others may be
/// wrong.
const GROWTH: usize = 4;
/// Ranges that may turn out to be empty: so many, and one more for so many pages.
const GUESSES: usize = 4;
const PAGES_A_GUESS: usize = 8;

/// The number of a range; one that is cut keeps its first part.
pub(super) type RangeId = usize;

/// What to ask for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// The next page of the range.
    Page(RangeId),
    Names(Names),
}

/// Names in a directory that are wanted, to divide a range between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// With a slash at its end.
    pub(super) directory: String,
    pub(super) after: String,
    /// How many keys one has, about.
    keys: usize,
}

/// `(after, upto]`, of which everything up to `read` was read.
#[derive(Debug)]
struct Range {
    after: Option<String>,
    read: Option<String>,
    upto: Option<String>,
    pages: usize,
    /// How many keys were hoped for; `None` where nothing is known.
    expected: Option<usize>,
    is_done: bool,
}

impl Range {
    fn new(after: Option<String>, upto: Option<String>, expected: Option<usize>) -> Self {
        Self {
            after,
            read: None,
            upto,
            pages: 0,
            expected,
            is_done: false,
        }
    }

    /// Whether it turned out to be far longer than was thought, or nothing was thought.
    fn is_a_surprise(&self) -> bool {
        let read = self.pages * 1000;
        self.expected.is_none_or(|expected| read > 2 * expected)
    }
}

/// All ranges of one listing.
#[derive(Debug)]
pub(super) struct Ranges {
    /// Below it everything lies; with a slash at its end.
    root: String,
    all: Vec<Range>,
    ready: VecDeque<Ask>,
    /// Requests at once.
    most: usize,
    under_way: usize,
    pages: usize,
    guesses: usize,
}

impl Ranges {
    /// Begins with one range, the whole.
    pub(super) fn new(root: &str, most: usize) -> Self {
        Self {
            root: root.to_owned(),
            all: vec![Range::new(None, None, None)],
            ready: VecDeque::from([Ask::Page(0)]),
            most,
            under_way: 0,
            pages: 0,
            guesses: 0,
        }
    }

    /// What to ask for; `None` when enough is under way, or nothing is left.
    pub(super) fn next(&mut self) -> Option<Ask> {
        if self.under_way >= self.most {
            return None;
        }
        let ask = self.ready.pop_front()?;
        self.under_way += 1;
        Some(ask)
    }

    /// Where the range begins, itself not in it.
    pub(super) fn after(&self, range: RangeId) -> Option<&str> {
        self.all.get(range)?.after.as_deref()
    }

    /// The ranges in order of their keys.
    pub(super) fn in_order(&self) -> Vec<RangeId> {
        let mut order: Vec<RangeId> = (0..self.all.len()).collect();
        order.sort_unstable_by(|a, b| self.after(*a).cmp(&self.after(*b)));
        order
    }

    /// Takes the keys of the page that was asked for, in order. Yields how many of them are of the range:
    /// those that come after them are of others.
    pub(super) fn take_page(&mut self, id: RangeId, keys: &[&str], is_truncated: bool) -> usize {
        self.under_way -= 1;
        self.pages += 1;
        let Some(range) = self.all.get_mut(id) else {
            return 0;
        };
        range.pages += 1;
        let upto = range.upto.as_deref();
        let own = keys.partition_point(|key| upto.is_none_or(|upto| *key <= upto));
        let last = keys.last().copied();
        let is_read = last.is_some_and(|last| upto.is_some_and(|upto| last >= upto));
        if is_read || !is_truncated {
            range.is_done = true;
            return own;
        }
        self.ready.push_back(Ask::Page(id));
        if let Some(last) = last {
            range.read = Some(last.to_owned());
            self.cut(id, keys, last);
        }
        own
    }

    /// Takes the names that were asked for: what all keys of each begin with.
    pub(super) fn take_names(&mut self, asked: &Names, names: &[String]) {
        self.under_way -= 1;
        self.pages += 1;
        let step = (NAMED / asked.keys.max(1)).max(1);
        let ends = names.iter().skip(step - 1).step_by(step).cloned();
        let ends: Vec<String> = ends.collect();
        // The range that they were asked for may have been cut meanwhile.
        for id in self.in_order() {
            let Some(range) = self.all.get(id) else {
                continue;
            };
            let (after, upto) = (range.after.as_ref(), range.upto.as_ref());
            let first = ends.partition_point(|end| after.is_some_and(|after| end <= after));
            let within = ends.get(first..).unwrap_or_default();
            let count = within.partition_point(|end| upto.is_none_or(|upto| end < upto));
            self.divide(id, within.get(..count).unwrap_or_default(), Some(NAMED));
        }
    }

    /// Whether a request could be under way that is not.
    fn is_idle(&self) -> bool {
        self.under_way + self.ready.len() < self.most
    }

    /// What a page that is not the last says of what comes after it.
    fn cut(&mut self, id: RangeId, keys: &[&str], last: &str) {
        if self.cut_hashes(id, keys, last) || !self.is_idle() {
            return;
        }
        let directory = shared_directory(keys.first().copied().unwrap_or_default(), last);
        let repositories = format!("{}repositories/", self.root);
        if !directory.starts_with(&repositories) {
            return;
        }
        let below = last.get(repositories.len()..).unwrap_or_default();
        let repository = repositories.len() + below.find("/_").unwrap_or_default();
        let repository = last.get(..repository).unwrap_or_default();
        if directory.len() > repository.len() {
            self.leave(id, repository);
        } else {
            let keys = keys.len() / names(keys, directory).max(1);
            if keys >= NAME_KEYS_MIN {
                self.ask_names(id, directory, last, keys);
            }
        }
    }

    /// Cuts what is left of a directory of hashes, and what lies behind it. Yields whether it was worth it.
    fn cut_hashes(&mut self, id: RangeId, keys: &[&str], last: &str) -> bool {
        let Some((directory, at)) = self.hash(last) else {
            return false;
        };
        let first = keys.partition_point(|key| *key < directory);
        let sample = keys.get(first..).unwrap_or_default();
        let begin = sample.first().and_then(|key| self.hash(key));
        let Some((_, begin)) = begin.filter(|_| sample.len() >= SAMPLE_MIN) else {
            return false;
        };
        let upto = self.all.get(id).and_then(|range| range.upto.as_deref());
        let end = upto
            .and_then(|upto| self.hash(upto))
            .filter(|(other, _)| *other == directory)
            .map_or(1 << 64, |(_, at)| u128::from(at));
        let (at, begin) = (u128::from(at), u128::from(begin));
        let (span, rest) = (at.saturating_sub(begin).max(1), end.saturating_sub(at));
        // Both are below 2^64, and a page has a thousand keys.
        let left = rest * (sample.len() as u128) / span;
        let is_worth_it = left >= CUT_ANYWAY || (left >= CUT_MIN && self.is_idle());
        if !is_worth_it {
            return false;
        }
        let parts = left.div_ceil(FILL);
        let most = (GROWTH * (self.pages + GROWTH)) as u128;
        let mut ends: Vec<String> = (1..parts.min(most))
            .filter_map(|part| u64::try_from(at + rest * part / parts).ok())
            .map(|hash| self.hash_key(directory, hash))
            .collect();
        ends.push(behind(directory));
        self.divide(id, &ends, Some(1000));
        true
    }

    /// The directory of hashes that a key lies in, and the first 64 bits of its own.
    fn hash<'a>(&self, key: &'a str) -> Option<(&'a str, u64)> {
        const MARK: &str = "/sha256/";
        let (directory, rest) = key.split_at_checked(key.rfind(MARK)? + MARK.len())?;
        let rest = if self.is_blobs(directory) {
            rest.split_once('/')?.1
        } else {
            rest
        };
        let digits = rest.get(..16)?;
        Some((directory, u64::from_str_radix(digits, 16).ok()?))
    }

    fn hash_key(&self, directory: &str, hash: u64) -> String {
        if self.is_blobs(directory) {
            format!("{directory}{:02x}/{hash:016x}", hash >> 56)
        } else {
            format!("{directory}{hash:016x}")
        }
    }

    /// Blobs are in a directory more, by the first two digits.
    fn is_blobs(&self, directory: &str) -> bool {
        directory.strip_prefix(self.root.as_str()) == Some("blobs/sha256/")
    }

    /// Begins what lies behind a repository that fills pages, which may be nothing, and asks for the names
    /// of its neighbours.
    fn leave(&mut self, id: RangeId, repository: &str) {
        let Some(pages) = self.all.get(id).map(|range| range.pages) else {
            return;
        };
        let parent = repository.rfind('/').map_or(0, |slash| slash + 1);
        let parent = repository.get(..parent).unwrap_or_default();
        let behind = behind(repository);
        if pages > 1
            && self.ask_names(id, parent, &behind, pages * 1000)
            && self.guesses < GUESSES + self.pages / PAGES_A_GUESS
        {
            self.guesses += usize::from(self.divide(id, &[behind], None));
        }
    }

    /// Yields whether they are asked for: once, unless the range goes on and on.
    fn ask_names(&mut self, id: RangeId, directory: &str, after: &str, keys: usize) -> bool {
        let Some(range) = self.all.get_mut(id).filter(|range| range.is_a_surprise()) else {
            return false;
        };
        range.expected = Some(range.pages * 1000 + NAMED);
        self.ready.push_back(Ask::Names(Names {
            directory: directory.to_owned(),
            after: after.to_owned(),
            keys,
        }));
        true
    }

    /// Cuts what is left of a range at those of the ends that lie in it. Yields whether there is one.
    fn divide(&mut self, id: RangeId, ends: &[String], expected: Option<usize>) -> bool {
        let count = self.all.len();
        let Some(range) = self.all.get_mut(id).filter(|range| !range.is_done) else {
            return false;
        };
        let mut low = range.read.clone().or_else(|| range.after.clone());
        let mut within = Vec::with_capacity(ends.len());
        for end in ends {
            let is_above = low.as_ref().is_none_or(|low| low < end);
            let is_below = range.upto.as_ref().is_none_or(|upto| end < upto);
            if is_above && is_below {
                low = Some(end.clone());
                within.push(end.clone());
            }
        }
        let Some(first) = within.first() else {
            return false;
        };
        let last = range.upto.replace(first.clone());
        let uptos: Vec<Option<String>> = within.iter().skip(1).cloned().map(Some).collect();
        for (after, upto) in within.into_iter().zip(uptos.into_iter().chain([last])) {
            self.all.push(Range::new(Some(after), upto, expected));
        }
        // Nothing is known of what comes after the last end.
        if let Some(range) = self.all.last_mut() {
            range.expected = None;
        }
        self.ready.extend((count..self.all.len()).map(Ask::Page));
        true
    }
}

/// How many names in a directory the keys of a page have.
fn names(keys: &[&str], directory: &str) -> usize {
    let name = |key: &&str| {
        let below = key.get(directory.len()..)?;
        below.split('/').next().map(ToOwned::to_owned)
    };
    let mut names: Vec<_> = keys.iter().map(name).collect();
    names.dedup();
    names.len()
}

/// The longest directory that both lie in, with a slash at its end.
fn shared_directory<'a>(first: &str, last: &'a str) -> &'a str {
    let same = first
        .bytes()
        .zip(last.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let end = last
        .bytes()
        .take(same)
        .rposition(|byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    last.get(..end).unwrap_or_default()
}

/// The first key that could follow on all of a directory: `0` comes after `/`.
fn behind(directory: &str) -> String {
    format!("{}0", directory.trim_end_matches('/'))
}

#[cfg(test)]
mod tests;
