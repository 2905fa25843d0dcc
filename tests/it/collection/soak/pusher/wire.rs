//! A push as clients do it: it asks whether a blob is there, mounts or sends it, and puts the manifest last.
//! Each request goes to any replica, as behind a load balancer.

use fastrand::Rng;
use http::StatusCode;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;

use super::super::recipe::{Blob, Image};
use super::super::site::Site;
use super::super::world::World;
use super::Change;
use crate::support::http::client;

pub(super) struct Wire {
    client: Client,
    urls: Vec<String>,
}

/// What a push did not have to send.
#[derive(Debug, Default)]
pub(super) struct Sent {
    reused: usize,
    mounted: usize,
}

impl Sent {
    pub(super) fn count(&self, world: &World) {
        for _ in 0..self.reused {
            World::count(&world.counts.reused);
        }
        for _ in 0..self.mounted {
            World::count(&world.counts.mounted);
        }
    }
}

impl Wire {
    pub(super) fn new(site: &Site) -> Self {
        Self {
            client: client(),
            urls: site.urls().to_vec(),
        }
    }

    /// Any replica.
    pub(super) fn any(&self, random: &mut Rng) -> String {
        self.urls[random.usize(..self.urls.len())].clone()
    }

    /// An image by a tag or its digest; `from` is a repository that may have its blobs.
    pub(super) async fn image(
        &self,
        random: &mut Rng,
        repository: &str,
        reference: &str,
        image: &Image,
        from: Option<&str>,
    ) -> (Change, Sent) {
        let mut sent = Sent::default();
        for blob in &image.blobs {
            match self.blob(random, repository, blob, from, &mut sent).await {
                Change::Done => {}
                other => return (other, sent),
            }
        }
        let body: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
        let media_type = body["mediaType"].as_str().unwrap();
        let url = self.any(random);
        let bytes = &image.manifest.bytes;
        let put = self.put(&url, repository, reference, media_type, bytes);
        (put.await, sent)
    }

    async fn blob(
        &self,
        random: &mut Rng,
        repository: &str,
        blob: &Blob,
        from: Option<&str>,
        sent: &mut Sent,
    ) -> Change {
        let Blob { digest, bytes } = blob;
        let url = self.any(random);
        let head = self
            .client
            .head(format!("{url}/v2/{repository}/blobs/{digest}"));
        match ask(head).await {
            Ok(answer) if answer.status() == StatusCode::OK => {
                sent.reused += 1;
                return Change::Done;
            }
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND => {}
            _ => return Change::Unclear,
        }
        let url = self.any(random);
        let mount = from.map_or_else(String::new, |it| format!("?mount={digest}&from={it}"));
        let begin = self
            .client
            .post(format!("{url}/v2/{repository}/blobs/uploads/{mount}"));
        let begun = match ask(begin.header("content-length", "0")).await {
            Ok(answer) if answer.status() == StatusCode::CREATED => {
                sent.mounted += 1;
                return Change::Done;
            }
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => answer,
            _ => return Change::Unclear,
        };
        let location = begun.headers()["location"].to_str().unwrap();
        // The rest may go to another replica.
        let path = location.split_once("/v2/").unwrap().1;
        let separator = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}/v2/{path}{separator}digest={digest}", self.any(random));
        let put = self.client.put(url).body(bytes.clone());
        match ask(put.header("content-type", "application/octet-stream")).await {
            Ok(answer) if answer.status() == StatusCode::CREATED => Change::Done,
            _ => Change::Unclear,
        }
    }

    /// A manifest.
    pub(super) async fn put(
        &self,
        url: &str,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Change {
        let put = self
            .client
            .put(format!("{url}/v2/{repository}/manifests/{reference}"));
        let put = put.header("content-type", media_type).body(bytes.to_vec());
        told(ask(put).await, StatusCode::CREATED).await
    }

    pub(super) async fn delete(&self, url: &str, repository: &str, reference: &str) -> Change {
        let delete = self
            .client
            .delete(format!("{url}/v2/{repository}/manifests/{reference}"));
        told(ask(delete).await, StatusCode::ACCEPTED).await
    }
}

async fn ask(request: RequestBuilder) -> Result<Response, reqwest::Error> {
    request.send().await
}

async fn told(answer: Result<Response, reqwest::Error>, wanted: StatusCode) -> Change {
    match answer {
        Ok(answer) if answer.status() == wanted => Change::Done,
        Ok(answer) if answer.status().is_client_error() => {
            let status = answer.status();
            Change::Refused(format!(
                "{status} {}",
                answer.text().await.unwrap_or_default()
            ))
        }
        _ => Change::Unclear,
    }
}
