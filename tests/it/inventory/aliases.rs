//! Other names of a registry: one image by whichever name it is written, asked for once, kept by both.

use std::collections::BTreeMap;

use crate::cli::run::pullproof_in;
use crate::credentials::with_password;
use crate::daemon::shop::{OFTEN, of_list, require_shop};
use crate::support::daemon::Daemon;
use crate::support::parts::require;
use crate::support::registry::Version;

#[tokio::test]
async fn what_is_written_with_an_alias_is_proven_once_with_the_entrys_credential() {
    require_shop!();
    require!("htpasswd");
    let stock = with_password(Version::V3).await;
    let host = stock.host();
    stock.push("other:1").await;
    let home = tempfile::tempdir().unwrap();
    let configuration = |aliases: &str| {
        format!(
            "  - {{host: \"{host}\", plainHttp: true, {aliases} credentials: {{dockerConfig: {{file: {}}}}}, verify: {OFTEN}}}\n",
            stock.clients.credentials().display()
        )
    };
    let with_aliases = configuration("aliases: [registry.internal, \"registry.svc:5000\"],");
    let list = home.path().join("keep.txt");
    let names = [
        format!("{host}/app:1"),
        "registry.internal/app:1".to_owned(),
        "registry.svc:5000/app:1".to_owned(),
        "registry.internal/other:1".to_owned(),
    ];
    std::fs::write(&list, names.join("\n")).unwrap();
    let file = home.path().join("pullproof.yaml");
    let before = stock.registry.requests().len();
    std::fs::write(&file, of_list(&list, std::slice::from_ref(&with_aliases))).unwrap();
    let ended = pullproof_in(home.path(), &["verify", "-o", "json"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let view = ended.json();
    assert_eq!(view["summary"]["images"], 2);
    let image = |at: usize| {
        let image = &view["images"][at];
        let used_by = image["used_by"].as_array().unwrap().iter();
        let written = used_by.map(|user| user["image"].as_str().unwrap().to_owned());
        let reference = image["reference"].as_str().unwrap().to_owned();
        (reference, written.collect::<Vec<_>>())
    };
    let (reference, mut written) = image(0);
    written.sort();
    assert_eq!(reference, format!("{host}/app:1"));
    assert_eq!(written, names[..3]);
    assert_eq!(image(1).0, format!("{host}/other:1"));
    // Each object once, and let in each time but the first.
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for request in stock.registry.requests().split_off(before) {
        if request.status == 200 {
            let what = format!("{} {}", request.method, request.path);
            *asked.entry(what).or_default() += 1;
        }
    }
    assert!(asked.len() > 4, "{asked:?}");
    assert!(asked.values().all(|count| *count == 1), "{asked:?}");

    let explain = ["explain", "registry.svc:5000/app:1", "-o", "json"];
    let ended = pullproof_in(home.path(), &explain).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let told = ended.json();
    assert_eq!(told["reference"], names[0].as_str(), "{told:#}");
    assert_eq!(told["used_by"].as_array().unwrap().len(), 3, "{told:#}");

    let daemon = Daemon::start(&of_list(&list, &[with_aliases]));
    daemon.wait_until_ready().await;
    let registries = daemon.api("status").await;
    assert_eq!(registries["registries"].as_array().unwrap().len(), 1);
    assert_eq!(registries["registries"][0]["registry"], host.as_str());
    let series = daemon.series("workload_image_pullable{", &[" 1"]).await;
    assert_eq!(series.len(), 2, "{series:?}");

    // Without them those are other hosts, which are not there.
    std::fs::write(&file, of_list(&list, &[configuration("")])).unwrap();
    let ended = pullproof_in(home.path(), &["verify", "-o", "json"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert_eq!(ended.json()["summary"]["images"], 4);
}
