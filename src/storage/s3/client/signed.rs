//! A question as it is sent: its address, its headers, and the signature over them.

use reqwest::{Method, Url};
use secrecy::ExposeSecret as _;

use super::super::body as received;
use super::{Client, Question};
use crate::credential_source::aws::{Keys, sigv4};
use crate::oci::digest::Digest;

impl Client {
    pub(super) fn request(
        &self,
        question: Question<'_>,
        keys: &Keys,
    ) -> Result<reqwest::Request, String> {
        let Question {
            operation,
            key,
            query,
            body,
            ..
        } = question;
        let method = operation.method();
        let path = format!("{}{}", self.path, sigv4::encoded_path(key));
        let query = sigv4::canonical_query(query);
        let url = format!("{}{path}", self.base);
        let url = if query.is_empty() {
            url
        } else {
            format!("{url}?{query}")
        };
        let parsed: Url = url.parse().map_err(|error| format!("{url}: {error}"))?;
        // A parser of URLs may understand a path otherwise than S3 does, which knows of no `..`.
        if parsed.as_str() != url {
            return Err(format!("`{key}` cannot be asked for"));
        }
        let now = self.clock.now();
        let (date, hash) = (sigv4::date(now), Digest::of(body).hex());
        let mut headers = vec![
            ("host", self.host.as_str()),
            ("x-amz-content-sha256", &hash),
            ("x-amz-date", &date),
        ];
        if let Some(token) = &keys.session_token {
            headers.push(("x-amz-security-token", token.expose_secret()));
        }
        headers.extend_from_slice(question.headers);
        headers.sort_unstable();
        let signed = sigv4::Request {
            method,
            path: &path,
            query: &query,
            headers: &headers,
            body,
        };
        let scope = sigv4::Scope {
            region: &self.settings.region,
            service: "s3",
            at: now,
        };
        let authorization = sigv4::authorization(&signed, &scope, &keys.id, &keys.secret);
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
        let has_body = matches!(method, Method::PUT | Method::POST);
        let mut request = headers.iter().fold(
            self.http.request(method, parsed),
            |request, (name, value)| request.header(*name, *value),
        );
        if has_body {
            // Said also where it is empty: S3 wants to be told.
            request = request
                .header("content-length", body.len())
                .body(body.to_vec());
        }
        request
            .header("authorization", authorization)
            .build()
            .map_err(received::root)
    }
}
