use std::future::IntoFuture as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::demo::tree::{Image, Tree};
use crate::oci::descriptor::Descriptor;
use crate::oci::error_code::{self, ErrorCode};
use crate::oci::media_type::{ACCEPT_MANIFESTS, OCI_INDEX, OCI_MANIFEST};
use crate::oci::platform::Platform;

/// A registry on a free port, gone with this.
struct Server {
    root: TempDir,
    tree: Tree,
    address: SocketAddr,
    client: reqwest::Client,
    _tasks: JoinSet<io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        let root = TempDir::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(axum::serve(listener, router(root.path())).into_future());
        // A second test of this process finds it installed.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            tree: Tree::new(root.path()),
            root,
            address,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            _tasks: tasks,
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
            .header(header::ACCEPT, ACCEPT_MANIFESTS)
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn head(&self, path: &str) -> reqwest::Response {
        self.request(Method::HEAD, path).send().await.unwrap()
    }

    async fn expect_code(&self, path: &str, status: u16, code: &str) {
        let head = self.head(path).await;
        assert_eq!(head.status(), status, "{path}");
        assert!(head.bytes().await.unwrap().is_empty());
        let response = self.get(path).await;
        assert_eq!(response.status(), status, "{path}");
        let body: serde_json::Value = json_of(response).await;
        assert_eq!(body["errors"][0]["code"], code, "{path}");
    }

    /// As it is, without a client that would tidy the path.
    async fn raw(&self, path: &str) -> String {
        let (address, path) = (self.address, path.to_owned());
        let exchange = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let timeout = Some(Duration::from_secs(10));
            stream.set_read_timeout(timeout).unwrap();
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).unwrap();
            response
        };
        tokio::task::spawn_blocking(exchange).await.unwrap()
    }
}

async fn json_of(response: reqwest::Response) -> serde_json::Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn text<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

/// `team/app:v1`, an index of one image of one layer.
struct App {
    index: Descriptor,
    image: Descriptor,
    layer: Descriptor,
}

const REPOSITORY: &str = "team/app";

fn app(tree: &Tree) -> App {
    let dialect = Dialect::Oci;
    let files: [(&str, &[u8]); 1] = [("etc/motd", b"hello\n")];
    let layer = tree.layer(REPOSITORY, dialect, &files).unwrap();
    let image = Image {
        dialect,
        platform: &Platform::new("linux", "amd64", None),
        version: "v1",
        layers: std::slice::from_ref(&layer),
    };
    let image = tree.image(REPOSITORY, &image).unwrap();
    let index = tree
        .index(REPOSITORY, dialect, std::slice::from_ref(&image))
        .unwrap();
    tree.tag(REPOSITORY, "v1", index.digest).unwrap();
    App {
        index,
        image,
        layer: layer.descriptor,
    }
}

#[tokio::test]
async fn the_base_answers() {
    let server = Server::start().await;
    for path in ["/v2/", "/v2"] {
        let response = server.get(path).await;
        assert_eq!(response.status(), 200);
        assert_eq!(
            text(&response, "docker-distribution-api-version"),
            "registry/2.0"
        );
        assert_eq!(response.bytes().await.unwrap(), "{}");
        assert_eq!(server.head(path).await.status(), 200);
    }
    let response = server.get("/").await;
    assert_eq!(response.status(), 404);
    let body = response.bytes().await.unwrap();
    assert_eq!(
        error_code::first(&body),
        None,
        "it says nothing of any object"
    );
}

