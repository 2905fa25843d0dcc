//! Who asks: nobody, a password, a token, a workload's own pull secrets; and by which certificate and
//! under which name a registry is reached.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod acr;
mod ecr;
mod gar;
mod helpers;
mod revoked;
mod scripted;
pub(crate) mod secrets;
mod transport;

use std::path::Path;
use std::time::Duration;

use crate::cli::run::{Ended, pullproof_in};
use crate::daemon::shop::{OFTEN, Stock, value};
use crate::support::certificates::Authority;
use crate::support::clients::Clients;
use crate::support::daemon::Daemon;
use crate::support::images::{Format, push_image, push_index};
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};
use crate::support::tokens::{Issued, TokenServer};

/// Longer than any test: a token that is asked for twice was not remembered.
const LIFETIME: Duration = Duration::from_mins(10);

/// A registry that knows alice by her password, with `app:1` in it.
pub(crate) async fn with_password(version: Version) -> Stock {
    let root = tempfile::tempdir().unwrap();
    let options = Options::new(version, root.path()).with_passwords(&[("alice", "wonder")]);
    let stock = Stock::of(options, root).await;
    stock.clients.login(&stock.host(), "alice", "wonder").await;
    stock.push("app:1").await;
    stock
}

/// Logs in as Docker does: the file is then in the home.
pub(crate) async fn log_in(home: &Path, host: &str, word: &str) {
    let clients = Clients::new();
    clients.login(host, "alice", word).await;
    std::fs::create_dir_all(home.join(".docker")).unwrap();
    std::fs::copy(clients.credentials(), home.join(".docker/config.json")).unwrap();
}

async fn verify(home: &Path, arguments: &[&str]) -> Ended {
    pullproof_in(home, &[&["verify", "-o", "json"], arguments].concat()).await
}

#[tokio::test]
async fn a_password_is_taken_from_the_home_and_from_the_configuration() {
    require!(
        "docker-registry",
        "registry-3.1",
        "htpasswd",
        "crane",
        "regctl"
    );
    for version in Version::ALL {
        let stock = with_password(version).await;
        let host = stock.host();
        let reference = format!("{host}/app:1");
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let given = ["--plain-http", &host, &reference];

        let nobody = verify(home, &given).await;
        assert_eq!(
            (nobody.code, nobody.codes("/app:1")),
            (3, vec!["unauthorized".to_owned()])
        );
        log_in(home, &host, "wrong").await;
        let wrong = verify(home, &given).await;
        // Never broken: what nobody showed us may well be there.
        assert_eq!(
            (wrong.code, wrong.codes("/app:1")),
            (3, vec!["unauthorized".to_owned()])
        );
        // Nor is what a stranger is not told of.
        let missing = format!("{host}/app:2");
        let wrong = verify(home, &["--plain-http", &host, &missing]).await;
        assert_eq!(
            (wrong.code, wrong.codes("/app:2")),
            (3, vec!["unauthorized".to_owned()])
        );

        log_in(home, &host, "wonder").await;
        let right = verify(home, &given).await;
        assert_eq!(right.code, 0, "{right:?}");
        let right = verify(home, &["--plain-http", &host, &missing]).await;
        assert_eq!(
            (right.code, right.codes("/app:2")),
            (2, vec!["tag_missing".to_owned()])
        );

        // An inventory is asked for with what its registry's entry says.
        std::fs::rename(home.join(".docker/config.json"), home.join("registry.json")).unwrap();
        std::fs::write(home.join("keep.txt"), &reference).unwrap();
        let configuration = |credentials: &str| {
            let text = format!(
                "inventory: {{references: [{{name: keep, file: keep.txt}}]}}\n\
                 registries: [{{host: \"{host}\", plainHttp: true{credentials}}}]\n\
                 state: {{directory: state}}\n"
            );
            std::fs::write(home.join("pullproof.yaml"), text).unwrap();
        };
        configuration("");
        let without = verify(home, &[]).await;
        assert_eq!(
            (without.code, without.codes("/app:1")),
            (3, vec!["unauthorized".to_owned()])
        );
        configuration(", credentials: {dockerConfig: {file: registry.json}}");
        let with = verify(home, &[]).await;
        assert_eq!(with.code, 0, "{with:?}");
        assert!(with.json()["images"][0]["credential"].is_null());
    }
}

/// A registry that believes a token server, with images below `public/` and `private/`.
struct Guarded {
    tokens: TokenServer,
    registry: Registry,
    clients: Clients,
    _root: tempfile::TempDir,
    _authority: tempfile::TempDir,
}

