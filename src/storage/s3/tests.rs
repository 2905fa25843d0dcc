use super::*;
use crate::config::endpoint::{Endpoint, Scheme};

fn settings() -> Settings {
    Settings {
        endpoint: None,
        region: "eu-central-1".to_owned(),
        bucket: "registry".to_owned(),
        prefix: String::new(),
        access_key: None,
        ca: None,
        max_concurrency: 16,
    }
}

fn of(change: impl FnOnce(&mut Settings)) -> Result<S3, String> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut settings = settings();
    change(&mut settings);
    S3::new(&settings)
}

#[test]
fn the_rootdirectory_is_written_with_slashes_or_without() {
    for (prefix, root) in [
        ("", "docker/registry/v2/"),
        ("/", "docker/registry/v2/"),
        ("a/b", "a/b/docker/registry/v2/"),
        ("/a/b/", "a/b/docker/registry/v2/"),
    ] {
        let s3 = of(|settings| prefix.clone_into(&mut settings.prefix)).unwrap();
        assert_eq!(s3.root, root, "{prefix}");
        assert_eq!(
            s3.key(&Digest::of(b"")),
            format!(
                "{root}blobs/sha256/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/data"
            )
        );
    }
}

#[test]
fn settings_that_mean_nothing_are_refused_with_what_to_write() {
    let refused = |change: fn(&mut Settings), expected: &str| {
        let problem = of(change).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    };
    refused(
        |it| it.bucket = "a/b".to_owned(),
        "`a/b` is no bucket: expected",
    );
    refused(|it| it.bucket = String::new(), "is no bucket");
    refused(|it| it.bucket = "..".to_owned(), "is no bucket");
    refused(
        |it| it.region = "a.b@c".to_owned(),
        "`a.b@c` is no region: expected",
    );
    refused(
        |it| it.prefix = "a/../b".to_owned(),
        "is no rootdirectory: expected",
    );
    refused(|it| it.prefix = "a//b".to_owned(), "is no rootdirectory");
    refused(|it| it.max_concurrency = 0, "expected 1 to 1024");
    refused(|it| it.max_concurrency = 1025, "expected 1 to 1024");
    refused(
        |it| it.ca = Some("/nowhere/ca.pem".into()),
        "/nowhere/ca.pem cannot be read",
    );
}

#[test]
fn a_bucket_is_addressed_by_its_own_name_where_that_is_safe() {
    let endpoint = Endpoint {
        scheme: Scheme::Http,
        host: "127.0.0.1".to_owned(),
        port: 9000,
        path_prefix: "/gateway".to_owned(),
    };
    for (bucket, region, endpoint, base, path) in [
        (
            "registry",
            "eu-central-1",
            None,
            "https://registry.s3.eu-central-1.amazonaws.com",
            "/",
        ),
        (
            "registry",
            "cn-north-1",
            None,
            "https://registry.s3.cn-north-1.amazonaws.com.cn",
            "/",
        ),
        (
            "a.b",
            "eu-central-1",
            None,
            "https://s3.eu-central-1.amazonaws.com",
            "/a.b/",
        ),
        (
            "registry",
            "us-east-1",
            Some(endpoint),
            "http://127.0.0.1:9000",
            "/gateway/registry/",
        ),
    ] {
        let settings = Settings {
            endpoint,
            region: region.to_owned(),
            bucket: bucket.to_owned(),
            ..settings()
        };
        assert_eq!(
            connection::address(&settings),
            (base.to_owned(), path.to_owned())
        );
    }
}
