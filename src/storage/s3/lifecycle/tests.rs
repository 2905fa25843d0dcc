use super::*;

fn document(rules: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rules}</LifecycleConfiguration>"
    )
}

fn of(rules: &str) -> Vec<Rule> {
    let below = ["deep/docker/registry/v2/", "deep/pullproof/"];
    read(document(rules).as_bytes(), &below).unwrap().rules
}

#[test]
fn rules_that_reach_the_tree_are_told_and_no_others() {
    let noncurrent = "<NoncurrentVersionExpiration><NoncurrentDays>7</NoncurrentDays>\
                      </NoncurrentVersionExpiration>";
    for (filter, prefix, is_narrowed) in [
        ("<Filter/>", "", false),
        ("<Filter><Prefix></Prefix></Filter>", "", false),
        ("<Prefix/>", "", false),
        ("<Prefix>deep/</Prefix>", "deep/", false),
        ("<Filter><Prefix>dee</Prefix></Filter>", "dee", false),
        (
            "<Filter><Prefix>deep/docker/registry/v2/blobs/</Prefix></Filter>",
            "deep/docker/registry/v2/blobs/",
            false,
        ),
        (
            "<Filter><Prefix>deep/pullproof/quarantine/</Prefix></Filter>",
            "deep/pullproof/quarantine/",
            false,
        ),
        (
            "<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>",
            "",
            true,
        ),
        (
            "<Filter><And><Prefix>deep/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag>\
             <Tag><Key>c</Key><Value>d</Value></Tag></And></Filter>",
            "deep/",
            true,
        ),
        (
            "<Filter><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></Filter>",
            "",
            true,
        ),
    ] {
        let rule = format!("<Rule><ID>r</ID>{filter}<Status>Enabled</Status>{noncurrent}</Rule>");
        let expected = Rule {
            id: Some("r".to_owned()),
            prefix: prefix.to_owned(),
            is_narrowed,
            noncurrent_days: Some(7),
            newer_noncurrent: 0,
            expires_current: false,
        };
        assert_eq!(of(&rule), [expected], "{filter}");
        assert_eq!(of(&rule.replace("Enabled", "Disabled")), [], "{filter}");
    }
    for elsewhere in [
        "logs/",
        "deep/other/",
        "deep/docker/registry/v2x",
        "docker/",
    ] {
        let rule = format!(
            "<Rule><Filter><Prefix>{elsewhere}</Prefix></Filter><Status>Enabled</Status>{noncurrent}</Rule>"
        );
        assert_eq!(of(&rule), [], "{elsewhere}");
    }
    assert_eq!(of(""), []);
}

#[test]
fn the_shortest_time_counts_and_what_is_in_use_may_expire() {
    let all = read(
        document(
            "<Rule><ID>a</ID><Filter/><Status>Enabled</Status><NoncurrentVersionExpiration>\
             <NoncurrentDays>30</NoncurrentDays><NewerNoncurrentVersions>3</NewerNoncurrentVersions>\
             </NoncurrentVersionExpiration></Rule>\
             <Rule><ID>b</ID><Filter/><Status>Enabled</Status><NoncurrentVersionExpiration>\
             <NoncurrentDays>9</NoncurrentDays></NoncurrentVersionExpiration></Rule>\
             <Rule><ID>c</ID><Filter/><Status>Enabled</Status><Expiration><Days>90</Days></Expiration></Rule>\
             <Rule><ID>d</ID><Filter/><Status>Enabled</Status>\
             <Expiration><Date>2027-01-01T00:00:00Z</Date></Expiration></Rule>\
             <Rule><ID>e</ID><Filter/><Status>Enabled</Status>\
             <Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>\
             <AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload></Rule>",
        )
        .as_bytes(),
        &["docker/registry/v2/"],
    )
    .unwrap();
    assert_eq!(all.rules.len(), 5);
    assert_eq!(all.rules[0].newer_noncurrent, 3);
    assert_eq!(all.noncurrent_days(), Some(9));
    let expiring: Vec<Option<&str>> = all.expiring().map(|rule| rule.id.as_deref()).collect();
    assert_eq!(expiring, [Some("c"), Some("d")]);
    assert_eq!(Lifecycle::default().noncurrent_days(), None);
}

#[test]
fn what_is_not_understood_is_no_absence_of_rules() {
    for broken in [
        document("<Rule><Status>Paused</Status></Rule>"),
        document("<Rule><ID>a</ID></Rule>"),
        document(
            "<Rule><Status>Enabled</Status><NoncurrentVersionExpiration>\
             <NoncurrentDays>soon</NoncurrentDays></NoncurrentVersionExpiration></Rule>",
        ),
        document("<Rule><Status>Enabled")[..120].to_owned(),
        "<html/>".to_owned(),
    ] {
        let read = read(broken.as_bytes(), &[""]);
        assert!(
            matches!(read, Err(NoPage::Malformed(_))),
            "{broken}: {read:?}"
        );
    }
}
