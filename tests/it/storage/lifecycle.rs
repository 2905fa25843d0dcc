//! What a bucket removes by itself. versitygw knows of no lifecycles, so that what a server that does
//! answers is scripted.

use std::io::ErrorKind;

use pullproof::storage::s3::Rule;

use super::between::Fault;
use super::bucket::Bed;
use crate::support::parts::require;

fn is_lifecycle(_method: &str, path: &str) -> bool {
    path.contains("lifecycle=")
}

#[tokio::test]
async fn no_lifecycle_is_what_a_server_says_and_not_what_it_fails_to_say() {
    require!("versitygw");
    let bed = Bed::without_versions().await;
    // versitygw's own answer, once.
    let problem = bed.s3.lifecycle().await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::Unsupported, "{problem}");
    assert_eq!(bed.asked(is_lifecycle), 1);
    let none = Fault::error(404, "NoSuchLifecycleConfiguration");
    bed.between.when(0..1, none, is_lifecycle);
    assert_eq!(bed.s3.lifecycle().await.unwrap().rules, []);
    for (fault, words) in [
        (
            Fault::error(403, "AccessDenied"),
            "allow s3:GetLifecycleConfiguration on the bucket `registry`",
        ),
        (
            Fault::error(404, "NoSuchBucket"),
            "there is no bucket `registry`",
        ),
        (Fault::error(404, "NoSuchKey"), "there is no such object"),
        (Fault::Answer(404, &[], String::new()), "check `endpoint`"),
        (Fault::Answer(200, &[], String::new()), "is none"),
        (Fault::Answer(200, &[], "<html/>".to_owned()), "is none"),
        (Fault::error(200, "InternalError"), "200 (InternalError)"),
        (Fault::Broken, "cannot be asked"),
    ] {
        bed.between.heal();
        bed.between.when(0..99, fault, is_lifecycle);
        let problem = bed.s3.lifecycle().await.unwrap_err().to_string();
        assert!(problem.contains(words), "{words}: {problem}");
        assert!(
            problem.contains("GetBucketLifecycleConfiguration"),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn the_rules_that_reach_the_tree_are_told() {
    require!("versitygw");
    let bed = Bed::without_versions().await;
    let rule = |id: &str, prefix: &str, days: u32| {
        format!(
            "<Rule><ID>{id}</ID><Filter><Prefix>{prefix}</Prefix></Filter><Status>Enabled</Status>\
             <NoncurrentVersionExpiration><NoncurrentDays>{days}</NoncurrentDays>\
             </NoncurrentVersionExpiration></Rule>"
        )
    };
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<LifecycleConfiguration>{}{}{}</LifecycleConfiguration>",
        rule("tree", "deep/er/docker/", 8),
        rule("elsewhere", "docker/", 1),
        rule("ours", "deep/er/pullproof/", 30),
    );
    let answer = Fault::Answer(200, &[("content-type", "application/xml")], document);
    bed.between.when(0..1, answer, is_lifecycle);
    let lifecycle = bed.s3.lifecycle().await.unwrap();
    let names: Vec<&Rule> = lifecycle.rules.iter().collect();
    let names: Vec<&str> = names.iter().filter_map(|rule| rule.id.as_deref()).collect();
    assert_eq!(names, ["tree", "ours"]);
    assert_eq!(lifecycle.noncurrent_days(), Some(8));
}
