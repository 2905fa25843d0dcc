//! Two clusters, two daemons, one keep-set.

#![expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]

use serde_json::{Value, json};

use super::{BOUND, Ground, Site, image_of, kept, refusals, source_of};
use crate::api::check_keepset;
use crate::cli::run::pullproof_in;
use crate::daemon::shop::{OFTEN, Stock, deployment, namespace, require_shop, value};
use crate::support::cluster::Cluster;

/// A cluster and the daemon beside it, twice.
struct Scene {
    stock: Stock,
    near_cluster: &'static Cluster,
    far_cluster: Cluster,
    /// Of either cluster.
    namespaces: [String; 2],
    near: Site,
    far: Site,
    here: String,
    gone: String,
    stays: String,
    third: String,
    _ground: Ground,
}

impl Scene {
    async fn new() -> Self {
        let stock = Stock::new().await;
        let ground = Ground::new().await;
        let (near_cluster, own) = namespace().await;
        let here = stock.push("here:1").await;
        let yaml = deployment(&own, "here", &here);
        near_cluster.apply_yaml(&yaml).await;
        let far_cluster = Cluster::start().await;
        let theirs = far_cluster.new_namespace().await;
        let mut images = Vec::new();
        for name in ["gone", "stays", "third"] {
            let image = stock.push(&format!("{name}:1")).await;
            let yaml = deployment(&theirs, name, &image);
            far_cluster.apply_yaml(&yaml).await;
            images.push(image);
        }
        let [gone, stays, third] = images.try_into().expect("three were pushed");
        Self {
            stock,
            near_cluster,
            far_cluster,
            namespaces: [own, theirs],
            near: ground.site(),
            far: ground.site(),
            here,
            gone,
            stays,
            third,
            _ground: ground,
        }
    }

    fn configure(&self, keep: &str) {
        let [own, theirs] = &self.namespaces;
        let registries = self.stock.entry(OFTEN);
        let peer = self.far.as_peer("dr", "");
        let of = |name: &str, cluster: &Cluster, namespace: &str, peer: &str| {
            format!(
                "inventory:\n  keepSeen: {keep}\n  clusters: [{{name: {name}, kubeconfig: {}, \
                 namespaces: [{namespace}], scopeIsAll: true}}]\n  peers: [{peer}]\n\
                 registries:\n{registries}",
                cluster.admin().kubeconfig.display()
            )
        };
        self.near
            .configure(&of("near", self.near_cluster, own, &peer));
        let peer = self.near.as_peer("main", "");
        self.far
            .configure(&of("far", &self.far_cluster, theirs, &peer));
    }

    fn all(&self) -> [&str; 4] {
        [&self.here, &self.gone, &self.stays, &self.third].map(String::as_str)
    }

    /// How the one daemon tells who uses an image of the other's cluster.
    fn user(&self) -> Value {
        json!({"cluster": "far", "namespace": self.namespaces[1], "kind": "Deployment",
            "name": "stays", "container": "app", "image": self.stays, "class": "runtime",
            "via": "peer dr", "idle": null, "ignored": null})
    }

    fn names_its_user(&self, inventory: &Value) {
        let mut user = image_of(inventory, &self.stays)["used_by"][0].clone();
        let since = user.as_object_mut().unwrap().remove("since").unwrap();
        assert!(since.is_string(), "{since}");
        assert_eq!(user, self.user());
    }

    /// Each keeps what both name, and each verifies it.
    async fn they_keep_the_same(&self) {
        let Self { near, far, .. } = self;
        near.until_keeps(&self.all()).await;
        far.until_keeps(&self.all()).await;
        let pullable = "workload_image_pullable";
        let of_far = [&*self.stays, "cluster=\"far\"", "class=\"runtime\"", " 1"];
        near.series(pullable, &of_far).await;
        far.series(pullable, &[&self.here, "cluster=\"near\"", " 1"])
            .await;
        let inventory = near.until_complete("dr").await;
        self.names_its_user(&inventory);
        assert_eq!(refusals(&inventory), Vec::<&str>::new());
    }

