//! A copy in parts: begun, copied part by part, and made one object or aborted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt as _, stream};

use super::S3;
use super::client::{Question, Success};
use super::copy::{CHANGED, was_changed};
use super::etag::Etag;
use super::operation::Operation;
use super::parts::{self, Part};

/// 10,000 parts have a body of this size.
const COMPLETION_BYTES_MAX: u64 = 1 << 20;

/// An upload that was begun.
struct Upload<'a> {
    id: String,
    target: &'a str,
    /// As a header names it.
    source: String,
    etag: String,
}

impl S3 {
    /// Copies an object in parts. Whatever fails, the upload is aborted: its parts would be kept, unseen,
    /// and paid for. One that was begun and of which the answer was lost has no name that we know, and no
    /// parts.
    pub(super) async fn copy_in_parts(
        &self,
        source: &str,
        etag: &Etag,
        target: &str,
        size: u64,
        part: u64,
    ) -> io::Result<()> {
        let upload = Upload {
            id: self.begin(target).await?,
            target,
            source: source.to_owned(),
            etag: etag.quoted(),
        };
        let copied = match self.copy_parts(&upload, size, part).await {
            Ok(parts) => self.complete(&upload, &parts).await,
            Err(problem) => Err(problem),
        };
        let Err(problem) = copied else {
            return Ok(());
        };
        match self.abort(&upload).await {
            Ok(()) => Err(problem),
            Err(second) => Err(io::Error::new(
                problem.kind(),
                format!(
                    "{problem}; and its upload `{}` could not be aborted: {second}",
                    upload.id
                ),
            )),
        }
    }

    async fn begin(&self, target: &str) -> io::Result<String> {
        let operation = Operation::CreateMultipartUpload;
        let question = Question {
            query: &[("uploads", "")],
            // As a registry writes all that it writes.
            headers: &[("content-type", "application/octet-stream")],
            ..Question::new(operation, target)
        };
        let read = |success: Success| {
            let begun = parts::begun(&success.body);
            self.client.understood(operation, begun)
        };
        let begun = self.client.put(question, read).await?;
        begun.map_err(super::versions::unexpected)
    }

    /// All parts, in order. When one has failed, those that are under way are waited for, so that none is
    /// written after the upload was aborted, and no other one is begun.
    async fn copy_parts(
        &self,
        upload: &Upload<'_>,
        size: u64,
        part: u64,
    ) -> io::Result<Vec<(Part, Etag)>> {
        let has_failed = AtomicBool::new(false);
        let parts = stream::iter(parts::divided(size, part)).map(async |part| {
            if has_failed.load(Ordering::Relaxed) {
                return None;
            }
            let copied = self.copy_part(upload, part).await;
            has_failed.fetch_or(copied.is_err(), Ordering::Relaxed);
            Some(copied.map(|etag| (part, etag)))
        });
        let copied: Vec<_> = parts.buffered(self.most).collect().await;
        copied.into_iter().flatten().collect()
    }

    async fn copy_part(&self, upload: &Upload<'_>, part: Part) -> io::Result<Etag> {
        let operation = Operation::UploadPartCopy;
        let (number, range) = (
            part.number.to_string(),
            format!("bytes={}-{}", part.first, part.last),
        );
        let question = Question {
            query: &[("partNumber", &number), ("uploadId", &upload.id)],
            headers: &[
                ("x-amz-copy-source", &upload.source),
                ("x-amz-copy-source-if-match", &upload.etag),
                ("x-amz-copy-source-range", &range),
            ],
            expected: &[CHANGED],
            ..Question::new(operation, upload.target)
        };
        let read = |success: Success| {
            let written = parts::written(&success.body);
            self.client.understood(operation, written)
        };
        let copied = self.client.put(question, read).await?;
        copied.map_err(|_code| was_changed(&upload.source))
    }

    async fn complete(&self, upload: &Upload<'_>, parts: &[(Part, Etag)]) -> io::Result<()> {
        let operation = Operation::CompleteMultipartUpload;
        let body = parts::completion(parts);
        let question = Question {
            query: &[("uploadId", &upload.id)],
            headers: &[("content-type", "application/xml")],
            body: body.as_bytes(),
            most: COMPLETION_BYTES_MAX,
            ..Question::new(operation, upload.target)
        };
        let read = |success: Success| {
            let written = parts::written(&success.body);
            self.client.understood(operation, written)
        };
        let completed = self.client.put(question, read).await?;
        completed
            .map(|_etag| ())
            .map_err(super::versions::unexpected)
    }

    async fn abort(&self, upload: &Upload<'_>) -> io::Result<()> {
        let question = Question {
            query: &[("uploadId", &upload.id)],
            expected: &["NoSuchUpload"],
            ..Question::new(Operation::AbortMultipartUpload, upload.target)
        };
        let _code = self.client.put(question, |_success| Ok(())).await?;
        Ok(())
    }
}
