//! What a command is given to read: which sources, and how their hosts are spoken to.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use super::terminal;
use crate::app::registries::{Registries, read_docker_config};
use crate::app::sources::{self, Typed, Wanted};
use crate::clock::Clock;
use crate::config::Config;
use crate::credential_source::Sources;
use crate::credentials::DockerConfig;
use crate::inventory::Inventory;
use crate::inventory::manifests::Reading;
use crate::oci::reference::Reference;
use crate::registry::manifest_cache::InMemory;
use crate::registry::stats::Stats;

/// Where references come from.
#[derive(Debug, Default, clap::Args)]
pub struct GivenSources {
    /// A file of references, one a line, # comments; - is standard input
    #[arg(long = "references", value_name = "FILE", env = "PULLPROOF_REFERENCES")]
    lists: Vec<PathBuf>,
    /// Kubernetes YAML: a file, a directory, or - for standard input
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "PATH",
        env = "PULLPROOF_FILENAME"
    )]
    manifests: Vec<PathBuf>,
    /// A context of the kubeconfig
    #[arg(long = "context", value_name = "NAME", env = "PULLPROOF_CONTEXT")]
    contexts: Vec<String>,
    /// A kubeconfig [default: $KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Only this namespace of the cluster
    #[arg(
        short,
        long = "namespace",
        value_name = "NAME",
        env = "PULLPROOF_NAMESPACE"
    )]
    namespaces: Vec<String>,
    /// All namespaces of the cluster, as is meant without a word too
    #[arg(short = 'A', long, conflicts_with = "namespaces")]
    all_namespaces: bool,
}

/// Where references come from, and how hosts are spoken to.
#[derive(Debug, Default, clap::Args)]
pub struct Given {
    #[command(flatten)]
    pub sources: GivenSources,
    /// This host speaks plain HTTP
    #[arg(
        long,
        value_name = "HOST",
        env = "PULLPROOF_PLAIN_HTTP",
        value_delimiter = ','
    )]
    plain_http: Vec<String>,
}

impl GivenSources {
    /// The sources that were named; the configuration's if none was.
    pub fn wanted(&self, references: &[Reference], config: &Config) -> anyhow::Result<Vec<Wanted>> {
        let mut wanted = Vec::new();
        if !references.is_empty() {
            wanted.push(Wanted::Arguments(references.to_vec()));
        }
        for file in &self.lists {
            let name = file.display().to_string();
            wanted.push(if is_stdin(file) {
                Wanted::ReferencesText {
                    name: "stdin".to_owned(),
                    text: stdin()?,
                }
            } else {
                Wanted::References {
                    name,
                    file: file.clone(),
                }
            });
        }
        for path in &self.manifests {
            wanted.push(if is_stdin(path) {
                Wanted::ManifestsText {
                    name: "stdin".to_owned(),
                    text: stdin()?,
                    reading: Reading::default(),
                }
            } else {
                Wanted::Manifests {
                    name: path.display().to_string(),
                    paths: vec![path.clone()],
                    reading: Reading::default(),
                }
            });
        }
        wanted.extend(self.clusters());
        if wanted.is_empty() {
            wanted = sources::of_config(config);
        }
        sources::with_beyond(&mut wanted, config);
        Ok(wanted)
    }

    /// Whether any source was named on the command line.
    pub fn is_given(&self) -> bool {
        !(self.lists.is_empty() && self.manifests.is_empty()) || self.means_a_cluster()
    }

    fn means_a_cluster(&self) -> bool {
        let is_named = !self.contexts.is_empty() || self.kubeconfig.is_some();
        is_named || !self.namespaces.is_empty() || self.all_namespaces
    }

    /// Those that were named; the current one where only a part of it was.
    fn clusters(&self) -> Vec<Wanted> {
        let of = |context: Option<String>| {
            sources::typed(Typed {
                context,
                kubeconfig: self.kubeconfig.clone(),
                namespaces: self.namespaces.clone(),
            })
        };
        if self.contexts.is_empty() {
            return self
                .means_a_cluster()
                .then(|| of(None))
                .into_iter()
                .collect();
        }
        self.contexts
            .iter()
            .map(|context| of(Some(context.clone())))
            .collect()
    }
}

impl Given {
    /// How the hosts of these sources are spoken to: with the credentials of the person at the command
    /// line, unless a cluster says who pulls.
    pub fn registries(
        &self,
        config: Config,
        wanted: &[Wanted],
        inventory: &Inventory,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Registries> {
        let personal = if wanted.iter().all(Wanted::is_operators) {
            personal_credentials()?
        } else {
            DockerConfig::default()
        };
        let files = wanted
            .iter()
            .zip(&inventory.sources)
            .filter(|(wanted, _)| wanted.is_operators());
        let named = Inventory {
            sources: files.map(|(_, source)| Arc::clone(source)).collect(),
        }
        .hosts();
        Ok(Registries {
            named,
            plain_http: self.plain_http.iter().cloned().collect(),
            personal: Arc::new(personal),
            stats: Stats::default(),
            manifests: Arc::new(InMemory::default()),
            depth: None,
            sources: Sources::default(),
            memory: None,
            exchanges: None,
            clock: Arc::clone(clock),
            config: Arc::new(config),
        })
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("reading standard input")?;
    Ok(text)
}

/// The files in which Docker and Podman keep credentials, as those look for them.
///
/// One that is there and cannot be read is an error: asked as nobody, a registry would seem to lack
/// what it only shows to somebody.
fn personal_credentials() -> anyhow::Result<DockerConfig> {
    let home = terminal::home();
    let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let docker = terminal::environment("DOCKER_CONFIG")
        .map(|directory| PathBuf::from(directory).join("config.json"))
        .or_else(|| below_home(".docker/config.json"));
    let podman = terminal::environment("REGISTRY_AUTH_FILE")
        .map(PathBuf::from)
        .or_else(|| {
            terminal::environment("XDG_RUNTIME_DIR")
                .map(|directory| PathBuf::from(directory).join("containers/auth.json"))
        });
    let containers = below_home(".config/containers/auth.json");
    let files = [docker, podman, containers]
        .into_iter()
        .flatten()
        .filter(|path| path.is_file());
    let configs: Vec<DockerConfig> = files
        .map(|path| read_docker_config(&path))
        .collect::<anyhow::Result<_>>()
        .context("these are the credentials of Docker and Podman; DOCKER_CONFIG and REGISTRY_AUTH_FILE name others")?;
    Ok(DockerConfig::merged(&configs))
}
