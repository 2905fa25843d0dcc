//! Registry credentials as Docker and the kubelet keep them, and which of them fit an image.

/// The credentials of one docker config file or pull secret.
#[derive(Debug, Default)]
pub struct Keyring {}
