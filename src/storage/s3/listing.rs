//! A bucket is listed: pages side by side, and after them the few objects that have to be read.

use std::io;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{self, FuturesUnordered};

use super::chain::{Chain, KEYS_MAX};
use super::client::{Client, Question, Success};
use super::operation::Operation;
use super::page::{self, Page};
use super::question::Question as Open;
use super::ranges::{Ask, Names, RangeId, Ranges};
use super::tree::{Gathered, Reader};
use crate::storage::{Listed, Unlisted};

/// A page has 1,000 keys of at most 1,024 bytes, each encoded.
const PAGE_BYTES_MAX: u64 = 8 << 20;
/// What may be wrong in a link is read; what is far longer holds no digest.
const SMALL_BYTES_MAX: u64 = 4 << 10;
/// Where no ETag is an MD5, all links would have to be read, each with a request of its own: so many are,
/// and the others taken by their paths. `current` is always read.
const LINKS_MAX: usize = 10_000;
/// Pushes that have not ended, of which it is read when they began.
const UPLOADS_MAX: usize = 1000;

/// One listing.
#[derive(Clone, Copy)]
pub(super) struct Listing<'a> {
    pub(super) client: &'a Client,
    pub(super) bucket: &'a str,
    /// What all keys begin with, with a slash at its end.
    pub(super) root: &'a str,
    pub(super) most: usize,
    pub(super) take: &'a (dyn Fn(Vec<Listed>) + Sync),
}

/// An answer to what [`Ranges`] asked.
enum Got {
    Page(RangeId, Page),
    Names(Names, Vec<String>),
}

