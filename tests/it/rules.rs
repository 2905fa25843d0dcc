//! The shipped alerts: promtool and amtool pass them, and what no tool can know is held here. Every
//! metric exists, every alert says what to do, and every alert was seen to fire, stay silent and
//! resolve.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use pullproof::metrics::catalog::{self, Kind};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const RULES: &str = "alerts/pullproof.rules.yaml";
const ROUTING: &str = "alerts/alertmanager.example.yaml";
const RUNBOOKS: &str = "https://github.com/pullproof/pullproof/blob/main/docs/alerts.md#";

/// What a scrape shows, by the names that PromQL knows: the catalogue's, as they are exposed.
pub(crate) fn exposed_metrics() -> BTreeSet<String> {
    let exposed = catalog::ALL.iter().flat_map(|metric| {
        let name = format!("{}_{}", catalog::PREFIX, metric.name);
        let suffixes: &[&str] = match metric.kind {
            Kind::Gauge => &[""],
            Kind::Counter => &["_total"],
            Kind::Histogram => &["_bucket", "_count", "_sum"],
            Kind::Info => &["_info"],
        };
        suffixes
            .iter()
            .map(|suffix| format!("{name}{suffix}"))
            .collect::<Vec<_>>()
    });
    let process = [
        "cpu_seconds_total",
        "max_fds",
        "open_fds",
        "resident_memory_bytes",
        "start_time_seconds",
    ];
    exposed
        .chain(process.map(|name| format!("process_{name}")))
        .collect()
}

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<RuleGroup>,
}

#[derive(Deserialize)]
struct RuleGroup {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct TestFile {
    tests: Vec<TestCase>,
}

#[derive(Deserialize)]
struct TestCase {
    interval: String,
    input_series: Vec<Series>,
    alert_rule_test: Vec<Expectation>,
}

#[derive(Deserialize)]
struct Series {
    series: String,
    values: String,
}

impl Series {
    fn metric(&self) -> &str {
        self.series.split('{').next().unwrap_or_default()
    }

    /// The number of its last step with a value, if it is known to end: what ends without `stale` is only not
    /// written down any further.
    fn last(&self) -> Option<u32> {
        let values = self.values.strip_suffix(" stale")?;
        let steps = values.split(' ').map(|value| {
            let times = value.rsplit_once('x').map(|(_, times)| times);
            let times = times.map(|it| it.parse::<u32>().expect("a number of steps"));
            // `1x3` is four of them, and `_x3` three.
            match times {
                Some(times) if value.starts_with('_') => times,
                Some(times) => times + 1,
                None => 1,
            }
        });
        steps.sum::<u32>().checked_sub(1)
    }
}

#[derive(Deserialize)]
struct Expectation {
    eval_time: String,
    alertname: String,
    exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Deserialize)]
