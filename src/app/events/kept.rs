//! What was told, in a file of the state directory.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::warn;

use crate::events::Memory;
use crate::files;

const FILE: &str = "kubernetes-events.json";

/// Where the memory is kept. Without a place it lasts as long as the process.
#[derive(Debug)]
pub(super) struct Kept {
    path: Option<Arc<PathBuf>>,
    /// It was said that it cannot be written.
    is_told: bool,
    /// There is no file.
    is_forgotten: bool,
}

impl Kept {
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self {
            path: directory.map(|directory| Arc::new(directory.join(FILE))),
            is_told: false,
            is_forgotten: false,
        }
    }

    /// What is there. One that cannot be read is none: then all that is broken now counts as broken before.
    pub(super) async fn load(&self) -> Memory {
        let read = |path: &PathBuf| match std::fs::read(path) {
            Ok(content) => serde_json::from_slice(&content).map_err(|error| error.to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Memory::default()),
            Err(error) => Err(error.to_string()),
        };
        self.on_disk(move |path| {
            read(path).unwrap_or_else(|problem| {
                warn!(
                    file = FILE,
                    problem, "it cannot be read; no Event is written of what is broken by now"
                );
                Memory::default()
            })
        })
        .await
        .unwrap_or_default()
    }

    pub(super) async fn save(&mut self, memory: &Memory) {
        self.is_forgotten = false;
        let content = serde_json::to_vec(memory).expect("it is plain data");
        let saved = self.on_disk(move |path| files::replace(path, &content));
        match saved.await {
            Some(Err(error)) => {
                if !std::mem::replace(&mut self.is_told, true) {
                    warn!(file = FILE, %error, "it cannot be written; after a restart Events may be written again");
                }
            }
            Some(Ok(())) | None => self.is_told = false,
        }
    }

    /// Removes the file, where there is one.
    pub(super) async fn forget(&mut self) {
        if std::mem::replace(&mut self.is_forgotten, true) {
            return;
        }
        let removed = self.on_disk(|path| match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        });
        if let Some(Err(error)) = removed.await {
            warn!(file = FILE, %error, "it cannot be removed");
        }
    }

    /// On a thread where it may take its time.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PathBuf) -> T + Send + 'static,
    ) -> Option<T> {
        let path = Arc::clone(self.path.as_ref()?);
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        Some(done.expect("it does not panic"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_read_back_and_damage_is_no_memory() {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = Kept::new(Some(directory.path().to_owned()));
        assert_eq!(kept.load().await, Memory::default());
        let text = r#"{"schema":"pullproof.dev/kubernetes-events/v1","settled":[["prod","r.example"]],
            "broken":[[{"cluster":"prod","namespace":"shop","kind":"Deployment","name":"web",
            "image":"r.example/web:1"},"told"]]}"#;
        let memory: Memory = serde_json::from_str(text).unwrap();
        assert_ne!(memory, Memory::default());
        kept.save(&memory).await;
        assert_eq!(kept.load().await, memory);
        let path = directory.path().join(FILE);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(kept.load().await, Memory::default());
        kept.forget().await;
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn without_a_directory_nothing_is_kept_and_nothing_fails() {
        let mut kept = Kept::new(None);
        kept.save(&Memory::default()).await;
        kept.forget().await;
        assert_eq!(kept.load().await, Memory::default());
    }
}
