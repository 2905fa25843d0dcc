use base64::Engine as _;
use proptest::prelude::*;

use super::*;

fn auth(pair: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(pair)
}

/// A config whose entries' user names are the keys themselves, `_` for the colon that ends a name.
fn keyring(keys: &[&str]) -> Keyring {
    let entries: serde_json::Map<String, serde_json::Value> = keys
        .iter()
        .map(|key| {
            let entry =
                serde_json::json!({"auth": auth(&format!("{}:hunter2", key.replace(':', "_")))});
            ((*key).to_owned(), entry)
        })
        .collect();
    let config = serde_json::json!({"auths": entries}).to_string();
    Keyring::parse_docker_config_json(config.as_bytes()).unwrap()
}

fn users(keyring: &Keyring, image: &str) -> Vec<String> {
    keyring
        .matching(&image.parse().unwrap())
        .iter()
        .map(|credential| credential.username.clone())
        .collect()
}

#[test]
fn keys_fit_as_the_kubelet_documents_it() {
    let check = |key: &str, image: &str, expected: bool| {
        let fits = Pattern::parse(key).is_some_and(|pattern| {
            let reference: Reference = image.parse().unwrap();
            pattern.fits(reference.host(), reference.repository())
        });
        assert_eq!(fits, expected, "{key} for {image}");
    };
    check("registry.example", "registry.example/a", true);
    check("https://registry.example", "registry.example/a", true);
    check("http://registry.example/", "registry.example/a", true);
    check("https://registry.example/v1/", "registry.example/a", true);
    check("https://registry.example/v2/", "registry.example/a", true);
    check("registry.example/v2/team", "registry.example/team/a", true);
    check("registry.example", "registry.example:5000/a", false);
    check("registry.example:5000", "registry.example:5000/a", true);
    check("registry.example:5000", "registry.example/a", false);
    check("registry.example:443", "registry.example/a", false);
    check("[::1]:5000", "[::1]:5000/a", true);
    check("[::1]", "[::1]:5000/a", false);
    check("[::1]", "[::1]/a", false);
    check("registry.example/team", "registry.example/team/a", true);
    check("registry.example/team", "registry.example/teams/a", true);
    check("registry.example/team/", "registry.example/teams/a", false);
    check("registry.example/team/a", "registry.example/team", false);
    // The examples of the Kubernetes documentation.
    check("*.kubernetes.io", "abc.kubernetes.io/a", true);
    check("*.kubernetes.io", "kubernetes.io/a", false);
    check("*.kubernetes.io", "abc.def.kubernetes.io/a", false);
    check("*.*.kubernetes.io", "abc.def.kubernetes.io/a", true);
    check("prefix.*.io", "prefix.kubernetes.io/a", true);
    check("*-good.kubernetes.io", "prefix-good.kubernetes.io/a", true);
    check("*-good.kubernetes.io", "good.kubernetes.io/a", false);
    check("*.azurecr.io", "team.azurecr.io/app", true);
    check("*.azurecr.io:443", "team.azurecr.io/app", false);
    check("a*b*c.io", "axxbyyc.io/a", true);
    check("a*b*c.io", "axxbyy.io/a", false);
    check("a*ab.io", "ab.io/a", false);
    check("*", "registry.example/a", false);
    // The node's fallback for Docker Hub is not a fit.
    check("https://index.docker.io/v1/", "nginx", false);
    check("docker.io", "nginx", true);
    check("docker.io/library", "nginx", true);
    check("docker.io/team", "nginx", false);
    for key in [
        "",
        "/",
        "https://",
        "https:///a",
        "a b",
        "u@h",
        "h?q",
        "a\u{0}b",
    ] {
        check(key, "registry.example/a", false);
    }
}

#[test]
fn the_more_specific_entry_comes_first_and_every_one_comes() {
    let keyring = keyring(&[
        "registry.example",
        "registry.example/team",
        "*.example",
        "https://registry.example/team/app",
        "other.example",
    ]);
    assert_eq!(
        users(&keyring, "registry.example/team/app/web"),
        [
            "https_//registry.example/team/app",
            "registry.example/team",
            "registry.example",
            "*.example"
        ]
    );
    assert_eq!(users(&keyring, "nothing.here/a"), Vec::<String>::new());
}

#[test]
fn docker_hubs_old_key_is_tried_only_when_nothing_else_fits() {
    for key in [
        "https://index.docker.io/v1/",
        "index.docker.io",
        "index.docker.io/v2/",
    ] {
        let keyring = keyring(&[key]);
        assert_eq!(users(&keyring, "nginx").len(), 1, "{key}");
        assert_eq!(users(&keyring, "docker.io/team/app").len(), 1, "{key}");
        assert_eq!(users(&keyring, "registry.example/nginx").len(), 0, "{key}");
    }
    let both = keyring(&["index.docker.io", "docker.io/library"]);
    assert_eq!(users(&both, "nginx"), ["docker.io/library"]);
    assert_eq!(users(&both, "team/app"), ["index.docker.io"]);
}

