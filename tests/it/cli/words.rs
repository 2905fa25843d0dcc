//! What it says of itself: help, completions, configuration, the demo's story.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use serde_json::Value;

use super::run::{pullproof, pullproof_in};

#[tokio::test]
async fn every_command_has_a_help() {
    let mut text = String::new();
    let mut commands: Vec<Vec<String>> = vec![Vec::new()];
    while !commands.is_empty() {
        let command = commands.remove(0);
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let ended = pullproof(&[&words[..], &["--help"]].concat()).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{command:?}");
        let name = [&["pullproof"], &words[..]].concat().join(" ");
        text.push_str(&format!("$ {name} --help\n{}\n", ended.stdout));
        let below = subcommands(&ended.stdout);
        commands.extend(
            below
                .into_iter()
                .map(|word| [&command[..], &[word]].concat()),
        );
    }
    insta::assert_snapshot!("help", text);
}

/// As the help lists them, so that a new one cannot be forgotten here.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    // A line that is set in further goes on with the one above it.
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names
        .filter(|name| !matches!(*name, "" | "help"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn it_tells_its_version_and_completes_in_a_shell() {
    let version = concat!("pullproof ", env!("CARGO_PKG_VERSION"), "\n");
    for arguments in [["version"], ["--version"]] {
        let ended = pullproof(&arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (0, version));
    }
    let ended = pullproof(&["completions", "bash"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let home = tempfile::tempdir().unwrap();
    let script = home.path().join("completions.bash");
    std::fs::write(&script, &ended.stdout).unwrap();
    // As bash does it when somebody types `pullproof ver` and the tabulator.
    let complete = "source \"$1\"; COMP_WORDS=(pullproof ver); COMP_CWORD=1
        COMPREPLY=(); _pullproof pullproof ver pullproof; echo \"${COMPREPLY[@]}\"";
    let mut bash = std::process::Command::new("bash");
    bash.args(["--norc", "-c", complete, "bash"]).arg(&script);
    let completed = crate::support::process::run_well(bash).await;
    assert_eq!(completed.trim(), "verify version");
}

#[tokio::test]
async fn the_example_is_a_valid_configuration_once_its_files_are_there() {
    let home = tempfile::tempdir().unwrap();
    let example = pullproof(&["config", "example"]).await;
    assert_eq!(example.code, 0, "{example:?}");
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    write("pullproof.yaml", &example.stdout);

    // Whoever takes it as it is learns which files to bring, and nothing else is wrong with it.
    let ended = pullproof_in(home.path(), &["config", "check"]).await;
    assert_eq!(ended.code, 64, "{ended:?}");
    let problems = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("pullproof.yaml:"));
    for problem in problems {
        assert!(problem.contains("there is no such file"), "{problem}");
    }

    let certificate = "-----BEGIN CERTIFICATE-----\n";
    write("edge.yaml", "{}");
    write("keep.txt", "");
    write("ca.pem", certificate);
    write("dr-ca.pem", certificate);
    write("dr-token", "a secret");
    write("client.pem", certificate);
    write("client-key.pem", "-----BEGIN PRIVATE KEY-----\n");
    write("config.json", "{\"auths\": {}}");
    write("aws-credentials", "[default]\n");
    write("azure-secret", "a secret");
    write("server.pem", certificate);
    write("redis-password", "a secret");
    write("server-key.pem", "-----BEGIN PRIVATE KEY-----\n");
    write("token", "a secret");
    write("harbor-admin", "admin:a secret");
    let template = include_str!("../../../deploy/collector-template.yaml");
    write("collector.yaml", template);
    write("gc-job.yaml", template);
    write("google.json", "{\"type\": \"service_account\"}");
    std::fs::create_dir(home.path().join("deploy")).unwrap();
    for arguments in [
        &["config", "check"][..],
        &["config", "check", "pullproof.yaml"],
    ] {
        let ended = pullproof_in(home.path(), arguments).await;
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (0, "pullproof.yaml is valid\n"),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn the_schema_names_every_key_of_the_example() {
    let schema = pullproof(&["config", "schema"]).await;
    assert_eq!(schema.code, 0, "{schema:?}");
    let example = pullproof(&["config", "example"]).await.stdout;
    let schema_text = schema.stdout.clone();
    let schema: Value = schema.json();
    assert!(
        schema["$schema"]
            .as_str()
            .unwrap()
            .contains("json-schema.org"),
        "{schema:#}"
    );
    let keys = example.lines().filter_map(|line| {
        let line = line.trim_start().trim_start_matches("- ");
        let (key, _) = line.split_once(':')?;
        (!key.starts_with('#')).then_some(key)
    });
    for key in keys {
        assert!(schema_text.contains(&format!("\"{key}\"")), "{key}");
    }
}

#[tokio::test]
async fn every_mistake_in_a_configuration_is_told_at_once_with_its_place_and_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let text = "inventory:
  references: [{name: keep, file: keep.txt}]
registries:
  - host: registry.example
    plainHtpp: true
    maxConcurrency: 0
verify: {interval: 5 minutes}
";
    std::fs::write(home.path().join("pullproof.yaml"), text).unwrap();
    std::fs::write(home.path().join("keep.txt"), "").unwrap();
    let told = pullproof_in(home.path(), &["config", "check"]).await;
    assert_eq!((told.code, told.stdout.as_str()), (64, ""), "{told:?}");
    insta::assert_snapshot!("config_with_three_mistakes", told.stderr);
    // Whoever needs the configuration says the same.
    for command in ["serve", "verify", "inventory"] {
        let ended = pullproof_in(home.path(), &[command]).await;
        assert_eq!((ended.code, &ended.stderr), (64, &told.stderr), "{command}");
    }
}

#[tokio::test]
async fn the_demo_plays_its_story_also_where_its_ports_are_taken() {
    // By us, or by somebody else.
    let taken: Vec<_> = [5000, 8080, 8081]
        .into_iter()
        .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
        .collect();
    let ended = pullproof(&["demo", "--once"]).await;
    drop(taken);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let mut rest = ended.stdout.as_str();
    for (word, with) in [
        ("pullable  ", "containers, proven"),
        ("plan  ", "would take 6 of 119 blobs"),
        ("collect  ", "takes 6 blobs, 71 KiB out"),
        ("incident  ", "sweeps the linux/arm64"),
        ("broken    ", "child_missing linux/arm64"),
        ("metric    ", "pullproof_workload_image_failure{"),
        ("restore  ", "back at once, 6 blobs, 71 KiB"),
        ("push      ", "pushed again"),
        ("pullable ", "the alert resolves"),
    ] {
        let Some(start) = rest.find(&format!("\n\n{word}")) else {
            panic!("no {word} in:\n{}", ended.stdout);
        };
        rest = &rest[start + 2..];
        let paragraph = rest.split("\n\n").next().unwrap();
        assert!(paragraph.contains(with), "{paragraph}");
    }
    let tree = ended
        .stdout
        .split("serves ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    assert!(tree.contains("pullproof-demo-"), "{tree}");
    assert!(!Path::new(tree).exists(), "{tree} stayed behind");
    for port in ["5000", "8080", "8081"] {
        assert!(
            !ended.stdout.contains(&format!("127.0.0.1:{port}")),
            "{}",
            ended.stdout
        );
    }
}
