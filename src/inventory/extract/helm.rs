//! A release as Helm keeps it in a Secret, one for each revision: what `helm rollback` would apply.
//!
//! JSON in gzip in base64 (`encodeRelease` in Helm's storage driver), and base64 once more for the Secret.
//! A release holds whatever its values held, passwords too: nothing of it is logged or told, and what was
//! unpacked is wiped.

use std::io::Read as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

use crate::inventory::{Via, manifests};

use super::manifest::may_name_images;
use super::{CustomResource, Extracted, Interner, Manifests, nullable};

/// The largest release that is unpacked. Packed it fits into a Secret, so 1 MiB.
const RELEASE_BYTES_MAX: u64 = 32 << 20;

const GZIP: [u8; 3] = [0x1f, 0x8b, 0x08];

/// One revision of a release, reduced to the objects that may name images.
#[derive(Debug)]
pub struct Release {
    name: String,
    namespace: String,
    version: u64,
    objects: Vec<Value>,
    problem: Option<&'static str>,
}

#[derive(Deserialize)]
struct Stored {
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    namespace: String,
    version: u64,
    #[serde(default, deserialize_with = "nullable")]
    manifest: String,
    #[serde(default, deserialize_with = "nullable")]
    hooks: Vec<Hook>,
}

/// What runs before or after: a Job that migrates, say.
#[derive(Default, Deserialize)]
struct Hook {
    #[serde(default, deserialize_with = "nullable")]
    manifest: String,
}

