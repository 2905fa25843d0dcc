//! Proves that the registry can serve what is kept of it: every platform, every layer by a byte.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt as _, stream};

use crate::app::once::{self, Proven};
use crate::app::registries::Registries;
use crate::clock::Clock;
use crate::collection::item::{Class, Item};
use crate::collection::proven::{Found, Proofs};
use crate::config::endpoint::Endpoint;
use crate::config::{Config, Registry, RegistryKind};
use crate::images::{self, PlatformChoice};
use crate::inventory::keepset::KeepSet;
use crate::inventory::{Inventory, references};
use crate::oci::digest::Digest;
use crate::oci::reference::{Aliases, Reference};
use crate::prover::Prover;
use crate::registry::client::believed::Belief;
use crate::verify::depth::{Depth, Rotation};
use crate::verify::finding::{Code, Verdict};
use crate::verify::target::AuthId;

/// The references that are proven: those of this registry that are kept, and what runs of them as far as
/// `stored` says that it was there.
pub(super) fn references(
    set: &KeepSet,
    (config, registry): (&Config, &Registry),
    stored: &dyn Fn(&Digest) -> bool,
) -> BTreeSet<String> {
    let is_own = |host: &str| config.leads_to(host, registry);
    let mut all = BTreeSet::new();
    for (reference, kept) in set.references() {
        if !is_own(reference.host()) {
            continue;
        }
        let text = reference.to_string();
        let is_named = registry
            .names()
            .any(|name| name.eq_ignore_ascii_case(reference.host()));
        let rest = text.strip_prefix(reference.host()).filter(|_| !is_named);
        // By another entry's host it is the same: it is in the same storage.
        all.insert(match rest {
            Some(rest) => format!("{}{rest}", registry.host),
            None => text,
        });
        let digests = kept.digests.iter().filter(|digest| stored(digest));
        all.extend(
            digests.map(|digest| format!("{}/{}@{digest}", registry.host, reference.repository())),
        );
    }
    all
}

/// Asks for all of them with the registry entry's own credential, whoever may pull them; with who asked.
pub(super) async fn prove(
    registries: &Registries,
    host: &str,
    references: &BTreeSet<String>,
    clock: &Arc<dyn Clock>,
) -> (Proofs, Option<Prover>) {
    let text: Vec<&str> = references.iter().map(String::as_str).collect();
    let source = references::read_text("kept", &text.join("\n"), clock.now());
    let inventory = Inventory {
        sources: vec![Arc::new(source)],
    };
    let images = images::collect_by(&inventory, &|_| PlatformChoice::All, &Aliases::default());
    let registries = Registries {
        depth: Some(Depth::Read),
        ..registries.clone()
    };
    let then = async |proven: Proven| proven;
    let all = once::prove_each(&images, &registries, clock, &|_| {}, then).await;
    let mut proofs = Proofs::new();
    let mut prover = None;
    for proven in all {
        for (key, _, report) in &proven.round.reports {
            let first = report.findings.first();
            let message =
                first.map_or_else(String::new, |it| format!("{}: {}", it.code, it.message));
            let found = match report.verdict {
                Verdict::Pullable => Found::Proven,
                Verdict::Broken => Found::Broken {
                    is_root: first.is_some_and(|it| {
                        matches!(it.code, Code::TagMissing | Code::ManifestMissing)
                    }),
                    message,
                },
                Verdict::Unknown => Found::Unknown(message),
            };
            proofs.insert(key.reference.to_string(), found);
        }
        if proven.prover.as_ref().is_some_and(|it| it.host() == host) {
            prover = proven.prover;
        }
    }
    // What has no answer is not known, and never fine.
    for reference in references {
        let unanswered = || Found::Unknown("no answer says anything of it".to_owned());
        proofs.entry(reference.clone()).or_insert_with(unanswered);
    }
    (proofs, prover)
}