    /// What came from a peer is not told as one's own, and what a peer has is not told again.
    async fn nothing_is_given_back(&self) {
        let told = self.near.get("/api/v1/keepset?firstHand=true").await;
        let told = told.unwrap();
        check_keepset(&told);
        assert_eq!(kept(&told), [self.here.as_str()]);
        assert_eq!(told["complete"], true);
        assert_eq!(told["first_hand"], true);
        let user = &told["references"][0]["used_by"][0];
        assert_eq!(user["cluster"], "near");
        assert_eq!(user["via"], Value::Null);
        let content = told["content"].as_str().unwrap();
        let path = format!("/api/v1/keepset?firstHand=true&unless={content}");
        let unchanged = self.near.get(&path).await.unwrap();
        check_keepset(&unchanged);
        assert_eq!(unchanged["unchanged"], true);
        assert_eq!(unchanged["complete"], true);
        assert_eq!(unchanged["references"], Value::Null);
        assert!(unchanged["sequence"].as_u64() >= told["sequence"].as_u64());
    }

    /// Whoever does not want to be told of a workload there is not told of it here either.
    async fn what_is_silenced_there_is_silenced_here(&self) {
        let theirs = &self.namespaces[1];
        let annotate = async |annotation: &str| {
            let words = ["annotate", "deployment", "third", "-n", theirs, annotation];
            self.far_cluster.kubectl(&words).await;
        };
        annotate("pullproof.dev/ignore=moving").await;
        let silenced = [&*self.third, "cluster=\"far\"", "ignored=\"true\""];
        self.near.series("workload_image_pullable", &silenced).await;
        let ignored = |inventory: &Value| -> Value {
            image_of(inventory, &self.third)["used_by"][0]["ignored"].clone()
        };
        let is_told = |inventory: &Value| ignored(inventory) == "moving";
        self.near
            .until("it is told why", "inventory", is_told)
            .await;
        annotate("pullproof.dev/ignore-").await;
        let is_over = |inventory: &Value| ignored(inventory).is_null();
        self.near.until("it is over", "inventory", is_over).await;
    }

    async fn commands_name_it(&self) {
        let home = self.near.home.path();
        let ended = pullproof_in(home, &["inventory", "-o", "json"]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        self.names_its_user(&ended.json());
        let ended = pullproof_in(home, &["explain", &self.stays]).await;
        let user = format!(
            "far:{}/Deployment/stays (app) via peer dr",
            self.namespaces[1]
        );
        assert!(ended.stdout.contains(&user), "{user}: {ended:?}");
    }

    /// What it said is kept and verified on, also by one that starts meanwhile.
    async fn one_is_away(&mut self) {
        self.near.end().await;
        self.far.stop();
        self.near.start();
        let near = &self.near;
        near.until_keeps(&self.all()).await;
        let inventory = near.until_incomplete("dr", "refused").await;
        assert_eq!(refusals(&inventory), Vec::<&str>::new());
        assert!(source_of(&inventory, "dr")["stands_until"].is_string());
        let proven = async || {
            let name = "image_last_proof_timestamp_seconds";
            value(&near.series(name, &[&self.stays]).await)
        };
        let before = proven().await;
        let is_new = async || (proven().await > before).then_some(());
        near.process()
            .wait_until("it is proven anew", BOUND, is_new)
            .await;
        self.far.start();
        near.until_complete("dr").await;
    }

    /// Both remember what nobody names any more, and then neither: none takes the other's memory for a
    /// sighting.
    async fn what_is_gone_is_forgotten(&self) {
        let delete = ["delete", "deployment", "gone", "-n", &self.namespaces[1]];
        self.far_cluster.kubectl(&delete).await;
        let is_remembered = |set: &Value| {
            let references = set["references"].as_array().into_iter().flatten();
            let mut of_it = references.filter(|kept| kept["reference"] == *self.gone);
            of_it.any(|kept| kept["classes"] == json!(["remembered"]))
        };
        for site in [&self.near, &self.far] {
            site.until("it is remembered", "keepset", is_remembered)
                .await;
        }
        self.configure("1s");
        let left = [&self.here, &self.stays, &self.third].map(String::as_str);
        for site in [&self.near, &self.far, &self.near] {
            site.until_keeps(&left).await;
        }
    }
}

#[tokio::test]
async fn two_clusters_two_daemons_one_keep_set() {
    require_shop!();
    let mut scene = Scene::new().await;
    scene.configure("90d");
    scene.near.start();
    scene.far.start();
    scene.they_keep_the_same().await;
    scene.nothing_is_given_back().await;
    scene.what_is_silenced_there_is_silenced_here().await;
    scene.commands_name_it().await;
    scene.one_is_away().await;
    scene.what_is_gone_is_forgotten().await;
}