impl Listing<'_> {
    pub(super) async fn run(self) -> Result<(), Unlisted> {
        let readers = self.keys().await?;
        let absent = |what: &str| Unlisted {
            path: what.to_owned(),
            source: io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "nothing lies below {}{what} in the bucket `{}`: check `bucket` and `rootdirectory`",
                    self.root, self.bucket
                ),
            ),
        };
        // Fail closed: without one of them it is no registry's, or not all of it is here.
        if !readers.iter().any(|it| it.has_repositories) {
            return Err(absent("repositories"));
        }
        if !readers.iter().any(|it| it.has_blobs) {
            return Err(absent("blobs"));
        }
        let gathered = readers.into_iter().map(|reader| reader.gathered).collect();
        let (all, questions) = Gathered::resolve(gathered);
        for part in all {
            (self.take)(part);
        }
        (self.take)(self.read(questions).await?);
        Ok(())
    }

    /// All keys, in ranges that are in order.
    async fn keys(&self) -> Result<Vec<Reader>, Unlisted> {
        let root: Arc<str> = self.root.into();
        let mut ranges = Ranges::new(self.root, self.most);
        let mut chains: Vec<(Chain, Reader)> = Vec::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            while let Some(ask) = ranges.next() {
                let next = match ask {
                    Ask::Page(id) => {
                        // Ranges are numbered as they are made, and may be asked for in any order.
                        for id in chains.len()..=id {
                            let chain = Chain::new(self.bucket, self.root, ranges.after(id));
                            chains.push((chain, Reader::new(&root)));
                        }
                        let next = chains.get(id).map(|(chain, _)| chain.next());
                        next.map(|(name, value)| (name, value.map(ToOwned::to_owned)))
                    }
                    Ask::Names(_) => None,
                };
                under_way.push(self.get(ask, next));
            }
            match under_way.next().await {
                None => break,
                Some(Err(unlisted)) => return Err(unlisted),
                Some(Ok(Got::Names(asked, names))) => ranges.take_names(&asked, &names),
                Some(Ok(Got::Page(id, page))) => {
                    let Some((chain, reader)) = chains.get_mut(id) else {
                        continue;
                    };
                    chain.take(&page).map_err(|problem| {
                        let problem = format!("a page of the listing is no part of one: {problem}");
                        self.unlisted(ranges.after(id), io::Error::other(problem))
                    })?;
                    let keys: Vec<&str> = page
                        .objects
                        .iter()
                        .map(|object| object.key.as_str())
                        .collect();
                    let own = ranges.take_page(id, &keys, page.is_truncated);
                    for object in page.objects.iter().take(own) {
                        reader.take(object);
                    }
                    // Nobody asks for these again.
                    (self.take)(std::mem::take(&mut reader.gathered.listed));
                }
            }
        }
        let mut readers: Vec<Option<Reader>> =
            chains.into_iter().map(|(_, reader)| Some(reader)).collect();
        let order = ranges.in_order().into_iter();
        Ok(order
            .filter_map(|id| readers.get_mut(id).and_then(Option::take))
            .collect())
    }

    async fn get(
        &self,
        ask: Ask,
        next: Option<(&'static str, Option<String>)>,
    ) -> Result<Got, Unlisted> {
        match ask {
            Ask::Page(id) => {
                let (name, value) = next.unwrap_or(("start-after", None));
                let page = self.page(self.root, &[(name, value.as_deref())]).await;
                page.map(|page| Got::Page(id, page))
                    .map_err(|error| self.unlisted(value.as_deref(), error))
            }
            Ask::Names(names) => {
                let more = [
                    ("delimiter", Some("/")),
                    ("start-after", Some(names.after.as_str())),
                ];
                let page = self.page(&names.directory, &more).await;
                let page = page.map_err(|error| self.unlisted(Some(&names.directory), error))?;
                // They only say where ranges may end: whatever they are, each key is in one range.
                let mut found = page.folders;
                found.retain(|name| name.starts_with(&names.directory));
                found.sort_unstable();
                Ok(Got::Names(names, found))
            }
        }
    }

    pub(super) async fn page(
        &self,
        prefix: &str,
        more: &[(&str, Option<&str>)],
    ) -> io::Result<Page> {
        let most = KEYS_MAX.to_string();
        let mut query = vec![
            ("encoding-type", "url"),
            ("list-type", "2"),
            ("max-keys", most.as_str()),
            ("prefix", prefix),
        ];
        let more = more
            .iter()
            .filter_map(|(name, value)| Some((*name, (*value)?)));
        query.extend(more);
        let question = Question {
            query: &query,
            most: PAGE_BYTES_MAX,
            ..Question::new(Operation::ListObjects, "")
        };
        let answer = self.client.ask(question, |Success { body, .. }| {
            let page = page::read(&body);
            self.client.understood(Operation::ListObjects, page)
        });
        let absent = || io::Error::other("it says that there is no such key, of a listing");
        answer.await?.ok_or_else(absent)
    }

    /// Reads what the listing did not say.
    async fn read(&self, questions: Vec<Open>) -> Result<Vec<Listed>, Unlisted> {
        let mut found = Vec::new();
        let (mut links, mut uploads) = (0, 0);
        let mut asked = Vec::new();
        for question in questions {
            let (count, most) = match question {
                Open::Link(_) => (&mut links, LINKS_MAX),
                Open::Started { .. } => (&mut uploads, UPLOADS_MAX),
                Open::Current { .. } => {
                    asked.push(question);
                    continue;
                }
            };
            *count += 1;
            if *count <= most {
                asked.push(question);
            } else {
                found.extend(question.unasked());
            }
        }
        let answers = stream::iter(asked)
            .map(async |question| {
                let path = question.path();
                let content = self.small(&path).await;
                let content = content.map_err(|source| Unlisted { path, source })?;
                Ok::<_, Unlisted>((question, content))
            })
            .buffer_unordered(self.most);
        let mut answers = std::pin::pin!(answers);
        while let Some(answer) = answers.next().await {
            let (question, content) = answer?;
            question.answer(content.as_deref(), &mut found);
        }
        Ok(found)
    }

    /// `None` where it is not there any more.
    async fn small(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let key = format!("{}{path}", self.root);
        let question = Question {
            most: SMALL_BYTES_MAX,
            ..Question::new(Operation::GetObject, &key)
        };
        self.client.ask(question, |success| Ok(success.body)).await
    }

    fn unlisted(&self, after: Option<&str>, source: io::Error) -> Unlisted {
        let after = after.and_then(|key| key.strip_prefix(self.root));
        Unlisted {
            path: after.map_or_else(
                || self.root.trim_end_matches('/').to_owned(),
                |path| format!("what comes after {path}"),
            ),
            source,
        }
    }
}
