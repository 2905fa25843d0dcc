//! Whether pages are a listing: each follows on the one before it, and together they leave out nothing
//! that can be noticed. Pure.
//!
//! A server, a proxy or a cache that loses a page would have us take what was on it for garbage. So what
//! S3 promises is asked of it: keys in strict order (UTF-8, by bytes) within a page and across pages, all
//! of them below the prefix and after the start, as many as it counted, and a token exactly where there
//! is more. What does not keep to it is refused, whatever the reason.

use std::collections::HashSet;

use super::page::Page;

/// Pages without a key, with a token for the next. Servers skip over what was deleted so.
pub(super) const EMPTY_PAGES_MAX: u32 = 1000;
/// What S3 gives at most.
pub(super) const KEYS_MAX: u64 = 1000;

/// The pages of one range so far.
#[derive(Debug)]
pub(super) struct Chain {
    bucket: String,
    prefix: String,
    /// Where the range begins, itself not in it.
    start: Option<String>,
    /// The last key so far.
    last: Option<String>,
    token: Option<String>,
    tokens: HashSet<String>,
    empty: u32,
    has_ended: bool,
}

impl Chain {
    pub(super) fn new(bucket: &str, prefix: &str, start: Option<&str>) -> Self {
        Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            start: start.map(ToOwned::to_owned),
            last: None,
            token: None,
            tokens: HashSet::new(),
            empty: 0,
            has_ended: false,
        }
    }

    /// How the next page is asked for, besides its prefix: what S3 gave for it, or the start.
    pub(super) fn next(&self) -> (&'static str, Option<&str>) {
        match &self.token {
            Some(token) => ("continuation-token", Some(token)),
            None => ("start-after", self.start.as_deref()),
        }
    }

    /// Takes the page that was asked for. The error says what is wrong with it.
    pub(super) fn take(&mut self, page: &Page) -> Result<(), String> {
        if self.has_ended {
            return Err("a page comes after the last one".to_owned());
        }
        self.is_what_was_asked(page)?;
        let given = page.objects.len() + page.folders.len();
        let counted = usize::try_from(page.key_count).unwrap_or(usize::MAX);
        if counted != given {
            return Err(format!("it counts {counted} keys and has {given}"));
        }
        if page.key_count > KEYS_MAX {
            return Err(format!(
                "it has {counted} keys, and {KEYS_MAX} were asked for"
            ));
        }
        if !page.folders.is_empty() {
            return Err("it has folders, and none were asked for".to_owned());
        }
        for object in &page.objects {
            let key = &object.key;
            if !key.starts_with(&self.prefix) {
                return Err(format!("`{key}` is not below `{}`", self.prefix));
            }
            let before = self.last.as_ref().or(self.start.as_ref());
            if let Some(before) = before.filter(|before| *before >= key) {
                return Err(format!(
                    "`{key}` comes after `{before}`: a listing is in order of its keys. S3 Express \
                     (directory buckets) has none, and cannot be read"
                ));
            }
            self.last = Some(key.clone());
        }
        self.follow(page)
    }

    fn is_what_was_asked(&self, page: &Page) -> Result<(), String> {
        let differs = |what: &str, said: &Option<String>, asked: Option<&str>| match said {
            Some(said) if asked.is_some_and(|asked| asked != said) => {
                let asked = asked.unwrap_or_default();
                Err(format!(
                    "it is of the {what} `{said}`, and asked was `{asked}`"
                ))
            }
            _ => Ok(()),
        };
        differs("bucket", &page.bucket, Some(&self.bucket))?;
        differs("prefix", &page.prefix, Some(&self.prefix))?;
        let Some(token) = &self.token else {
            // Some servers repeat the start as if it had been a token.
            let start = self.start.as_deref();
            differs("start", &page.start_after, start)?;
            return differs("token", &page.token, Some(start.unwrap_or_default()));
        };
        differs("token", &page.token, Some(token))
    }

    fn follow(&mut self, page: &Page) -> Result<(), String> {
        self.empty = if page.objects.is_empty() {
            self.empty + 1
        } else {
            0
        };
        self.token.clone_from(&page.next);
        match (&page.next, page.is_truncated) {
            (Some(token), true) => {
                if self.empty > EMPTY_PAGES_MAX {
                    return Err(format!("{EMPTY_PAGES_MAX} pages without a key came"));
                }
                if !self.tokens.insert(token.clone()) {
                    return Err("its token for the next page was given before".to_owned());
                }
                Ok(())
            }
            (None, false) => {
                self.has_ended = true;
                Ok(())
            }
            (None, true) => Err("it is truncated, and has no token for the next page".to_owned()),
            (Some(_), false) => {
                Err("it is the last, and yet has a token for a next page".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests;