impl Release {
    /// Unpacks a Secret's `data.release`. What is wrong with it quotes nothing of it.
    pub fn unpack(release: &str) -> Result<Self, &'static str> {
        let not_one = "it is no release of Helm";
        let base64 = |text: &[u8]| {
            let decoded = STANDARD.decode(text).map(Zeroizing::new);
            decoded.map_err(|_quotes_the_release| not_one)
        };
        let packed = base64(&base64(release.as_bytes())?)?;
        // Helm's own first releases were not compressed, and it reads them still.
        let json = if packed.starts_with(&GZIP) {
            let mut json = Zeroizing::new(Vec::new());
            GzDecoder::new(packed.as_slice())
                .take(RELEASE_BYTES_MAX + 1)
                .read_to_end(&mut json)
                .map_err(|_damaged| not_one)?;
            json
        } else {
            packed
        };
        if json.len() as u64 > RELEASE_BYTES_MAX {
            return Err("its release has more than 32 MiB");
        }
        let Stored {
            name,
            namespace,
            version,
            manifest,
            hooks,
        } = serde_json::from_slice(&json).map_err(|_quotes_the_release| not_one)?;
        let mut release = Self {
            name,
            namespace,
            version,
            objects: Vec::new(),
            problem: None,
        };
        release.take(manifest);
        for hook in hooks {
            release.take(hook.manifest);
        }
        Ok(release)
    }

    fn take(&mut self, manifest: String) {
        let manifest = Zeroizing::new(manifest);
        // Helm takes the last of two keys of one name, and so does what it applied.
        for object in manifests::values(&manifest, DuplicateKeyPolicy::LastWins) {
            match object {
                Ok(object) if may_name_images(&object) => self.objects.push(object),
                Ok(_) => {}
                Err(()) => self.problem = Some("a part of its manifest cannot be read"),
            }
        }
    }

    /// The uses are the workloads' own, as those of a `ReplicaSet` are its Deployment's.
    pub fn extract(
        self,
        secret: &str,
        customs: &[Arc<CustomResource>],
        interner: &mut Interner,
    ) -> Extracted {
        let mut problem = self.problem;
        let release = format!("HelmRelease/{}.v{}", self.name, self.version);
        let mut manifests = Manifests::default();
        let mut is_whole = true;
        for object in self.objects {
            is_whole &= manifests.read(object, customs, interner).is_ok();
        }
        if !is_whole || !manifests.problems.is_empty() {
            // Why quotes the release.
            problem = Some("a part of its manifest cannot be read");
        }
        let unread = manifests.unread().next();
        let unread = unread.map(|it| format!("{release}: {it}").into());
        let via = Via::Object(release.into());
        let namespace = interner.text(&self.namespace);
        let workloads = manifests.workloads.into_iter().chain(manifests.custom);
        let history = workloads.map(|mut workload| {
            if workload.namespace.is_empty() {
                workload.namespace = Arc::clone(&namespace);
            }
            (Some(via.clone()), workload)
        });
        Extracted {
            history: history.collect(),
            unread,
            problem: problem.map(|problem| {
                let namespace = &self.namespace;
                format!("Secret {namespace}/{secret}: {problem}").into()
            }),
            ..Extracted::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::*;

    fn packed(json: &[u8], is_compressed: bool) -> String {
        let inner = if is_compressed {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(json).unwrap();
            encoder.finish().unwrap()
        } else {
            json.to_vec()
        };
        STANDARD.encode(STANDARD.encode(inner))
    }

    fn told(extracted: &Extracted) -> Vec<String> {
        let history = extracted.history.iter();
        history
            .flat_map(|(via, workload)| {
                let via = via.as_ref().unwrap();
                let images = workload.images.containers.iter();
                images.map(move |it| {
                    let (namespace, kind) = (&workload.namespace, &workload.kind);
                    format!("{namespace} {kind}/{} {} {via}", workload.name, it.image)
                })
            })
            .collect()
    }

    fn release(manifest: &str) -> Value {
        json!({"name": "web", "namespace": "shop", "version": 3, "manifest": manifest,
            "info": {"status": "superseded"}, "config": {"password": "hunter2"},
            "hooks": [{"name": "migrate", "manifest": "kind: Job\nmetadata: {name: migrate, namespace: db}\n\
                spec: {template: {spec: {containers: [{name: m, image: \"migrate:1\"}]}}}\n"}, {}]})
    }

    const DEPLOYMENT: &str = "---\n# Source: web/templates/deployment.yaml\napiVersion: apps/v1\nkind: Deployment\n\
        metadata: {name: web}\nspec: {template: {spec: {containers: [{name: app, image: \"web:1\"}]}}}\n";

    #[test]
    fn a_revision_is_its_workloads_history() {
        let secret = "---\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n";
        let json = release(&format!("{secret}{DEPLOYMENT}---\n")).to_string();
        for is_compressed in [true, false] {
            let release = Release::unpack(&packed(json.as_bytes(), is_compressed)).unwrap();
            assert!(!format!("{release:?}").contains("hunter2"));
            let extracted =
                release.extract("sh.helm.release.v1.web.v3", &[], &mut Interner::default());
            assert_eq!(
                told(&extracted),
                [
                    "shop Deployment/web web:1 HelmRelease/web.v3",
                    "db Job/migrate migrate:1 HelmRelease/web.v3",
                ]
            );
            assert_eq!(extracted.problem, None);
        }
    }

    fn extracted(manifest: &str, customs: &[Arc<CustomResource>]) -> Extracted {
        let json = release(manifest).to_string();
        let release = Release::unpack(&packed(json.as_bytes(), true)).unwrap();
        release.extract("s", customs, &mut Interner::default())
    }

    #[test]
    fn of_two_keys_the_last_is_what_helm_applied() {
        let twice = DEPLOYMENT.replace("image: \"web:1\"", "image: \"web:1\", image: \"web:2\"");
        let extracted = extracted(&twice, &[]);
        assert_eq!(extracted.problem, None);
        let expected = "shop Deployment/web web:2 HelmRelease/web.v3";
        assert_eq!(told(&extracted).first().unwrap(), expected);
    }

    #[test]
    fn custom_resources_are_a_part_of_its_history() {
        let task = "---\napiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: build}\n\
                    spec: {steps: [{image: \"go:1\"}]}\n";
        let custom = Arc::new(CustomResource {
            group: "tekton.dev".to_owned(),
            version: "v1".to_owned(),
            kind: "Task".to_owned(),
            pod_template: None,
            images: vec![".spec.steps[*].image".parse().unwrap()],
            pull_secrets: Vec::new(),
            may_be_empty: false,
        });
        let read = extracted(task, &[custom]);
        let last = told(&read).pop();
        assert_eq!(last.unwrap(), "shop Task/build go:1 HelmRelease/web.v3");
        assert_eq!((read.problem, read.unread), (None, None));
        let unread = extracted(task, &[]);
        assert_eq!((told(&unread).len(), unread.problem), (1, None));
        let expected = "HelmRelease/web.v3: Task/build: .spec.steps[0].image: an image that no \
                        configured path reads; customResources reads it";
        assert_eq!(unread.unread.as_deref(), Some(expected));
    }

    #[test]
    fn what_cannot_be_read_says_so_without_its_content() {
        let not_one = "it is no release of Helm";
        let whole = packed(release(DEPLOYMENT).to_string().as_bytes(), true);
        let inner = STANDARD.decode(&whole).unwrap();
        let cut = STANDARD.encode(&inner[..inner.len() / 2 / 4 * 4]);
        for text in ["", "hunter2", "aHVudGVyMg==", cut.as_str()] {
            assert_eq!(Release::unpack(text).unwrap_err(), not_one, "{text}");
        }
        let typed = json!({"name": "web", "version": "hunter2"}).to_string();
        assert_eq!(
            Release::unpack(&packed(typed.as_bytes(), true)).unwrap_err(),
            not_one
        );
        // A megabyte that unpacks to more than fits.
        let mut bomb = b"{\"name\": \"".to_vec();
        bomb.resize(usize::try_from(RELEASE_BYTES_MAX).unwrap() + 10, b' ');
        let bomb = packed(&bomb, true);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(
            Release::unpack(&bomb).unwrap_err(),
            "its release has more than 32 MiB"
        );

        for broken in [
            "---\nkind: Deployment\nspec: {containers: \"hunter2\n",
            "---\nkind: Pod\nspec: {containers: hunter2}\n",
        ] {
            let json = release(&format!("{broken}{DEPLOYMENT}")).to_string();
            let release = Release::unpack(&packed(json.as_bytes(), true)).unwrap();
            let extracted = release.extract("s", &[], &mut Interner::default());
            assert_eq!(
                extracted.problem.as_deref(),
                Some("Secret shop/s: a part of its manifest cannot be read")
            );
            assert_eq!(told(&extracted).len(), 2);
        }
    }
}
