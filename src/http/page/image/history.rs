//! When the verdict of an image changed, as a picture and in words. Pure.

use jiff::{SignedDuration, Timestamp};

use super::super::picture::{Axis, Segment};
use super::super::words::{self, Moment};
use crate::verify::change::Change;
use crate::verify::finding::Verdict;

pub(in crate::http::page) struct History {
    /// The newest first.
    pub(in crate::http::page) lines: Vec<Line>,
    pub(in crate::http::page) strip: Vec<Segment>,
    pub(in crate::http::page) first: Moment,
}

pub(in crate::http::page) struct Line {
    pub(in crate::http::page) at: Moment,
    pub(in crate::http::page) verdict: Verdict,
    pub(in crate::http::page) code: Option<String>,
    pub(in crate::http::page) lasted: String,
}

impl Line {
    pub(in crate::http::page) fn sign(&self) -> &'static str {
        words::sign(self.verdict)
    }
}

impl History {
    /// `None` where nothing has changed.
    pub(in crate::http::page) fn of(changes: &[Change], now: Timestamp) -> Option<Self> {
        let first = Timestamp::from(changes.first()?.at);
        let axis = Axis {
            start: first,
            // A moment ago is a picture too.
            end: now.max(
                first
                    .saturating_add(SignedDuration::from_secs(1))
                    .unwrap_or(now),
            ),
        };
        let ends = changes.iter().skip(1).map(|next| Timestamp::from(next.at));
        let spans: Vec<(&Change, Timestamp)> = changes.iter().zip(ends.chain([axis.end])).collect();
        let strip = spans.iter().filter_map(|(change, end)| {
            axis.segment(change.verdict.as_str(), change.at.into(), *end)
        });
        let lines = spans.iter().rev().map(|(change, end)| {
            let start = Timestamp::from(change.at);
            Line {
                at: Moment::of(start, now),
                verdict: change.verdict,
                code: change.code.map(|code| code.to_string()),
                lasted: words::span(end.duration_since(start)),
            }
        });
        Some(Self {
            lines: lines.collect(),
            strip: strip.collect(),
            first: Moment::of(first, now),
        })
    }
}
