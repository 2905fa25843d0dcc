use super::*;

/// As S3 writes it: versions and markers of a key in one order.
const MIXED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>registry</Name><Prefix>a+b%2F</Prefix><KeyMarker></KeyMarker><VersionIdMarker/>
  <NextKeyMarker>a+b%2Fk2</NextKeyMarker><NextVersionIdMarker>v1</NextVersionIdMarker>
  <MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
  <Version><Key>a+b%2Fk1</Key><VersionId>v3</VersionId><IsLatest>true</IsLatest>
    <LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;e3&quot;</ETag><Size>3</Size>
    <StorageClass>STANDARD</StorageClass><Owner><ID>1</ID></Owner></Version>
  <DeleteMarker><Key>a+b%2Fk1</Key><VersionId>m2</VersionId><IsLatest>false</IsLatest>
    <LastModified>2026-01-02T00:00:00.000Z</LastModified><Owner><ID>1</ID></Owner></DeleteMarker>
  <Version><Key>a+b%2Fk1</Key><VersionId>v1</VersionId><IsLatest>false</IsLatest>
    <LastModified>2026-01-03T00:00:00.000Z</LastModified><ETag>"e1"</ETag><Size>1</Size></Version>
  <DeleteMarker><Key>a+b%2Fk2</Key><VersionId>m1</VersionId><IsLatest>true</IsLatest></DeleteMarker>
  <Version><Key>a+b%2Fk2</Key><VersionId>null</VersionId><IsLatest>false</IsLatest><Size>0</Size></Version>
</ListVersionsResult>
"#;

/// As versitygw writes it: what follows what is said by times alone.
const APART: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><DeleteMarker><IsLatest>true</IsLatest>
<Key>k1</Key><LastModified>2026-01-01T00:00:01Z</LastModified><VersionId>m2</VersionId></DeleteMarker>
<DeleteMarker><IsLatest>false</IsLatest><Key>k1</Key><LastModified>2026-01-01T00:00:03.5Z</LastModified>
<VersionId>m1</VersionId></DeleteMarker><DeleteMarker><IsLatest>false</IsLatest><Key>k3</Key>
<LastModified>2026-01-01T00:00:09Z</LastModified><VersionId>m0</VersionId></DeleteMarker>
<Delimiter></Delimiter><EncodingType></EncodingType><IsTruncated>false</IsTruncated><KeyMarker></KeyMarker>
<MaxKeys>1000</MaxKeys><Name>registry</Name><NextKeyMarker></NextKeyMarker>
<NextVersionIdMarker></NextVersionIdMarker><Prefix></Prefix><VersionIdMarker></VersionIdMarker>
<Version><LastModified>2026-01-01T00:00:04Z</LastModified><ETag>e2</ETag><IsLatest>false</IsLatest>
<Key>k1</Key><Size>2</Size><VersionId>v2</VersionId></Version><Version>
<LastModified>2026-01-01T00:00:02Z</LastModified><ETag>e1</ETag><IsLatest>false</IsLatest>
<Key>k1</Key><Size>1</Size><VersionId>v1</VersionId></Version><Version><IsLatest>true</IsLatest><Key>k2</Key>
<Size>1</Size><VersionId>null</VersionId></Version><Version>
<LastModified>2026-01-01T00:00:01Z</LastModified><IsLatest>true</IsLatest><Key>k3</Key>
<Size>1</Size><VersionId>v1</VersionId></Version></ListVersionsResult>"#;

fn names(page: &Page) -> Vec<(&str, &str)> {
    let entries = page.entries.iter();
    entries
        .map(|(key, version)| (key.as_str(), version.id.as_str()))
        .collect()
}

#[test]
fn the_order_of_a_document_that_mixes_them_stays() {
    let page = read(MIXED.as_bytes()).unwrap();
    assert_eq!(page.prefix.as_deref(), Some("a b/"));
    assert_eq!(page.key_marker.as_deref(), Some(""));
    assert_eq!(page.version_marker.as_deref(), Some(""));
    assert_eq!(page.next_key.as_deref(), Some("a b/k2"));
    assert_eq!(page.next_version.as_deref(), Some("v1"));
    assert!(page.is_truncated);
    // Whatever the times say: of several parts S3 tells when the first began.
    let expected = [
        ("a b/k1", "v3"),
        ("a b/k1", "m2"),
        ("a b/k1", "v1"),
        ("a b/k2", "m1"),
        ("a b/k2", "null"),
    ];
    assert_eq!(names(&page), expected);
    let (_, version) = &page.entries[0];
    let content = version.content.as_ref().unwrap();
    assert_eq!(
        (content.size, content.etag.as_ref().unwrap().as_str()),
        (3, "e3")
    );
    assert!(version.is_latest && !version.is_marker());
    assert!(page.entries[1].1.is_marker());
}

#[test]
fn where_they_are_told_apart_the_times_say_what_follows_what() {
    let page = read(APART.as_bytes()).unwrap();
    let expected = [
        ("k1", "m2"),
        ("k1", "v2"),
        ("k1", "m1"),
        ("k1", "v1"),
        ("k2", "null"),
        ("k3", "v1"),
        ("k3", "m0"),
    ];
    assert_eq!(names(&page), expected);
    assert_eq!((page.next_key, page.next_version), (None, None));
    assert!(!page.is_truncated);
}

#[test]
fn what_is_no_whole_page_is_none() {
    let malformed = |text: &str| match read(text.as_bytes()) {
        Err(NoPage::Malformed(problem)) => problem,
        other => panic!("{other:?}"),
    };
    for end in [MIXED.len() / 3, MIXED.len() / 2, MIXED.len() - 25] {
        malformed(&MIXED[..end]);
    }
    malformed(&format!("{MIXED}<more/>"));
    malformed("<html/>");
    for (from, to, problem) in [
        (
            "<IsTruncated>true</IsTruncated>",
            "",
            "whether it is truncated",
        ),
        ("<VersionId>v3</VersionId>", "<VersionId/>", "no name"),
        ("<Size>3</Size>", "", "no size"),
        ("<IsLatest>true</IsLatest>", "", "IsLatest"),
        (">url<", ">base64<", "encoded as base64"),
    ] {
        let told = malformed(&MIXED.replacen(from, to, 1));
        assert!(told.contains(problem), "{told}");
    }
    let fault = read(b"<Error><Code>InternalError</Code></Error>");
    assert!(
        matches!(&fault, Err(NoPage::Fault(fault)) if fault.code == "InternalError"),
        "{fault:?}"
    );
}
