//! Which Windows images a Windows node takes (containerd's `platforms`,
//! `platform_windows_compat.go`): its kernel is in the image, so the versions have to fit.

pub(super) const OS: &str = "windows";

/// Windows Server releases whose images later hosts run too: 2022 and 2025, in ascending order.
const STABLE_BUILDS: [u16; 2] = [20348, 26100];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Version {
    major: u8,
    minor: u8,
    build: u16,
}

impl Version {
    /// What is no version is 0.0.0, as in containerd: no host is that.
    fn read(text: &str) -> Self {
        let mut parts = text.split('.');
        let mut next = || parts.next().unwrap_or_default();
        match (next().parse(), next().parse(), next().parse()) {
            (Ok(major), Ok(minor), Ok(build)) => Self {
                major,
                minor,
                build,
            },
            _ => Self::default(),
        }
    }
}

/// Whether a host of version `host` takes an image for `image`. One that says nothing fits.
pub(super) fn fits(image: Option<&str>, host: Option<&str>) -> bool {
    let (Some(image), Some(host)) = (image, host) else {
        return true;
    };
    let (image, host) = (Version::read(image), Version::read(host));
    if host == Version::default() {
        return true;
    }
    if (image.major, image.minor) != (host.major, host.minor) {
        return false;
    }
    let [oldest, ..] = STABLE_BUILDS;
    if host.build < oldest {
        return image.build == host.build;
    }
    // From the stable release before the host's own up to the host's own.
    let from = STABLE_BUILDS
        .into_iter()
        .rfind(|build| *build < host.build)
        .unwrap_or(oldest);
    (from..=host.build).contains(&image.build)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of containerd's own `Test_PlatformCompat`, and what it says of odd versions.
    #[test]
    fn versions_fit_as_in_containerd() {
        let (ltsc2019, ltsc2022, ltsc2025) = (17763, 20348, 26100);
        let (v22h2, v23h2) = (22621, 25398);
        for (host, image, expected) in [
            (ltsc2019, ltsc2019, true),
            (ltsc2019, ltsc2022, false),
            (ltsc2022, ltsc2019, false),
            (ltsc2022, ltsc2022, true),
            (v22h2, ltsc2019, false),
            (v22h2, ltsc2022, true),
            (v23h2, ltsc2019, false),
            (v23h2, ltsc2022, true),
            (ltsc2025, ltsc2022, true),
            (ltsc2022, ltsc2025, false),
            (ltsc2022, v22h2, false),
            (ltsc2025, v22h2, true),
        ] {
            // The revision, the fourth number, counts on neither side.
            let (image, host) = (format!("10.0.{image}.1"), format!("10.0.{host}.2340"));
            assert_eq!(
                fits(Some(&image), Some(&host)),
                expected,
                "{image} on {host}"
            );
        }
        for (image, host, expected) in [
            (None, Some("10.0.20348"), true),
            (Some("10.0.20348"), None, true),
            (Some("10.0.20348"), Some("nonsense"), true),
            (Some("nonsense"), Some("10.0.20348"), false),
            (Some("10.0"), Some("10.0.20348"), false),
            (Some("6.3.20348"), Some("10.0.20348"), false),
            (Some("10.0.99999"), Some("10.0.20348"), false),
        ] {
            assert_eq!(fits(image, host), expected, "{image:?} on {host:?}");
        }
    }
}
