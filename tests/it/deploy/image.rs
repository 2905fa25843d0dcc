//! The container image: packed twice it is the same, a real registry takes it with its bill of materials, and
//! pullproof proves it. Binaries of the test bed stand in for its own, which take long to compile; the last test
//! compiles them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::chart::path;
use crate::cli::run::{lose_blob, pullproof};
use crate::daemon::shop::Stock;
use crate::support::daemon;
use crate::support::parts::{self, require};
use crate::support::process::{run, run_well};

/// When everything in it was made; 2023-11-14 22:13:20.
const EPOCH: u64 = 1_700_000_000;

/// Builds the layout in this directory; yields the digest of its index.
async fn packed(output: &Path, binaries: &[(&str, PathBuf)], epoch: u64) -> Result<String, String> {
    let mut command = Command::new(path("deploy/image/build"));
    command
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .env("REVISION", "0123456789abcdef0123456789abcdef01234567")
        .arg("--output")
        .arg(output);
    for (architecture, binary) in binaries {
        command
            .arg("--binary")
            .arg(format!("{architecture}={}", binary.display()));
    }
    run(command).await.map(|told| told.trim().to_owned())
}

async fn sbom(file: &Path, epoch: u64) -> Value {
    let mut command = Command::new(path("deploy/image/sbom"));
    command
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        // What the tests are compiled of is on this machine.
        .env("CARGO_NET_OFFLINE", "true")
        .arg("x86_64-unknown-linux-gnu");
    let text = run_well(command).await;
    fs::write(file, &text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Pushes it as its users would; yields `HOST/REPOSITORY@DIGEST`.
async fn pushed(stock: &Stock, layout: &Path, reference: &str, more: &[&Path]) -> String {
    let programs = format!(
        "PATH={}:/usr/bin:/bin",
        parts::testbed().join("bin").display()
    );
    let script = path("deploy/image/push");
    let mut words = vec![
        programs.as_str(),
        script.to_str().unwrap(),
        layout.to_str().unwrap(),
        reference,
    ];
    words.extend(more.iter().map(|it| it.to_str().unwrap()));
    let told = stock.clients.attempt("env", &words).await;
    told.unwrap_or_else(|problem| panic!("{problem}"))
        .trim()
        .to_owned()
}

/// Static, as its own are, and not the same.
fn stand_ins(home: &Path) -> [(&'static str, PathBuf); 2] {
    let other = home.join("other");
    let mut content = fs::read(parts::path("hey")).unwrap();
    content.push(0);
    fs::write(&other, content).unwrap();
    [("amd64", parts::path("hey")), ("arm64", other)]
}

/// `MODE OWNER DATE TIME NAME` of what is in an image of one platform.
async fn files(stock: &Stock, reference: &str, platform: &str) -> Vec<String> {
    let tar = stock.clients.home().join("image.tar");
    let words = [
        "export",
        "--platform",
        platform,
        reference,
        tar.to_str().unwrap(),
    ];
    stock.clients.crane(&words).await;
    let mut list = Command::new("tar");
    list.args([
        "--list",
        "--verbose",
        "--numeric-owner",
        "--full-time",
        "--utc",
        "--file",
    ])
    .arg(tar);
    let told = run_well(list).await;
    let lines = told.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!(
            "{} {} {} {} {}",
            words[0], words[1], words[3], words[4], words[5]
        )
    });
    lines.collect()
}

/// What is in it, and as whom it runs.
async fn what_is_in_it_is_its_own(stock: &Stock, reference: &str) {
    let of = "2023-11-14 22:13:20";
    for platform in ["linux/amd64", "linux/arm64"] {
        let listed = files(stock, reference, platform).await;
        let expected = [
            ("drwxr-xr-x 0/0", "etc"),
            ("-rw-r--r-- 0/0", "etc/group"),
            ("-rw-r--r-- 0/0", "etc/passwd"),
            ("drwxr-xr-x 0/0", "etc/ssl"),
            ("drwxr-xr-x 0/0", "etc/ssl/certs"),
            ("-rw-r--r-- 0/0", "etc/ssl/certs/ca-certificates.crt"),
            ("drwxrwxrwt 0/0", "tmp"),
            ("drwxr-xr-x 0/0", "usr"),
            ("drwxr-xr-x 0/0", "usr/bin"),
            ("-rwxr-xr-x 0/0", "usr/bin/pullproof"),
            ("drwxr-xr-x 0/0", "var"),
            ("drwxr-xr-x 0/0", "var/lib"),
            ("drwx------ 65532/65532", "var/lib/pullproof"),
        ];
        let expected = expected.map(|(who, name)| format!("{who} {of} {name}"));
        assert_eq!(listed, expected, "{platform}");
    }
    let words = ["config", "--platform", "linux/arm64", reference];
    let config: Value = serde_json::from_str(&stock.clients.crane(&words).await).unwrap();
    assert_eq!(
        (&config["architecture"], &config["variant"]),
        (&json!("arm64"), &json!("v8"))
    );
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(
        config["config"]["Entrypoint"],
        json!(["/usr/bin/pullproof"])
    );
    let label =
        |name: &str| config["config"]["Labels"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(
        label("revision"),
        "0123456789abcdef0123456789abcdef01234567"
    );
}

#[tokio::test]
async fn packed_twice_it_is_the_same_and_pullproof_proves_it() {
    require!(
        "registry-3.1",
        "crane",
        "regctl",
        "hey",
        "jq",
        "tar",
        "gzip"
    );
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let binaries = stand_ins(home.path());
    let digest = packed(&at("a"), &binaries, EPOCH).await.unwrap();
    assert_eq!(packed(&at("b"), &binaries, EPOCH).await.unwrap(), digest);
    let other = packed(&at("c"), &binaries, EPOCH + 1).await.unwrap();
    assert_ne!(other, digest);

    let stock = Stock::new().await;
    let reference = format!("{}/pullproof/pullproof:0.1.0", stock.host());
    let bill = at("sbom.json");
    sbom(&bill, EPOCH).await;
    let pinned = pushed(&stock, &at("a"), &reference, &[&bill]).await;
    assert_eq!(
        pinned,
        format!("{}/pullproof/pullproof@{digest}", stock.host())
    );

    what_is_in_it_is_its_own(&stock, &reference).await;

    // The bill of materials hangs on the index.
    let words = [
        "artifact",
        "get",
        "--subject",
        &pinned,
        "--filter-artifact-type",
        "application/vnd.cyclonedx+json",
    ];
    assert_eq!(
        stock.clients.regctl(&words).await,
        fs::read_to_string(&bill).unwrap()
    );

    let host = stock.host();
    let words = [
        "verify",
        &reference,
        "--plain-http",
        &host,
        "--depth",
        "content",
        "-o",
        "json",
    ];
    let ended = pullproof(&words).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let image = &ended.json()["images"][0];
    assert_eq!(
        (&image["verdict"], &image["digest"]),
        (&json!("pullable"), &json!(digest))
    );
    let platforms = image["platforms"].as_array().unwrap().iter();
    let platforms: Vec<&Value> = platforms.map(|it| &it["platform"]).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64/v8"]);

    // It would be seen otherwise.
    let manifest = stock
        .clients
        .crane(&["manifest", "--platform", "linux/arm64", &reference])
        .await;
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    lose_blob(
        &stock.registry,
        manifest["layers"][0]["digest"].as_str().unwrap(),
    );
    assert_eq!(pullproof(&words).await.code, 2);
}

#[tokio::test]
async fn what_cannot_run_alone_is_not_packed() {
    require!("jq", "tar", "gzip");
    let home = tempfile::tempdir().unwrap();
    let pack = async |architecture, binary: &Path| {
        let refused = packed(
            &home.path().join("a"),
            &[(architecture, binary.to_owned())],
            0,
        )
        .await;
        refused.unwrap_err()
    };
    let refused = pack("amd64", daemon::binary()).await;
    assert!(
        refused.contains("is linked dynamically, and there is nothing but it in the image"),
        "{refused}"
    );
    let refused = pack("riscv64", &path("deploy/image/build")).await;
    assert!(
        refused.contains("riscv64 is not known: expected amd64 or arm64"),
        "{refused}"
    );
    let refused = pack("amd64", &home.path().join("nothing")).await;
    assert!(refused.contains("is not there"), "{refused}");
}

#[tokio::test]
async fn the_bill_of_materials_is_the_lock_file_without_what_only_tests_need() {
    require!("jq");
    let home = tempfile::tempdir().unwrap();
    let bill = sbom(&home.path().join("a"), 0).await;
    assert_eq!(
        (&bill["bomFormat"], &bill["specVersion"]),
        (&json!("CycloneDX"), &json!("1.6"))
    );
    assert_eq!(
        bill["metadata"]["component"]["purl"],
        format!("pkg:cargo/pullproof@{}", env!("CARGO_PKG_VERSION"))
    );
    let lock = fs::read_to_string(path("Cargo.lock")).unwrap();
    let components = bill["components"].as_array().unwrap();
    for component in components {
        let text = |key: &str| component[key].as_str().unwrap();
        let block = format!(
            "name = \"{}\"\nversion = \"{}\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{}\"\n",
            text("name"),
            text("version"),
            component["hashes"][0]["content"].as_str().unwrap()
        );
        assert!(lock.contains(&block), "{block}");
        assert!(
            component["licenses"][0]["expression"].is_string(),
            "{component}"
        );
    }
    let names: BTreeSet<&str> = components
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    for (name, is_in) in [
        ("tokio", true),
        ("ring", true),
        ("cc", true),
        ("stateright", false),
        ("insta", false),
    ] {
        assert_eq!(names.contains(name), is_in, "{name}");
    }
    // Every edge leads to something that is listed.
    let mut listed: BTreeSet<&str> = components
        .iter()
        .map(|it| it["bom-ref"].as_str().unwrap())
        .collect();
    listed.insert(bill["metadata"]["component"]["bom-ref"].as_str().unwrap());
    for edge in bill["dependencies"].as_array().unwrap() {
        let to = edge["dependsOn"].as_array().unwrap().iter();
        for name in to.chain([&edge["ref"]]) {
            assert!(listed.contains(name.as_str().unwrap()), "{name}");
        }
    }
    assert_eq!(bill["dependencies"].as_array().unwrap().len(), listed.len());
}

/// Compiles the image in a target directory of its own; yields the layout and its digest.
async fn compiled() -> (TempDir, String) {
    let target = tempfile::tempdir().unwrap();
    let layout = target.path().join("layout");
    let mut command = Command::new(path("deploy/image/build"));
    command
        .env("ZIG", parts::path("zig"))
        .env("CARGO_TARGET_DIR", target.path())
        .arg("--output")
        .arg(&layout);
    let digest = run_well(command).await;
    (target, digest.trim().to_owned())
}

/// An hour on two cores.
#[tokio::test]
#[ignore = "it compiles four times what is shipped"]
async fn compiled_twice_it_is_the_same_and_proves_itself() {
    require!("registry-3.1", "crane", "regctl", "jq", "zig");
    let (first, digest) = compiled().await;
    let stock = Stock::new().await;
    let reference = format!("{}/pullproof/pullproof:0.1.0", stock.host());
    pushed(&stock, &first.path().join("layout"), &reference, &[]).await;
    let binary = first
        .path()
        .join("x86_64-unknown-linux-musl/dist/pullproof");
    let mut command = Command::new(&binary);
    command.args([
        "verify",
        &reference,
        "--plain-http",
        &stock.host(),
        "--depth",
        "content",
    ]);
    run_well(command).await;
    drop(first);
    let (_second, again) = compiled().await;
    assert_eq!(again, digest);
}
