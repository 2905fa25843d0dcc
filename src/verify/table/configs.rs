//! What the configs of lone manifests say of their platforms.

use std::collections::HashMap;

use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::verify::shared::Shared;

/// Platforms of configs, each kept once.
#[derive(Debug, Default)]
pub struct Configs {
    numbers: HashMap<Digest, u32>,
    platforms: Shared<Option<Platform>>,
}

impl Configs {
    pub fn contains_key(&self, digest: &Digest) -> bool {
        self.numbers.contains_key(digest)
    }

    /// What a config says, if it was read.
    pub fn get(&self, digest: &Digest) -> Option<&Option<Platform>> {
        Some(self.platforms.get(*self.numbers.get(digest)?))
    }

    pub fn insert(&mut self, digest: Digest, platform: Option<Platform>) {
        let number = self.platforms.hold(platform);
        if let Some(before) = self.numbers.insert(digest, number) {
            self.platforms.release(before);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(&Digest) -> bool) {
        let platforms = &mut self.platforms;
        self.numbers.retain(|digest, number| {
            let stays = is_kept(digest);
            if !stays {
                platforms.release(*number);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_kept_for_as_long_as_a_config_says_it() {
        let [one, two, three] = [b"1", b"2", b"3"].map(|name| Digest::of(name));
        let platform = |text: &str| Some(text.parse::<Platform>().unwrap());
        let mut configs = Configs::default();
        configs.insert(one, platform("linux/amd64"));
        configs.insert(two, platform("linux/amd64"));
        configs.insert(three, None);
        assert_eq!(configs.platforms.len(), 2);
        assert_eq!(configs.get(&two), Some(&platform("linux/amd64")));
        assert_eq!(configs.get(&three), Some(&None));
        configs.insert(one, platform("linux/arm64/v8"));
        configs.retain(|digest| *digest == one);
        assert_eq!(configs.get(&one), Some(&platform("linux/arm64/v8")));
        assert!(!configs.contains_key(&two) && configs.get(&three).is_none());
        assert_eq!(configs.platforms.len(), 1);
    }
}
