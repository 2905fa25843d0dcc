//! `gc windows` at the command line.

use serde_json::json;

use super::run::{Ended, pullproof_in};

const CONFIGURATION: &str = "\
registries:
  - {host: \"registry.example:5000\", storage: {filesystem: {root: registry}}}
  - {host: other.example, storage: {filesystem: {root: other}}, gc: {windows: [{name: noon, schedule: \"0 12 * * *\", duration: 1h}]}}
  - {host: plain.example}
gc:
  windows:
    - {name: sunday, schedule: \"0 2 * * 0\", timeZone: Europe/Berlin, duration: 3h}
    - {name: tail, schedule: \"0 5 * * SUN\", timeZone: Europe/Berlin, duration: 30m}
";

async fn windows(configuration: &str, more: &[&str]) -> Ended {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("pullproof.yaml"), configuration).unwrap();
    let mut arguments = vec!["gc", "windows"];
    arguments.extend(more);
    pullproof_in(home.path(), &arguments).await
}

#[tokio::test]
async fn it_tells_the_next_openings_of_each_storage_in_words_and_in_json() {
    let now = ["--now", "2026-11-26T12:00:00Z", "--count", "1"];
    let ended = windows(CONFIGURATION, &now).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        ended.stdout,
        "registry.example:5000\n  \
         in 2 days  Sunday 2026-11-29 02:00 to 05:30 Europe/Berlin (CET, UTC+1), 3 h 30 min: sunday, tail\n\n\
         other.example\n  \
         open     Thursday 2026-11-26 12:00 to 13:00 UTC, 1 h, 1 h left: noon\n  \
         in 24 h  Friday 2026-11-27 12:00 to 13:00 UTC, 1 h: noon\n"
    );
    let mut json = now.to_vec();
    json.extend(["-o", "json"]);
    let ended = windows(CONFIGURATION, &json).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let expected = json!({
        "schema": "pullproof.dev/windows/v1",
        "at": "2026-11-26T12:00:00Z",
        "windows": [
            {"window": "sunday", "name": "sunday", "schedule": "0 2 * * 0", "time_zone": "Europe/Berlin",
             "duration_seconds": 10800, "open": false, "next_open": "2026-11-29T01:00:00Z"},
            {"window": "tail", "name": "tail", "schedule": "0 5 * * SUN", "time_zone": "Europe/Berlin",
             "duration_seconds": 1800, "open": false, "next_open": "2026-11-29T04:00:00Z"},
            {"window": "other.example/noon", "name": "noon", "schedule": "0 12 * * *", "time_zone": "UTC",
             "duration_seconds": 3600, "open": true, "next_open": "2026-11-27T12:00:00Z"},
        ],
        "storages": [
            {"storage": "other.example", "windows": ["other.example/noon"],
             "open": {"id": "noon@2026-11-26T12:00:00Z", "windows": ["noon"], "start": "2026-11-26T12:00:00Z",
                      "end": "2026-11-26T13:00:00Z", "duration_seconds": 3600},
             "next": [{"id": "noon@2026-11-27T12:00:00Z", "windows": ["noon"], "start": "2026-11-27T12:00:00Z",
                       "end": "2026-11-27T13:00:00Z", "duration_seconds": 3600}]},
            {"storage": "registry.example:5000", "windows": ["sunday", "tail"], "open": null,
             "next": [{"id": "sunday@2026-11-29T01:00:00Z", "windows": ["sunday", "tail"],
                       "start": "2026-11-29T01:00:00Z", "end": "2026-11-29T04:30:00Z", "duration_seconds": 12600}]},
        ],
    });
    assert_eq!(ended.json(), expected);

    let only = [
        "--now",
        "2026-11-26T10:00:00Z",
        "--storage",
        "OTHER.example",
        "-o",
        "yaml",
    ];
    let ended = windows(CONFIGURATION, &only).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("other.example/noon"), "{ended:?}");
    assert!(!ended.stdout.contains("sunday"), "{ended:?}");
    assert_eq!(ended.stdout.matches("noon@").count(), 5, "{ended:?}");
}

#[tokio::test]
async fn without_windows_it_says_how_to_write_one_and_bad_ones_are_refused() {
    let ended = windows("", &[]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    assert!(
        ended.stdout.starts_with("no window is configured"),
        "{ended:?}"
    );
    assert!(
        ended.stdout.contains("schedule: \"0 2 * * 0\""),
        "{ended:?}"
    );
    for (storage, told) in [
        (
            "nobody.example",
            "no entry of `registries` has the host nobody.example",
        ),
        ("plain.example", "the entry of plain.example has no storage"),
    ] {
        let ended = windows(CONFIGURATION, &["--storage", storage]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (64, ""), "{ended:?}");
        assert!(ended.stderr.contains(told), "{ended:?}");
    }
    let ended = windows(&CONFIGURATION.replace("0 12 * * *", "0 12 30 2 *"), &[]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (64, ""), "{ended:?}");
    let told = "pullproof.yaml:3:103: registries[1].gc.windows[0].schedule: `0 12 30 2 *` is not a schedule: it \
                never opens";
    assert!(ended.stderr.contains(told), "{ended:?}");
    let ended = windows(CONFIGURATION, &["--count", "0"]).await;
    assert_eq!(ended.code, 64, "{ended:?}");
}
