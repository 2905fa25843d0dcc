//! An image that has mirrors: every endpoint is told, and together they are what `verify` says.

use serde_json::{Value, json};

use super::super::run::{Ended, lose_blob, pullproof_in};
use crate::support::clients::Clients;
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};

/// Two registries with the same image, and a home whose configuration says that one mirrors the other.
struct Scene {
    origin: Registry,
    mirror: Registry,
    home: tempfile::TempDir,
    written: String,
    mirrored: String,
    layer: String,
    _roots: [tempfile::TempDir; 2],
}

async fn scene() -> Scene {
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let origin = Registry::start(Options::new(Version::V3, roots[0].path())).await;
    let mirror = Registry::start(Options::new(Version::V2, roots[1].path())).await;
    let mut clients = Clients::of(&origin).await;
    clients.reach_plainly(&mirror.host()).await;
    let written = format!("{}/team/app:1", origin.host());
    let mirrored = format!("{}/hub/team/app:1", mirror.host());
    for reference in [&written, &mirrored] {
        push_image(&clients, reference, "the same").await;
    }
    let home = tempfile::tempdir().unwrap();
    let configuration = format!(
        "registries:\n  - {{host: \"{0}\", plainHttp: true, mirrors: [{{host: \"{1}/hub\"}}]}}\n  \
         - {{host: \"{1}\", plainHttp: true}}\n",
        origin.host(),
        mirror.host()
    );
    std::fs::write(home.path().join("pullproof.yaml"), configuration).unwrap();
    // Both are named: what mirrors one is an image as well.
    std::fs::write(home.path().join("both"), format!("{written}\n{mirrored}\n")).unwrap();
    Scene {
        layer: super::super::first_layer(&clients, &written).await,
        origin,
        mirror,
        home,
        written,
        mirrored,
        _roots: roots,
    }
}

impl Scene {
    async fn run(&self, command: &str, more: &[&str]) -> Ended {
        let arguments = [&[command, "--references", "both"], more].concat();
        pullproof_in(self.home.path(), &arguments).await
    }

    /// Explains it, holds it against `verify`, and yields role, verdict and tree's state of each endpoint.
    async fn explained(&self, reference: &str, code: i32) -> (Value, Value) {
        let verified = self.run("verify", &["-o", "json"]).await.json();
        let images = verified["images"].as_array().unwrap();
        let verified = images.iter().find(|one| one["reference"] == reference);
        let verified = verified.unwrap();
        let ended = self.run("explain", &["-o", "json", reference]).await;
        assert_eq!(ended.code, code, "{ended:?}");
        let view = ended.json();
        for key in ["reference", "digest", "verdict", "findings"] {
            assert_eq!(view[key], verified[key], "{key} of {reference}");
        }
        let mut endpoints = view["endpoints"].clone();
        let mut told = Vec::new();
        for endpoint in endpoints.as_array_mut().unwrap() {
            let tree = endpoint.as_object_mut().unwrap().remove("tree").unwrap();
            told.push(json!([
                endpoint["role"],
                endpoint["verdict"],
                tree["state"]
            ]));
        }
        assert_eq!(endpoints, verified["endpoints"]);
        assert_eq!(view["other_credentials"], json!([]));
        (view, json!(told))
    }
}

