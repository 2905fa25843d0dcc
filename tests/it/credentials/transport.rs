//! How a registry is reached: by TLS and whose authority, in plain, and under which name.

use crate::cli::run::pullproof_in;
use crate::daemon::shop::Stock;
use crate::support::certificates::{Authority, Key};
use crate::support::clients::Clients;
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};

use super::with_password;

#[tokio::test]
async fn a_custom_authority_is_believed_where_it_is_named() {
    require!(
        "docker-registry",
        "registry-3.1",
        "openssl",
        "crane",
        "regctl"
    );
    for version in Version::ALL {
        let scratch = tempfile::tempdir().unwrap();
        let authority = Authority::new(scratch.path()).await;
        let certificate = authority.issue("registry", Key::Elliptic).await;
        let root = tempfile::tempdir().unwrap();
        let options = Options::new(version, root.path()).with_certificate(&certificate);
        let registry = Registry::start(options).await;
        let host = registry.host();
        let mut clients = Clients::of(&registry).await;
        clients.trust(&authority);
        let reference = format!("{host}/app:1");
        push_image(&clients, &reference, "one").await;

        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let verify = async |entry: &str| {
            let text = format!("registries: [{{host: \"{host}\"{entry}}}]\n");
            std::fs::write(home.join("pullproof.yaml"), text).unwrap();
            pullproof_in(home, &["verify", "-o", "json", &reference]).await
        };
        let stranger = verify("").await;
        assert_eq!(
            (stranger.code, stranger.codes("/app:1")),
            (3, vec!["tls".to_owned()])
        );
        let ca = format!(
            ", tls: {{ca: {{file: {}}}}}",
            authority.certificate().display()
        );
        let known = verify(&ca).await;
        assert_eq!(known.code, 0, "{known:?}");

        // Another's authority is no help, and plain HTTP is no way around it.
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Authority::new(elsewhere.path()).await;
        let ca = format!(", tls: {{ca: {{file: {}}}}}", other.certificate().display());
        let stranger = verify(&ca).await;
        assert_eq!(
            (stranger.code, stranger.codes("/app:1")),
            (3, vec!["tls".to_owned()])
        );
        let plain = verify(", plainHttp: true").await;
        assert_eq!(plain.code, 3, "{plain:?}");
    }
}

#[tokio::test]
async fn plain_http_is_for_the_entry_that_says_so() {
    require!("registry-3.1", "crane", "regctl");
    let (plain, other) = (Stock::new().await, Stock::new().await);
    let (first, second) = (plain.push("app:1").await, other.push("other:1").await);
    let home = tempfile::tempdir().unwrap();
    let text = format!(
        "registries: [{{host: \"{}\", plainHttp: true}}, {{host: \"{}\"}}]\n",
        plain.host(),
        other.host()
    );
    std::fs::write(home.path().join("pullproof.yaml"), text).unwrap();
    let ended = pullproof_in(home.path(), &["verify", "-o", "json", &first, &second]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.codes("/app:1").is_empty(), "{ended:?}");
    assert_eq!(ended.codes("/other:1"), ["tls"]);
}

#[tokio::test]
async fn a_registry_is_dialled_at_its_endpoint_and_named_by_its_host() {
    require!("docker-registry", "htpasswd", "crane", "regctl");
    let stock = with_password(Version::V2).await;
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    // The credential is the name's, as workloads' secrets have it.
    let auth = r#"{"auths": {"registry.example": {"username": "alice", "password": "wonder"}}}"#;
    std::fs::write(home.join("registry.json"), auth).unwrap();
    let text = format!(
        "registries: [{{host: registry.example, endpoint: \"{}\", \
         credentials: {{dockerConfig: {{file: registry.json}}}}}}]\n",
        stock.registry.url()
    );
    std::fs::write(home.join("pullproof.yaml"), text).unwrap();
    let arguments = ["verify", "-o", "json", "registry.example/app:1"];
    let ended = pullproof_in(home, &arguments).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.json()["images"][0]["registry"], "registry.example");
}
