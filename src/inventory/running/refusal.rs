//! Why a kubelet does not pull, in its own words.
//!
//! A node may fail for reasons of its own, of which the registry knows nothing: a full disk, a wrong
//! architecture. Those say nothing about whether the image can be pulled.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Characters of a message that are kept.
const MESSAGE_CHARS_MAX: usize = 300;

/// Why a container waits for its image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refusal {
    pub reason: Reason,
    /// In one line, and cut.
    pub message: Arc<str>,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// The kubelet's reasons that are about images (`pkg/kubelet/images/types.go`), under its names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// `None` for one that is not about an image (`ContainerCreating`).
            pub fn of(text: &str) -> Option<Self> {
                match text {
                    $(stringify!($variant) => Some(Self::$variant),)*
                    _ => None,
                }
            }

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }
        }
    };
}

reasons! {
    ErrImagePull,
    /// It failed before, and is tried again within five minutes.
    ImagePullBackOff,
    RegistryUnavailable,
    InvalidImageName,
    /// The policy is never to pull, so nothing was tried.
    ErrImageNeverPull,
    ImageInspectError,
    SignatureValidationFailed,
    /// No refusal: it pulled what is said to be broken.
    Pulled,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Whose fault a refusal is, by its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blame {
    /// The node's: its disk, its architecture, its policy. Or nothing was tried.
    Node,
    /// It does not say.
    Untold,
    /// The image could not be had from the registry.
    Registry,
}

/// What is the node's own, in the words of containerd, CRI-O, Docker and the kubelet.
const OF_NODES: [&str; 20] = [
    "no space left on device",
    "disk quota exceeded",
    "read-only file system",
    "input/output error",
    "too many open files",
    "cannot allocate memory",
    "out of memory",
    "structure needs cleaning",
    "failed to mount",
    "failed to prepare extraction snapshot",
    "no match for platform",
    "no matching manifest for",
    "no image found in image index for architecture",
    "no image found in manifest list for architecture",
    "does not match the specified platform",
    "does not match the current platform",
    "cannot be used on this platform",
    "pull qps exceeded",
    "context canceled",
    "containerd.sock",
];

impl Refusal {
    pub fn blame(&self) -> Blame {
        match self.reason {
            Reason::ErrImageNeverPull
            | Reason::ImageInspectError
            | Reason::SignatureValidationFailed
            | Reason::Pulled => Blame::Node,
            Reason::InvalidImageName => Blame::Registry,
            Reason::ErrImagePull | Reason::ImagePullBackOff | Reason::RegistryUnavailable => {
                let message = self.message.to_lowercase();
                if OF_NODES.iter().any(|words| message.contains(words)) {
                    Blame::Node
                } else if self.reason == Reason::ImagePullBackOff && !tells_why(&message) {
                    Blame::Untold
                } else {
                    Blame::Registry
                }
            }
        }
    }
}

/// `Back-off pulling image "app:1"` is all that kubelets before 1.31 say; later ones go on with the
/// error (`…: ErrImagePull: rpc error: …`).
fn tells_why(message: &str) -> bool {
    let after = message.strip_prefix("back-off pulling image ");
    after.is_none_or(|after| after.contains(": "))
}

/// A kubelet's message, in one line and cut.
pub(super) fn told(message: &str) -> String {
    let one_line = message
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c });
    let mut told: String = one_line.take(MESSAGE_CHARS_MAX).collect();
    if message.trim().chars().nth(MESSAGE_CHARS_MAX).is_some() {
        told.push('…');
    }
    told
}
