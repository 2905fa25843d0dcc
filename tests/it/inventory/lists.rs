//! Lists of several pages that go wrong between two of them, and lists in files.

use serde_json::json;

use super::following::{
    Following, image, images, make_templates, names, options, require_cluster, short, until,
};
use crate::daemon::shop::{OFTEN, Stock, of_list, proven_anew, require_shop};
use crate::support::between::{Between, Fault};
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;

/// More than a page.
const COUNT: usize = 520;
const KIND: &str = "/podtemplates?";

fn is_second_page(asked: &str) -> bool {
    asked.contains(KIND) && asked.contains("continue=")
}

fn is_watch(asked: &str) -> bool {
    asked.contains(KIND) && asked.contains("watch=true")
}

fn gone(message: &str, continue_token: &str) -> Fault {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
        "reason": "Expired", "message": message, "metadata": {"continue": continue_token}});
    Fault::Answer(410, status.to_string())
}

fn all_images(names: &[String]) -> Vec<String> {
    names.iter().map(|name| image(name)).collect()
}

async fn scene() -> (&'static Cluster, String, Vec<String>, Between) {
    let cluster = Cluster::shared().await;
    let namespace = cluster.new_namespace().await;
    let names = names("it", COUNT);
    make_templates(cluster, &namespace, &names).await;
    (cluster, namespace, names, Between::start(cluster))
}

#[tokio::test]
async fn a_list_that_is_cut_off_between_two_pages_is_no_list() {
    require_cluster!();
    let (cluster, namespace, names, between) = scene().await;
    let kubeconfig = between.kubeconfig(cluster, &cluster.admin());
    // From the start: a part of a list is nothing.
    between.on(usize::MAX, Fault::Cut, is_second_page);
    let source = Following::start(kubeconfig, &[&namespace], short()).await;
    until("the second page was cut", || {
        between.requests().iter().any(|it| is_second_page(it))
    })
    .await;
    let state = source.until_incomplete(&["podtemplates"]).await;
    assert_eq!((images(&state), state.complete_at), (Vec::new(), None));
    between.heal();
    let state = source.until_complete().await;
    assert_eq!(images(&state), all_images(&names));

    // Later: what was known stands, with what is gone meanwhile.
    between.on(usize::MAX, Fault::Cut, is_second_page);
    between.on(usize::MAX, gone("too old resource version", ""), is_watch);
    between.cut();
    source.until_incomplete(&["podtemplates"]).await;
    let delete = ["delete", "podtemplate", &names[0], "-n", &namespace];
    cluster.kubectl(&delete).await;
    let before = between.requests().len();
    until("the list was tried again", || {
        let requests = between.requests();
        requests[before..]
            .iter()
            .filter(|it| is_second_page(it))
            .count()
            >= 2
    })
    .await;
    let state = source.now();
    assert!(state.incomplete.is_some());
    assert_eq!(images(&state), all_images(&names));
    between.heal();
    let left = all_images(&names[1..]);
    let left: Vec<&str> = left.iter().map(String::as_str).collect();
    source.until_images(&left).await;
    source.until_complete().await;
}

/// Two pages were asked for, and both again.
fn assert_begun_anew(requests: &[String]) {
    let pages = requests
        .iter()
        .filter(|it| it.contains(KIND) && it.contains("limit="));
    let pages: Vec<bool> = pages.map(|it| is_second_page(it)).collect();
    assert_eq!(pages, [false, true, false, true], "the list was begun anew");
}

#[tokio::test]
async fn an_offer_to_go_on_with_another_state_is_never_taken() {
    require_cluster!();
    let (cluster, namespace, names, between) = scene().await;
    let kubeconfig = between.kubeconfig(cluster, &cluster.admin());
    let message = "The provided continue parameter is too old to display a consistent list result. \
                   You can start a new list without the continue parameter, or use the continue \
                   token in this response to retrieve the remainder of the results.";
    between.on(1, gone(message, "inconsistent"), is_second_page);
    let source = Following::start(kubeconfig, &[&namespace], short()).await;
    let state = source.until_complete().await;
    assert_eq!(images(&state), all_images(&names));
    let requests = between.requests();
    assert_begun_anew(&requests);
    assert!(
        !requests
            .iter()
            .any(|it| it.contains("continue=inconsistent"))
    );

    // Offered over and over, it is no list.
    between.on(usize::MAX, gone(message, "inconsistent"), is_second_page);
    let once = options(between.kubeconfig(cluster, &cluster.admin()), &[&namespace]);
    let once = pullproof::inventory::cluster::connect(&once).await.unwrap();
    let state = once.read_once(jiff::Timestamp::UNIX_EPOCH).await;
    let reason = state.incomplete.as_deref().unwrap();
    assert!(
        reason.contains("podtemplates") && reason.contains("expired"),
        "{reason}"
    );
    assert_eq!((images(&state), state.complete_at), (Vec::new(), None));
}

#[tokio::test]
async fn a_continue_token_that_expired_begins_the_list_anew() {
    require_cluster!();
    let cluster = Cluster::start_with(&["--feature-gates=ListFromCacheSnapshot=false"]).await;
    let namespace = cluster.new_namespace().await;
    let made = names("it", COUNT);
    make_templates(&cluster, &namespace, &made).await;
    let between = Between::start(&cluster);
    let kubeconfig = between.kubeconfig(&cluster, &cluster.admin());
    // The token's state is forgotten before its page is asked for, and what was on the first page is
    // no more.
    let hold = between.hold(is_second_page);
    let source = Following::start(kubeconfig, &[&namespace], short()).await;
    hold.arrived().await;
    let delete = ["delete", "podtemplate", &made[0], "-n", &namespace];
    cluster.kubectl(&delete).await;
    cluster.compact().await;
    hold.let_go();
    let state = source.until_complete().await;
    assert_eq!(images(&state), all_images(&made[1..]));
    assert_begun_anew(&between.requests());
}

#[tokio::test]
async fn a_file_that_cannot_be_read_leaves_its_last_list_in_force() {
    require_shop!();
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("keep.txt");
    std::fs::write(&file, &image).unwrap();
    let daemon = Daemon::start(&of_list(&file, &[stock.entry(OFTEN)]));
    daemon
        .wait_for_series("workload_image_pullable", &[&image, " 1"])
        .await;
    daemon
        .wait_for_series("inventory_complete", &["keep", " 1"])
        .await;

    // Root reads whatever its mode is, so it is made no file.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    daemon
        .wait_for_series("inventory_complete", &["keep", " 0"])
        .await;
    let page = daemon.page("/").await;
    assert!(page.contains("keep.txt"), "{page}");
    proven_anew(&daemon, &image).await;
    daemon
        .wait_for_series("inventory_references", &["keep", " 1"])
        .await;

    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, &image).unwrap();
    daemon
        .wait_for_series("inventory_complete", &["keep", " 1"])
        .await;
}
