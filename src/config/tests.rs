use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

fn parsed(text: &str) -> Config {
    parse(text, "pullproof.yaml", Path::new("/etc/pullproof"))
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn rendered(text: &str) -> String {
    match parse(text, "pullproof.yaml", Path::new("")) {
        Ok(config) => panic!("no problem in {text:?}: {config:?}"),
        Err(problems) => problems.to_string(),
    }
}

/// Compares the problems' first lines, without the name of the file.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let problems = parse(text, "", Path::new(""))
        .map_or_else(|problems| problems.problems, |_config| Vec::new());
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| {
            format!(
                "{}:{} {}: {}",
                problem.line, problem.column, problem.path, problem.message
            )
        })
        .collect();
    assert_eq!(lines, expected, "{text}");
}

#[test]
fn every_problem_is_reported_with_its_place_and_the_way_out() {
    let text = "\
registries:
  - host: registry.example
    verify:
      interval: 10 parsecs
  - host: Registry.example
    sparse: true
inventroy: {}
";
    assert_eq!(
        rendered(text),
        "\
pullproof.yaml:4:17: registries[0].verify.interval: `10 parsecs` is not a duration: expected a number with a unit, as 90s, 10m, 2h or 7d
   4 |       interval: 10 parsecs
     |                 ^
pullproof.yaml:5:11: registries[1].host: `Registry.example` is already the host of registries[0]; write one entry for each host
   5 |   - host: Registry.example
     |           ^
pullproof.yaml:6:5: registries[1].sparse: `sparse` is known, but this version does not have it yet: it would have no effect; take it out
   6 |     sparse: true
     |     ^
pullproof.yaml:7:1: inventroy: unknown key `inventroy`; did you mean `inventory`?
   7 | inventroy: {}
     | ^
4 problems in pullproof.yaml"
    );
}

#[test]
fn an_empty_file_is_a_configuration() {
    for text in [
        "",
        "\n",
        "# nothing\n",
        "---\n",
        "null",
        "{}",
        "\u{feff}",
        "\r\n# nothing\r\n",
        "verify:\nregistries:\n",
    ] {
        assert_eq!(parsed(text), Config::default(), "{text:?}");
    }
    let config = Config::default();
    assert!(config.inventory.is_empty());
    assert_eq!(config.verify.interval, Duration::from_mins(10));
    assert_eq!(config.verify.blob_interval, Duration::from_hours(1));
    assert_eq!(config.http.metrics.to_string(), ":8080");
    assert_eq!(config.state.directory, Path::new(STATE_DIRECTORY));
}

#[test]
fn what_is_written_arrives() {
    let config = parsed(
        r#"
inventory:
  clusters:
    - {name: prod, context: prod}
    - {name: here, inCluster: true, namespaces: [a, b-1], scopeIsAll: true}
    - {name: edge, kubeconfig: kube/edge.yaml, role: failover, required: false, maxAge: 72h, platforms: [linux/arm64]}
  references: [{name: keep, file: /srv/keep.txt}]
  manifests: [{name: gitops, path: deploy}]
registries:
  - host: registry.example:5000
    endpoint: HTTPS://10.0.0.7:5000/oci/
    tls: {ca: {file: ca.pem}, clientCertificate: {file: c.pem, keyFile: k.pem}}
    tokenRealms: ["https://auth.example/token"]
    proxy: http://proxy.example:3128
    credentials: {dockerConfig: {file: config.json}}
    maxConcurrency: 1024
    requestsPerSecond: 0.5
    verify: {interval: 5m, platforms: [linux/amd64, linux/arm64/v8]}
  - {host: index.docker.io}
  - {host: "localhost:5000", plainHttp: true}
verify: {interval: 20m, blobInterval: 1d, platforms: [all]}
http: {metrics: "127.0.0.1:9090", ui: "[::1]:0"}
metrics: {maxSeries: 5, maxSeriesPerNamespace: 1}
network: {clusterCIDRs: [10.0.0.0/16, "fd00::/8"]}
log: {format: json, level: trace}
state: {directory: state}
"#,
    );
    let base = Path::new("/etc/pullproof");
    let [prod, here, edge] = config.inventory.clusters.as_slice() else {
        panic!("three clusters");
    };
    assert_eq!(
        prod.access,
        ClusterAccess::Kubeconfig {
            file: None,
            context: Some("prod".to_owned())
        }
    );
    assert!(prod.required && prod.role == Role::Active && prod.max_age.is_none());
    assert_eq!(here.access, ClusterAccess::InCluster);
    assert_eq!(
        here.scope,
        Scope::Namespaces {
            names: vec!["a".to_owned(), "b-1".to_owned()],
            is_all: true
        }
    );
    assert_eq!(
        edge.access,
        ClusterAccess::Kubeconfig {
            file: Some(base.join("kube/edge.yaml")),
            context: None
        }
    );
    assert_eq!(edge.max_age, Some(Duration::from_hours(72)));
    assert_eq!(edge.platforms, ["linux/arm64".parse().unwrap()]);
    assert!(!edge.required && edge.role == Role::Failover);
    assert_eq!(
        config.inventory.references[0].file,
        Path::new("/srv/keep.txt")
    );
    assert_eq!(config.inventory.manifests[0].path, base.join("deploy"));

    let registry = config.registry("Registry.Example:5000").unwrap();
    assert_eq!(registry.endpoint.to_string(), "https://10.0.0.7:5000/oci");
    assert_eq!(registry.tls.ca, Some(base.join("ca.pem")));
    assert_eq!(
        registry.credentials,
        Some(Credentials::DockerConfig(base.join("config.json")))
    );
    assert_eq!(
        registry.token_realms[0].to_string(),
        "https://auth.example/token"
    );
    assert_eq!(registry.max_concurrency, 1024);
    assert_eq!(registry.requests_per_second, Some(0.5));
    assert_eq!(registry.verify.interval, Duration::from_mins(5));
    assert_eq!(registry.verify.blob_interval, Duration::from_hours(24));
    assert_eq!(
        registry.verify.platforms,
        NeededPlatforms::Only(vec![
            "linux/amd64".parse().unwrap(),
            "linux/arm64/v8".parse().unwrap()
        ])
    );

    let hub = config.registry("docker.io").unwrap();
    assert_eq!(hub.endpoint.to_string(), "https://registry-1.docker.io");
    assert_eq!(hub.verify, config.verify);
    assert_eq!((hub.max_concurrency, hub.requests_per_second), (32, None));
    let local = config.registry("localhost:5000").unwrap();
    assert_eq!(local.endpoint.to_string(), "http://localhost:5000");

    assert_eq!(config.http.metrics.to_string(), "127.0.0.1:9090");
    assert_eq!(config.metrics.max_series, 5);
    assert_eq!(config.network.cluster_cidrs.len(), 2);
    assert_eq!(config.log.level, LogLevel::Trace);
    assert_eq!(config.state.directory, base.join("state"));
    assert!(config.state.is_given && !Config::default().state.is_given);
}

#[test]
fn keys_are_known_and_written_once() {
    check(
        "verify: {intervall: 1m, blob_interval: 1h, foo: 1}",
        &[
            "1:10 verify.intervall: unknown key `intervall`; did you mean `interval`?",
            "1:25 verify.blob_interval: unknown key `blob_interval`; did you mean `blobInterval`?",
            "1:44 verify.foo: unknown key `foo`; known here: blobInterval, contentBudget, depth, interval, platforms, readShare",
        ],
    );
    check(
        "log: {level: info}\nlog: {level: info}\nlog: 5\nstate: {directory: a, directory: b}\n",
        &[
            "2:1 log: `log` is already written in line 1",
            "3:1 log: `log` is already written in line 1",
            "4:23 state.directory: `directory` is already written in line 4",
        ],
    );
    check(
        "inventory: {references: [{name: a}], manifests: [{}]}",
        &[
            "1:26 inventory.references[0].file: `file` is missing",
            "1:50 inventory.manifests[0].name: `name` is missing",
            "1:50 inventory.manifests[0].path: `path` is missing",
        ],
    );
}

#[test]
fn every_key_of_a_later_version_is_refused_by_name() {
    for (map, key) in later::keys() {
        let mut value = json!({ key: {} });
        for name in map.split('.').rev().filter(|name| !name.is_empty()) {
            value = match name.strip_suffix("[]") {
                Some(name) => {
                    value["host"] = json!("registry.example");
                    json!({ name: [value] })
                }
                None => json!({ name: value }),
            };
        }
        let problems = rendered(&value.to_string());
        let expected = format!("`{key}` is known, but this version does not have it yet");
        assert!(problems.contains(&expected), "{value}: {problems}");
        assert!(!problems.contains("unknown key"), "{value}: {problems}");
    }
}

#[test]
fn what_a_registry_is_may_be_said() {
    for (text, kind) in [
        ("", RegistryKind::Auto),
        (", kind: auto", RegistryKind::Auto),
        (", kind: distribution", RegistryKind::Distribution),
        (", kind: zot", RegistryKind::Zot),
        (", kind: harbor", RegistryKind::Harbor),
    ] {
        let config = parsed(&format!("registries: [{{host: a.example{text}}}]"));
        assert_eq!(config.registries[0].kind, kind, "{text}");
    }
}

