//! The certificate of the page and the API, renewed while the daemon runs.

use std::path::Path;

use crate::support::certificates::{Authority, Key};
use crate::support::daemon::{BOUND, command};
use crate::support::http;
use crate::support::process::{Ending, Process, free_port};

#[tokio::test]
async fn a_renewed_certificate_counts_without_a_restart_and_a_bad_one_does_not() {
    crate::support::parts::require!("openssl");
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let mut authorities = Vec::new();
    for name in ["one", "two", "three"] {
        let own = home.join(name);
        std::fs::create_dir(&own).unwrap();
        let authority = Authority::new(&own).await;
        let certificate = authority.issue("daemon", Key::Elliptic).await;
        authorities.push((authority, certificate));
    }
    let (file, key) = (home.join("tls.crt"), home.join("tls.key"));
    let renew = |from: &Path, to: &Path| {
        let _bytes = std::fs::copy(from, to).unwrap();
    };
    let (metrics, ui) = (free_port(), free_port());
    let text = format!(
        "inventory: {{references: [{{name: keep, file: keep.txt}}]}}\n\
         http: {{metrics: \"127.0.0.1:{metrics}\", ui: \"127.0.0.1:{ui}\", \
         tls: {{file: tls.crt, keyFile: tls.key}}}}\nstate: {{directory: state}}\n"
    );
    std::fs::write(home.join("pullproof.yaml"), text).unwrap();
    std::fs::write(home.join("keep.txt"), "").unwrap();
    renew(&authorities[0].1.certificate, &file);
    renew(&authorities[0].1.key, &key);
    let mut serve = command(home);
    serve.arg("serve");
    let daemon = Process::start(serve, "pullproof", home, Ending::Terminate);
    let url = format!("https://127.0.0.1:{ui}/api/v1/status");
    let answers = async |authority: &Authority| {
        let client = http::client_trusting(authority.certificate());
        client.get(&url).send().await.is_ok()
    };
    let until = async |what: &str, authority: &Authority| {
        let trusted = async || answers(authority).await.then_some(());
        daemon.wait_until(what, BOUND, trusted).await;
    };
    until("it answers", &authorities[0].0).await;

    renew(&authorities[1].1.certificate, &file);
    renew(&authorities[1].1.key, &key);
    until("it is the second one", &authorities[1].0).await;
    assert!(!answers(&authorities[0].0).await);

    // Half of a renewal is none.
    renew(&authorities[2].1.certificate, &file);
    let says_so = async || {
        assert!(answers(&authorities[1].0).await);
        let log = daemon.tail();
        log.contains("stays the one before").then_some(())
    };
    daemon.wait_until("it says so", BOUND, says_so).await;
    assert!(answers(&authorities[1].0).await);
    renew(&authorities[2].1.key, &key);
    until("it is the third one", &authorities[2].0).await;
}
