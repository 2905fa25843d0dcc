//! The clients that people use, each with a home of its own: no credentials, no configuration and
//! no images of the machine leak into a test.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::certificates::Authority;
use super::parts;
use super::process::{run, run_well};
use super::registry::Registry;

#[derive(Debug)]
pub(crate) struct Clients {
    home: TempDir,
    authority: Option<PathBuf>,
    plain_hosts: String,
}

impl Clients {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let containers = home.path().join(".config/containers");
        std::fs::create_dir_all(&containers).expect("the home is there");
        // skopeo and buildah refuse to work without a policy.
        std::fs::write(
            containers.join("policy.json"),
            r#"{"default":[{"type":"insecureAcceptAnything"}]}"#,
        )
        .expect("the home is there");
        let clients = Self {
            home,
            authority: None,
            plain_hosts: String::new(),
        };
        std::fs::create_dir_all(clients.directory("docker")).expect("the home is there");
        // buildah refuses to work when the file that it is told of is missing.
        std::fs::write(clients.credentials(), "{}").expect("the home is there");
        clients.write_registries();
        clients
    }

    /// Clients that reach this registry, which speaks plain HTTP.
    pub(crate) async fn of(registry: &Registry) -> Self {
        let mut clients = Self::new();
        if !registry.is_tls() {
            clients.reach_plainly(&registry.host()).await;
        }
        clients
    }

    /// Trusts the authority, and nobody else.
    pub(crate) fn trust(&mut self, authority: &Authority) {
        self.authority = Some(authority.certificate().to_owned());
    }

    /// Speaks plain HTTP to this host. crane does so on loopback anyhow.
    pub(crate) async fn reach_plainly(&mut self, host: &str) {
        write!(
            self.plain_hosts,
            "[[registry]]\nlocation = \"{host}\"\ninsecure = true\n"
        )
        .expect("a string takes everything");
        self.write_registries();
        self.regctl(&["registry", "set", host, "--tls", "disabled", "--skip-check"])
            .await;
    }

    /// Logs in with crane; all the others read the file that it writes.
    pub(crate) async fn login(&self, host: &str, user: &str, word: &str) {
        self.crane(&["auth", "login", host, "-u", user, "-p", word])
            .await;
    }

    /// The file with the credentials, in Docker's format.
    pub(crate) fn credentials(&self) -> PathBuf {
        self.directory("docker").join("config.json")
    }

    pub(crate) async fn crane(&self, arguments: &[&str]) -> String {
        run_well(self.command("crane", arguments)).await
    }

    pub(crate) async fn regctl(&self, arguments: &[&str]) -> String {
        run_well(self.command("regctl", arguments)).await
    }

    pub(crate) async fn skopeo(&self, arguments: &[&str]) -> String {
        run_well(self.command("skopeo", arguments)).await
    }

    pub(crate) async fn buildah(&self, arguments: &[&str]) -> String {
        run_well(self.command("buildah", arguments)).await
    }

    /// Any of them, where a failure is what the test is about.
    pub(crate) async fn attempt(&self, part: &str, arguments: &[&str]) -> Result<String, String> {
        run(self.command(part, arguments)).await
    }

    fn command(&self, part: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(parts::path(part));
        command
            .env("HOME", self.home.path())
            .env("XDG_RUNTIME_DIR", self.home.path())
            .env("DOCKER_CONFIG", self.directory("docker"))
            .env("REGISTRY_AUTH_FILE", self.credentials())
            .env("REGCTL_CONFIG", self.directory("regctl.json"))
            .env("BUILDAH_ISOLATION", "chroot")
            .env("TMPDIR", self.home.path())
            .current_dir(self.home.path());
        if let Some(authority) = &self.authority {
            // Go programs take this file in the place of the machine's authorities.
            command
                .env("SSL_CERT_FILE", authority)
                .env("SSL_CERT_DIR", self.directory("none"));
        }
        if part == "buildah" {
            // The vfs driver needs no kernel module and no mount; the images here are tiny.
            command
                .args(["--storage-driver", "vfs", "--root"])
                .arg(self.directory("images"))
                .arg("--runroot")
                .arg(self.directory("run"));
        }
        command.args(arguments);
        command
    }

    /// A place for files of a test; relative paths in arguments start here.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// For skopeo and buildah, which look for it in the home.
    fn write_registries(&self) {
        let path = self.directory(".config/containers/registries.conf");
        std::fs::write(path, &self.plain_hosts).expect("the home is there");
    }
}
