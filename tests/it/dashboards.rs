//! The shipped dashboards: what Grafana's dashboard-linter asks for, that every expression is PromQL over
//! metrics which exist, and that every metric is to be seen somewhere. No Grafana is at hand: that they can be
//! imported was not tried.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod scenario;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::rules::{exposed_metrics, run};

/// Grafana 10 knows it, and later ones read it.
const SCHEMA_MAX: u64 = 41;
/// Each comes with Grafana.
const PANELS: [&str; 5] = ["bargauge", "stat", "state-timeline", "table", "timeseries"];
/// What a target is narrowed by, wherever it is.
const MATCHERS: [&str; 3] = [
    r#"job=~"$job""#,
    r#"instance=~"$instance""#,
    // What belongs to no cluster is of all of them.
    r#"cluster=~"$cluster|""#,
];

struct Dashboard {
    name: String,
    all: Value,
}

impl Dashboard {
    fn variables(&self) -> impl Iterator<Item = &Value> {
        array(&self.all["templating"]["list"]).iter()
    }

    /// Those that show something.
    fn panels(&self) -> impl Iterator<Item = (&str, &Value)> {
        let all = array(&self.all["panels"]).iter();
        let panels = all.filter(|panel| panel["type"] != "row");
        panels.map(|panel| (text(&panel["title"]), panel))
    }

    /// An expression for everything there is.
    fn filled(&self, expression: &str) -> String {
        let mut filled = expression.replace("$__rate_interval", "1m");
        for variable in self.variables() {
            let name = format!("${}", text(&variable["name"]));
            filled = filled.replace(&name, text(&variable["allValue"]));
        }
        filled
    }

    fn expressions(&self) -> impl Iterator<Item = (String, &str)> {
        self.panels().flat_map(move |(title, panel)| {
            let targets = array(&panel["targets"]).iter();
            let named = move |target| (format!("{}: {title}", self.name), target);
            targets.map(move |target| named(text(&target["expr"])))
        })
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn dashboards() -> Vec<Dashboard> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    let files = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let all = files.into_iter().map(|file| Dashboard {
        name: file.file_name().unwrap().to_string_lossy().into_owned(),
        all: serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap(),
    });
    all.collect()
}

/// The selectors of an expression: a metric's name, and what is in the braces behind it.
fn selectors(expression: &str) -> Vec<(&str, &str)> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let found = expression.match_indices("pullproof_").map(|(at, _)| {
        let rest = &expression[at..];
        let (name, rest) =
            rest.split_at(rest.find(|letter| !is_name(letter)).unwrap_or(rest.len()));
        let matchers = rest.strip_prefix('{').and_then(|it| it.split_once('}'));
        (name, matchers.map_or("", |(matchers, _)| matchers))
    });
    found.collect()
}

/// The variables of an expression, in pieces of text: what is no variable is empty.
fn variables(expression: &str) -> impl Iterator<Item = &str> {
    expression.split('$').skip(1).map(|rest| {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        rest.split(|letter| !is_name(letter))
            .next()
            .unwrap_or_default()
    })
}

#[test]
fn each_can_be_found_and_is_nobodys_to_edit_in_place() {
    let all = dashboards();
    let names: Vec<&str> = all.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "collection.json",
            "images.json",
            "overview.json",
            "registries.json"
        ]
    );
    let mut ids = BTreeSet::new();
    for Dashboard { name, all } in &all {
        let id = text(&all["uid"]);
        assert!(id.starts_with("pullproof-") && id.len() <= 40, "{name}");
        assert!(ids.insert(id.to_owned()), "{name}: {id} is another's too");
        assert!(
            all["schemaVersion"].as_u64().unwrap() <= SCHEMA_MAX,
            "{name}"
        );
        assert_eq!(all["editable"], false, "{name}");
        assert!(
            all.get("id").is_none() && all.get("__inputs").is_none(),
            "{name}"
        );
        assert!(text(&all["title"]).starts_with("pullproof / "), "{name}");
        assert!(!text(&all["description"]).is_empty(), "{name}");
        assert!(array(&all["tags"]).contains(&"pullproof".into()), "{name}");
    }
}

#[test]
fn each_asks_which_data_source_job_and_cluster() {
    for dashboard in dashboards() {
        let name = &dashboard.name;
        let names: Vec<&str> = dashboard.variables().map(|it| text(&it["name"])).collect();
        assert_eq!(
            names[..4],
            ["datasource", "job", "instance", "cluster"],
            "{name}"
        );
        for variable in dashboard.variables() {
            let at = format!("{name}: ${}", text(&variable["name"]));
            assert!(!text(&variable["label"]).is_empty(), "{at}");
            if variable["type"] == "datasource" {
                assert_eq!(variable["query"], "prometheus", "{at}");
                continue;
            }
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{at}");
            assert_eq!(
                variable["refresh"], 2,
                "{at}: it is read anew as time passes"
            );
            assert_eq!(
                (&variable["multi"], &variable["includeAll"]),
                (&true.into(), &true.into()),
                "{at}"
            );
            let query = text(&variable["query"]["query"]);
            assert!(
                query.starts_with("label_values(pullproof_"),
                "{at}: {query}"
            );
            let is_first = variable["name"] == "job";
            assert!(is_first || query.contains(MATCHERS[0]), "{at}: {query}");
        }
    }
}

