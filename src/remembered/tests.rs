//! Rows of a store, as they were ever written.

use super::*;
use crate::verify::finding::{Code, Verdict};

/// A proof and a loss, from before times were kept in whole seconds.
const WITH_FRACTIONS: [&str; 2] = [
    r#"{"needs":{"these":["linux/arm64/v8"]},"report":{"digest":"sha256:4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2","verdict":"pullable","platforms":[{"platform":"linux/arm64/v8","digest":"sha256:ddc9e669194254cef019a29d3619a2c16592e5d52e1a81e98b01bd52319149a3","verdict":"pullable","needed":true}],"findings":[],"proven_at":"2026-11-20T08:00:00Z","fresh_until":"2026-11-20T08:30:00.5Z","checked_at":"2026-11-20T08:00:02.123456789Z"},"proven_at":"2026-11-20T08:00:00.25Z","since":"2026-11-19T08:00:00.75Z","asked_at":"2026-11-20T07:59:58.987654321Z"}"#,
    r#"{"needs":{"these":["linux/arm64/v8"]},"report":{"digest":"sha256:4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2","verdict":"broken","platforms":[{"platform":"linux/arm64/v8","digest":"sha256:ddc9e669194254cef019a29d3619a2c16592e5d52e1a81e98b01bd52319149a3","verdict":"pullable","needed":true}],"findings":[{"code":"layer_missing","subject":"sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85","platform":"linux/arm64/v8","needed":true,"path":["sha256:4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2","sha256:ddc9e669194254cef019a29d3619a2c16592e5d52e1a81e98b01bd52319149a3"],"message":"gone"}],"proven_at":null,"fresh_until":null,"checked_at":"2026-11-20T08:00:02.123456789Z"},"proven_at":"2026-11-20T08:00:00.25Z","since":"2026-11-19T08:00:00.75Z","asked_at":"2026-11-20T07:59:58.987654321Z"}"#,
];

#[test]
fn a_row_of_before_is_read_and_nothing_in_it_gets_younger() {
    let second = |text: &str| Some(Second::from(text.parse::<Timestamp>().unwrap()));
    let [proof, loss] = WITH_FRACTIONS.map(|row| {
        let image: RememberedImage = serde_json::from_str(row).unwrap();
        assert_eq!(image.proven_at, second("2026-11-20T08:00:00Z"));
        assert_eq!(Some(image.since), second("2026-11-19T08:00:00Z"));
        let asked_at = "2026-11-20T07:59:58.987654321Z";
        assert_eq!(image.asked_at.to_string(), asked_at);
        assert_eq!(image.report.checked_at, second("2026-11-20T08:00:02Z"));
        let before: serde_json::Value = serde_json::from_str(row).unwrap();
        let now = serde_json::to_value(&image).unwrap();
        for key in ["digest", "verdict", "platforms", "findings"] {
            assert_eq!(now["report"][key], before["report"][key]);
        }
        assert_eq!(now["needs"], before["needs"]);
        assert_eq!(
            serde_json::from_value::<RememberedImage>(now).unwrap(),
            image
        );
        image
    });
    assert_eq!(proof.report.verdict, Verdict::Pullable);
    assert_eq!(proof.report.proven_at, second("2026-11-20T08:00:00Z"));
    assert_eq!(proof.report.fresh_until, second("2026-11-20T08:30:00Z"));
    assert!(proof.report.findings.is_empty());
    assert_eq!(loss.report.findings[0].code, Code::LayerMissing);
    assert_eq!(loss.report.findings[0].path.len(), 2);
}