#[test]
fn every_form_of_an_entry_is_read() {
    let config = serde_json::json!({"auths": {
        "a.example": {"auth": auth("ann:pa:ss")},
        "b.example": {"auth": auth("bob:1").trim_end_matches('='), "username": "ignored"},
        "c.example": {"username": "cyd", "password": "p", "email": "c@c.example"},
        "d.example": {"auth": auth("<token>:"), "identitytoken": "refresh"},
        "e.example": {"registrytoken": "bearer"},
        "f.example": {},
        "g.example": null,
    }, "HttpHeaders": {}});
    let on_a_node = Keyring::parse_docker_config_json(config.to_string().as_bytes()).unwrap();
    let tokens = |image: &str| {
        let found = on_a_node.matching(&image.parse().unwrap()).pop()?;
        found
            .identity_token
            .clone()
            .or(found.registry_token.clone())
    };
    // The kubelet reads no tokens: what only they let in, a node cannot pull.
    assert!(tokens("d.example/x").is_none() && tokens("e.example/x").is_none());
    let desk = DockerConfig::parse(config.to_string().as_bytes()).unwrap();
    let keyring = &desk.keyring;
    let found = |image: &str| keyring.matching(&image.parse().unwrap()).pop();
    let password = |image: &str| found(image).unwrap().password.expose_secret().to_owned();
    assert_eq!(password("a.example/x"), "pa:ss");
    assert_eq!(password("b.example/x"), "1");
    assert_eq!(password("c.example/x"), "p");
    let d = found("d.example/x").unwrap();
    assert_eq!(
        d.identity_token.as_ref().unwrap().expose_secret(),
        "refresh"
    );
    let e = found("e.example/x").unwrap();
    assert_eq!(e.registry_token.as_ref().unwrap().expose_secret(), "bearer");
    assert!(found("f.example/x").is_none() && found("g.example/x").is_none());

    let old = serde_json::json!({"a.example": {"auth": auth("ann:pa:ss")}});
    let old = Keyring::parse_dockercfg(old.to_string().as_bytes()).unwrap();
    assert_eq!(users(&old, "a.example/x"), ["ann"]);
    assert_eq!(
        Keyring::parse_docker_config_json(b"{}").unwrap(),
        Keyring::default()
    );
}

#[test]
fn equal_content_is_one_identity_wherever_it_comes_from() {
    let both = keyring(&["registry.example"]);
    let again = Keyring::merged([&both, &both]);
    assert_eq!(users(&again, "registry.example/a").len(), 1);
    let credential = &both.matching(&"registry.example/a".parse().unwrap())[0];
    assert_eq!(credential.id().len(), 16);
    let new = |username: &str, password: &str, token: Option<&str>| {
        Credential::new(
            username.into(),
            password.into(),
            token.map(Into::into),
            None,
        )
    };
    assert_eq!(
        new("registry.example", "hunter2", None).id(),
        credential.id()
    );
    assert_ne!(new("ab", "c", None).id(), new("a", "bc", None).id());
    assert_ne!(new("a", "", Some("b")).id(), new("a", "b", None).id());
}

#[test]
fn merging_keeps_the_order_of_secrets_within_one_key() {
    let first = Keyring::parse_dockercfg(br#"{"r.example": {"username": "one", "password": "1"}}"#);
    let second = Keyring::parse_dockercfg(
        br#"{"r.example/team": {"username": "special", "password": "2"},
             "r.example": {"username": "two", "password": "3"}}"#,
    );
    let merged = Keyring::merged([&first.unwrap(), &second.unwrap()]);
    assert_eq!(
        users(&merged, "r.example/team/app"),
        ["special", "one", "two"]
    );
}

#[test]
fn helpers_are_reported_not_ignored() {
    let config = br#"{"auths": {"r.example": {}}, "credsStore": "desktop",
        "credHelpers": {"1.dkr.ecr.eu-west-1.amazonaws.com": "ecr-login"}}"#;
    let keyring = Keyring::parse_docker_config_json(config).unwrap();
    assert!(keyring.is_empty());
    assert_eq!(keyring.warnings().len(), 2);
    assert!(keyring.warnings()[0].contains("desktop"), "{keyring:?}");
    assert!(
        keyring.warnings()[1].contains("amazonaws.com"),
        "{keyring:?}"
    );
}

fn helpers_of(config: &str, host: &str) -> Vec<String> {
    let config = DockerConfig::parse(config.as_bytes()).unwrap();
    let calls = config.helpers(host).into_iter();
    calls
        .map(|call| format!("{} {}", call.name.program(), call.server))
        .collect()
}