#[test]
fn labels_that_ride_along_are_keys_of_labels_that_are_nobody_elses_in_prometheus() {
    let config = parsed("metrics: {labels: [team, app.kubernetes.io/part-of, 1st-tier]}");
    let labels = config.metrics.labels.iter();
    let labels: Vec<_> = labels.map(|it| (&*it.key, &*it.name)).collect();
    assert_eq!(
        labels,
        [
            ("team", "team"),
            ("app.kubernetes.io/part-of", "app_kubernetes_io_part_of"),
            ("1st-tier", "_1st_tier"),
        ]
    );
    check(
        "metrics:\n  labels: [team, namespace, team, app.kubernetes.io/name, app-kubernetes.io/name, Team, ignored]",
        &[
            "2:18 metrics.labels[1]: `namespace` is `namespace` in Prometheus, which is a label of pullproof's, of alerts' or of targets' own; choose another, or label the workloads with a key of your own, as example.com/namespace",
            "2:29 metrics.labels[2]: `team` is chosen already; once is enough",
            "2:59 metrics.labels[4]: `app-kubernetes.io/name` is `app_kubernetes_io_name` in Prometheus, and so is `app.kubernetes.io/name` before it; keep one of them",
            "2:89 metrics.labels[6]: `ignored` is `ignored` in Prometheus, which is a label of pullproof's, of alerts' or of targets' own; choose another, or label the workloads with a key of your own, as example.com/ignored",
        ],
    );
    for key in [
        "",
        "-team",
        "team-",
        "a/b/c",
        "/team",
        "Example.com/team",
        "example..com/team",
        "te am",
        "täam",
        &"a".repeat(64),
        &format!("{}.com/team", "a".repeat(250)),
    ] {
        let problems = rendered(&json!({"metrics": {"labels": [key]}}).to_string());
        assert!(
            problems.contains("is not the key of a label"),
            "{key}: {problems}"
        );
    }
    for key in [
        "pod",
        "severity",
        "job",
        "exported_namespace",
        "le",
        "workload-type",
        "alertname",
    ] {
        let problems = rendered(&json!({"metrics": {"labels": [key]}}).to_string());
        assert!(problems.contains("choose another"), "{key}: {problems}");
    }
    let eleven: Vec<String> = (0..11).map(|number| format!("label-{number}")).collect();
    let problems = rendered(&json!({"metrics": {"labels": eleven}}).to_string());
    assert!(
        problems.contains("metrics.labels: 11 labels are more than 10"),
        "{problems}"
    );
    let longest = format!("{}/{}", ["a"; 127].join("."), "b".repeat(63));
    for key in [&longest, "team", "Team", "a.b_c-d", "x.y/1"] {
        parsed(&json!({"metrics": {"labels": [key]}}).to_string());
    }
}

#[test]
fn how_far_to_read_is_a_word_a_share_and_an_amount() {
    let config = parse(
        "verify: {depth: read, readShare: 0.5%, contentBudget: 1GiB}\nregistries: [{host: a.b, verify: {depth: content}}]",
        "p",
        Path::new(""),
    )
    .unwrap();
    let of_registry = &config.registries[0].verify;
    assert_eq!(
        (config.verify.depth, of_registry.depth),
        (Depth::Read, Depth::Content)
    );
    assert_eq!(
        (of_registry.read_share, of_registry.content_budget),
        (0.005, 1 << 30)
    );
    check(
        "verify: {depth: deep, readShare: 5, contentBudget: 50MB}\nregistries: [{host: c.d, verify: {readShare: 200%, contentBudget: 0B}}]",
        &[
            "1:17 verify.depth: expected head or read or content, found `deep`",
            "1:34 verify.readShare: expected text, as \"5%\", found the number 5",
            "1:52 verify.contentBudget: `50MB` is not usable: expected a whole number with a unit (B, KiB, MiB, GiB or TiB), as 50MiB",
            "2:46 registries[0].verify.readShare: `200%` is not usable: expected a percentage from 0% to 100%, as 5% or 0.5%",
            "2:67 registries[0].verify.contentBudget: with no byte to hash, nothing is hashed; take depth read for that",
        ],
    );
}

#[test]
fn wrong_types_and_numbers_out_of_range() {
    check(
        "\
registries:
  - {host: a.b, maxConcurrency: 1025, requestsPerSecond: 0}
  - {host: c.d, maxConcurrency: 1.5, requestsPerSecond: .inf}
  - {host: e.f, plainHttp: yes, tls: {ca: ca.pem}}
  - registry.example
  - {host: 10.5}
verify: {interval: 60, platforms: needed}
metrics: {maxSeries: 0}
log: {level: loud, format: [json]}
inventory: {clusters: [5, [1]]}
http: 8080
",
        &[
            "2:33 registries[0].maxConcurrency: expected a whole number from 1 to 1024, found the number 1025",
            "2:58 registries[0].requestsPerSecond: expected a number above 0, at most 100000, found the number 0",
            "3:33 registries[1].maxConcurrency: expected a whole number from 1 to 1024, found the number 1.5",
            "3:57 registries[1].requestsPerSecond: expected a number above 0, at most 100000, found `.inf`",
            "4:28 registries[2].plainHttp: expected true or false, found `yes`",
            "4:43 registries[2].tls.ca: expected a map (keys: file), found text",
            "5:5 registries[3]: expected a map (keys: aliases, credentials, endpoint, gc, host, kind, maxConcurrency, mirrors, plainHttp, proxy, replicaEndpoints, requestsPerSecond, retention, service, single, storage, tls, tokenRealms, verify), found text",
            "6:12 registries[4].host: expected text, as \"registry.example:5000\", found the number 10.5",
            "7:20 verify.interval: expected text, as \"10m\", found the number 60",
            "7:35 verify.platforms: expected a list, found text",
            "8:22 metrics.maxSeries: expected a whole number of at least 1, found the number 0",
            "9:14 log.level: expected error or warn or info or debug or trace, found `loud`",
            "9:28 log.format: expected auto or text or json, found a list",
            "10:24 inventory.clusters[0]: expected a map (keys: context, inCluster, kubeconfig, maxAge, name, namespaces, platforms, required, role, scopeIsAll), found the number 5",
            "10:27 inventory.clusters[1]: expected a map (keys: context, inCluster, kubeconfig, maxAge, name, namespaces, platforms, required, role, scopeIsAll), found a list",
            "11:7 http: expected a map (keys: metrics, tls, token, ui), found the number 8080",
        ],
    );
}

#[test]
fn intervals_are_at_least_a_second_and_blobs_are_not_verified_more_often() {
    check(
        "verify: {interval: 0s, blobInterval: 10}",
        &[
            "1:20 verify.interval: an interval is at least 1s",
            "1:38 verify.blobInterval: expected text, as \"10m\", found the number 10",
        ],
    );
    check(
        "verify: {interval: 2h}\nregistries: [{host: a.b}]",
        &[
            "1:20 verify.interval: 2h is longer than the blobInterval, 1h where it is not written; add `blobInterval: 2h`",
        ],
    );
    check(
        "registries: [{host: a.b, verify: {blobInterval: 5m}}]",
        &[
            "1:49 registries[0].verify.blobInterval: 5m is shorter than the interval of 10m; blobs are verified at most as often as manifests",
        ],
    );
}

#[test]
fn platforms_are_a_word_or_a_list() {
    check(
        "verify: {platforms: []}\nregistries:\n- {host: a.b, verify: {platforms: [needed, linux]}}\ninventory: {clusters: [{name: a, context: a, platforms: [all]}]}",
        &[
            "1:21 verify.platforms: it is empty; write [needed], [all] or a list of platforms",
            "3:36 registries[0].verify.platforms[0]: `needed` stands alone: write [needed]",
            "3:44 registries[0].verify.platforms[1]: `linux` is not a platform: expected os/architecture or os/architecture/variant, as linux/arm64/v8",
            "4:58 inventory.clusters[0].platforms[0]: `all` is not a platform: expected os/architecture or os/architecture/variant, as linux/arm64/v8",
        ],
    );
}

#[test]
fn a_host_is_written_as_workloads_write_it() {
    check(
        "\
registries:
  - host: https://registry.example/v2
  - host: registry.example/team
  - host: registry
  - host: registry.example:http
  - host: docker.io
  - host: registry-1.docker.io
  - {}
",
        &[
            "2:11 registries[0].host: `https://registry.example/v2` is a URL: write the host as workloads do, `registry.example` without the scheme",
            "3:11 registries[1].host: `registry.example/team` is more than a host: write `registry.example` without a path",
            "4:11 registries[2].host: `registry` is not a registry's host in a reference: that needs a dot, a port or `localhost`, else it is a repository on docker.io",
            "5:11 registries[3].host: `registry.example:http` is not a registry's host: its port is not a number from 1 to 65535",
            "7:11 registries[5].host: `docker.io` is already the host of registries[4]; write one entry for each host",
            "8:5 registries[6].host: `host` is missing",
        ],
    );
}