struct ExpectedAlert {
    exp_labels: BTreeMap<String, String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse<T: DeserializeOwned>(path: impl AsRef<Path>) -> T {
    serde_saphyr::from_str(&read(&path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn rules() -> Vec<Rule> {
    let file: RuleFile = parse(RULES);
    file.groups
        .into_iter()
        .flat_map(|group| group.rules)
        .collect()
}

/// The alerts by name and severity: what a test expects one by one.
fn alerts() -> BTreeSet<(String, String)> {
    rules()
        .into_iter()
        .map(|rule| {
            let severity = rule.labels.get("severity").cloned().unwrap_or_default();
            (rule.alert, severity)
        })
        .collect()
}

fn test_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join("tests/rules"))
        .expect("tests/rules is there")
        .map(|entry| entry.expect("tests/rules can be read").path())
        .filter(|path| path.to_string_lossy().ends_with(".test.yaml"))
        .collect();
    assert!(!files.is_empty(), "tests/rules has no tests");
    files.sort();
    files
}

/// The minutes of a time in a test, `15m` or `3h15m`.
fn minutes(time: &str) -> u32 {
    let (hours, minutes) = time.split_once('h').unwrap_or(("0", time));
    let number = |text: &str| match text.trim_end_matches('m') {
        "" => 0,
        digits => digits
            .parse::<u32>()
            .unwrap_or_else(|error| panic!("{time}: {error}")),
    };
    60 * number(hours) + number(minutes)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Runs the program in the package's directory and panics with what it printed if it fails. Where it
/// is missing the test is skipped, loudly, but in CI that is a failure.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    if !is_on_path(program) {
        let test = std::thread::current();
        let test = test.name().unwrap_or("main");
        let line = format!("SKIPPED {test}: {program} is missing, run tests/testbed/install\n");
        let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!is_ci, "{line}");
        // Written past `println!`, whose output the runner shows for failed tests only.
        std::io::stderr()
            .write_all(line.as_bytes())
            .expect("standard error is open");
        return;
    }
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("the program is there");
    assert!(
        output.status.success(),
        "{program} {}\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn promtool_accepts_the_rules_with_every_lint() {
    run(
        "promtool",
        &["check", "rules", "--lint=all", "--lint-fatal", RULES],
    );
}

#[test]
fn the_rules_do_what_their_tests_expect() {
    let files = test_files();
    let mut arguments = vec!["test", "rules"];
    arguments.extend(
        files
            .iter()
            .map(|file| file.to_str().expect("a UTF-8 path")),
    );
    run("promtool", &arguments);
}

#[test]
fn amtool_accepts_the_example_of_routing() {
    run("amtool", &["check-config", ROUTING]);
}

#[test]
fn the_example_routes_by_namespace() {
    let routes = |receiver: &str, labels: &[&str]| {
        let config = format!("--config.file={ROUTING}");
        let receiver = format!("--verify.receivers={receiver}");
        let mut arguments = vec!["config", "routes", "test", &config, &receiver];
        arguments.extend(labels);
        run("amtool", &arguments);
    };
    for alert in [
        "PullproofImageNotPullable",
        "PullproofImagePullUnauthorized",
    ] {
        let alertname = format!("alertname={alert}");
        routes("team-shop", &[&alertname, "namespace=shop"]);
        routes("team-shop", &[&alertname, "namespace=shop-eu"]);
        routes("platform", &[&alertname, "namespace=workshop"]);
        routes("team-shop", &[&alertname, "namespace=crm", "team=payments"]);
        routes("platform", &[&alertname, "namespace=crm", "team=data"]);
        routes("platform", &[&alertname]);
    }
    routes("platform", &["alertname=PullproofImageProofStale"]);
    routes("platform", &["alertname=PullproofDown"]);
}

#[test]
fn every_alert_says_what_it_is_and_what_to_do() {
    let rules = rules();
    assert!(!rules.is_empty());
    for rule in &rules {
        let name = &rule.alert;
        let of = |annotation: &str| {
            rule.annotations
                .get(annotation)
                .unwrap_or_else(|| panic!("{name} has no {annotation}"))
        };
        assert!(name.starts_with("Pullproof"), "{name}");
        let severity = rule.labels.get("severity").map(String::as_str);
        assert!(
            matches!(severity, Some("critical" | "warning")),
            "{name}: {severity:?}"
        );
        let summary = of("summary");
        assert!(
            !summary.contains("{{") && summary.ends_with('.'),
            "{name}: a summary is one sentence, the same for all: {summary}"
        );
        let description = of("description");
        assert!(
            description.contains(" First "),
            "{name}: what to do first? {description}"
        );
        let runbook = format!("{RUNBOOKS}{}", name.to_lowercase());
        assert_eq!(of("runbook_url"), &runbook);
    }
}

/// What the alerts about images of a namespace leave out of their series' labels, each alert once.
fn left_out() -> Vec<BTreeSet<String>> {
    let text = read(RULES);
    let lists = text.split("max without (").skip(1);
    lists
        .map(|rest| {
            let list = rest.split(')').next().unwrap_or_default();
            list.split(',')
                .map(|label| label.trim().to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn an_alert_keeps_the_labels_that_are_chosen_and_none_that_may_not_be() {
    let all = left_out();
    assert_eq!(all.len(), 7);
    let [first, others @ ..] = all.as_slice() else {
        panic!("there are some");
    };
    assert!(others.iter().all(|other| other == first), "{all:#?}");
    for label in first {
        // Prometheus' own name for what it renames; `metrics.labels` takes no name that begins so.
        let is_renamed = label.starts_with("exported_");
        let may_not_be_chosen = catalog::RESERVED.contains(&label.as_str());
        assert!(
            is_renamed || may_not_be_chosen,
            "whoever chooses {label} would miss it"
        );
    }
    // One alert for an image in a namespace, whatever else its uses have.
    let kept = ["cluster", "namespace", "image", "registry", "drift"];
    let of_workloads = catalog::ALL
        .iter()
        .filter(|metric| metric.labels.starts_with(&catalog::WORKLOAD))
        .flat_map(|metric| metric.labels);
    for label in of_workloads {
        assert_eq!(first.contains(*label), !kept.contains(label), "{label}");
    }
}

#[test]
fn every_rule_that_looks_at_workloads_leaves_out_what_is_silenced() {
    let text = read(RULES);
    // But for the one that asks whether labels are renamed, and what is told of a registry as a whole.
    let selectors = text.match_indices("pullproof_workload_image_");
    let selectors = selectors.map(|(at, _)| text[at..].split('}').next().unwrap_or_default());
    let looks = selectors.filter(|it| it.contains("class=") && !it.contains("registry=%q,class="));
    let mut count = 0;
    for selector in looks {
        assert!(selector.contains("ignored!=\"true\""), "{selector}");
        count += 1;
    }
    assert_eq!(count, 11);
}

#[test]
fn every_metric_of_the_rules_and_of_their_tests_exists() {
    let mut files = test_files();
    files.push(RULES.into());
    for file in files {
        let text = read(&file);
        let metrics: BTreeSet<&str> = words(&text)
            .filter(|word| word.starts_with("pullproof_") || word.starts_with("process_"))
            .collect();
        assert!(!metrics.is_empty(), "{}", file.display());
        for metric in metrics {
            assert!(
                exposed_metrics().contains(metric),
                "{}: no metric is called {metric}",
                file.display()
            );
        }
    }
}

#[test]
fn the_example_of_routing_names_alerts_that_exist() {
    let alerts: BTreeSet<String> = alerts().into_iter().map(|(name, _)| name).collect();
    let text = read(ROUTING);
    // `Pullproof` alone begins a pattern.
    let named = words(&text).filter(|word| word.starts_with("Pullproof") && *word != "Pullproof");
    for name in named {
        assert!(alerts.contains(name), "there is no alert {name}");
    }
}

#[test]
fn every_alert_is_seen_to_fire_to_stay_silent_and_to_resolve() {
    let cases: Vec<TestCase> = test_files()
        .iter()
        .flat_map(|file| parse::<TestFile>(file).tests)
        .collect();
    for (name, severity) in alerts() {
        let fires = |expectation: &Expectation| {
            expectation
                .exp_alerts
                .iter()
                .any(|alert| alert.exp_labels.get("severity") == Some(&severity))
        };
        // For each case, in the order of time, whether the alert is expected when it is asked about.
        let courses: Vec<Vec<bool>> = cases
            .iter()
            .map(|case| {
                let mut course: Vec<(u32, bool)> = case
                    .alert_rule_test
                    .iter()
                    .filter(|expectation| expectation.alertname == name)
                    .map(|expectation| (minutes(&expectation.eval_time), fires(expectation)))
                    .collect();
                course.sort_unstable();
                course.into_iter().map(|(_, fires)| fires).collect()
            })
            .collect();
        assert!(
            courses
                .iter()
                .any(|course| course.windows(2).any(|pair| pair == [true, false])),
            "no test sees {name} ({severity}) fire and then resolve"
        );
        assert!(
            courses
                .iter()
                .any(|course| !course.is_empty() && !course.contains(&true)),
            "no test sees {name} ({severity}) stay silent"
        );
    }
}

/// It is the one that fires when everything is gone.
const OF_WHAT_IS_GONE: &str = "PullproofDown";

/// What a pullproof, a storage or an image that is gone leaves behind: nothing for ever. For each alert there is a case in
/// which it fires, all that it is made of ends, and it is asked about after that, and silent.
#[test]
fn every_alert_is_seen_to_resolve_when_its_series_are_gone() {
    let cases: Vec<TestCase> = test_files()
        .iter()
        .flat_map(|file| parse::<TestFile>(file).tests)
        .collect();
    for rule in rules().iter().filter(|rule| rule.alert != OF_WHAT_IS_GONE) {
        let severity = rule.labels.get("severity");
        let is_seen = cases.iter().any(|case| {
            let metrics: BTreeSet<&str> = words(&rule.expr).collect();
            let of_rule = case.input_series.iter();
            let of_rule = of_rule.filter(|series| metrics.contains(series.metric()));
            // One without an end stays, and a case without any is of something else.
            let ends: Option<Vec<u32>> = of_rule.map(Series::last).collect();
            let Some(end) = ends.and_then(|ends| ends.into_iter().max()) else {
                return false;
            };
            let end = end * minutes(&case.interval);
            let asked = case
                .alert_rule_test
                .iter()
                .filter(|asked| asked.alertname == rule.alert);
            let (before, after): (Vec<_>, Vec<_>) =
                asked.partition(|asked| minutes(&asked.eval_time) <= end);
            let fires = |asked: &&Expectation| {
                let mut alerts = asked.exp_alerts.iter();
                alerts.any(|alert| alert.exp_labels.get("severity") == severity)
            };
            before.iter().any(fires) && after.iter().any(|asked| !fires(asked))
        });
        assert!(
            is_seen,
            "no test sees {} ({severity:?}) fire, all of its series end, and it resolve",
            rule.alert
        );
    }
}