#[tokio::test]
async fn each_endpoint_is_told_and_the_verdict_is_verifys() {
    require!("registry-3.1", "docker-registry", "crane", "regctl");
    let mut scene = scene().await;
    let (written, mirrored) = (scene.written.clone(), scene.mirrored.clone());
    let (view, told) = scene.explained(&written, 0).await;
    let whole = json!([
        ["origin", "pullable", "pullable"],
        ["mirror", "pullable", "pullable"]
    ]);
    assert_eq!((&told, &view["message"]), (&whole, &Value::Null));
    // Of the image that is named, where it is named.
    assert_eq!(view["referrers"]["subjects"], json!([view["digest"]]));
    let exchanges = view["exchanges"].as_array().unwrap().iter();
    let of_referrers = exchanges.filter(|one| {
        let path = one["path"].as_str().unwrap();
        path.contains("/referrers/")
    });
    let hosts: Vec<_> = of_referrers.map(|one| one["host"].clone()).collect();
    assert_eq!(hosts, [scene.origin.host()]);
    let page = scene.run("explain", &[&written]).await.stdout;
    let told_once = page.matches("all that was asked for is there").count();
    assert_eq!(told_once, 1, "{page}");

    lose_blob(&scene.mirror, &scene.layer);
    let (view, told) = scene.explained(&written, 0).await;
    let expected = json!([
        ["origin", "pullable", "pullable"],
        ["mirror", "broken", "broken"]
    ]);
    assert_eq!(told, expected);
    assert_eq!(view["tree"]["state"], "pullable");
    let lost = super::object(&view["endpoints"][1]["tree"], &scene.layer);
    assert_eq!(lost["code"], "layer_missing");
    let page = scene.run("explain", &[&written]).await.stdout;
    for line in [
        format!("origin {written}: pullable"),
        format!("mirror {mirrored}: broken"),
        "\n  layer_missing\n".to_owned(),
    ] {
        assert!(page.contains(&line), "{line}: {page}");
    }
    // Written at the mirror, what it mirrors helps nobody.
    let (view, told) = scene.explained(&mirrored, 2).await;
    let expected = json!([
        ["origin", "broken", "broken"],
        ["upstream", "pullable", "pullable"]
    ]);
    assert_eq!(told, expected);
    assert_eq!(view["tree"]["state"], "broken");

    scene.origin.stop();
    let (view, told) = scene.explained(&written, 3).await;
    let expected = json!([["origin", "unknown", null], ["mirror", "broken", "broken"]]);
    assert_eq!(told, expected);
    assert_eq!(view["referrers"]["subjects"], json!([]));
}

#[tokio::test]
async fn what_only_the_mirror_has_is_pullable_and_says_where() {
    require!("registry-3.1", "docker-registry", "crane", "regctl");
    let mut scene = scene().await;
    let (written, layer) = (scene.written.clone(), scene.layer.clone());
    lose_blob(&scene.origin, &layer);
    let (view, told) = scene.explained(&written, 0).await;
    let expected = json!([
        ["origin", "broken", "broken"],
        ["mirror", "pullable", "pullable"]
    ]);
    assert_eq!(told, expected);
    assert_eq!(view["tree"]["state"], "pullable");
    let message = view["message"].as_str().unwrap();
    assert!(
        message.contains(&scene.mirrored) && message.ends_with("it is broken"),
        "{message}"
    );

    // The layer itself: who writes the origin has it by the mirror.
    std::fs::write(scene.home.path().join("both"), &written).unwrap();
    let of_layer = async |scene: &Scene, code: i32| {
        let ended = scene.run("explain", &["-o", "json", &layer]).await;
        assert_eq!(ended.code, code, "{ended:?}");
        ended.json()
    };
    let view = of_layer(&scene, 0).await;
    let kept = &view["keeps"][0];
    let states = json!([view["verdict"], kept["state"], kept["verdict"]]);
    assert_eq!(states, json!(["pullable", "pullable", "pullable"]));
    assert_eq!(view["findings"][0]["code"], "layer_missing");
    let message = view["message"].as_str().unwrap();
    assert!(
        message.contains("pullable at one and broken at another"),
        "{message}"
    );

    scene.mirror.stop();
    let (view, told) = scene.explained(&written, 3).await;
    let expected = json!([["origin", "broken", "broken"], ["mirror", "unknown", null]]);
    assert_eq!(told, expected);
    assert_eq!(view["findings"][0]["needed"], false);
    let view = of_layer(&scene, 3).await;
    assert_eq!(view["keeps"][0]["state"], "unknown");

    scene.mirror.start_again().await;
    lose_blob(&scene.mirror, &layer);
    let (_, told) = scene.explained(&written, 2).await;
    let expected = json!([
        ["origin", "broken", "broken"],
        ["mirror", "broken", "broken"]
    ]);
    assert_eq!(told, expected);
    let view = of_layer(&scene, 2).await;
    assert_eq!(
        (&view["verdict"], &view["message"]),
        (&json!("broken"), &Value::Null)
    );
}
