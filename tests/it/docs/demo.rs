//! What the pages show of the demo, and beside it.

use std::fs;

use super::shown::{By, bash, run_by};
use crate::support::demo::Demo;
use crate::support::parts::require;

/// Whose host the pages show.
const HOST: &str = "127.0.0.1:5000";

const CHART: &str = "apiVersion: v2\nname: shop\nversion: 0.1.0\n";

fn deployment(namespace: &str, name: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
         spec: {{containers: [{{name: {name}, image: \"{image}\"}}]}}\n---\n"
    )
}

#[tokio::test]
async fn what_is_shown_of_the_demo_and_beside_it_is_what_is_printed() {
    require!("helm");
    let (home, demo) = (tempfile::tempdir().unwrap(), Demo::play().await);
    let (home, host) = (home.path(), demo.registry());
    fs::copy(demo.workloads(), home.join("workloads.yaml")).unwrap();
    let images = ["team/checkout:latest", "team/storefront:v2.4.0"];
    let images = images.map(|image| format!("{host}/{image}"));
    fs::write(home.join("keep.txt"), images.join("\n")).unwrap();
    let chart = home.join("chart/templates");
    fs::create_dir_all(&chart).unwrap();
    fs::write(home.join("chart/Chart.yaml"), CHART).unwrap();
    let yaml = deployment("payments", "checkout", &images[0])
        + &deployment("shop", "storefront", &images[1]);
    fs::write(chart.join("workloads.yaml"), &yaml).unwrap();
    fs::create_dir(home.join("deploy")).unwrap();
    fs::write(home.join("deploy/workloads.yaml"), yaml).unwrap();

    for (command, code) in demo.commands().iter().zip([2, 2, 0, 3]) {
        let ended = bash(home, home, command).await;
        assert_eq!(ended.code, code, "{command}: {ended:?}");
    }

    let mut code = 0;
    for shown in run_by(By::Demo) {
        if shown.command == "echo $?" {
            shown.compare(&code.to_string(), str::to_owned);
            continue;
        }
        let command = shown.command.replace(HOST, &host);
        let ended = bash(home, home, &command).await;
        code = ended.code;
        assert!([0, 2, 3].contains(&code), "{command}: {ended:?}");
        let is_demo = command.contains(" demo ");
        for report in ["pullproof.sarif", "pullproof.xml"] {
            if command.contains(report) {
                let text = fs::read_to_string(home.join(report)).unwrap();
                assert!(text.contains("team/checkout"), "{text}");
            }
        }
        if !shown.output.is_empty() {
            // The demo takes the next ports where these are taken, as they are here.
            shown.compare(&ended.stdout, |text| {
                if is_demo {
                    text.to_owned()
                } else {
                    text.replace(&host, HOST)
                }
            });
        }
    }
}
