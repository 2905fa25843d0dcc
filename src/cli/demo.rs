//! `pullproof demo`: the product at work, on loopback, from nothing.
//!
//! The registry serves a real storage tree, the daemon is the one that `serve` runs, and what breaks
//! is removed from the tree: nothing here is told what to find.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::serve::shutdown;
use super::terminal::{self, Paint};
use super::{Exit, Global};
use crate::app::reload::Origin;
use crate::app::serve::{self, Listeners, Options, Watching};
use crate::clock::{Clock as _, SystemClock};
use crate::config;
use crate::demo::scene::{self, Scene, Swept};
use crate::demo::{registry, tree::Tree};
use crate::http;
use crate::state::{ImageState, Snapshot};
use crate::verify::finding::Verdict;

/// How long the story waits for the daemon to notice something. It looks every two seconds.
const NOTICE: Duration = Duration::from_secs(60);
/// How long everything stays whole, for somebody who has just opened the page.
const PEACE: Duration = Duration::from_secs(8);

#[derive(Debug, clap::Args)]
pub struct DemoArguments {
    /// Play the story through and exit
    #[arg(long, env = "PULLPROOF_ONCE")]
    once: bool,
}

/// The daemon was ended before the story was.
#[derive(Debug, thiserror::Error)]
#[error("the daemon ended")]
struct Ended;

mod collection;
mod plan;

use collection::Collection;

/// The demo's world on disk, and where it is served.
struct World {
    tree: Tree,
    directory: tempdir::Directory,
    host: String,
}

impl World {
    /// The configuration's file.
    fn configuration(&self) -> PathBuf {
        self.directory.path().join("pullproof.yaml")
    }
}

pub async fn run(arguments: DemoArguments, global: &Global) -> anyhow::Result<Exit> {
    let paint = Paint::for_stdout();
    let directory = tempdir::Directory::new()?;
    let tree = Tree::new(directory.path().join("registry"));
    let scene = scene::write(&tree).context("writing the registry's storage tree")?;
    let registry = listen(5000).await?;
    let host = registry.local_addr()?.to_string();
    let world = World {
        tree,
        directory,
        host,
    };
    let config = configuration(&world, &scene)?;
    global.start_log(&config, Some(config::LogLevel::Error));

    let listeners = Listeners {
        metrics: listen(8080).await?,
        ui: listen(8081).await?,
    };
    let metrics = format!("http://{}/metrics", listeners.metrics.local_addr()?);
    let page = format!("http://{}/", listeners.ui.local_addr()?);
    introduce(&world, &page, &metrics, paint)?;
    // Before the daemon takes any of it.
    let planned = plan::text(&config, paint).await?;
    let stop = CancellationToken::new();
    let serving = http::serve(
        registry,
        registry::router(world.directory.path().join("registry")),
        stop.clone(),
    );
    let options = Options {
        config,
        origin: Origin {
            path: None,
            text: String::new(),
        },
        more: Vec::new(),
        plain_http: [world.host.clone()].into(),
        compat: None,
        listeners,
        clock: Arc::new(SystemClock),
    };
    let (started, watching) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    let asked = shutdown()?;
    let until = async {
        tokio::select! {
            () = asked => {}
            _ = ended => {}
        }
    };
    let daemon = serve::serve(options, |watching| drop(started.send(watching)), until);
    let story = async {
        let Ok(watching) = watching.await else {
            return Ok(());
        };
        let mut snapshots = watching.snapshots.clone();
        let told = tell(&world, watching, &planned, &metrics, arguments.once, paint).await;
        if !arguments.once && told.is_ok() {
            // The page stays up until somebody ends the demo.
            while snapshots.changed().await.is_ok() {}
        }
        // Nobody listens any more if the daemon has ended already.
        end.send(()).ok();
        told
    };
    let all = async {
        let (daemon, told) = tokio::join!(daemon, story);
        stop.cancel();
        match told {
            // Ctrl-C in the middle of the story is somebody's wish.
            Err(error) if error.is::<Ended>() => daemon,
            told => daemon.and(told),
        }
    };
    let (served, result) = tokio::join!(serving, all);
    served?;
    result?;
    Ok(Exit::Done)
}