impl Guarded {
    async fn new(version: Version) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let authority = Authority::new(scratch.path()).await;
        let users = [("alice", "wonder"), ("bob", "builder")];
        let tokens = TokenServer::start(&authority, &users, LIFETIME).await;
        let root = tempfile::tempdir().unwrap();
        let options = Options::new(version, root.path()).with_tokens(&tokens);
        let registry = Registry::start(options).await;
        let clients = Clients::of(&registry).await;
        clients.login(&registry.host(), "alice", "wonder").await;
        for name in ["public/app", "private/app", "private/other"] {
            let reference = format!("{}/{name}:1", registry.host());
            push_image(&clients, &reference, name).await;
        }
        Self {
            tokens,
            registry,
            clients,
            _root: root,
            _authority: scratch,
        }
    }

    /// Its entry under `registries`, where its realm is another host's and so has to be named.
    fn entry(&self, more: &str) -> String {
        format!(
            "  - {{host: \"{}\", plainHttp: true, tokenRealms: [\"{}\"]{more}}}\n",
            self.registry.host(),
            self.tokens.realm(),
        )
    }

    /// How many tokens a user was given for pulling from a repository, since `before` were given.
    fn issued(&self, before: usize, user: &str, repository: &str) -> usize {
        let scope = format!("repository:{repository}:pull");
        let is_it = |issued: &&Issued| issued.user == user && issued.scopes == [scope.as_str()];
        self.tokens
            .issued()
            .split_off(before)
            .iter()
            .filter(is_it)
            .count()
    }
}

#[tokio::test]
async fn tokens_are_asked_for_as_somebody_and_as_nobody() {
    require!(
        "docker-registry",
        "registry-3.1",
        "openssl",
        "crane",
        "regctl"
    );
    for version in Version::ALL {
        let guarded = Guarded::new(version).await;
        let host = guarded.registry.host();
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let [public, private] = ["public", "private"].map(|below| format!("{host}/{below}/app:1"));
        let configuration = format!("registries:\n{}", guarded.entry(""));
        std::fs::write(home.join("pullproof.yaml"), configuration).unwrap();

        let before = guarded.tokens.issued().len();
        let nobody = verify(home, &[&public, &private]).await;
        assert_eq!(nobody.code, 3, "{nobody:?}");
        assert!(nobody.codes("/public/app:1").is_empty(), "{nobody:?}");
        assert_eq!(nobody.codes("/private/app:1"), ["unauthorized"]);
        assert!(guarded.issued(before, "", "public/app") > 0);

        log_in(home, &host, "wrong").await;
        let wrong = verify(home, &[&private]).await;
        assert_eq!(
            (wrong.code, wrong.codes("/app:1")),
            (3, vec!["unauthorized".to_owned()])
        );
        log_in(home, &host, "wonder").await;
        let before = guarded.tokens.issued().len();
        let alice = verify(home, &[&public, &private]).await;
        assert_eq!(alice.code, 0, "{alice:?}");
        assert_eq!(guarded.issued(before, "alice", "private/app"), 1);

        // To a realm on another host that nobody named, no password is sent.
        let given = ["--config", "none.yaml", "--plain-http", &host, &private];
        std::fs::write(home.join("none.yaml"), "").unwrap();
        let before = guarded.tokens.issued().len();
        let unnamed = verify(home, &given).await;
        assert_eq!(
            (unnamed.code, unnamed.codes("/app:1")),
            (3, vec!["untrusted".to_owned()])
        );
        assert_eq!(guarded.tokens.issued().len(), before);
    }
}

#[tokio::test]
async fn a_token_is_asked_for_once_for_a_repository_and_a_credential() {
    require!(
        "docker-registry",
        "registry-3.1",
        "openssl",
        "crane",
        "regctl",
        "buildah"
    );
    let guarded = Guarded::new(Version::V3).await;
    let host = guarded.registry.host();
    // Many requests for one repository: an index, its children, their blobs, two more tags.
    let index = format!("{host}/private/app:index");
    push_index(&guarded.clients, &index, "index", Format::Oci).await;
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let path = |name: &str| home.join(name).display().to_string();
    std::fs::copy(guarded.clients.credentials(), path("registry.json")).unwrap();
    let list = [
        index,
        format!("{host}/private/app:1"),
        format!("{host}/private/app:2"),
        format!("{host}/private/other:1"),
    ];
    std::fs::write(home.join("keep.txt"), list.join("\n")).unwrap();
    let entry = guarded.entry(&format!(
        ", verify: {OFTEN}, credentials: {{dockerConfig: {{file: {}}}}}",
        path("registry.json")
    ));
    let configuration = format!(
        "inventory: {{references: [{{name: keep, file: {}}}]}}\nregistries:\n{entry}",
        path("keep.txt")
    );
    let before = guarded.tokens.issued().len();
    let daemon = Daemon::start(&configuration);
    daemon.wait_until_ready().await;
    daemon
        .wait_for_series("workload_image_failure", &["app:2", "tag_missing"])
        .await;
    assert_eq!(
        daemon
            .series("workload_image_pullable", &[" 1"])
            .await
            .len(),
        3
    );
    // Round after round with the same two.
    let completed = "verification_last_completed_timestamp_seconds";
    let first = value(&daemon.wait_for_series(completed, &[]).await);
    daemon
        .wait_until("two more rounds", async || {
            let series = daemon.series(completed, &[]).await;
            (value(series.first()?) > first + 2.0).then_some(())
        })
        .await;
    assert_eq!(guarded.issued(before, "alice", "private/app"), 1);
    assert_eq!(guarded.issued(before, "alice", "private/other"), 1);
    assert_eq!(guarded.tokens.issued().len(), before + 2);
}