/// Whoever asks a replica, known by a round over `some`; `None` where it cannot be asked at all.
pub(super) async fn asker(
    registries: &Registries,
    host: &str,
    replica: Endpoint,
    some: &BTreeSet<String>,
    clock: &Arc<dyn Clock>,
) -> Option<Prover> {
    let registries = dialling(registries, host, &replica);
    let (_, prover) = prove(&registries, host, some, clock).await;
    prover.or_else(|| {
        let prover = registries.prover(&host.into(), Rotation::default(), Arc::default());
        prover.ok()
    })
}

/// The same registries, but one is dialled at one of its replicas.
fn dialling(registries: &Registries, host: &str, replica: &Endpoint) -> Registries {
    let mut config = Config::clone(&registries.config);
    for registry in config.registries.iter_mut().filter(|it| it.host == host) {
        registry.endpoint = replica.clone();
        registry.kind = RegistryKind::Distribution;
    }
    Registries {
        config: Arc::new(config),
        ..registries.clone()
    }
}

/// Whether a replica takes pushes; an error is why that cannot be told.
pub(super) async fn takes_pushes(
    registries: &Registries,
    host: &str,
    replica: Endpoint,
) -> Result<bool, String> {
    let registries = dialling(registries, host, &replica);
    let prover = registries.prover(&host.into(), Rotation::default(), Arc::default());
    let mut prover = prover.map_err(|error| format!("{error:#}"))?;
    // Nobody need have pushed to it.
    let some: Reference = format!("{host}/pullproof/drill:none")
        .parse()
        .map_err(|error| format!("{error}"))?;
    let auth = prover.own(&some).await.map_err(|error| error.to_string())?;
    let repository = some.shared_repository();
    prover.client().takes_pushes(auth, &repository).await
}

/// For each item whether a replica still answers for it. Bytes are asked for by their links.
pub(super) async fn believed(asker: Option<&Prover>, items: &[Item]) -> Vec<Belief> {
    let unknown = |why: String| vec![Belief::Unknown(why); items.len()];
    let Some(prover) = asker else {
        return unknown("nobody there to ask".to_owned());
    };
    let auth = prover.learnt().1.first();
    let auth = auth.map_or(AuthId::default(), |target| target.content);
    let client = prover.client();
    let batch = match client.batch() {
        Ok(batch) => batch,
        Err(error) => return unknown(error),
    };
    let ask = async |item: &Item| match (&item.repository, item.class) {
        (Some(repository), Class::Revision) => {
            client
                .believes_in(&batch, auth, repository, &item.digest, true)
                .await
        }
        (Some(repository), Class::LayerLink) => {
            client
                .believes_in(&batch, auth, repository, &item.digest, false)
                .await
        }
        // A tag's history is asked for by nobody, and bytes are by their links.
        (_, _) => Belief::Gone,
    };
    let all = stream::iter(items).map(ask);
    all.buffered(client.concurrency().max(1)).collect().await
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::config::parse;
    use crate::inventory::completeness::complete;

    #[test]
    fn what_another_entry_of_the_same_storage_names_is_proven_by_this_one() {
        let text = "registries:
  - {host: a.example, aliases: [b.example], storage: {filesystem: {root: one}}}
  - {host: c.example, storage: {filesystem: {root: one}}}
  - {host: d.example, storage: {filesystem: {root: two}}}
";
        let config = parse(text, "p", Path::new("/")).unwrap();
        let now = Timestamp::from_second(1000).unwrap();
        let digest = Digest::of(b"runs");
        let named = format!(
            "a.example/app:1\nb.example/app:2\nc.example/app:3\nc.example/app@{digest}\nd.example/app:4"
        );
        let inventory = Arc::new(Inventory {
            sources: vec![Arc::new(references::read_text("keep", &named, now))],
        });
        let set = KeepSet::of(
            &complete(&inventory, now).unwrap(),
            &Aliases::default(),
            std::iter::empty(),
            SignedDuration::from_secs(1),
        );
        let registry = config.registry("a.example").unwrap();
        let proven = references(&set, (&config, registry), &|_| false);
        let expected = [
            "a.example/app:1".to_owned(),
            "b.example/app:2".to_owned(),
            "a.example/app:3".to_owned(),
            format!("a.example/app@{digest}"),
        ];
        assert_eq!(proven, expected.into());
    }
}
