use proptest::prelude::*;

use super::*;

/// Two pages in one: as AWS writes it, and as versitygw does.
const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>registry</Name><Prefix>a%20b/</Prefix><StartAfter>a%20b/0</StartAfter><NextContinuationToken>1ueGc%2B==</NextContinuationToken><KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><Contents><Key>a+b/x%2By%01</Key><LastModified>2026-11-20T08:30:00.000Z</LastModified><ETag>&quot;9e107d9d372bb6826bd81d3542a419d6&quot;</ETag><Size>71</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>a%20b/z%25</Key><LastModified>?</LastModified><ETag>"9e107d9d372bb6826bd81d3542a419d6-2"</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><Size>0</Size></Contents><CommonPrefixes><Prefix>a+b/zz/</Prefix></CommonPrefixes></ListBucketResult>
"#;

#[test]
fn a_page_says_what_is_in_the_bucket_and_what_was_asked() {
    let page = read(PAGE.as_bytes()).unwrap();
    let md5 = 0x9e10_7d9d_372b_b682_6bd8_1d35_42a4_19d6_u128.to_be_bytes();
    let at: jiff::Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
    let expected = Page {
        bucket: Some("registry".to_owned()),
        prefix: Some("a b/".to_owned()),
        start_after: Some("a b/0".to_owned()),
        token: None,
        is_truncated: true,
        // Opaque: it is no key, and nothing in it is decoded.
        next: Some("1ueGc%2B==".to_owned()),
        key_count: 3,
        objects: vec![
            Object {
                key: "a b/x+y\u{1}".to_owned(),
                size: 71,
                modified: Some(at.into()),
                md5: Some(md5),
            },
            Object {
                key: "a b/z%".to_owned(),
                size: 0,
                modified: None,
                md5: None,
            },
        ],
        folders: vec!["a b/zz/".to_owned()],
    };
    assert_eq!(page, expected);
}

#[test]
fn where_keys_are_not_encoded_they_are_what_they_are() {
    let plain = PAGE
        .replace(
            "<EncodingType>url</EncodingType>",
            "<EncodingType></EncodingType>",
        )
        .replace("x%2By%01", "x%2By&amp;");
    assert_eq!(read(plain.as_bytes()).unwrap().objects[0].key, "a+b/x%2By&");
    let other = PAGE.replace(">url<", ">base64<");
    assert!(matches!(read(other.as_bytes()), Err(NoPage::Malformed(_))));
}

#[test]
fn an_error_is_none_of_its_pages() {
    let text = "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message>\
                <Endpoint>b.s3.example</Endpoint><RequestId>1</RequestId></Error>";
    let expected = Fault {
        code: "PermanentRedirect".to_owned(),
        message: "elsewhere".to_owned(),
        region: None,
        endpoint: Some("b.s3.example".to_owned()),
    };
    assert_eq!(fault(text.as_bytes()), Some(expected.clone()));
    assert_eq!(read(text.as_bytes()), Err(NoPage::Fault(expected)));
    assert_eq!(fault(PAGE.as_bytes()), None);
    assert_eq!(fault(b"<html>Not Found</html>"), None);
}

#[test]
fn what_is_no_listing_is_an_error() {
    let without = |what: &str| PAGE.replace(what, "");
    for text in [
        String::new(),
        "<html></html>".to_owned(),
        "{}".to_owned(),
        // Of another operation, of the same shape.
        PAGE.replace("ListBucketResult", "ListVersionsResult"),
        without("<IsTruncated>true</IsTruncated>"),
        without("<KeyCount>3</KeyCount>"),
        without("<Size>71</Size>"),
        without("<Key>a%20b/z%25</Key>"),
        PAGE.replace("<Size>71", "<Size>-1"),
        PAGE.replace("true", "perhaps"),
        PAGE.replace("z%25", "z%ff"),
        format!("{PAGE}<ListBucketResult/>"),
        format!("{PAGE}{{}}"),
    ] {
        let page = read(text.as_bytes());
        assert!(
            matches!(page, Err(NoPage::Malformed(_))),
            "{text}: {page:?}"
        );
    }
}

proptest! {
    #[test]
    fn a_page_that_is_cut_is_an_error(length in 0..PAGE.trim_end().len()) {
        let cut = &PAGE.as_bytes()[..length];
        prop_assert!(matches!(read(cut), Err(NoPage::Malformed(_))));
    }
}
