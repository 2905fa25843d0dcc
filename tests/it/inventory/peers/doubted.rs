//! A peer that cannot be believed, whose last complete state stays.

#![expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{BOUND, Ground, Site, TOKEN, refusals, source_of};
use crate::cli::run::pullproof_in;
use crate::daemon::shop::{OFTEN, Stock, require_shop};

/// A daemon over a list, and one whose only source that is.
struct Scene {
    images: [String; 3],
    list: PathBuf,
    registries: String,
    home: Site,
    far: Site,
    _stock: Stock,
    _ground: Ground,
}

const PULLABLE: &str = "workload_image_pullable";
const OF_LIST: [&str; 4] = ["/a:1", "cluster=\"dr\"", "class=\"listed\"", " 1"];

fn copy(from: &Path, to: &Path) {
    let mut copy = std::process::Command::new("cp");
    assert!(copy.arg("-r").arg(from).arg(to).status().unwrap().success());
}

/// As soon as the daemon has written that it shrank.
async fn accept(site: &Site, source: &str) {
    let arguments = ["inventory", "accept", source];
    let accepted = async || {
        let ended = pullproof_in(site.home.path(), &arguments).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.stdout.contains("accepted by").then_some(())
    };
    let what = format!("{source} is accepted");
    site.process().wait_until(&what, BOUND, accepted).await;
}

impl Scene {
    async fn new() -> Self {
        let stock = Stock::new().await;
        let ground = Ground::new().await;
        let (home, far) = (ground.site(), ground.site());
        let images = [
            stock.push("a:1").await,
            stock.push("b:1").await,
            stock.push("c:1").await,
        ];
        let list = far.path("keep.txt");
        std::fs::write(&list, images.join("\n")).unwrap();
        let registries = format!("registries:\n{}", stock.entry(OFTEN));
        let of_list = "inventory: {references: [{name: keep, file: keep.txt}]}";
        far.configure(&format!("{of_list}\n{registries}"));
        Self {
            images,
            list,
            registries,
            home,
            far,
            _stock: stock,
            _ground: ground,
        }
    }

    fn all(&self) -> [&str; 3] {
        self.images.each_ref().map(String::as_str)
    }

    fn configure(&self, peer: &str) {
        let registries = &self.registries;
        self.home
            .configure(&format!("inventory: {{peers: [{peer}]}}\n{registries}"));
    }

    /// Into the list.
    fn write(&self, text: impl AsRef<[u8]>) {
        std::fs::write(&self.list, text).unwrap();
        self.far.touch();
    }

    /// Who signed its certificate is not known, then the token is wrong, then both are right.
    async fn it_is_trusted(&mut self) {
        self.far.start();
        let peer = self.far.as_peer("dr", "");
        let (before, after) = peer.split_once("ca: ").unwrap();
        let without_authority = format!("{before}{}", after.split_once("}, ").unwrap().1);
        std::fs::write(self.home.path("token"), "other").unwrap();
        self.configure(&without_authority);
        self.home.start();
        let home = &self.home;
        home.until_incomplete("dr", "certificate").await;
        self.configure(&peer);
        let unknown = "it answers 401: it does not know our token";
        let inventory = home.until_incomplete("dr", unknown).await;
        let refusal = refusals(&inventory)[0];
        assert!(refusal.contains("it was never read in full"), "{refusal}");
        std::fs::write(home.path("token"), TOKEN).unwrap();
        home.until_complete("dr").await;
        home.until_keeps(&self.all()).await;
        home.series(PULLABLE, &OF_LIST).await;
    }

    async fn it_is_incomplete_itself(&self) {
        self.write([0xff]);
        let words = "it is not complete itself: inventory_incomplete: keep: ";
        let inventory = self.home.until_incomplete("dr", words).await;
        assert_eq!(source_of(&inventory, "dr")["references"], 3);
        self.write(self.images.join("\n"));
        self.home.until_complete("dr").await;
    }

    /// Its state directory is put back to one of two starts before; then another's is in its place.
    async fn its_state_is_another(&mut self) {
        let (home, far) = (&self.home, &mut self.far);
        let state = far.path("state");
        far.stop();
        copy(&state, &far.path("older"));
        for _ in 0..2 {
            home.until_incomplete("dr", "refused").await;
            far.start();
            home.until_complete("dr").await;
            far.stop();
        }
        std::fs::rename(&state, far.path("newer")).unwrap();
        std::fs::rename(far.path("older"), &state).unwrap();
        far.start();
        home.until_incomplete("dr", "its sequence fell from ").await;
        far.stop();
        // Then another's is in the same place.
        std::fs::remove_dir_all(&state).unwrap();
        far.start();
        let inventory = home
            .until_incomplete("dr", "another pullproof answers")
            .await;
        assert_eq!(source_of(&inventory, "dr")["references"], 3);
        far.stop();
        std::fs::remove_dir_all(&state).unwrap();
        std::fs::rename(far.path("newer"), &state).unwrap();
        far.start();
        home.until_complete("dr").await;
    }

    /// It shrinks: that is to be accepted there, and here.
    async fn it_shrinks(&self) {
        let (home, far) = (&self.home, &self.far);
        self.write(&self.images[0]);
        home.until_incomplete("dr", "inventory_shrunk: keep: it named 3")
            .await;
        home.until_keeps(&self.all()).await;
        accept(far, "keep").await;
        let is_shrunk = |inventory: &Value| source_of(inventory, "dr")["shrunk"]["to"] == 1;
        let inventory = home.until("it shrank here", "inventory", is_shrunk).await;
        assert!(
            refusals(&inventory)[0].starts_with("dr: it named 3"),
            "{inventory:#}"
        );
        accept(home, "dr").await;
        // Both remember the rest.
        home.until_keeps(&self.all()).await;
    }

    /// It may be away, and not for long.
    async fn it_is_away_for_too_long(&mut self) {
        let more = ", required: false, maxAge: 1s";
        self.configure(&self.far.as_peer("dr", more));
        self.far.stop();
        let home = &self.home;
        let is_closed = |inventory: &Value| {
            let inventory: Vec<&str> = refusals(inventory);
            inventory
                .iter()
                .any(|it| it.contains("older than maxAge (1s)"))
        };
        home.until("its age closes the gates", "inventory", is_closed)
            .await;
        home.series("inventory_required", &["dr", " 0"]).await;
        home.series(PULLABLE, &OF_LIST).await;
    }
}

#[tokio::test]
async fn one_that_cannot_be_believed_is_not_and_what_it_said_stays() {
    require_shop!();
    let mut scene = Scene::new().await;
    scene.it_is_trusted().await;
    scene.it_is_incomplete_itself().await;
    scene.its_state_is_another().await;
    scene.it_shrinks().await;
    scene.it_is_away_for_too_long().await;
}
