//! The three answers at the end of what `verify` shows: those that its JSON has, with what they are made of.

use super::run::{pullproof, with_input};
use crate::daemon::shop::deployment;
use crate::support::clients::Clients;
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};

const NOT_KNOWN: [&str; 2] = [
    "Can I fail over?    don't know  no workload of a standby cluster is known (one has `role: failover`)",
    "Can I roll back?    don't know  no earlier version of a workload is known",
];

/// The last lines.
fn last<const COUNT: usize>(text: &str) -> [&str; COUNT] {
    let lines: Vec<&str> = text.lines().collect();
    let lines = lines.last_chunk::<COUNT>();
    *lines.unwrap_or_else(|| panic!("it is short: {text}"))
}

#[tokio::test]
async fn who_asks_about_workloads_is_told_what_may_be_done() {
    require!("docker-registry", "crane", "regctl");
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V3, root.path())).await;
    let clients = Clients::of(&registry).await;
    let host = registry.host();
    let whole = format!("{host}/app:1");
    push_image(&clients, &whole, "app").await;
    let verify = ["verify", "--plain-http", &host];
    let yaml = ["-f", "-"];

    let all = deployment("shop", "web", &whole);
    let ended = with_input(&[&verify[..], &yaml].concat(), &all).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let yes = "Can I lose a node?  yes         1 running image proven";
    assert_eq!(
        last(&ended.stdout),
        [yes, NOT_KNOWN[0], NOT_KNOWN[1]],
        "{ended:?}"
    );

    let gone = ["a", "b", "c", "d", "e"].map(|name| format!("{host}/app:gone-{name}"));
    let named = gone.iter().map(|image| deployment("shop", "gone", image));
    let all = all + &named.collect::<String>();
    let first = gone[..3].join(", ");
    let no = "Can I lose a node?  no          5 of 6 running images broken";
    for (breadth, told) in [
        ("table", format!("{no}: {first} and 2 more")),
        ("wide", format!("{no}: {}", gone.join(", "))),
    ] {
        let arguments = [&verify[..], &yaml, &["-o", breadth]].concat();
        let ended = with_input(&arguments, &all).await;
        assert_eq!(ended.code, 2, "{ended:?}");
        assert_eq!(
            last(&ended.stdout),
            [&told, NOT_KNOWN[0], NOT_KNOWN[1]],
            "{ended:?}"
        );
    }

    let ended = pullproof(&[&verify[..], &["-f", "nowhere"]].concat()).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    let none = "Can I lose a node?  don't know  no workload is known to run";
    assert_eq!(
        last(&ended.stdout),
        [none, NOT_KNOWN[0], NOT_KNOWN[1]],
        "{ended:?}"
    );

    // Nobody says what these are for.
    for (arguments, list) in [
        ([&verify[..], &[&whole]].concat(), ""),
        (
            [&verify[..], &["--references", "-"]].concat(),
            whole.as_str(),
        ),
    ] {
        let ended = with_input(&arguments, list).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        let [summary] = last(&ended.stdout);
        assert!(
            summary.starts_with("1 image: 1 pullable, 0 broken"),
            "{ended:?}"
        );
    }
}