/// The port that people know, or another where it is taken.
async fn listen(preferred: u16) -> anyhow::Result<TcpListener> {
    let loopback = std::net::Ipv4Addr::LOCALHOST;
    match TcpListener::bind((loopback, preferred)).await {
        Ok(listener) => Ok(listener),
        Err(_taken) => TcpListener::bind((loopback, 0))
            .await
            .context("listening on a free port of 127.0.0.1"),
    }
}

fn configuration(world: &World, scene: &Scene) -> anyhow::Result<config::Config> {
    let directory = world.directory.path();
    std::fs::write(
        directory.join("workloads.yaml"),
        scene.workloads(&world.host),
    )?;
    let text = format!(
        "# What this demo was started with, for commands beside it.\n\
         inventory:\n  manifests: [{{name: demo, path: workloads.yaml}}]\n\
         registries:\n  - {{host: \"{}\", plainHttp: true, kind: distribution, storage: {{filesystem: {{root: registry}}}}}}\n\
         verify: {{interval: 2s, blobInterval: 2s}}\n\
         state: {{directory: state}}\n\
         {}",
        world.host,
        collection::configuration(SystemClock.now()),
    );
    let file = world.configuration();
    std::fs::write(&file, &text)?;
    Ok(config::parse(
        &text,
        &file.display().to_string(),
        directory,
    )?)
}

fn introduce(world: &World, page: &str, metrics: &str, paint: Paint) -> anyhow::Result<()> {
    terminal::print(&format!(
        "{}\n\n  \
         registry  http://{}/v2/   serves {}\n  \
         page      {}\n  \
         metrics   {}\n  \
         API       {page}api/v1/images\n\n",
        paint.bold(
            "pullproof demo: a registry, a cluster's workloads and the daemon, all on this machine"
        ),
        world.host,
        world.directory.path().join("registry").display(),
        paint.bold(page),
        paint.bold(metrics),
    ))
}

async fn tell(
    world: &World,
    watching: Watching,
    planned: &str,
    metrics: &str,
    once: bool,
    paint: Paint,
) -> anyhow::Result<()> {
    let Watching {
        mut snapshots,
        collections,
    } = watching;
    let snapshots = &mut snapshots;
    let mut collection = Collection {
        told: collections,
        host: world.host.clone(),
        paint,
    };
    let whole = |snapshot: &Snapshot| {
        snapshot.is_ready && snapshot.count(Verdict::Pullable) == snapshot.images.len()
    };
    let snapshot = wait(snapshots, "every image to be proven", whole).await?;
    let users: usize = snapshot
        .images
        .iter()
        .map(|image| image.users().len())
        .sum();
    let objects: u64 = snapshot
        .registries
        .iter()
        .flat_map(|registry| registry.objects)
        .map(|count| count.blobs)
        .sum();
    say(&format!(
        "{}  {} images, used by {users} containers, proven: every tag, every platform's manifest,\n  every config and layer ({objects} objects). The daemon goes over them every 2 seconds.",
        paint.green("pullable"),
        snapshot.images.len(),
    ))?;
    say(planned)?;
    collection.taken().await?;
    if !once {
        tokio::time::sleep(PEACE).await;
    }
    let swept = scene::sweep_arm64_child(&world.tree).context("sweeping the child")?;
    say(&format!(
        "{}  A collector takes untagged manifests for garbage. It sweeps the {} image under the\n  live tag {}:{}:\n    rm …/{}/_manifests/revisions/sha256/{}…/link, and its data\n  The tag is still listed, and every amd64 node still pulls it.",
        paint.bold("incident"),
        swept.platform,
        swept.repository,
        swept.tag,
        swept.repository,
        swept.digest.hex().get(..12).unwrap_or_default(),
    ))?;
    let broken = |snapshot: &Snapshot| {
        find(snapshot, &swept).is_some_and(|image| image.verdict() == Verdict::Broken)
    };
    let snapshot = wait(snapshots, "the loss to be found", broken).await?;
    let image = find(&snapshot, &swept).context("the image that was just seen")?;
    report(image, metrics, paint).await?;
    collection.returned().await?;
    if once {
        swept
            .restore(&world.tree)
            .context("pushing the child again")?;
        say(&format!(
            "{}      The image is pushed again.",
            paint.bold("push")
        ))?;
        wait(snapshots, "every image to be proven again", whole).await?;
        say(&format!(
            "{}  Every image is proven again: the alert resolves by itself.",
            paint.green("pullable")
        ))?;
    } else {
        say(&beside(world, &swept, paint))?;
        say(&format!(
            "{} ends the demo and removes its files.",
            paint.bold("Ctrl-C"),
        ))?;
    }
    Ok(())
}

