//! Every shape and what must be found of it. One row, one fixture.

/// Who can serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// distribution, 2.8.2 and 3.1 alike.
    Distribution,
    /// 3.1 has dropped it, and 2.8.2 answers with signatures of its own making. A script serves it.
    ScriptForSchema1,
    /// Neither of them: `500` or `404` for the manifest. A script serves it.
    Script,
}

pub(super) struct Shape {
    /// The folder in `tests/fixtures`.
    pub(super) name: &'static str,
    /// The tag, or the end of one that names its subject's digest.
    pub(super) tag: &'static str,
    pub(super) served: Served,
    /// All platforms in the order of the report; `-` for one that is not told.
    pub(super) platforms: &'static str,
    /// What is found of a copy that lost nothing: a code, and the place of its subject.
    pub(super) findings: &'static [(&'static str, usize)],
    /// Which of them count when only this platform does; and whether it is lacking.
    pub(super) narrowed: &'static [(&'static str, &'static str)],
}

const fn shape(name: &'static str, platforms: &'static str) -> Shape {
    Shape {
        name,
        tag: "v1",
        served: Served::Distribution,
        platforms,
        findings: &[],
        narrowed: &[],
    }
}

const AMD: &str = "linux/amd64";
const ARM: &str = "linux/arm64";
const S390X: &str = "linux/s390x";
const SERVER_2022: &str = "windows(10.0.20348)/amd64";

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        narrowed: &[(AMD, AMD), (ARM, ARM), (S390X, "")],
        ..shape("oci-index", "linux/amd64 linux/arm64")
    },
    Shape {
        narrowed: &[(AMD, AMD), (ARM, ARM), (S390X, "")],
        ..shape("docker-list", "linux/amd64 linux/arm64")
    },
    // A runtime pulls the only image that there is, whatever it is for.
    Shape {
        narrowed: &[(AMD, ARM), (ARM, ARM)],
        ..shape("oci-image", "linux/arm64")
    },
    Shape {
        narrowed: &[(AMD, AMD), (ARM, AMD)],
        ..shape("docker-image", "linux/amd64")
    },
    // Without its inner index it is not known which platforms that had, so that none is lacking.
    Shape {
        narrowed: &[(AMD, AMD), (ARM, ARM)],
        ..shape("nested-index", "linux/amd64 linux/arm64")
    },
    // The second child was never copied.
    Shape {
        findings: &[("child_missing", 4)],
        narrowed: &[(AMD, AMD), (ARM, ARM), (S390X, "")],
        ..shape("sparse-index", "linux/amd64 linux/arm64")
    },
    Shape {
        narrowed: &[(AMD, AMD), (ARM, ARM)],
        ..shape(
            "attestations",
            "linux/amd64 unknown/unknown linux/arm64 unknown/unknown",
        )
    },
    Shape {
        narrowed: &[
            (AMD, AMD),
            (ARM, "linux/arm64/v8"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("linux/arm", "linux/arm/v6 linux/arm/v7"),
            ("linux/arm/v8", "linux/arm/v7"),
            ("linux/amd64/v2", "linux/amd64/v2"),
            ("linux/amd64/v3", "linux/amd64/v2"),
            (S390X, ""),
        ],
        ..shape(
            "variants",
            "linux/386 linux/amd64 linux/amd64/v2 linux/arm/v6 linux/arm/v7 linux/arm64/v8",
        )
    },
    Shape {
        narrowed: &[
            (AMD, AMD),
            (SERVER_2022, "windows(10.0.20348.2582)/amd64"),
            (
                "windows/amd64",
                "windows(10.0.17763.6054)/amd64 windows(10.0.20348.2582)/amd64 \
                 windows(10.0.26100.1742)/amd64",
            ),
            ("windows(10.0.14393)/amd64", ""),
        ],
        ..shape(
            "windows",
            "linux/amd64 windows(10.0.17763.6054)/amd64 windows(10.0.20348.2582)/amd64 \
             windows(10.0.26100.1742)/amd64",
        )
    },
    Shape {
        narrowed: &[(ARM, "-")],
        ..shape("artifact", "-")
    },
    shape("referrers", "linux/amd64"),
    // The list that stands in for the referrers API, under its own tag.
    Shape {
        tag: "",
        ..shape("referrers", "- -")
    },
    shape("cosign", "linux/amd64"),
    Shape {
        tag: ".sig",
        ..shape("cosign", "-")
    },
    Shape {
        tag: ".att",
        ..shape("cosign", "-")
    },
    Shape {
        tag: ".sbom",
        ..shape("cosign", "-")
    },
    Shape {
        tag: "1.0.0",
        narrowed: &[(ARM, "-")],
        ..shape("helm-chart", "-")
    },
    shape("zstd", "linux/amd64"),
    // Content beside the descriptors is not believed: each object that is lost is missed.
    shape("data", "linux/amd64"),
    Shape {
        findings: &[("manifest_invalid", 0)],
        ..shape("spoilt-data", "-")
    },
    // Layers among the children.
    Shape {
        narrowed: &[(ARM, "- - -")],
        ..shape("build-cache", "- - -")
    },
    shape("build-cache-image", "-"),
    shape("foreign-layer", "windows(10.0.17763.6054)/amd64"),
    Shape {
        served: Served::Script,
        ..shape("withdrawn-artifact", "- -")
    },
    Shape {
        served: Served::ScriptForSchema1,
        findings: &[("unsupported", 0)],
        ..shape("schema1-unsigned", "-")
    },
    Shape {
        served: Served::ScriptForSchema1,
        findings: &[("unsupported", 0)],
        ..shape("schema1", "-")
    },
];