#[test]
fn each_panel_says_what_it_shows_and_in_which_unit() {
    for dashboard in dashboards() {
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in array(&dashboard.all["panels"]) {
            let at = format!("{}: {}", dashboard.name, text(&panel["title"]));
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{at}");
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|it| panel["gridPos"][it].as_u64().unwrap());
            assert!(x + w <= 24, "{at} is wider than the page");
            for (column, line) in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert((column, line)), "{at} lies over another");
            }
        }
        for (title, panel) in dashboard.panels() {
            let at = format!("{}: {title}", dashboard.name);
            assert!(
                PANELS.contains(&text(&panel["type"])),
                "{at} needs a plugin"
            );
            assert!(
                !title.is_empty() && text(&panel["description"]).ends_with('.'),
                "{at}"
            );
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{at}");
            assert!(
                !text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(),
                "{at}"
            );
            let targets = array(&panel["targets"]);
            assert!(!targets.is_empty(), "{at}");
            let names: BTreeSet<&str> = targets.iter().map(|it| text(&it["refId"])).collect();
            assert_eq!(names.len(), targets.len(), "{at}");
            for target in targets {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{at}");
            }
        }
    }
}

#[test]
fn each_expression_is_narrowed_and_counters_are_rates() {
    let exposed = exposed_metrics();
    for dashboard in dashboards() {
        let own: BTreeSet<&str> = dashboard.variables().map(|it| text(&it["name"])).collect();
        for (at, expression) in dashboard.expressions() {
            let selectors = selectors(expression);
            assert!(!selectors.is_empty(), "{at}");
            for (metric, matchers) in selectors {
                assert!(exposed.contains(metric), "{at}: there is no {metric}");
                for matcher in MATCHERS {
                    assert!(
                        matchers.contains(matcher),
                        "{at}: {metric} without {matcher}"
                    );
                }
                if metric.ends_with("_total") || metric.ends_with("_bucket") {
                    let grows = format!("({metric}{{{matchers}}}[$__rate_interval])");
                    let is_so = |by: &str| expression.contains(&format!("{by}{grows}"));
                    assert!(
                        is_so("rate") || is_so("increase"),
                        "{at}: {metric} only grows"
                    );
                    assert!(expression.contains("sum"), "{at}");
                }
            }
            for used in variables(expression) {
                let is_own = own.contains(used) || used == "__rate_interval";
                assert!(is_own, "{at}: there is no ${used}");
            }
        }
    }
}

/// Every metric is on a dashboard; those of the process are everybody's.
#[test]
fn every_metric_is_to_be_seen() {
    let all = dashboards();
    let seen: BTreeSet<String> = all
        .iter()
        .flat_map(|dashboard| {
            let shown = dashboard.expressions().map(|(_, it)| it.to_owned());
            let asked = dashboard
                .variables()
                .map(|it| text(&it["query"]["query"]).to_owned());
            shown.chain(asked).collect::<Vec<_>>()
        })
        .flat_map(|expression| {
            let found = selectors(&expression).into_iter();
            found
                .map(|(metric, _)| metric.to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    let missing: Vec<String> = exposed_metrics()
        .into_iter()
        .filter(|it| {
            !it.starts_with("process_") && !it.ends_with("_sum") && !it.ends_with("_count")
        })
        .filter(|it| !seen.contains(it))
        .collect();
    assert_eq!(missing, [""; 0]);
}

/// As Prometheus reads them, with Grafana's variables filled in.
#[test]
fn promtool_reads_every_expression() {
    let mut rules = String::from("groups:\n  - name: dashboards\n    rules:\n");
    let dashboards = dashboards();
    let of_each = |it: &'_ Dashboard| -> Vec<(String, String)> {
        let expressions = it.expressions();
        let filled = expressions.map(|(at, expression)| (at, it.filled(expression)));
        filled.collect()
    };
    for (number, (at, filled)) in dashboards.iter().flat_map(of_each).enumerate() {
        let expression = serde_json::to_string(&filled).unwrap();
        rules.push_str(&format!(
            "      # {at}\n      - record: dashboards:{number}\n        expr: {expression}\n"
        ));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &rules).unwrap();
    run(
        "promtool",
        &["check", "rules", file.path().to_str().unwrap()],
    );
}