/// What may be done beside it. Nothing of that changes what the demo tells.
fn beside(world: &World, swept: &Swept, paint: Paint) -> String {
    let program = program();
    let image = format!("{}/{}:{}", world.host, swept.repository, swept.tag);
    let configuration = world.configuration();
    let commands = [
        ("verify", "a table; its exit code is 2"),
        (&format!("explain {image}"), "what was asked and answered"),
        ("gc plan", "what would go, and why"),
        ("gc run", "what speaks against that now"),
    ];
    let width = commands.iter().map(|(words, _)| words.len()).max();
    let width = width.unwrap_or_default();
    let commands =
        commands.map(|(words, about)| format!("\n  {program} {words:width$}  # {about}"));
    format!(
        "{}      Look at the page and the metrics now; nodes that have the old layers cached would have hidden this\n  for days. Or ask in another terminal:\n\n  export PULLPROOF_CONFIG={}{}",
        paint.bold("look"),
        configuration.display(),
        commands.concat(),
    )
}

/// This program, as it can be called from here.
fn program() -> String {
    let Ok(program) = std::env::current_exe() else {
        return "pullproof".to_owned();
    };
    let here = std::env::current_dir().unwrap_or_default();
    let near = program.strip_prefix(here).unwrap_or(&program);
    near.display().to_string()
}

async fn report(image: &ImageState, metrics: &str, paint: Paint) -> anyhow::Result<()> {
    let finding = image
        .report
        .findings
        .first()
        .context("a broken image has a finding")?;
    let users: Vec<String> = image
        .users()
        .iter()
        .map(|user| format!("{}/{}/{}", user.namespace, user.kind, user.name))
        .collect();
    say(&format!(
        "{}    {}\n  {}{}: {}\n  used by {}",
        paint.red("broken"),
        image.reference(),
        finding.code,
        finding
            .platform
            .as_ref()
            .map(|platform| format!(" {platform}"))
            .unwrap_or_default(),
        super::table::shown(&finding.message),
        users.join(", "),
    ))?;
    let text = reqwest::get(metrics).await?.text().await?;
    let line = text
        .lines()
        .find(|line| line.starts_with("pullproof_workload_image_failure{"));
    let line = line.context("the metric does not say so")?;
    say(&format!("{}    {line}", paint.bold("metric")))
}

fn find<'a>(snapshot: &'a Snapshot, swept: &Swept) -> Option<&'a ImageState> {
    let suffix = format!("/{}:{}", swept.repository, swept.tag);
    snapshot
        .images
        .iter()
        .map(|image| &**image)
        .find(|image| image.reference().ends_with(&suffix))
}

async fn wait(
    snapshots: &mut watch::Receiver<Arc<Snapshot>>,
    what: &str,
    is_so: impl Fn(&Snapshot) -> bool,
) -> anyhow::Result<Arc<Snapshot>> {
    let found = snapshots.wait_for(|snapshot| is_so(snapshot));
    Ok(Arc::clone(&*moment(what, found).await?))
}

/// What the daemon tells, which may take a while.
async fn moment<T>(
    what: &str,
    told: impl Future<Output = Result<T, watch::error::RecvError>>,
) -> anyhow::Result<T> {
    let told = tokio::time::timeout(NOTICE, told).await;
    let told = told.with_context(|| format!("waited {} s for {what}", NOTICE.as_secs()))?;
    Ok(told.map_err(|_closed| Ended)?)
}

fn say(text: &str) -> anyhow::Result<()> {
    terminal::print(&format!("{text}\n\n"))
}

mod tempdir {
    //! A directory of the demo's own, removed with all that is in it when the demo ends.

    use std::path::{Path, PathBuf};

    use anyhow::Context as _;

    pub(super) struct Directory(PathBuf);

    impl Directory {
        pub(super) fn new() -> anyhow::Result<Self> {
            let name = format!("pullproof-demo-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
            Ok(Self(path))
        }

        pub(super) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            // It is in the system's temporary directory: what stays is removed there some day.
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}
