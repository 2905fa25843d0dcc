//! Collections by collectors that are not ours.

use serde_json::{Value, json};

use super::desk::{Answered, Desk};
use crate::plan::tree::Tree;
use crate::support::registry::{Options, Version};

mod command;
mod ended;
mod harbor;
mod job;
mod quiet;
mod rights;

/// A read-only registry over a tree, of which this is in use, and whoever collects it.
async fn desk(version: Version, tree: Tree, kept: &[&str], executor: &Value) -> Desk {
    let mut desk = Desk::over(version, tree).await;
    desk.registry.start_again_with(Options::read_only).await;
    desk.keep(kept);
    by(&desk, executor, "");
    desk
}

fn by(desk: &Desk, executor: &Value, more: &str) {
    desk.configure("purge", more);
    desk.change(|it| {
        let gc = &mut it["gc"];
        gc["executor"] = executor.clone();
        if gc.get("readOnly").is_none() {
            gc["readOnly"] = json!({"mode": "required"});
        }
    });
}

/// A line of a shell, which is what somebody may well configure.
fn shell(line: &str) -> Value {
    json!({"command": {"argv": ["/bin/sh", "-c", line], "undo": "none"}})
}

fn failed(ran: &Answered, code: i32, why: &str) {
    assert_eq!((ran.code, ran.result()), (Some(code), "failed"), "{ran:?}");
    let failed = ran.view["failed"].as_str().unwrap();
    assert!(failed.contains(why), "{why}: {ran:?}");
}

fn refused(ran: &Answered, codes: &[&str], why: &str) {
    assert_eq!((ran.code, ran.result()), (Some(3), "refused"), "{ran:?}");
    let mut found = ran.codes();
    found.dedup();
    assert_eq!(found, codes, "{ran:?}");
    assert!(
        ran.view["refusals"].to_string().contains(why),
        "{why}: {ran:?}"
    );
    assert!(ran.view["executor"].is_null(), "{ran:?}");
}
