//! Windows as a daemon tells them: in its metrics and its API, and anew when the configuration changes.

use serde_json::Value;

use crate::support::daemon::Daemon;

const NEVER: &str = "{name: leap, schedule: \"0 2 29 2 *\", timeZone: Europe/Berlin, duration: 3h}";

#[tokio::test]
async fn a_daemon_tells_which_windows_are_open_and_when_they_open_next() {
    let home = tempfile::tempdir().unwrap();
    let list = home.path().join("keep.txt");
    std::fs::write(&list, "").unwrap();
    let list = list.display();
    let daemon = Daemon::start(&format!(
        "inventory: {{references: [{{name: none, file: \"{list}\"}}]}}\n\
         registries: [{{host: registry.example, storage: {{filesystem: {{root: /nonexistent}}}}}}]\n\
         gc: {{windows: [{NEVER}]}}"
    ));
    let leap = ["window=\"leap\""];
    let open = daemon.wait_for_series("gc_window_open", &leap).await;
    assert!(ends_in(&open, 0.0), "{open}");
    let next = daemon
        .wait_for_series("gc_window_next_open_timestamp_seconds", &leap)
        .await;
    // 29 February 2028, 2096 for whoever runs this after 2028: 02:00 in Berlin.
    let seconds: f64 = next.rsplit(' ').next().unwrap().parse().unwrap();
    let told = daemon.api("windows").await;
    let of_storage = &told["storages"][0];
    assert_eq!(of_storage["storage"], "registry.example");
    assert_eq!(of_storage["open"], Value::Null);
    let start: jiff::Timestamp = of_storage["next"][0]["start"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        (start.as_duration().as_secs_f64() - seconds).abs() < 0.5,
        "{start} {next}"
    );
    let wall = start.in_tz("Europe/Berlin").unwrap();
    assert_eq!(wall.strftime("%m-%d %H:%M").to_string(), "02-29 02:00");

    // Other windows, of which some are open at every time.
    let text = std::fs::read_to_string(daemon.configuration()).unwrap();
    let halves = "{name: day, schedule: \"0 1 * * *\", duration: 12h}, {name: night, schedule: \"1 13 * * *\", \
                  duration: 11h58m}";
    std::fs::write(daemon.configuration(), text.replace(NEVER, halves)).unwrap();
    daemon.wait_for_no_series("gc_window_open", &leap).await;
    let told = daemon.api("windows").await;
    let windows = told["windows"].as_array().unwrap();
    for window in windows {
        let name = format!("window=\"{}\"", window["window"].as_str().unwrap());
        let open = daemon.wait_for_series("gc_window_open", &[&name]).await;
        assert!(ends_in(&open, 0.0) || ends_in(&open, 1.0), "{open}");
    }
    assert_eq!(windows.len(), 2);

    // What only wakes does not keep it from ending.
    let status = daemon.terminate().await;
    let log = daemon.process().tail();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("not every part ended"), "{log}");
}

fn ends_in(line: &str, value: f64) -> bool {
    let told: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    (told - value).abs() < f64::EPSILON
}
