use super::*;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

/// The cases of containerd's own `TestOnly`, on nodes that tell their variant.
#[test]
fn what_a_node_takes_at_all_is_what_containerd_takes() {
    for (node, takes, refuses) in [
        (
            "linux/amd64",
            "linux/amd64 linux/amd64/v1 linux/386",
            "linux/amd64/v2 linux/arm/v7 linux/arm64 windows/amd64 windows/arm",
        ),
        (
            "linux/amd64/v2",
            "linux/amd64 linux/amd64/v1 linux/amd64/v2 linux/386",
            "linux/amd64/v3 linux/amd64/v4 linux/arm/v7 linux/arm64 windows/amd64",
        ),
        (
            "linux/386",
            "linux/386",
            "linux/amd64 linux/arm/v7 linux/arm64 windows/amd64",
        ),
        (
            "windows/amd64",
            "windows/amd64 windows(10.0.17763)/amd64",
            "linux/amd64 linux/arm/v7 linux/arm64 windows/arm windows/386",
        ),
        (
            "windows(10.0.17763)/amd64",
            "windows/amd64 windows(10.0.17763)/amd64 windows(10.0.17763.1935)/amd64",
            "linux/amd64 windows(10.0.20348)/amd64 windows/arm64",
        ),
        (
            "linux/arm/v8",
            "linux/arm linux/arm/v5 linux/arm/v6 linux/arm/v7 linux/arm/v8",
            "linux/amd64 linux/arm/v4 linux/arm64 windows/arm",
        ),
        (
            "linux/arm/v7",
            "linux/arm linux/arm/v5 linux/arm/v6 linux/arm/v7",
            "linux/amd64 linux/arm/v4 linux/arm/v8 linux/arm64 windows/arm",
        ),
        (
            "linux/arm/v6",
            "linux/arm/v5 linux/arm/v6",
            "linux/amd64 linux/arm linux/arm/v4 linux/arm/v7 linux/arm/v8 linux/arm64",
        ),
        (
            "linux/arm/v5",
            "linux/arm/v5",
            "linux/arm linux/arm/v4 linux/arm/v6 linux/arm/v7 linux/arm/v8",
        ),
        (
            "linux/arm/v4",
            "linux/arm/v4",
            "linux/arm linux/arm/v5 linux/arm/v6 linux/arm/v7 linux/arm/v8",
        ),
        (
            "linux/arm64/v9.6",
            "linux/arm linux/arm/v5 linux/arm/v6 linux/arm/v7 linux/arm/v8 linux/arm64 \
             linux/arm64/v8 linux/arm64/v8.1 linux/arm64/v8.9 linux/arm64/v9 linux/arm64/v9.0 \
             linux/arm64/v9.6",
            "linux/amd64 linux/arm/v4 windows/arm linux/arm64/v8.10 linux/arm64/v9.7",
        ),
        (
            "linux/arm64/v9",
            "linux/arm linux/arm/v8 linux/arm64 linux/arm64/v8 linux/arm64/v8.5 linux/arm64/v9.0",
            "linux/amd64 linux/arm/v4 linux/arm64/v8.6 linux/arm64/v9.1",
        ),
        (
            "linux/arm64/v8.1",
            "linux/arm linux/arm/v5 linux/arm/v8 linux/arm64 linux/arm64/v8.1",
            "linux/amd64 linux/arm/v4 linux/arm/v9 linux/arm64/v8.2 linux/arm64/v9",
        ),
        (
            "linux/arm64",
            "linux/arm linux/arm/v5 linux/arm/v6 linux/arm/v7 linux/arm/v8 linux/arm64 linux/arm64/v8",
            "linux/amd64 linux/arm/v4 linux/arm/v9 linux/arm64/v9 windows/arm64",
        ),
        (
            "linux/riscv64",
            "linux/riscv64",
            "linux/amd64 linux/riscv32",
        ),
        ("linux/ppc64le", "linux/ppc64le", "linux/ppc64le/power9"),
    ] {
        for (images, expected) in [(takes, true), (refuses, false)] {
            for image in images.split_whitespace() {
                let suits = platform(image).suits(&platform(node));
                assert_eq!(suits, expected, "{image} on {node}");
            }
        }
    }
}

/// A Node of the cluster tells system and architecture only. `-` is a child without a platform.
#[test]
fn a_node_takes_the_best_that_fits_and_needs_no_other() {
    for (nodes, offered, expected) in [
        (
            "linux/amd64",
            "linux/386 linux/amd64 linux/amd64/v2 linux/arm64/v8",
            "linux/amd64",
        ),
        ("linux/amd64", "linux/386 linux/arm64", "linux/386"),
        ("linux/amd64", "linux/amd64/v2 linux/amd64/v3", ""),
        (
            "linux/amd64/v3",
            "linux/amd64 linux/amd64/v2 linux/amd64/v4",
            "linux/amd64/v2",
        ),
        (
            "linux/arm64",
            "linux/arm/v5 linux/arm/v7 linux/arm64/v8 linux/arm64/v9",
            "linux/arm64/v8",
        ),
        ("linux/arm64", "linux/arm/v6 linux/arm/v7", "linux/arm/v7"),
        (
            "linux/arm/v7",
            "linux/arm/v5 linux/arm/v6 linux/arm64",
            "linux/arm/v6",
        ),
        // It may be any of them, so that each is needed.
        (
            "linux/arm",
            "linux/arm/v6 linux/arm/v7 linux/arm64",
            "linux/arm/v6 linux/arm/v7",
        ),
        (
            "linux/amd64 linux/arm64",
            "linux/amd64 linux/arm/v7 linux/arm64/v8 linux/s390x",
            "linux/amd64 linux/arm64/v8",
        ),
        ("linux/amd64", "- linux/amd64", "linux/amd64"),
        ("linux/amd64", "- linux/s390x -", "- -"),
        ("linux/amd64", "linux/s390x unknown/unknown", ""),
        // Features of the system, which a Node does not tell, may part them.
        (
            "linux/amd64",
            "linux/amd64 linux/amd64",
            "linux/amd64 linux/amd64",
        ),
        (
            "windows/amd64",
            "windows(10.0.17763.1)/amd64 windows(10.0.20348.1)/amd64 linux/amd64",
            "windows(10.0.17763.1)/amd64 windows(10.0.20348.1)/amd64",
        ),
        (
            "windows(10.0.26100)/amd64",
            "windows(10.0.17763.1)/amd64 windows(10.0.20348.1)/amd64 windows(10.0.26100.1)/amd64",
            "windows(10.0.26100.1)/amd64",
        ),
        (
            "windows(10.0.20348)/amd64",
            "windows/amd64 windows(10.0.26100.1)/amd64 linux/amd64",
            "windows/amd64",
        ),
    ] {
        let parse = |text: &str| (text != "-").then(|| platform(text));
        let nodes: Vec<Platform> = nodes.split_whitespace().map(platform).collect();
        let words: Vec<&str> = offered.split_whitespace().collect();
        let offered: Vec<Option<Platform>> = words.iter().map(|word| parse(word)).collect();
        let references: Vec<Option<&Platform>> = offered.iter().map(Option::as_ref).collect();
        let taken = taken(&nodes, &references);
        let taken = words.iter().zip(taken).filter(|(_, taken)| *taken);
        let taken: Vec<&str> = taken.map(|(word, _)| *word).collect();
        assert_eq!(taken.join(" "), expected, "{nodes:?} of {words:?}");
    }
}