#[test]
fn a_hosts_own_helper_is_asked_before_the_store_of_all() {
    let config = r#"{"auths": {"r.example": {"username": "u", "password": "p"}}, "credsStore": "pass",
        "credHelpers": {"1.dkr.ecr.eu-west-1.amazonaws.com": "ecr-login", "none.example": ""}}"#;
    let check = |host, expected: &str| assert_eq!(helpers_of(config, host), [expected]);
    check(
        "1.dkr.ecr.eu-west-1.amazonaws.com",
        "docker-credential-ecr-login 1.dkr.ecr.eu-west-1.amazonaws.com",
    );
    check("r.example", "docker-credential-pass r.example");
    check("none.example", "docker-credential-pass none.example");
    check(
        "docker.io",
        "docker-credential-pass https://index.docker.io/v1/",
    );
    // A host is meant, never a pattern.
    let hub = r#"{"credHelpers": {"https://index.docker.io/v1/": "a", "*.example": "b", "r.example/team": "c"}}"#;
    assert_eq!(
        helpers_of(hub, "docker.io"),
        ["docker-credential-a https://index.docker.io/v1/"]
    );
    assert!(helpers_of(hub, "r.example").is_empty());
    assert!(helpers_of("{}", "docker.io").is_empty());

    let first = DockerConfig::parse(config.as_bytes()).unwrap();
    let second = DockerConfig::parse(hub.as_bytes()).unwrap();
    let both = DockerConfig::merged([&second, &first]);
    let names: Vec<String> = both
        .helpers("docker.io")
        .iter()
        .map(|call| call.name.to_string())
        .collect();
    assert_eq!(names, ["a", "pass"]);
    assert_eq!(users(&both.keyring, "r.example/a"), ["u"]);
    assert!(both.keyring.warnings().is_empty());
}

#[test]
fn a_helper_is_a_program_on_the_path_and_nothing_else() {
    for name in [
        "../evil",
        "/bin/sh",
        "a/b",
        "a b",
        "a;b",
        "-x",
        ".x",
        "a\\b",
        "a\\u0000",
        "é",
        &"a".repeat(65),
    ] {
        for config in [
            format!(r#"{{"credsStore": "{name}"}}"#),
            format!(r#"{{"credHelpers": {{"r.example": "{name}"}}}}"#),
        ] {
            let problem = DockerConfig::parse(config.as_bytes()).unwrap_err();
            assert!(
                matches!(&problem, InvalidDockerConfig::Entry { problem, .. } if problem.contains("is named by")),
                "{config}: {problem}"
            );
            // In a pull secret it is a warning, whatever it is named: there it is never run.
            let keyring = Keyring::parse_docker_config_json(config.as_bytes()).unwrap();
            assert_eq!(keyring.warnings().len(), 1, "{config}");
        }
    }
    for config in [
        r#"{"credsStore": 1}"#,
        r#"{"credHelpers": []}"#,
        r#"{"credHelpers": {"a": {}}}"#,
    ] {
        assert!(DockerConfig::parse(config.as_bytes()).is_err(), "{config}");
    }
}

#[test]
fn no_message_tells_a_secret() {
    for config in [
        r#"{"auths": {"r.example": {"auth": "hunter2!"}}}"#.to_owned(),
        r#"{"auths": {"r.example": "hunter2"}}"#.to_owned(),
        r#"{"auths": "hunter2"}"#.to_owned(),
        r#"{"auths": {"r.example": {"password": ["hunter2"]}}}"#.to_owned(),
        r#"{"auths": {"r.example": {"auth": "hunter2"#.to_owned(),
        r#""hunter2""#.to_owned(),
        format!(
            r#"{{"auths": {{"r.example": {{"auth": "{}"}}}}}}"#,
            auth("hunter2")
        ),
    ] {
        let error = Keyring::parse_docker_config_json(config.as_bytes()).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(
            !told.contains("hunter2") && !told.contains(&auth("hunter2")),
            "{told}"
        );
        if let InvalidDockerConfig::Entry { entry, .. } = error {
            assert!(entry == "r.example" || entry == "auths");
        }
    }
    let told = format!("{:?}", keyring(&["r.example"]));
    assert!(
        !told.contains("hunter2") && told.contains("[redacted]"),
        "{told}"
    );
}

#[test]
fn an_entry_that_names_no_registry_is_left_out_with_a_warning() {
    let keyring = keyring(&["not a host", "r.example"]);
    assert_eq!(users(&keyring, "r.example/a"), ["r.example"]);
    assert_eq!(keyring.warnings().len(), 1);
}

proptest! {
    #[test]
    fn hostile_configs_never_panic(content in proptest::collection::vec(any::<u8>(), 0..200)) {
        let told = format!(
            "{:?}{:?}",
            Keyring::parse_docker_config_json(&content),
            Keyring::parse_dockercfg(&content)
        );
        prop_assert!(!told.is_empty());
    }

    #[test]
    fn hostile_keys_and_values_never_panic(key in ".{0,60}", value in ".{0,40}", host in "[a-z.*:/\\[\\]]{0,20}") {
        for key in [key, host] {
            let config = serde_json::json!({"auths": {key: {"auth": value, "password": "p"}}});
            if let Ok(keyring) = Keyring::parse_docker_config_json(config.to_string().as_bytes()) {
                prop_assert!(keyring.matching(&"registry.example/a".parse().unwrap()).len() <= 1);
            }
        }
    }
}
