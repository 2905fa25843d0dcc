//! Runs the table, and holds it against the list of rows.

use std::collections::BTreeMap;

use futures::StreamExt as _;

use super::rows;

/// The rows of the fault catalogue that a registry client answers for.
const ROWS: std::ops::RangeInclusive<u32> = 1..=23;
/// So many cases at once: they wait more than they work.
const AT_ONCE: usize = 16;

/// Cases that do not hold yet, and what has to change. Each is in the table with the verdict that is
/// right, is run with all others, and must be taken off this list when it holds.
const PENDING: &[(&str, &str)] = &[];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_a_registry_is_the_right_verdict() {
    let cases = rows::all().await;
    let total = cases.len();
    let runs = cases
        .into_iter()
        .map(|case| async move { (case.name, case.run().await) });
    let outcomes: Vec<_> = futures::stream::iter(runs)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut problems = Vec::new();
    for (name, outcome) in outcomes {
        let pending = PENDING.iter().find(|(own, _)| *own == name);
        match (pending, outcome) {
            (None, Ok(())) => {}
            (None, Err(problem)) => problems.push(format!("{name}: {problem}")),
            (Some((_, why)), Err(problem)) => {
                println!("PENDING {name}: {why}\n  today it {problem}");
            }
            (Some(_), Ok(())) => problems.push(format!("{name}: it holds; take it off PENDING")),
        }
    }
    println!("{total} cases, {} pending", PENDING.len());
    assert!(
        problems.is_empty(),
        "{} of {total}:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[tokio::test]
async fn every_row_has_a_case_and_every_case_a_row_and_a_name_of_its_own() {
    let mut names: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for case in rows::all().await {
        let row = case
            .name
            .split_once('_')
            .and_then(|(row, _)| row.strip_prefix('r')?.parse().ok());
        let row = row.unwrap_or_else(|| panic!("{} does not begin with its row", case.name));
        assert!(ROWS.contains(&row), "{} is of no row", case.name);
        let of_row = names.entry(row).or_default();
        assert!(!of_row.contains(&case.name), "{} is there twice", case.name);
        of_row.push(case.name);
    }
    let missing: Vec<u32> = ROWS.filter(|row| !names.contains_key(row)).collect();
    assert!(missing.is_empty(), "no case for the rows {missing:?}");
    for (name, _) in PENDING {
        assert!(
            names.values().flatten().any(|own| own == name),
            "{name} is pending and no case"
        );
    }
}
