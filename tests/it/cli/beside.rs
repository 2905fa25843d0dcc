//! One-shot commands beside a daemon that holds the state directory, and after it.

use serde_json::{Value, json};

use super::run::pullproof_in;
use super::{first_layer, run::lose_blob};
use crate::support::clients::Clients;
use crate::support::daemon::Daemon;
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};

#[tokio::test]
async fn commands_work_beside_the_daemon_and_take_over_what_it_remembers() {
    require!("docker-registry", "crane", "regctl");
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V3, root.path())).await;
    let clients = Clients::of(&registry).await;
    let host = registry.host();
    let (whole, broken) = (format!("{host}/whole:1"), format!("{host}/broken:1"));
    push_image(&clients, &whole, "whole").await;
    push_image(&clients, &broken, "broken").await;
    lose_blob(&registry, &first_layer(&clients, &broken).await);
    let home = tempfile::tempdir().unwrap();
    let list = home.path().join("keep.txt");
    std::fs::write(&list, format!("{whole}\n{broken}\n")).unwrap();

    let daemon = Daemon::start(&format!(
        "inventory: {{references: [{{name: keep, file: {}}}]}}\n\
         registries: [{{host: \"{host}\", plainHttp: true}}]\n",
        list.display()
    ));
    daemon.wait_until_ready().await;
    let file = daemon.configuration();
    let config = file.to_str().unwrap();
    let run = async |arguments: &[&str]| {
        let arguments = [&["--config", config], arguments].concat();
        pullproof_in(home.path(), &arguments).await
    };

    let ended = run(&["verify", "-o", "json"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (2, ""), "{ended:?}");
    assert_eq!(ended.codes("/broken:1"), ["layer_missing"]);
    let ended = run(&["inventory", "-o", "json"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    assert_eq!(ended.json()["images"].as_array().unwrap().len(), 2);

    // The snapshot is written after each round, so it may be a moment behind the metrics.
    let accepted = daemon
        .wait_until("the baseline is accepted", async || {
            let ended = run(&["baseline", "accept"]).await;
            (ended.code == 0 && ended.stdout.contains("1 known")).then_some(ended)
        })
        .await;
    assert_eq!(accepted.stderr, "");
    daemon
        .wait_for_series("workload_image_failure", &["known=\"true\""])
        .await;
    let shown = run(&["baseline", "show"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.stdout.starts_with(&broken), "{shown:?}");
    let shown = run(&["baseline", "show", "-o", "json"]).await.json();
    let names: Vec<_> = shown["images"].as_object().unwrap().keys().collect();
    assert_eq!(json!(names), json!([broken]));
    let terms = ["--owner", "payments", "--until", "2999-01-01"];
    for terms in [
        &terms[..],
        &["--owner", "nobody-else", "--until", "3000-01-01"],
    ] {
        let accepted = run(&[&["baseline", "accept"], terms].concat()).await;
        assert_eq!(accepted.stdout, "0 images added, 1 known\n", "{accepted:?}");
        let shown = run(&["baseline", "show"]).await;
        let said = "  owner payments  until 2999-01-01T00:00:00Z\n";
        assert!(shown.stdout.contains(said), "{shown:?}");
    }
    for (until, why) in [
        ("2001-01-01", "--until 2001-01-01T00:00:00Z is over"),
        ("soon", "expected a date as 2026-12-31"),
    ] {
        let refused = run(&["baseline", "accept", "--until", until]).await;
        assert_eq!(refused.code, 64, "{refused:?}");
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
    assert_eq!(run(&["baseline", "clear"]).await.code, 0);
    daemon
        .wait_for_series("workload_image_failure", &["known=\"false\""])
        .await;

    assert!(daemon.terminate().await.success());
    // The directory is free now, and what the daemon fetched is not fetched again.
    let ended = run(&["verify", "-o", "json"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    let requests = &ended.json()["requests"];
    assert_eq!(requests["manifest_get"], 0, "{requests}");
    assert_eq!(requests["manifest_head"], 2, "{requests}");
}

#[tokio::test]
async fn what_a_tag_named_before_is_asked_of_the_daemon_that_remembers_it() {
    require!("docker-registry", "crane", "regctl");
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V3, root.path())).await;
    let clients = Clients::of(&registry).await;
    let host = registry.host();
    let moved = format!("{host}/moved:1");
    push_image(&clients, &moved, "before").await;
    let before = clients.crane(&["digest", &moved]).await;
    let before = before.trim();
    let home = tempfile::tempdir().unwrap();
    let list = home.path().join("keep.txt");
    std::fs::write(&list, format!("{moved}\n")).unwrap();
    let daemon = Daemon::start(&format!(
        "inventory: {{references: [{{name: keep, file: {}}}]}}\n\
         registries: [{{host: \"{host}\", plainHttp: true, kind: distribution, storage: {{filesystem: {{root: {}}}}}}}]\n\
         gc: {{untagged: delete, tagHistory: delete, minimumAge: 0s}}\n",
        list.display(),
        root.path().display(),
    ));
    daemon.wait_until_ready().await;
    push_image(&clients, &moved, "after").await;
    let file = daemon.configuration();
    let plan = async || {
        let arguments = [
            "--config",
            file.to_str().unwrap(),
            "gc",
            "plan",
            "-o",
            "json",
        ];
        let planned = pullproof_in(home.path(), &arguments).await;
        assert_eq!(planned.code, 0, "{planned:?}");
        planned.json()
    };
    let refused = |planned: &Value| {
        let refusals = planned["refusals"].as_array().unwrap().iter();
        refusals
            .map(|it| it["code"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // What a tag leads to is remembered when it was seen.
    daemon
        .wait_until("what was there before is kept", async || {
            let planned = plan().await;
            let refused = refused(&planned);
            assert!(!refused.contains(&"ledger_missing".to_owned()), "{planned}");
            (!planned["garbage"].to_string().contains(before)).then_some(())
        })
        .await;
    std::fs::remove_file(file.with_file_name("state").join("ledger.sock")).unwrap();
    let planned = plan().await;
    assert_eq!(refused(&planned)[0], "ledger_missing", "{planned}");
    // What nobody remembers would go.
    assert!(planned["garbage"].to_string().contains(before), "{planned}");
}