#[test]
fn an_alias_leads_to_one_entry() {
    let config = parsed("registries: [{host: r.example, aliases: [R.internal, \"r.svc:5000\"]}]");
    assert_eq!(config.registries[0].aliases, ["R.internal", "r.svc:5000"]);
    for name in ["r.example", "R.INTERNAL", "r.svc:5000"] {
        assert_eq!(config.registry(name).unwrap().host, "r.example", "{name}");
    }
    assert_eq!(config.registry("r.svc"), None);
    assert_eq!(config.aliases().host_of("r.Internal"), Some("r.example"));
    let mirror = "registries: [{host: r.example, aliases: [r.internal], mirrors: [{host: r.internal/hub, of: docker.io}]}]";
    assert_eq!(parsed(mirror).mirrors()[0].mirror.host, "r.example");
    check(
        "\
registries:
  - {host: a.example, aliases: [a.internal, b.example, A.Example]}
  - {host: b.example, aliases: [A.internal, c.internal, c.internal]}
  - {host: c.example, aliases: [https://c.svc, plain, 5]}
",
        &[
            "2:45 registries[0].aliases[1]: `b.example` is the host of registries[1]; take the alias out, or that entry",
            "2:56 registries[0].aliases[2]: `A.Example` is the host of registries[0]; take the alias out, or that entry",
            "3:33 registries[1].aliases[0]: `A.internal` is already an alias of registries[0]; a name leads to one storage",
            "3:57 registries[1].aliases[2]: `c.internal` is already an alias of registries[1]; a name leads to one storage",
            "4:33 registries[2].aliases[0]: `https://c.svc` is a URL: write the host as workloads do, `c.svc` without the scheme",
            "4:48 registries[2].aliases[1]: `plain` is not a registry's host in a reference: that needs a dot, a port or `localhost`, else it is a repository on docker.io",
            "4:55 registries[2].aliases[2]: expected text (in quotes if need be), found the number 5",
        ],
    );
}

#[test]
fn endpoints_agree_with_plain_http_and_tls() {
    check(
        "\
registries:
  - {host: a.b, endpoint: a.b}
  - {host: c.d, endpoint: https://c.d, plainHttp: true}
  - {host: e.f, endpoint: http://e.f, plainHttp: false}
  - {host: g.h, plainHttp: true, tls: {ca: {file: ca.pem}}}
  - {host: i.j, endpoint: https://i.j/v2/}
  - {host: k.l, proxy: http://proxy/path, tokenRealms: [http://auth.example, auth.example]}
  - {host: m.n, plainHttp: true, tokenRealms: [http://auth.example]}
",
        &[
            "2:27 registries[0].endpoint: `a.b` is not usable: its scheme is missing; write https:// or http:// in front",
            "3:27 registries[1].endpoint: it is https, but plainHttp is true; write http:// or take plainHttp out",
            "4:27 registries[2].endpoint: it is http, but plainHttp is false; write https:// or take plainHttp out",
            "5:39 registries[3].tls: there is no TLS over plain http; take one of the two out",
            "6:27 registries[4].endpoint: write it without /v2, which every registry has",
            "7:24 registries[5].proxy: a proxy has no path; write http://host:port",
            "7:57 registries[5].tokenRealms[0]: credentials would be sent in the clear; write https://",
            "7:78 registries[5].tokenRealms[1]: `auth.example` is not usable: its scheme is missing; write https:// or http:// in front",
        ],
    );
}

#[test]
fn sources_have_a_name_of_their_own_and_a_way_to_be_read() {
    check(
        "\
inventory:
  clusters:
    - {name: a, inCluster: true, context: a}
    - {name: b}
    - {name: 'b c', context: b, scopeIsAll: true}
    - {name: c, context: '', namespaces: [A, b]}
    - {name: d, context: d, namespaces: []}
  references: [{name: a, file: ''}]
",
        &[
            "3:28 inventory.clusters[0].inCluster: inCluster and a kubeconfig's context are two clusters; write one of them",
            "4:7 inventory.clusters[1]: how to reach it is missing; add `context: NAME`, `kubeconfig: FILE` or `inCluster: true`",
            "5:14 inventory.clusters[2].name: `b c` is not a name: expected 1 to 128 characters without white space",
            "5:45 inventory.clusters[2].scopeIsAll: it says something about `namespaces`, which is not written",
            "6:26 inventory.clusters[3].context: it is empty",
            "6:43 inventory.clusters[3].namespaces[0]: `A` is not a namespace: expected lower-case letters, digits and dashes",
            "7:41 inventory.clusters[4].namespaces: no namespace is in it; leave it out for all namespaces",
            "8:23 inventory.references[0].name: `a` is already the name of inventory.clusters[0]; every source has its own",
            "8:32 inventory.references[0].file: the name of a file is missing",
        ],
    );
}

#[test]
fn peers_are_reached_safely_or_on_purpose() {
    let config = parsed(
        "inventory: {peers: [{name: dr, url: 'https://pullproof.dr:8081', token: {file: t}}, \
         {name: here, url: 'http://127.0.0.1:8081/dr', token: {file: t}}, \
         {name: mesh, url: 'http://dr.mesh', token: {file: t}, plainHttp: true, ca: {file: ca}, \
         required: false, maxAge: 2h}]}",
    );
    assert!(!config.inventory.is_empty());
    let [dr, here, mesh] = config.inventory.peers.as_slice() else {
        panic!("{config:?}");
    };
    assert_eq!(dr.endpoint.to_string(), "https://pullproof.dr:8081");
    assert_eq!((dr.required, dr.max_age), (true, Duration::from_hours(1)));
    assert_eq!(here.endpoint.to_string(), "http://127.0.0.1:8081/dr");
    assert_eq!(mesh.max_age, Duration::from_hours(2));
    assert_eq!(
        (mesh.required, &mesh.ca),
        (false, &Some(PathBuf::from("/etc/pullproof/ca")))
    );
    let named: Vec<String> = config.files().into_iter().map(|it| it.named_at).collect();
    assert!(
        named.contains(&"inventory.peers[2].ca.file".to_owned()),
        "{named:?}"
    );
    assert!(
        named.contains(&"inventory.peers[0].token.file".to_owned()),
        "{named:?}"
    );
    check(
        "\
inventory:
  peers:
    - {name: a, url: 'http://dr.example', token: {file: t}}
    - {name: b, url: 'https://dr.example', token: {file: t}, plainHttp: true}
    - {name: c, url: 'https://dr.example/api/v1/keepset', token: {file: ''}}
    - {name: c, url: dr.example, token: {file: t}}
    - {name: d, url: 'https://dr.example'}
    - {name: ledger, url: 'https://user:password@dr.example', token: {file: t}, maxAge: 1}
",
        &[
            "3:22 inventory.peers[0].url: by http everybody on the way can read the token and change what is kept; write https://, or `plainHttp: true` beside it where something else protects the way",
            "4:22 inventory.peers[1].url: it is https, but plainHttp is true; write http:// or take plainHttp out",
            "5:22 inventory.peers[2].url: write it without /api/v1/keepset, which is the same everywhere",
            "5:73 inventory.peers[2].token.file: the name of a file is missing",
            "6:14 inventory.peers[3].name: `c` is already the name of inventory.peers[2]; every source has its own",
            "6:22 inventory.peers[3].url: `dr.example` is not usable: its scheme is missing; write https:// or http:// in front",
            "7:7 inventory.peers[4].token: `token` is missing",
            "8:14 inventory.peers[5].name: `ledger` is the name of what pullproof remembers itself; take another",
            "8:27 inventory.peers[5].url: the value (not shown, as it may hold a secret) is not usable: a secret is never written here; name a file of credentials under `credentials`",
            "8:89 inventory.peers[5].maxAge: expected text, as \"10m\", found the number 1",
        ],
    );
}

#[test]
fn custom_resources_say_where_their_images_are() {
    let config = parsed(
        "inventory: {customResources: [{apiVersion: argoproj.io/v1alpha1, kind: Rollout, podTemplate: .spec.template}, \
         {apiVersion: tekton.dev/v1, kind: Task, images: ['.spec.steps[*].image'], pullSecrets: ['.spec[\"a/b\"]'], mayBeEmpty: true}]}",
    );
    let [rollout, task] = config.inventory.custom_resources.as_slice() else {
        panic!("{config:?}");
    };
    assert_eq!(
        (
            rollout.group.as_str(),
            rollout.version.as_str(),
            rollout.kind.as_str()
        ),
        ("argoproj.io", "v1alpha1", "Rollout")
    );
    assert_eq!(
        rollout.pod_template.as_ref().unwrap().as_str(),
        ".spec.template"
    );
    assert_eq!(task.images[0].as_str(), ".spec.steps[*].image");
    assert_eq!(task.pull_secrets[0].as_str(), ".spec[\"a/b\"]");
    assert_eq!((rollout.may_be_empty, task.may_be_empty), (false, true));
    let paths = vec![".spec.image"; 63].join(", ");
    check(
        &format!(
            "inventory: {{customResources: [{{apiVersion: x.example/v1, kind: X, images: [{paths}]}}]}}\n"
        ),
        &["1:75 inventory.customResources[0].images: it has 63 paths; an entry takes at most 62"],
    );
    // They alone are no source: the current cluster has them.
    assert!(config.inventory.is_empty());
    check(
        "\
inventory:
  customResources:
    - {apiVersion: argoproj.io/v1alpha1, kind: Rollout}
    - {apiVersion: argoproj.io/v1, kind: Rollout, podTemplate: 'spec.template'}
    - {apiVersion: apps/v1, kind: Deployment, podTemplate: .spec.template}
    - {apiVersion: ../v1, kind: a/b, images: []}
    - {apiVersion: x.example/v1, kind: X, podTemplate: .spec, pullSecrets: [.spec.name]}
    - {apiVersion: y.example/v1, kind: Y, images: ['.spec.list[0].image']}
    - {kind: Z, images: 5}
",
        &[
            "3:7 inventory.customResources[0]: where it names images is missing; add `podTemplate: .spec.template` or `images: [.spec.image]`",
            "4:42 inventory.customResources[1].kind: `Rollout` of this group is already inventory.customResources[0]; one entry takes all of its paths, in one version",
            "4:64 inventory.customResources[1].podTemplate: `spec.template` is not a path: at character 1: expected `.field`, `[\"quoted key\"]` or `[*]`",
            "5:20 inventory.customResources[2].apiVersion: `apps/v1` is Kubernetes' own: its kinds are read anyway; take the entry out",
            "6:20 inventory.customResources[3].apiVersion: `../v1` is not an API version: expected group/version, as argoproj.io/v1alpha1",
            "6:33 inventory.customResources[3].kind: `a/b` is not a kind: expected letters and digits, as Rollout",
            "6:46 inventory.customResources[3].images: it is empty; write paths, or leave it out",
            "7:76 inventory.customResources[4].pullSecrets: it is for `images`, which are not written; a pod template has its own",
            "8:52 inventory.customResources[5].images[0]: `.spec.list[0].image` is not a path: at character 11: expected `.field`, `[\"quoted key\"]` or `[*]`",
            "9:7 inventory.customResources[6].apiVersion: `apiVersion` is missing",
            "9:25 inventory.customResources[6].images: expected a list, found the number 5",
        ],
    );
}

#[test]
fn releases_are_read_where_they_are_asked_for() {
    let releases = parsed("inventory: {releases: {helm: true}}")
        .inventory
        .releases;
    assert_eq!(
        (releases.argocd, releases.flux, releases.helm),
        (false, false, true)
    );
    assert_eq!(Config::default().inventory.releases, Releases::default());
}

#[test]
fn mentions_are_of_listed_registries() {
    let config = parsed("{inventory: {mentions: true}, registries: [{host: registry.example}]}");
    assert!(config.inventory.mentions && !Config::default().inventory.mentions);
    check(
        "inventory: {mentions: true}",
        &[
            "1:23 inventory.mentions: only images of listed registries are looked for; add `registries: [{host: HOST}]`",
        ],
    );
}

#[test]
fn whoever_deletes_tags_has_a_policy() {
    let policy = "policies: [{repositories: [team/*], keep: [{newest: 3}]}]";
    for text in [
        format!("retention: {{mode: delete, {policy}}}"),
        // Of some registries nothing goes.
        format!(
            "{{retention: {{mode: delete, {policy}}}, registries: [{{host: a.example, retention: {{policies: []}}}}]}}"
        ),
        // The mode for all, and the policies where they differ.
        format!(
            "{{retention: {{mode: delete}}, registries: [{{host: a.example}}, {{host: b.example, retention: {{{policy}}}}}]}}"
        ),
        "retention: {mode: plan}".to_owned(),
    ] {
        parsed(&text);
    }
    let way_out = "no policy says what stays, and without one nothing goes; add `policies: [{repositories: [\"**\"], keep: [{newest: 10}]}]` beside it, or leave this out";
    for (text, place) in [
        ("retention: {mode: delete}", "1:19 retention.mode"),
        (
            "retention: {mode: delete, policies: []}",
            "1:19 retention.mode",
        ),
        (
            "registries: [{host: a.example, retention: {mode: delete}}]",
            "1:50 registries[0].retention.mode",
        ),
    ] {
        check(text, &[&format!("{place}: {way_out}")]);
    }
    // What is wrong with a policy is said, and not that there is none.
    check(
        "retention: {mode: delete, policies: 3}",
        &["1:37 retention.policies: expected a list, found the number 3"],
    );
}

#[test]
fn events_are_for_the_workloads_of_clusters() {
    assert!(!Config::default().writes_events);
    for text in [
        "kubernetesEvents: {write: true}",
        "{kubernetesEvents: {write: true}, inventory: {clusters: [{name: a, context: a}]}}",
    ] {
        assert!(parsed(text).writes_events, "{text}");
    }
    check(
        "kubernetesEvents: {write: true}\ninventory: {references: [{name: keep, file: keep.txt}]}",
        &[
            "1:27 kubernetesEvents.write: no cluster is in the inventory whose workloads could get Events; add one under `inventory.clusters`, or leave this out",
        ],
    );
}

#[test]
fn addresses_to_listen_on_and_ranges() {
    check(
        "http: {metrics: 'localhost', ui: ':8080'}\nnetwork: {clusterCIDRs: [10.0.0.0/8, 10.1.0.0/8, ten]}",
        &[
            "1:17 http.metrics: `localhost` is not an address to listen on: expected \":8080\" for all interfaces, or \"host:8080\"",
            "2:38 network.clusterCIDRs[1]: `10.1.0.0/8` is not a range of addresses: it has bits beyond its prefix; write 10.0.0.0/8",
            "2:50 network.clusterCIDRs[2]: `ten` is not a range of addresses: expected an address and the length of its prefix, as 10.0.0.0/8 or fd00::/8",
        ],
    );
    check(
        "http: {metrics: ':8081'}",
        &["1:7 http.ui: port 8081 is also that of http.metrics; each has its own"],
    );
}

#[test]
fn no_secret_is_accepted_or_repeated() {
    for text in [
        "registries: [{host: a.b, credentials: {username: u, password: hunter2}}]",
        "registries: [{host: a.b, password: hunter2}]",
        "registries: [{host: a.b, foo: 1, \"token\": hunter2}]",
        "registries: [{host: a.b, endpoint: 'https://u:hunter2@a.b'}]",
        "registries: [{host: 'u:hunter2@a.b'}]",
        "registries: [{host: a.b, proxy: 'http://u:hun/hunter2@proxy:1'}]",
        "registries: [{host: a.b, credentials: 'u:hunter2'}]",
        "registries: [{host: a.b, tls: {clientCertificate: {file: c, key: hunter2}}}]",
        "http: {token: hunter2}",
        "password: *hunter2",
        "password: 'hunter2",
        "a:\n  password: |\n    x\n    hunter2: [\n  \tb: c",
        "a:\n  - token:\n\n      x: [hunter2",
    ] {
        let problems = rendered(text);
        assert!(!problems.contains("hunter2"), "{text}: {problems}");
        assert!(problems.contains("[not shown]"), "{text}: {problems}");
    }
    check(
        "registries: [{host: a.b, credentials: {password: hunter2}, tls: {ca: {file: '-----BEGIN CERTIFICATE-----'}}}]",
        &[
            "1:39 registries[0].credentials: nothing is in it; write one of dockerConfig, ecr, gar, acr, as {dockerConfig: {file: FILE}} or {ecr: {}}",
            "1:40 registries[0].credentials.password: `password` would be a secret written inline; secrets are only read from files that the configuration names, as `credentials: {dockerConfig: {file: FILE}}`",
            "1:77 registries[0].tls.ca.file: expected the name of a file, not what is in it",
        ],
    );
}

#[test]
fn what_is_no_yaml_or_a_bomb_or_two_documents_says_so() {
    check(
        "verify:\n\tinterval: 1m\n",
        &["2:2 : tabs disallowed within this context (block indentation); indent with spaces"],
    );
    check("a: [", &["1:4 : unclosed bracket '['"]);
    check("a: *b", &["1:4 : alias references unknown anchor"]);
    check(
        "? [a]\n: b",
        &["1:1 : a key is a word, not a list or a map"],
    );
    check(
        "log: {level: loud}\n---\nlog: {}\n",
        &[
            "1:14 log.level: expected error or warn or info or debug or trace, found `loud`",
            "3:1 : a second document begins here; a configuration is one document",
        ],
    );
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (last, next) in ["ab", "bc", "cd", "de", "ef", "fg"].map(|pair| pair.split_at(1)) {
        let aliases = vec![format!("*{last}"); 9].join(", ");
        bomb = format!("{bomb}{next}: &{next} [{aliases}]\n");
    }
    check(
        &bomb,
        &["5:12 : its aliases expand to far more than a configuration; write the values out"],
    );
    check(
        &" ".repeat((1 << 20) + 1),
        &["1:1 : the file is larger than 1 MiB"],
    );
    let nested = "[".repeat(10_000);
    assert!(parse(&nested, "", Path::new("")).is_err());
}

#[test]
fn an_alias_is_judged_where_its_value_is_written() {
    check(
        "registries:\n- {host: a.b, verify: &v {interval: soon}}\n- {host: c.d, verify: {<<: *v, depth: head}}\n",
        &[
            "2:37 registries[0].verify.interval: `soon` is not a duration: expected a number with a unit, as 90s, 10m, 2h or 7d",
            "2:37 registries[1].verify.interval: `soon` is not a duration: expected a number with a unit, as 90s, 10m, 2h or 7d",
        ],
    );
}

#[test]
fn long_lines_are_shown_around_the_place() {
    let text = format!(
        "verify: {{{}interval: soon}} # {}",
        " ".repeat(500),
        "x".repeat(500)
    );
    let problems = parse(&text, "", Path::new("")).unwrap_err();
    let [problem] = problems.problems.as_slice() else {
        panic!("one problem");
    };
    let (line, mark) = problem.snippet.split_once('\n').unwrap();
    assert!(line.chars().count() < 150, "{line}");
    let column = mark.find('^').unwrap();
    assert!(
        line.get(column..).unwrap().starts_with("soon"),
        "{line}\n{mark}"
    );
}

#[test]
fn credentials_are_a_map_with_one_key() {
    check(
        "\
registries:
  - {host: a.b, credentials: {}}
  - {host: c.d, credentials: {dockerConfig: {file: a}, ecr: {}}}
  - {host: e.f, credentials: {ecr: {region: 'EU west', accessKey: AKID}}}
  - {host: 123456789012.dkr.ecr.eu-west-1.amazonaws.com, credentials: {ecr: {endpoint: http://ecr.example, regoin: a}}}
  - {host: g.h, credentials: {ecr: {region: eu-west-1, accessKey: {file: ''}}}}
  - {host: i.j, credentials: {dockerConfig: {}}}
  - {host: k.l, credentials: {gar: {applicationCredentials: key.json, keyFile: a}}}
  - {host: m.n, credentials: {acr: {tenantId: a/b, clientId: c}}}
",
        &[
            "2:30 registries[0].credentials: nothing is in it; write one of dockerConfig, ecr, gar, acr, as {dockerConfig: {file: FILE}} or {ecr: {}}",
            "3:61 registries[1].credentials.ecr: `dockerConfig` and `ecr` are two ways; keep one of them",
            "4:45 registries[2].credentials.ecr.region: `EU west` is not a region: expected one as eu-west-1",
            "4:67 registries[2].credentials.ecr.accessKey: expected a map (keys: file), found text",
            "5:88 registries[3].credentials.ecr.endpoint: credentials would be sent in the clear; write https://",
            "5:108 registries[3].credentials.ecr.regoin: unknown key `regoin`; did you mean `region`?",
            "6:74 registries[4].credentials.ecr.accessKey.file: the name of a file is missing",
            "7:45 registries[5].credentials.dockerConfig.file: `file` is missing",
            "8:61 registries[6].credentials.gar.applicationCredentials: expected a map (keys: file), found text",
            "8:71 registries[6].credentials.gar.keyFile: unknown key `keyFile`; known here: applicationCredentials",
            "9:36 registries[7].credentials.acr: a service principal is written with all of tenantId, clientId and clientSecret; a managed identity with clientId or nothing",
            "9:47 registries[7].credentials.acr.tenantId: `a/b` is not an id: expected one as 11111111-1111-1111-1111-111111111111",
        ],
    );
    let ecr =
        |entry: &str| match parsed(&format!("registries: [{entry}]")).registries[0].credentials {
            Some(Credentials::Ecr(ref ecr)) => ecr.clone(),
            ref other => panic!("{other:?}"),
        };
    let plain = ecr("{host: 123456789012.dkr.ecr.eu-west-1.amazonaws.com, credentials: {ecr: {}}}");
    assert_eq!(plain.region, "eu-west-1");
    assert_eq!(
        plain.endpoint.to_string(),
        "https://api.ecr.eu-west-1.amazonaws.com"
    );
    assert_eq!(plain.access_key, None);
    let fips =
        ecr("{host: 123456789012.dkr.ecr-fips.us-east-1.amazonaws.com, credentials: {ecr: {}}}");
    assert_eq!(
        fips.endpoint.to_string(),
        "https://ecr-fips.us-east-1.amazonaws.com"
    );
    let written =
        ecr("{host: a.b, credentials: {ecr: {region: cn-north-1, accessKey: {file: key}}}}");
    assert_eq!(
        written.endpoint.to_string(),
        "https://api.ecr.cn-north-1.amazonaws.com.cn"
    );
    assert_eq!(written.access_key, Some("/etc/pullproof/key".into()));
    let azure = |acr: &str| {
        let text = format!("registries: [{{host: a.b, credentials: {{acr: {acr}}}}}]");
        parsed(&text).registries[0].credentials.clone()
    };
    let of_environment = |client: Option<&str>| {
        let client = client.map(ToOwned::to_owned);
        Some(Credentials::Acr(Acr::Environment { client }))
    };
    assert_eq!(azure("{}"), of_environment(None));
    assert_eq!(azure("{clientId: c}"), of_environment(Some("c")));
    assert_eq!(
        azure("{tenantId: t.example, clientId: c, clientSecret: {file: s}}"),
        Some(Credentials::Acr(Acr::ServicePrincipal {
            tenant: "t.example".to_owned(),
            client: "c".to_owned(),
            secret: "/etc/pullproof/s".into(),
        }))
    );
    let google = |gar: &str| {
        let text = format!("registries: [{{host: a.b, credentials: {{gar: {gar}}}}}]");
        parsed(&text).registries[0].credentials.clone()
    };
    assert_eq!(google("{}"), Some(Credentials::Gar(None)));
    assert_eq!(
        google("{applicationCredentials: {file: key.json}}"),
        Some(Credentials::Gar(Some("/etc/pullproof/key.json".into())))
    );
}

#[test]
fn named_files_are_looked_at_apart_from_the_parse() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(base.join("ca.pem"), pem).unwrap();
    fs::write(base.join("key.pem"), "-----BEGIN EC PRIVATE KEY-----\n").unwrap();
    fs::write(base.join("config.json"), "{\"auths\": {}}").unwrap();
    fs::write(base.join("keep.txt"), "").unwrap();
    fs::create_dir(base.join("deploy")).unwrap();
    let check = |text: &str, expected: &[&str]| {
        let config = parse(text, "p.yaml", base).unwrap();
        let problems = config
            .check_files(text, "p.yaml")
            .map_or_else(|problems| problems.problems, |()| Vec::new());
        let base = format!("{}/", base.display());
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| {
                let message = problem.message.replace(&base, "");
                format!(
                    "{}:{} {}: {message}",
                    problem.line, problem.column, problem.path
                )
            })
            .collect();
        assert_eq!(lines, expected);
    };
    check(
        "\
inventory: {references: [{name: a, file: keep.txt}], manifests: [{name: b, path: deploy}]}
registries:
  - host: a.b
    tls: {ca: {file: ca.pem}, clientCertificate: {file: ca.pem, keyFile: key.pem}}
    credentials: {dockerConfig: {file: config.json}}
",
        &[],
    );
    check(
        "\
inventory:
  clusters: [{name: k, kubeconfig: missing}]
  references: [{name: a, file: deploy}]
registries:
  - host: a.b
    tls: {ca: {file: key.pem}, clientCertificate: {file: ca.pem, keyFile: ca.pem}}
    credentials: {dockerConfig: {file: keep.txt}}
",
        &[
            "2:36 inventory.clusters[0].kubeconfig: missing: there is no such file; a relative name is looked up beside the configuration",
            "3:32 inventory.references[0].file: deploy: it is a directory, not a file",
            "6:22 registries[0].tls.ca.file: key.pem: it holds no certificate; expected PEM (-----BEGIN CERTIFICATE-----)",
            "6:75 registries[0].tls.clientCertificate.keyFile: ca.pem: it holds no private key; expected PEM (-----BEGIN PRIVATE KEY-----)",
            "7:40 registries[0].credentials.dockerConfig.file: keep.txt: it is not JSON as docker login writes it; expected {\"auths\": {…}}",
        ],
    );
}

#[test]
fn the_example_parses_and_shows_every_key_and_the_defaults() {
    let config = parsed(example());
    let default = Config::default();
    assert_eq!(config.verify, default.verify);
    assert_eq!(config.http.metrics, default.http.metrics);
    assert_eq!(config.http.ui, default.http.ui);
    assert_eq!(config.metrics, default.metrics);
    // These have no default to show.
    let gc = Gc {
        windows: Vec::new(),
        acknowledged: Vec::new(),
        max_collect_bytes: None,
        redis: None,
        workload: None,
        conflicts: Vec::new(),
        read_only: ReadOnly {
            deployment: None,
            ..config.gc.read_only
        },
        ..config.gc
    };
    assert_eq!(gc, default.gc);
    assert_eq!(config.network, default.network);
    assert_eq!(config.log, default.log);
    assert_eq!(config.state.directory, default.state.directory);

    // The example has no key that the schema lacks, or it would not have parsed.
    let mut shown = BTreeSet::new();
    let documents = tree::read(example()).unwrap();
    example_keys(&documents[0], "", &mut shown);
    let mut known = BTreeSet::new();
    let schema = schema();
    schema_keys(&schema, &schema, "", &mut known);
    // What may be overridden is shown at either place.
    let overridden = |path: String| {
        let of_registry = path.strip_prefix("registries[].");
        let both = ["verify.", "gc.", "retention."];
        let key = of_registry.filter(|it| both.iter().any(|part| it.starts_with(part)));
        key.map(str::to_owned).unwrap_or(path)
    };
    let [shown, known] = [shown, known].map(|paths| {
        let paths = paths.into_iter().map(overridden);
        paths.collect::<BTreeSet<String>>()
    });
    assert_eq!(shown, known);
}

fn example_keys(node: &tree::Node, path: &str, keys: &mut BTreeSet<String>) {
    match &node.value {
        tree::Value::Map(entries) => {
            for entry in entries {
                let path = decode::join(path, &entry.key);
                example_keys(&entry.node, &path, keys);
                keys.insert(path);
            }
        }
        tree::Value::List(nodes) => {
            for node in nodes {
                example_keys(node, &format!("{path}[]"), keys);
            }
        }
        _scalar => {}
    }
}

fn schema_keys(root: &Json, schema: &Json, path: &str, keys: &mut BTreeSet<String>) {
    let schema = wanted::resolved(root, schema);
    if let Some(items) = schema.get("items") {
        schema_keys(root, items, &format!("{path}[]"), keys);
    }
    if let Some(properties) = schema.get("properties") {
        assert_eq!(schema["additionalProperties"], json!(false), "{path}");
        for (key, schema) in properties.as_object().unwrap() {
            assert!(schema["description"].is_string(), "{path}.{key}");
            let path = decode::join(path, key);
            schema_keys(root, schema, &path, keys);
            keys.insert(path);
        }
    }
}

#[test]
fn the_schemas_defaults_are_the_real_ones() {
    let schema = schema();
    let defaults = |schema: &Json| -> serde_json::Map<String, Json> {
        let properties = schema["properties"].as_object().unwrap();
        properties
            .iter()
            .filter_map(|(key, schema)| Some((key.clone(), schema.get("default")?.clone())))
            .collect()
    };
    let mut whole = defaults(&schema);
    for (key, section) in schema["properties"].as_object().unwrap() {
        let section = wanted::resolved(&schema, section);
        if !whole.contains_key(key) && section.get("properties").is_some() {
            whole.insert(key.clone(), Json::Object(defaults(section)));
        }
    }
    let mut config = parsed(&Json::Object(whole.clone()).to_string());
    config.state.is_given = false;
    assert_eq!(config, Config::default());
    assert_eq!(whole["verify"].as_object().unwrap().len(), 6);

    for (definition, place, smallest) in [
        (
            "Cluster",
            "/inventory/clusters",
            json!({"name": "a", "context": "a"}),
        ),
        (
            "Peer",
            "/inventory/peers",
            json!({"name": "a", "url": "https://a.b", "token": {"file": "t"}}),
        ),
        ("Registry", "/registries", json!({"host": "a.b"})),
    ] {
        let mut full = defaults(&schema["$defs"][definition]);
        assert!(full.len() >= 2, "{definition}");
        full.extend(smallest.as_object().unwrap().clone());
        let document = |item: Json| match place {
            "/registries" => json!({"registries": [item]}).to_string(),
            "/inventory/peers" => json!({"inventory": {"peers": [item]}}).to_string(),
            _ => json!({"inventory": {"clusters": [item]}}).to_string(),
        };
        // `scopeIsAll: false` without namespaces is what it is by default.
        assert_eq!(
            parsed(&document(Json::Object(full))),
            parsed(&document(smallest))
        );
    }
}

/// Documents that look like configurations, so that more than the parser is reached.
fn documents() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "host",
        "registries",
        "verify",
        "interval",
        "inventory",
        "clusters",
        "name",
        "10m",
        "a.b",
        "tls",
        "ca",
        "file",
        "http",
        "platforms",
        "depth",
        "read",
        "needed",
        "*a",
        "&a",
        "<<",
        "é",
        "https://u@h",
        "password",
        "null",
        "1",
        "-1",
        "1.5",
        "true",
        "\"",
        "log",
        "level",
    ]);
    let mark = prop::sample::select(vec![
        ": ", ": ", ": {", "}", "[", "]", ", ", "\n", "\n  ", "\n- ", "\n    ", "\t", "#", "---",
    ]);
    prop::collection::vec((word, mark), 0..24)
        .prop_map(|parts| parts.into_iter().flat_map(|(a, b)| [a, b]).collect())
}

proptest! {
    #[test]
    fn no_text_panics_and_problems_point_into_it(text in prop_oneof!["\\PC{0,60}", "(?s).{0,40}", documents()]) {
        if let Err(problems) = parse(&text, "p", Path::new("")) {
            prop_assert!(!problems.problems.is_empty());
            prop_assert!(!problems.to_string().contains("does not fit"), "{}", problems);
            for problem in &problems.problems {
                prop_assert!(problem.line >= 1 && problem.column >= 1);
                prop_assert!(problem.line <= text.split(['\n', '\r']).count() + 1);
            }
            prop_assert!(problems.problems.is_sorted_by_key(|problem| (problem.line, problem.column)));
        }
    }
}

#[test]
fn a_storage_is_one_place_and_what_is_garbage_in_it_may_differ() {
    let config = parsed(
        "\
gc: {untagged: delete, minimumAge: 2h, alarmPercent: 80}
registries:
  - {host: a.b, storage: {filesystem: {root: reg}}, gc: {tagHistory: delete, repositories: [\"team/*\"]}}
  - {host: c.d, storage: {s3: {region: eu-west-1, bucket: b, prefix: /r/, endpoint: \"http://127.0.0.1:9\"}}}
",
    );
    let [disk, bucket] = &config.registries[..] else {
        panic!("two registries");
    };
    assert_eq!(
        disk.storage,
        Some(Storage::Filesystem("/etc/pullproof/reg".into()))
    );
    assert_eq!(
        disk.gc,
        Gc {
            repositories: vec!["team/*".parse().unwrap()],
            keeps_untagged: false,
            keeps_tag_history: false,
            minimum_age: Duration::from_hours(2),
            alarm_percent: 80.0,
            ..Gc::default()
        }
    );
    let Some(Storage::S3(s3)) = &bucket.storage else {
        panic!("a bucket");
    };
    assert_eq!((&*s3.prefix, s3.max_concurrency), ("r", 64));
    assert!(bucket.gc.keeps_tag_history && !bucket.gc.keeps_untagged);
    check(
        "\
gc: {mode: sweep, repositories: [], minimumAge: 5, alarmPercent: 101, conflicts: {workloads: [{namespace: Registry, name: \"a/b\"}, {namespace: r}]}}
registries:
  - {host: a.b, storage: {}}
  - {host: c.d, storage: {filesystem: {root: a}, s3: {region: r, bucket: b}}, gc: {repositories: [\"/a\"]}}
  - {host: e.f, storage: {s3: {region: \"a b\", prefix: a/../b, endpoint: \"http://h/x\"}}}
",
        &[
            "1:12 gc.mode: expected plan or quarantine or purge, found `sweep`",
            "1:33 gc.repositories: it is empty: no repository fits; write [\"**\"] for all",
            "1:49 gc.minimumAge: expected text, as \"10m\", found the number 5",
            "1:66 gc.alarmPercent: expected a number from 0 to 100, found the number 101",
            "1:107 gc.conflicts.workloads[0].namespace: `Registry` is no namespace of Kubernetes: expected lower-case letters, digits and dashes",
            "1:123 gc.conflicts.workloads[0].name: `a/b` is no pattern of names: expected one as registry-gc or registry-gc*",
            "1:131 gc.conflicts.workloads[1]: it does not say which; add `name: \"registry-gc*\"` or `selector: app=registry-gc`",
            "3:26 registries[0].storage: nothing is in it; write {filesystem: {root: DIRECTORY}} or {s3: {region: REGION, bucket: BUCKET}}",
            "4:54 registries[1].storage.s3: `filesystem` and `s3` are two places; keep one of them",
            "4:99 registries[1].gc.repositories[0]: `/a` is not a pattern of repositories: a repository's name neither begins nor ends with /; expected one as team/app, sandbox/* or sandbox/**",
            "5:31 registries[2].storage.s3.bucket: `bucket` is missing",
            "5:40 registries[2].storage.s3.region: `a b` is not the name of a region",
            "5:55 registries[2].storage.s3.prefix: `a/../b` is not a prefix: expected names with / between them",
            "5:73 registries[2].storage.s3.endpoint: it has a path; the bucket and the prefix have keys of their own",
        ],
    );
}

#[test]
fn what_a_collection_needs_of_a_cluster_has_a_namespace_and_a_name() {
    let config = parsed(
        "\
leaderElection: {lease: {namespace: pullproof, name: collector.a}}
gc: {settle: {cache: safePut, restart: rollout, within: 5m, workload: {kind: StatefulSet, namespace: a, name: b}}}
registries:
  - {host: a.b}
  - {host: c.d, gc: {readOnly: {mode: managed, deployment: {namespace: c, name: d}}, settle: {restart: none}}}
",
    );
    let named = |namespace: &str, name: &str| Named {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    assert_eq!(config.lease, Some(named("pullproof", "collector.a")));
    let [first, second] = &config.registries[..] else {
        panic!("two registries");
    };
    let stateful = Workload {
        kind: WorkloadKind::StatefulSet,
        named: named("a", "b"),
    };
    assert_eq!(first.gc.workload, Some(stateful));
    assert_eq!(first.gc.restart, Restart::Rollout);
    assert_eq!(first.gc.settle_within, Duration::from_mins(5));
    // What is switched is what runs it.
    let deployment = Workload {
        kind: WorkloadKind::Deployment,
        named: named("c", "d"),
    };
    assert_eq!(second.gc.workload, Some(deployment));
    assert_eq!(second.gc.restart, Restart::None);
    assert_eq!(second.gc.cache, Cache::SafePut);
    assert_eq!(second.gc.read_only.mode, ReadOnlyMode::Managed);
    check(
        "\
leaderElection: {lease: {namespace: A, name: a_b}}
gc: {readOnly: {mode: managed}, settle: {restart: rollout}}
registries: [{host: a.b, gc: {readOnly: {mode: off}, settle: {workload: {kind: Pod, name: a}}}}]
",
        &[
            "1:37 leaderElection.lease.namespace: `A` is no namespace of Kubernetes: expected lower-case letters, digits and dashes",
            "1:46 leaderElection.lease.name: `a_b` is no name of Kubernetes: expected lower-case letters, digits and dashes",
            "2:23 gc.readOnly.mode: what is switched is missing; add `deployment: {namespace: NAMESPACE, name: NAME}`",
            "2:51 gc.settle.restart: what is restarted is missing; add `workload: {namespace: NAMESPACE, name: NAME}`",
            "3:48 registries[0].gc.readOnly.mode: expected notRequired or required or managed, found `off`",
            "3:62 registries[0].gc.settle.restart: what is restarted is missing; add `workload: {namespace: NAMESPACE, \
             name: NAME}`",
            "3:73 registries[0].gc.settle.workload.namespace: `namespace` is missing",
            "3:80 registries[0].gc.settle.workload.kind: expected Deployment or StatefulSet, found `Pod`",
        ],
    );
}

#[test]
fn an_executor_is_one_and_says_what_would_undo_it() {
    let executor = |text: &str| {
        parsed(&format!("gc: {{executor: {text}, {READ_ONLY}}}"))
            .gc
            .executor
    };
    assert_eq!(executor("{builtin: {}}"), Executor::Builtin);
    let Executor::Command(command) = executor(
        "{command: {argv: [registry, garbage-collect, a b], undo: versioning, deadline: 90m}}",
    ) else {
        panic!("it is a command");
    };
    assert_eq!(command.argv, ["registry", "garbage-collect", "a b"]);
    assert_eq!(command.undo.as_str(), "versioning");
    assert_eq!(command.deadline, Some(Duration::from_mins(90)));
    assert!(!command.keeps_children);
    let Executor::KubernetesJob(job) =
        executor("{kubernetesJob: {template: job.yaml, undo: none, keepsChildren: true}}")
    else {
        panic!("it is a Job");
    };
    assert_eq!(job.template, Path::new("/etc/pullproof/job.yaml"));
    assert_eq!((job.deadline, job.keeps_children), (None, true));
    // Harbor's collection takes pushes meanwhile, and a registry may have another executor.
    let config = parsed(
        "gc: {executor: {harbor: {credentials: {file: h}}}, mode: purge}\nregistries: [{host: a.example}, {host: b.example, \
         gc: {executor: {builtin: {}}, mode: quarantine}}]",
    );
    assert_eq!(config.registries[0].gc.executor.as_str(), "harbor");
    assert_eq!(config.registries[1].gc.executor, Executor::Builtin);
    check(
        "gc:\n  executor: {}\n",
        &[
            "2:13 gc.executor: nothing is in it; write {builtin: {}}, or one of command, kubernetesJob and harbor",
        ],
    );
    check(
        "gc:
  readOnly: {mode: required}
  executor: {builtin: {}, command: {argv: [], deadline: 0s}}
registries:
  - {host: a.example, gc: {executor: {command: {argv: [x], undo: none}}}}
  - {host: b.example, gc: {executor: {command: {argv: [x], undo: none}}, mode: quarantine}}
  - {host: c.example, gc: {readOnly: {mode: notRequired}, executor: {kubernetesJob: {template: t, undo: undo}}}}
  - {host: d.example, gc: {executor: {harbor: {}}}}
  - {host: e.example, gc: {executor: {command: {argv: run it, undo: none}}}}
  - {host: f.example, gc: {repositories: [a], executor: {harbor: {credentials: {file: h}}}}}
",
        &[
            "3:36 gc.executor.command.undo: `undo` is missing",
            "3:36 gc.executor.command: `builtin` and `command` are two executors; keep one of them",
            "3:43 gc.executor.command.argv: the program is missing; write [\"registry\", \"garbage-collect\", \"/etc/distribution/config.yml\"]",
            "3:57 gc.executor.command.deadline: it may take no time at all; leave it out for the end of the window",
            "6:48 registries[1].gc.executor.command: `command` has no quarantine, and `mode` is `quarantine`: what it takes is gone; write `mode: purge` if that is meant, or `mode: plan`",
            "7:85 registries[2].gc.executor.kubernetesJob: what is pushed while `kubernetesJob` runs may be lost; add `readOnly: {mode: required}`, or `{mode: managed, deployment: {namespace: NAMESPACE, name: NAME}}`",
            "7:105 registries[2].gc.executor.kubernetesJob.undo: expected snapshot or versioning or none, found `undo`",
            "8:47 registries[3].gc.executor.harbor.credentials: `credentials` is missing",
            "9:55 registries[4].gc.executor.command.argv: expected a list, found text",
            "10:66 registries[5].gc.executor.harbor: `harbor` goes through all repositories; write `repositories: [\"**\"]`",
        ],
    );
}

#[test]
fn a_collection_is_carried_out_by_whoever_runs_or_by_a_job() {
    let config = parsed(
        "\
gc: {collector: {job: {namespace: a, template: job.yaml}}, windows: [{name: a, schedule: \"0 2 * * 0\", duration: 3h}]}
registries:
  - {host: a.b}
  - {host: c.d, gc: {collector: {inProcess: {}}}}
",
    );
    let [first, second] = &config.registries[..] else {
        panic!("two registries");
    };
    let job = CollectorJob {
        namespace: "a".to_owned(),
        template: "/etc/pullproof/job.yaml".into(),
    };
    assert_eq!(first.gc.collector, Collector::Job(job));
    assert_eq!(second.gc.collector, Collector::InProcess);
    // Its windows are told without its storage, and only its.
    let groups = config.windows();
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].1, ["a.b"]);
    check(
        "\
gc: {collector: {}}
registries:
  - {host: a.b, gc: {collector: {inProcess: {}, job: {namespace: a, template: b}}}}
  - {host: c.d, gc: {collector: {job: {namespace: A_b}}}}
",
        &[
            "1:17 gc.collector: nothing is in it; write {inProcess: {}} or {job: {namespace: NAMESPACE, template: FILE}}",
            "3:54 registries[0].gc.collector.job: `inProcess` and `job` are two collectors; keep one of them",
            "4:39 registries[1].gc.collector.job.template: `template` is missing",
            "4:51 registries[1].gc.collector.job.namespace: `A_b` is no namespace of Kubernetes: expected lower-case letters, digits and dashes",
        ],
    );
}

/// What an executor needs that is not pullproof itself.
const READ_ONLY: &str = "readOnly: {mode: required}";

#[test]
fn windows_are_checked_and_a_registry_may_have_its_own() {
    let config = parsed(
        "\
gc: {windows: [{name: a, schedule: \"0 2 * * 0\", timeZone: europe/berlin, duration: 3h}, {name: b, schedule: \" 5  * * * MON\", duration: 5m}]}
registries:
  - {host: r.a, storage: {filesystem: {root: a}}}
  - {host: r.b, storage: {filesystem: {root: b}}, gc: {windows: [{name: a, schedule: \"0 3 * * *\", duration: 1h}]}}
",
    );
    let [a, b] = config.gc.windows.as_slice() else {
        panic!("two windows");
    };
    assert_eq!(
        (a.zone.iana_name(), b.zone.iana_name()),
        (Some("Europe/Berlin"), Some("UTC"))
    );
    assert_eq!(
        (a.duration.as_hours(), b.schedule.to_string().as_str()),
        (3, "5 * * * MON")
    );
    let groups = config.windows();
    let told: Vec<_> = groups
        .iter()
        .map(|(of, hosts)| {
            let labels = of.windows.iter().map(|window| of.label(window));
            (labels.collect::<Vec<_>>().join(" "), hosts.join(" "))
        })
        .collect();
    let expected = [("a b", "r.a"), ("r.b/a", "r.b")];
    assert_eq!(
        told,
        expected.map(|(labels, hosts)| (labels.to_owned(), hosts.to_owned()))
    );

    check(
        "\
gc:
  windows:
    - {name: a, schedule: \"0 25 * * *\", timeZone: Europe/Berln, duration: 0s}
    - {name: a, schedule: \"0 2 30 2 *\", timeZone: Mars, duration: soon}
    - {name: b c, schedule: 5, timeZone: Etc/Unknown, duration: 8d}
    - {nmae: d, schedule: \"@daily\"}
    - sunday
registries:
  - host: r.a
    gc: {windows: [{name: e, schedule: \"* * * * *\", duration: 1m}]}
  - host: r.b
    gc:
      windows:
        - {name: day, schedule: \"0 6 * * *\", duration: 12h}
        - {name: night, schedule: \"0 18 * * *\", duration: 12h}
",
        &[
            "3:27 gc.windows[0].schedule: `0 25 * * *` is not a schedule: its hour `25` is not a number from 0 to 23",
            "3:51 gc.windows[0].timeZone: `Europe/Berln` is not an IANA time zone; did you mean `Europe/Berlin`?",
            "3:75 gc.windows[0].duration: a window that closes as it opens lets nothing run; write how long it is open, as 3h",
            "4:14 gc.windows[1].name: `a` is already the name of gc.windows[0]; every window of a list has its own",
            "4:27 gc.windows[1].schedule: `0 2 30 2 *` is not a schedule: it never opens: no month of it has such a day; write a day that there is, as 28 for the end of February",
            "4:51 gc.windows[1].timeZone: `Mars` is not an IANA time zone; expected one as Europe/Berlin or UTC",
            "4:67 gc.windows[1].duration: `soon` is not a duration: expected a number with a unit, as 90s, 10m, 2h or 7d",
            "5:14 gc.windows[2].name: `b c` is not a name: expected 1 to 128 characters without white space",
            "5:29 gc.windows[2].schedule: expected text, as \"0 2 * * 0\", found the number 5",
            "5:42 gc.windows[2].timeZone: `Etc/Unknown` is not an IANA time zone; expected one as Europe/Berlin or UTC",
            "5:65 gc.windows[2].duration: `8d` is longer than 7d, the most that a window may be open on end",
            "6:7 gc.windows[3].name: `name` is missing",
            "6:7 gc.windows[3].duration: `duration` is missing",
            "6:8 gc.windows[3].nmae: unknown key `nmae`; known here: duration, name, schedule, timeZone",
            "6:27 gc.windows[3].schedule: the value (not shown, as it may hold a secret) is not a schedule: it has 1: expected five fields (minute, hour, day of month, month, day of week), as \"0 2 * * 0\"",
            "7:7 gc.windows[4]: expected a map (keys: duration, name, schedule, timeZone), found text",
            "10:63 registries[0].gc.windows[0].duration: by `* * * * *` it opens again before it closes, and would be open for more than 7d on end; one collection is run in an opening, and stops before its end: write a shorter duration",
            "14:9 registries[1].gc.windows: together they are open for more than 7d on end, since openings that overlap or touch are one; one collection is run in an opening, so leave a pause between them",
        ],
    );
}

#[test]
fn a_shared_redis_is_named_without_its_secrets() {
    let config = parsed(
        "\
gc: {settle: {redis: {url: 'redis://cache.example', username: a, password: {file: word}}}}
registries:
  - {host: a.b}
  - {host: c.d, gc: {settle: {redis: {url: 'rediss://[::1]:7000/3', ca: {file: ca.pem}}}}}
  - {host: e.f, gc: {settle: {cache: none}}}
",
    );
    let shown = |at: usize| {
        config.registries[at]
            .gc
            .redis
            .as_ref()
            .map(Redis::to_string)
    };
    assert_eq!(shown(0).as_deref(), Some("redis://cache.example:6379/0"));
    assert_eq!(shown(1).as_deref(), Some("rediss://[::1]:7000/3"));
    assert_eq!(shown(2), None);
    let first = config.registries[0].gc.redis.as_ref().unwrap();
    assert_eq!(first.username.as_deref(), Some("a"));
    let named: Vec<String> = config.files().into_iter().map(|it| it.named_at).collect();
    assert_eq!(
        named,
        [
            "gc.settle.redis.password.file",
            "registries[1].gc.settle.redis.ca.file",
        ]
    );
    check(
        "\
gc: {settle: {redis: {url: 'redis://a:word@cache.example:6379'}}}
registries:
  - {host: a.b, gc: {settle: {redis: {url: cache.example}}}}
  - {host: c.d, gc: {settle: {redis: {url: 'redis+unix:///run/redis', username: a}}}}
  - {host: e.f, gc: {settle: {redis: {url: 'redis://a,b/0', password: word}}}}
  - {host: g.h, gc: {settle: {redis: {url: 'redis://a:6379/zero', ca: {file: a.pem}}}}}
  - {host: i.j, gc: {settle: {cache: none, redis: {url: 'redis://a:6379/70000'}}}}
  - {host: k.l, gc: {settle: {redis: {url: 'redis://a:6379/1', ca: {file: a.pem}}}}}
  - {host: m.n, gc: {settle: {redis: {url: 'redis://a:0/1?x=y'}}}}
  - {host: o.p, gc: {settle: {redis: {}}}}
",
        &[
            "1:28 gc.settle.redis.url: the value (not shown, as it may hold a secret) is not usable: a secret is never written here; write `username: NAME` and `password: {file: FILE}` beside it",
            "3:44 registries[0].gc.settle.redis.url: `cache.example` is not usable: its scheme is missing; write redis:// or rediss:// in front",
            "4:44 registries[1].gc.settle.redis.url: `redis+unix:///run/redis` is not usable: its scheme is neither redis nor rediss",
            "4:81 registries[1].gc.settle.redis.username: it has no password; add `password: {file: FILE}`",
            "5:44 registries[2].gc.settle.redis.url: `redis://a,b/0` is not usable: it names several; write the one that takes what is written, a cluster or a sentinel is none",
            "5:71 registries[2].gc.settle.redis.password: expected a map (keys: file), found text",
            "6:44 registries[3].gc.settle.redis.url: `redis://a:6379/zero` is not usable: its path is not the number of a database",
            "7:51 registries[4].gc.settle.redis: `cache` is `none`, and this is one; keep one of them",
            "7:57 registries[4].gc.settle.redis.url: `redis://a:6379/70000` is not usable: no redis has a database of that number",
            "8:68 registries[5].gc.settle.redis.ca: there is no TLS over redis://; write rediss://, or take `ca` out",
            "9:44 registries[6].gc.settle.redis.url: `redis://a:0/1?x=y` is not usable: it has a query or a fragment; write it up to the number of the database",
            "10:38 registries[7].gc.settle.redis.url: `url` is missing",
        ],
    );
}

#[test]
fn a_registry_that_takes_every_manifest_needs_a_long_quarantine() {
    let config = parsed(
        "\
gc: {quarantineFor: 168h}
registries:
  - {host: a.b, storage: {filesystem: {root: /a}, validation: off}}
  - {host: c.d, storage: {filesystem: {root: /a}, validation: on}, gc: {quarantineFor: 1h}}
  - {host: e.f, storage: {filesystem: {root: /a}}}
",
    );
    let validate = config.registries.iter().map(|it| it.validates);
    assert_eq!(validate.collect::<Vec<_>>(), [false, true, true]);
    check(
        "\
registries:
  - {host: a.b, storage: {filesystem: {root: /a}, validation: off}}
  - {host: c.d, storage: {validation: on}}
  - {host: e.f, storage: {filesystem: {root: /a}, validation: maybe}}
  - {host: g.h, storage: {filesystem: {root: /a}, validation: off}, gc: {quarantineFor: 167h}}
",
        &[
            "2:63 registries[0].storage.validation: it is `off`, and then `registries[0].gc.quarantineFor` or `gc.quarantineFor` is at least 7d, which is 6d here: such a registry takes a manifest of which nothing is there",
            "3:26 registries[1].storage: nothing is in it; write {filesystem: {root: DIRECTORY}} or {s3: {region: REGION, bucket: BUCKET}}",
            "4:63 registries[2].storage.validation: expected on or off, found `maybe`",
            "5:63 registries[3].storage.validation: it is `off`, and then `registries[3].gc.quarantineFor` or `gc.quarantineFor` is at least 7d, which is 6d23h here: such a registry takes a manifest of which nothing is there",
        ],
    );
}

#[test]
fn a_host_of_another_entry_with_the_same_storage_leads_to_it_too() {
    let text = "registries:
  - {host: a.example, aliases: [b.example], storage: {filesystem: {root: one}}}
  - {host: c.example, storage: {filesystem: {root: one}}}
  - {host: d.example, storage: {filesystem: {root: two}}}
  - {host: e.example}
  - {host: f.example}
";
    let config = parse(text, "p", Path::new("/")).unwrap();
    let leads = |host: &str, to: &str| config.leads_to(host, config.registry(to).unwrap());
    for host in ["a.example", "B.example", "c.example"] {
        assert!(
            leads(host, "a.example") && leads(host, "c.example"),
            "{host}"
        );
    }
    assert!(!leads("d.example", "a.example") && !leads("a.example", "d.example"));
    // Of whose storage nothing is known is one for itself.
    assert!(leads("e.example", "e.example") && !leads("e.example", "f.example"));
}
