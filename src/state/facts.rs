//! What stays of an earlier report beside a new one.

use crate::verify::finding::{Finding, Report, Verdict};

/// The facts of an earlier report that the new one did not reach. Where the new one is all doubt,
/// every fact stands; where it has facts of its own about the same root, those that it is in doubt
/// about, itself or on the way to them. What it looked at again and found well is forgotten.
pub(super) fn with_standing(report: Report, before: &Report) -> Report {
    let is_fact = |finding: &Finding| finding.code.verdict() == Verdict::Broken;
    let (facts, doubts): (Vec<Finding>, Vec<Finding>) = report
        .findings
        .iter()
        .cloned()
        .partition(|finding| is_fact(finding));
    let is_in_doubt = |fact: &Finding| {
        doubts.iter().any(|doubt| {
            doubt.subject.is_some()
                && (doubt.subject == fact.subject
                    || doubt
                        .subject
                        .is_some_and(|subject| fact.path.contains(&subject)))
        })
    };
    let is_new = |fact: &Finding| {
        !facts
            .iter()
            .any(|new| new.subject == fact.subject && new.platform == fact.platform)
    };
    let all_doubt = report.verdict == Verdict::Unknown;
    let stands = before.findings.iter().filter(|fact| {
        is_fact(fact)
            && (all_doubt || report.digest == before.digest && is_in_doubt(fact) && is_new(fact))
    });
    let standing: Vec<Finding> = stands.cloned().collect();
    let mut report = if all_doubt {
        Report {
            checked_at: report.checked_at,
            ..before.clone()
        }
    } else {
        report
    };
    for platform in report.platforms.iter_mut() {
        if standing
            .iter()
            .any(|fact| fact.platform.is_some() && fact.platform == platform.platform)
        {
            platform.verdict = Verdict::Broken;
        }
    }
    let facts = if all_doubt { Vec::new() } else { facts };
    report.findings = standing.into_iter().chain(facts).chain(doubts).collect();
    report
}
