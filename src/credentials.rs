//! Registry credentials as Docker and the kubelet keep them, and which of them fit an image.

use secrecy::SecretString;

/// The credentials of one docker config file or pull secret.
#[derive(Debug, Default)]
pub struct Keyring {}

#[derive(Debug)]
pub struct Credential {
    pub username: String,
    pub password: SecretString,
    pub identity_token: Option<SecretString>,
    pub registry_token: Option<SecretString>,
}
