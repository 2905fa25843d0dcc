//! The page in a real browser, over the daemon that the demo runs: an image broke, a collection ran and went
//! back.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use serde_json::{Value, json};

use crate::support::browser::{Browser, DESK, TAB};
use crate::support::demo::Demo;
use crate::support::parts::require;

mod everybody;

/// Every kind of page, each by its address.
async fn addresses(demo: &Demo, browser: &Browser) -> Vec<String> {
    browser.open(&demo.page()).await;
    let broken = "return document.querySelector('.card.broken h3 a').getAttribute('href')";
    let whole = "return document.querySelector('.list tbody th a').getAttribute('href')";
    let mut paths = vec![
        "/".to_owned(),
        "/?verdict=pullable".to_owned(),
        "/registries".to_owned(),
        "/collection".to_owned(),
        "/image?reference=r.example%2Fgone%3A1".to_owned(),
    ];
    for script in [broken, whole] {
        paths.push(browser.script(script).await.as_str().unwrap().to_owned());
    }
    paths
        .into_iter()
        .map(|path| format!("{}{path}", demo.page()))
        .collect()
}

/// From what is broken to whom it hurts, by clicks alone.
async fn clicks_through(browser: &Browser, demo: &Demo) {
    browser.open(&demo.page()).await;
    assert!(
        browser.title().await.contains("broken"),
        "{}",
        browser.title().await
    );
    // A node that is lost would need what is broken; the answer leads to its list.
    let question = browser.one(".questions a").await;
    let said = browser.text(&question).await;
    assert!(
        said.contains("Can I lose a node?") && said.contains("no"),
        "{said}"
    );
    browser.click(&question).await;
    browser.arrive(&["/?verdict=broken&class=runtime"]).await;
    assert_eq!(browser.all(".card.broken").await.len(), 1);
    assert_eq!(browser.all(".list").await.len(), 0);

    // What is chosen in the form is in the address, so that it can be sent.
    browser.open(&demo.page()).await;
    // The style sheet shows it on a desk although it is folded, which the driver does not believe.
    browser
        .script("document.querySelector('.filters').open = true")
        .await;
    let search = browser.one("#q").await;
    browser.fill(&search, "checkout").await;
    let choice = browser.one("#namespace option:nth-of-type(2)").await;
    let namespace = browser.text(&choice).await;
    browser.click(&choice).await;
    browser.click(&browser.one(".filter button").await).await;
    browser
        .arrive(&["q=checkout", &format!("namespace={namespace}")])
        .await;
    let chosen = browser
        .script("return document.querySelector('#namespace').value")
        .await;
    assert_eq!(chosen, json!(namespace));
    let counted = browser.text(&browser.one(".paging").await).await;
    assert!(counted.contains("that fit the filter"), "{counted}");

    // An image: the way to what is missing, all its layers, its history, who needs it.
    browser.open(&demo.page()).await;
    browser.click(&browser.one(".card.broken h3 a").await).await;
    browser.arrive(&["/image?reference="]).await;
    let main = browser.text(&browser.one("main").await).await;
    for text in [
        "child_missing",
        "Do first",
        "Tree",
        "History",
        "broken since",
        "pullable since",
        "Used by",
    ] {
        assert!(main.contains(text), "{text}: {main}");
    }
    let closed = browser.one(".tree details:not([open])").await;
    let folded = browser.text(&closed).await;
    assert!(
        folded.contains("layers, ") && !folded.contains("layer 1"),
        "{folded}"
    );
    browser.click(&closed).await;
    let opened = browser.text(&closed).await;
    assert!(
        opened.contains("config") && opened.contains("layer 1") && opened.contains("there"),
        "{opened}"
    );

    browser.click(&browser.link("Registries").await).await;
    browser.arrive(&["/registries"]).await;
    let main = browser.text(&browser.one("main").await).await;
    for text in [
        "up",
        "1 broken",
        "Last clean",
        "ms or less",
        "none announced",
    ] {
        assert!(main.contains(text), "{text}: {main}");
    }
    // From the registry's broken images to their list.
    browser.click(&browser.link("1 broken").await).await;
    browser.arrive(&["verdict=broken", "registry="]).await;

    browser.click(&browser.link("Collection").await).await;
    browser.arrive(&["/collection"]).await;
    let main = browser.text(&browser.one("main").await).await;
    for text in [
        "mode quarantine",
        "image_broken",
        "would go",
        "Put back",
        "quarantined",
        "restored",
        "open now",
    ] {
        assert!(main.contains(text), "{text}: {main}");
    }
}

#[tokio::test]
async fn a_browser_shows_it_to_everybody() {
    require!("chromium", "chromedriver");
    let (demo, browser) = tokio::join!(Demo::play(), Browser::start());
    clicks_through(&browser, &demo).await;
    let addresses = addresses(&demo, &browser).await;
    everybody::by_keyboard(&browser, &demo.page()).await;
    for address in &addresses {
        everybody::by_screen_reader(&browser, address).await;
        everybody::on_a_phone(&browser, address).await;
        everybody::by_day_and_by_night(&browser, address).await;
    }
    everybody::without_scripts(&browser, &addresses).await;
    // Nothing that was shown broke the policy; what would is noticed, and does nothing.
    let mut complaints = browser.complaints().await;
    complaints.retain(|complaint| !complaint.contains("gone%3A1 - Failed to load resource"));
    assert_eq!(complaints, Vec::<String>::new());
    browser
        .script("document.body.setAttribute('style', 'color: red')")
        .await;
    let complaints = browser.complaints().await;
    assert!(
        complaints[0].contains("Content Security Policy"),
        "{complaints:?}"
    );
    assert!(
        demo.process().status().is_none(),
        "{}",
        demo.process().tail()
    );
}
