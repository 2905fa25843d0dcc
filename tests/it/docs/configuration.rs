//! What the pages show of configurations: what is said of mistakes, and that all others are without any.

use std::path::Path;

use super::shown::{By, bash, run_by};
use super::{pages, path};
use crate::support::parts::require;

const MISTAKEN: &str = "inventory:
  clusters:
    - {name: prod, context: prod}
registries:
  - host: https://registry.example:5000
    verify: {interval: 10 parsecs}
    maxConcurency: 8
";

#[tokio::test]
async fn what_is_shown_of_a_mistaken_file_is_what_is_printed() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("pullproof.yaml"), MISTAKEN).unwrap();
    for shown in run_by(By::Configuration) {
        let ended = bash(home, home, &shown.command).await;
        assert_eq!(ended.code, 64, "{ended:?}");
        shown.compare(&ended.stderr, str::to_owned);
    }
}

/// What stands in blocks of YAML, and on which page.
fn blocks() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (page, text) in pages() {
        let blocks = text.split("```yaml\n").skip(1);
        let blocks = blocks.filter_map(|rest| rest.split_once("```"));
        let page = page.file_name().unwrap().to_str().unwrap();
        all.extend(blocks.map(|(block, _)| (page.to_owned(), block.to_owned())));
    }
    all
}

async fn well(home: &Path, directory: &Path, command: &str, block: &str) {
    let ended = bash(home, directory, command).await;
    assert_eq!(ended.code, 0, "{block}{ended:?}");
}

#[tokio::test]
async fn every_configuration_that_is_shown_is_one() {
    require!("helm");
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let file = home.join("pullproof.yaml");
    let mut count = 0;
    for (page, block) in blocks() {
        std::fs::write(&file, &block).unwrap();
        let values = format!(
            "helm template pullproof deploy/helm/pullproof --values {}",
            file.display()
        );
        match block.split(':').next() {
            // Of the chart.
            Some("config") => well(home, &path(""), &values, &block).await,
            // Of continuous integration, where `demo.rs` runs what they run; and of Argo CD.
            Some("- run" | "images" | "spec") => {}
            _ => well(home, home, "pullproof config check pullproof.yaml", &block).await,
        }
        count += usize::from(page.contains("collection"));
    }
    assert!(count >= 3, "{count}");
}
