//! The command line. Each command is a thin caller of `app`.
//!
//! stdout is data, stderr is log and progress. Exit codes: 0 all proven or done, 1 could not run,
//! 2 something broken, 3 nothing broken but something unknown, 64 wrong usage or configuration.

pub mod baseline;
pub mod config;
pub mod demo;
pub mod explain;
pub mod gc;
pub mod given;
pub mod inventory;
pub mod output;
pub mod retention;
pub mod serve;
pub mod table;
pub mod terminal;
pub mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::app::reload::{self, LoadError, Origin};
use crate::config::{Config, LogLevel, Registry};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    CouldNotRun,
    Broken,
    Unknown,
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::CouldNotRun => 1,
            Exit::Broken => 2,
            Exit::Unknown => 3,
            // EX_USAGE, since clap's 2 means that something is broken here.
            Exit::Usage => 64,
        })
    }
}

/// Proves that every image your Kubernetes workloads need can still be pulled.
#[derive(Debug, Parser)]
#[command(name = "pullproof", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 all proven, 1 could not run, 2 something broken, 3 something unknown, \
    64 wrong usage or configuration.\nStart with `pullproof demo`: it needs no cluster and no registry.";

#[derive(Debug, clap::Args)]
pub struct Global {
    /// Configuration file [default: pullproof.yaml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "PULLPROOF_CONFIG")]
    config: Option<PathBuf>,
    /// How much is logged [default: what the configuration says; warn for commands that end]
    #[arg(long, global = true, value_name = "LEVEL", env = "PULLPROOF_LOG_LEVEL")]
    log_level: Option<Level>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the product at work: a registry, workloads and the daemon, all on loopback
    Demo(demo::DemoArguments),
    /// Run the daemon
    Serve(serve::ServeArguments),
    /// Prove images once: those named, those in files, or the configuration's inventory
    #[command(visible_alias = "check")]
    Verify(verify::VerifyArguments),
    /// Show one image whole: its tree, what was asked and answered, who needs it
    Explain(Box<explain::ExplainArguments>),
    /// List every image reference and who uses it
    Inventory(inventory::InventoryArguments),
    /// Garbage in a registry's storage
    #[command(subcommand)]
    Gc(gc::GcCommand),
    /// Which tags of registries may go, by what is deployed
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    /// What was broken before pullproof came: show it, add to it, forget it
    Baseline(baseline::BaselineArguments),
    /// Check a configuration, or print its schema or an example
    Config(config::ConfigArguments),
    /// Print the completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Print the version
    Version,
    /// Write the storage tree of the benchmark
    #[command(hide = true)]
    BenchCorpus(BenchCorpus),
}

#[derive(Debug, clap::Args)]
struct BenchCorpus {
    #[arg(long)]
    root: PathBuf,
    #[arg(long, default_value_t = 200)]
    repositories: usize,
    #[arg(long, default_value_t = 10)]
    tags: usize,
    #[arg(long)]
    host: String,
}

/// The arguments, under the name by which this was called: kubectl finds a plugin by its file's name, and its
/// help is then that of `kubectl pullproof`.
fn parsed() -> Result<Arguments, clap::Error> {
    let name = std::env::args_os().next().map(PathBuf::from);
    let name = name.as_deref().and_then(|path| path.file_stem());
    let mut command = Arguments::command();
    if name.is_some_and(|name| name == "kubectl-pullproof") {
        command = command.bin_name("kubectl pullproof");
    }
    let mut matches = command.try_get_matches()?;
    Arguments::from_arg_matches_mut(&mut matches)
}

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    let arguments = match parsed() {
        Ok(arguments) => arguments,
        Err(error) => {
            // To stdout for --help, to stderr for mistakes; a closed pipe is the reader's wish.
            drop(error.print());
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Done.into()
            };
        }
    };
    // First of all: a client made without a TLS provider panics.
    drop(rustls::crypto::ring::default_provider().install_default());
    // A command that ends asks for most of what it does by network, and a second thread would be woken
    // for each answer: that costs more than it does. A daemon answers others meanwhile.
    let mut builder = match arguments.command {
        Command::Serve(_) | Command::Demo(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal::complain(&format!("error: starting the runtime: {error}"));
            return Exit::CouldNotRun.into();
        }
    };
    let result = runtime.block_on(run(arguments));
    // What still blocks, a file being read for instance, does not keep us.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            terminal::complain(&format!("error: {error:#}"));
            Exit::CouldNotRun.into()
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let Arguments { global, command } = arguments;
    match command {
        Command::Demo(arguments) => Box::pin(demo::run(arguments, &global)).await,
        Command::Serve(arguments) => serve::run(arguments, &global).await,
        Command::Verify(arguments) => verify::run(arguments, &global).await,
        Command::Explain(arguments) => explain::run(*arguments, &global).await,
        Command::Inventory(arguments) => inventory::run(arguments, &global).await,
        Command::Gc(command) => Box::pin(gc::run(command, &global)).await,
        Command::Retention(command) => Box::pin(retention::run(command, &global)).await,
        Command::Baseline(arguments) => baseline::run(&arguments, &global),
        Command::Config(arguments) => config::run(arguments, &global),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "pullproof", &mut script);
            terminal::print(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Done)
        }
        Command::Version => {
            terminal::print(concat!("pullproof ", env!("CARGO_PKG_VERSION"), "\n"))?;
            Ok(Exit::Done)
        }
        Command::BenchCorpus(corpus) => {
            let BenchCorpus {
                root,
                repositories,
                tags,
                host,
            } = corpus;
            let references = crate::demo::corpus::write(&root, repositories, tags, &host)?;
            terminal::print(&(references.join("\n") + "\n"))?;
            Ok(Exit::Done)
        }
    }
}

impl Global {
    /// The file that is meant, if there is one.
    fn path(&self) -> Option<PathBuf> {
        let default = PathBuf::from("pullproof.yaml");
        self.config
            .clone()
            .or_else(|| default.is_file().then_some(default))
    }

    /// Reads the configuration. `Err(exit)` when it was bad and that was said.
    fn load(&self) -> Result<(Config, Origin), Exit> {
        reload::load(self.path()).map_err(|error| {
            terminal::complain(&error.to_string());
            match error {
                // A file that was named and is not there is wrong usage as much as one that is wrong.
                LoadError::Read { .. } | LoadError::Invalid(_) => Exit::Usage,
            }
        })
    }

    /// For a command about one registry: reads the configuration, starts the log, and chooses the registry.
    /// `Err(exit)` when there is none, and the way out was said.
    fn about(
        &self,
        choose: impl FnOnce(&Config) -> Result<&Registry, String>,
    ) -> Result<(Config, Registry), Exit> {
        let (config, _) = self.load()?;
        self.start_log(&config, Some(LogLevel::Warn));
        match choose(&config).cloned() {
            Ok(registry) => Ok((config, registry)),
            Err(problem) => {
                let read = self.read();
                terminal::complain(&format!("error: {problem}\n  ({read})"));
                Err(Exit::Usage)
            }
        }
    }

    /// Which configuration that was: what is missed in one may stand in another.
    fn read(&self) -> String {
        match self.path() {
            Some(file) => format!("configuration: {}", file.display()),
            None => "no configuration was read: there is no pullproof.yaml here, and neither --config nor \
                     PULLPROOF_CONFIG names one"
                .to_owned(),
        }
    }

    fn start_log(&self, config: &Config, default: Option<LogLevel>) {
        let level = self
            .log_level
            .map(LogLevel::from)
            .or(default)
            .unwrap_or(config.log.level);
        crate::telemetry::start(config.log.format, level);
    }
}