#[tokio::test]
async fn manifests_are_served_by_tag_and_by_digest() {
    let server = Server::start().await;
    let app = app(&server.tree);
    for (reference, descriptor, media_type) in [
        ("v1".to_owned(), &app.index, OCI_INDEX),
        (app.index.digest.to_string(), &app.index, OCI_INDEX),
        (app.image.digest.to_string(), &app.image, OCI_MANIFEST),
    ] {
        let path = format!("/v2/{REPOSITORY}/manifests/{reference}");
        let digest = descriptor.digest.to_string();
        for response in [server.head(&path).await, server.get(&path).await] {
            assert_eq!(response.status(), 200);
            assert_eq!(text(&response, "content-type"), media_type);
            assert_eq!(text(&response, "docker-content-digest"), digest);
            assert_eq!(text(&response, "etag"), format!("\"{digest}\""));
            assert_eq!(
                text(&response, "content-length"),
                descriptor.size.to_string()
            );
        }
        let body = server.get(&path).await.bytes().await.unwrap();
        assert_eq!(Digest::of(&body), descriptor.digest);
        assert!(server.head(&path).await.bytes().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_manifest_without_media_type_is_typed_by_its_shape() {
    let server = Server::start().await;
    for (body, media_type) in [
        (r#"{"schemaVersion":2,"manifests":[]}"#, OCI_INDEX),
        (
            r#"{"schemaVersion":2,"config":{},"layers":[]}"#,
            OCI_MANIFEST,
        ),
    ] {
        let put = server
            .tree
            .manifest(REPOSITORY, "", body.as_bytes())
            .unwrap();
        let path = format!("/v2/{REPOSITORY}/manifests/{}", put.digest);
        assert_eq!(text(&server.head(&path).await, "content-type"), media_type);
    }
}

#[tokio::test]
async fn a_304_says_only_that_the_tag_still_names_the_digest() {
    let server = Server::start().await;
    let app = app(&server.tree);
    let path = format!("/v2/{REPOSITORY}/manifests/v1");
    let status = async |etag: String| {
        let request = server.request(Method::HEAD, &path);
        let request = request.header(header::IF_NONE_MATCH, etag);
        request.send().await.unwrap().status()
    };
    let current = app.index.digest;
    assert_eq!(status(format!("\"{current}\"")).await, 304);
    assert_eq!(status(current.to_string()).await, 304);
    assert_eq!(status(format!("\"{}\"", app.image.digest)).await, 200);
    server.tree.lose_manifest(REPOSITORY, current).unwrap();
    assert_eq!(status(format!("\"{current}\"")).await, 304);
    assert_eq!(status("\"other\"".to_owned()).await, 404);
    server.tree.tag(REPOSITORY, "v1", app.image.digest).unwrap();
    assert_eq!(status(format!("\"{current}\"")).await, 200);
}

#[tokio::test]
async fn blobs_are_served_whole_and_in_parts() {
    let server = Server::start().await;
    let layer = app(&server.tree).layer;
    let path = format!("/v2/{REPOSITORY}/blobs/{}", layer.digest);
    let whole = server.tree.read(layer.digest).unwrap();
    let size = whole.len();
    for response in [server.head(&path).await, server.get(&path).await] {
        assert_eq!(response.status(), 200);
        assert_eq!(text(&response, "content-length"), size.to_string());
        assert_eq!(
            text(&response, "docker-content-digest"),
            layer.digest.to_string()
        );
        assert_eq!(text(&response, "content-type"), "application/octet-stream");
    }
    assert_eq!(server.get(&path).await.bytes().await.unwrap(), whole);
    for (asked, range) in [
        ("bytes=0-0", 0..1),
        ("bytes=5-", 5..size),
        ("bytes=-3", size - 3..size),
        ("bytes=7-99999999", 7..size),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let request = server.request(method.clone(), &path);
            let response = request.header(header::RANGE, asked).send().await.unwrap();
            assert_eq!(response.status(), 206, "{asked}");
            assert_eq!(
                text(&response, "content-range"),
                format!("bytes {}-{}/{size}", range.start, range.end - 1)
            );
            assert_eq!(text(&response, "content-length"), range.len().to_string());
            let body = response.bytes().await.unwrap();
            match method {
                Method::HEAD => assert!(body.is_empty()),
                _ => assert_eq!(body, whole[range.clone()]),
            }
        }
    }
    let request = server.request(Method::GET, &path);
    let request = request.header(header::RANGE, format!("bytes={size}-"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 416);
    assert_eq!(text(&response, "content-range"), format!("bytes */{size}"));
    let request = server.request(Method::GET, &path);
    let request = request.header(header::IF_NONE_MATCH, format!("\"{}\"", layer.digest));
    assert_eq!(request.send().await.unwrap().status(), 304);
}

#[tokio::test]
async fn what_is_not_there_is_named_by_the_specs_codes() {
    let server = Server::start().await;
    let app = app(&server.tree);
    let absent = Digest::of(b"absent");
    for (path, status, code) in [
        (
            format!("/v2/{REPOSITORY}/manifests/v2"),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            format!("/v2/{REPOSITORY}/manifests/{absent}"),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            format!("/v2/{REPOSITORY}/blobs/{absent}"),
            404,
            "BLOB_UNKNOWN",
        ),
        (
            "/v2/team/other/manifests/v1".to_owned(),
            404,
            "MANIFEST_UNKNOWN",
        ),
        ("/v2/team/other/tags/list".to_owned(), 404, "NAME_UNKNOWN"),
        (
            format!("/v2/{REPOSITORY}/blobs/sha256:12"),
            400,
            "DIGEST_INVALID",
        ),
        (
            format!("/v2/{REPOSITORY}/manifests/sha256:12"),
            400,
            "DIGEST_INVALID",
        ),
        (
            format!("/v2/{REPOSITORY}/tags/list?n=x"),
            400,
            "PAGINATION_NUMBER_INVALID",
        ),
        (
            format!("/v2/{REPOSITORY}/tags/list?n=-1"),
            400,
            "PAGINATION_NUMBER_INVALID",
        ),
        ("/v2/Team/app/manifests/v1".to_owned(), 400, "NAME_INVALID"),
        // A layer is no manifest, and a manifest no blob.
        (
            format!("/v2/{REPOSITORY}/manifests/{}", app.layer.digest),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            format!("/v2/{REPOSITORY}/blobs/{}", app.image.digest),
            404,
            "BLOB_UNKNOWN",
        ),
        // What one repository links, another does not show.
        (
            format!("/v2/team/other/manifests/{}", app.image.digest),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            format!("/v2/team/other/blobs/{}", app.layer.digest),
            404,
            "BLOB_UNKNOWN",
        ),
    ] {
        server.expect_code(&path, status, code).await;
    }
    let body = server
        .get("/v2/team/other/tags/list")
        .await
        .bytes()
        .await
        .unwrap();
    assert_eq!(error_code::first(&body), Some(ErrorCode::NameUnknown));
}

#[tokio::test]
async fn what_disappears_on_disk_is_gone_at_once() {
    let server = Server::start().await;
    let app = app(&server.tree);
    let tag = format!("/v2/{REPOSITORY}/manifests/v1");
    let child = format!("/v2/{REPOSITORY}/manifests/{}", app.image.digest);
    let layer = format!("/v2/{REPOSITORY}/blobs/{}", app.layer.digest);
    for path in [&tag, &child, &layer] {
        assert_eq!(server.get(path).await.status(), 200);
    }
    let bytes = server
        .tree
        .lose_manifest(REPOSITORY, app.image.digest)
        .unwrap();
    server.tree.lose_blob(app.layer.digest).unwrap();
    server.expect_code(&child, 404, "MANIFEST_UNKNOWN").await;
    server.expect_code(&layer, 404, "BLOB_UNKNOWN").await;
    assert_eq!(
        server.get(&tag).await.status(),
        200,
        "the index still stands"
    );
    server
        .tree
        .manifest(REPOSITORY, OCI_MANIFEST, &bytes)
        .unwrap();
    assert_eq!(server.get(&child).await.status(), 200);
}

#[tokio::test]
async fn a_damaged_tree_is_an_error_and_never_absence() {
    let server = Server::start().await;
    let app = app(&server.tree);
    let layout = Layout::new(server.root.path());
    let link = layout.layer_link(REPOSITORY, app.layer.digest);
    std::fs::write(link, "").unwrap();
    let path = format!("/v2/{REPOSITORY}/blobs/{}", app.layer.digest);
    server.expect_code(&path, 500, "UNKNOWN").await;
    std::fs::write(layout.data(app.image.digest), "{").unwrap();
    let path = format!("/v2/{REPOSITORY}/manifests/{}", app.image.digest);
    server.expect_code(&path, 500, "UNKNOWN").await;
}

#[tokio::test]
async fn tags_are_listed_in_pages() {
    let server = Server::start().await;
    let image = app(&server.tree).image;
    for tag in ["v3", "v2", "V9"] {
        server.tree.tag(REPOSITORY, tag, image.digest).unwrap();
    }
    let path = format!("/v2/{REPOSITORY}/tags/list");
    for (query, tags, next) in [
        ("", &["V9", "v1", "v2", "v3"][..], None),
        ("?n=9", &["V9", "v1", "v2", "v3"], None),
        ("?n=4", &["V9", "v1", "v2", "v3"], None),
        ("?n=2", &["V9", "v1"], Some("last=v1&n=2")),
        ("?n=2&last=v1", &["v2", "v3"], None),
        ("?last=v2", &["v3"], None),
        ("?last=zz", &[], None),
        ("?n=0", &[], None),
    ] {
        let response = server.get(&format!("{path}{query}")).await;
        assert_eq!(response.status(), 200);
        let link = response.headers().get("link").cloned();
        let expected = next.map(|next| format!("<{path}?{next}>; rel=\"next\""));
        assert_eq!(
            link.as_ref().map(|link| link.to_str().unwrap()),
            expected.as_deref()
        );
        let body = json_of(response).await;
        assert_eq!(body, json!({"name": REPOSITORY, "tags": tags}), "{query}");
    }
}

#[tokio::test]
async fn nothing_can_be_written_and_options_says_so() {
    let server = Server::start().await;
    let app = app(&server.tree);
    let manifest = format!("/v2/{REPOSITORY}/manifests/v1");
    let layer = format!("/v2/{REPOSITORY}/blobs/{}", app.layer.digest);
    let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
    for method in [Method::PUT, Method::POST, Method::PATCH, Method::DELETE] {
        for path in [&manifest, &layer, &uploads] {
            let response = server.request(method.clone(), path).send().await.unwrap();
            assert_eq!(response.status(), 405, "{method} {path}");
            assert_eq!(text(&response, "allow"), "GET, HEAD");
            assert_eq!(json_of(response).await["errors"][0]["code"], "UNSUPPORTED");
        }
    }
    let options = server
        .request(Method::OPTIONS, &uploads)
        .send()
        .await
        .unwrap();
    assert_eq!(options.status(), 200);
    assert_eq!(text(&options, "allow"), "GET, HEAD");
    for path in [&manifest, &layer] {
        assert_eq!(server.get(path).await.status(), 200);
    }
}

#[tokio::test]
async fn no_path_leads_outside_the_tree() {
    let server = Server::start().await;
    let app = app(&server.tree);
    // Bait where a path that climbs would arrive.
    let root = server.root.path();
    let bait = Tree::new(root.join("docker"));
    let copy = bait.manifest("secret", OCI_MANIFEST, b"{}").unwrap();
    bait.tag("secret", "v1", copy.digest).unwrap();
    bait.blob("secret", "", b"bait").unwrap();
    let climb = "../../../docker/registry/v2/repositories/secret";
    let layer = app.layer.digest;
    for name in [
        climb.to_owned(),
        climb.replace("..", "%2e%2e"),
        climb.replace("..", "%2E%2E"),
        climb.replace('/', "%2f"),
        format!("team/app/{climb}"),
        "team/./app".to_owned(),
        "team//app".to_owned(),
        "/team/app".to_owned(),
        "team/app/".to_owned(),
        "team/other/../app".to_owned(),
        "team/other/%2e%2e/app".to_owned(),
        "team\\app".to_owned(),
        "team%2fapp".to_owned(),
        root.to_str().unwrap().to_owned(),
    ] {
        for path in [
            format!("/v2/{name}/manifests/v1"),
            format!("/v2/{name}/manifests/{}", copy.digest),
            format!("/v2/{name}/blobs/{layer}"),
            format!("/v2/{name}/tags/list"),
        ] {
            let response = server.raw(&path).await;
            assert!(
                response.starts_with("HTTP/1.1 4"),
                "{path} answered {response}"
            );
        }
    }
    for reference in [
        "..",
        "../v1",
        "v1/../v1",
        "%2e%2e",
        "v1%00",
        "v1/current",
        "",
    ] {
        let path = format!("/v2/{REPOSITORY}/manifests/{reference}");
        let response = server.raw(&path).await;
        assert!(
            response.starts_with("HTTP/1.1 4"),
            "{path} answered {response}"
        );
    }
    let response = server.raw(&format!("/v2/{REPOSITORY}/manifests/v1")).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}
