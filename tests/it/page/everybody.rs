//! What holds of every page, whoever reads it and by what.

use super::{Browser, DESK, TAB, Value, json};

/// The levels of all headings in their order, with none left out on the way down.
async fn headings(browser: &Browser, address: &str) {
    let script = "return [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(it => Number(it.tagName[1]))";
    let levels: Vec<u64> = serde_json::from_value(browser.script(script).await).unwrap();
    assert_eq!(levels.first(), Some(&1), "{address}");
    let skipped = levels.windows(2).any(|pair| pair[1] > pair[0] + 1);
    assert!(!skipped, "{address}: {levels:?}");
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1);
}

/// Landmarks, headings, and a name for everything that can be used.
pub(super) async fn by_screen_reader(browser: &Browser, address: &str) {
    browser.open(address).await;
    // What is folded is in no tree.
    let unfold = "document.querySelectorAll('details').forEach(it => it.open = true)";
    browser.script(unfold).await;
    headings(browser, address).await;
    for (selector, role) in [
        ("header", "banner"),
        ("main", "main"),
        ("footer", "contentinfo"),
        (".nav", "navigation"),
    ] {
        let element = browser.one(selector).await;
        assert_eq!(browser.role(&element).await, role, "{address}: {selector}");
    }
    for form in browser.all("form").await {
        assert_eq!(browser.role(&form).await, "search", "{address}");
        assert_ne!(browser.label(&form).await, "", "{address}");
    }
    for selector in [
        "a",
        "button",
        "input:not([type=hidden])",
        "select",
        "table",
        "section",
        "[role=img]",
    ] {
        for element in browser.all(selector).await {
            let label = browser.label(&element).await;
            assert_ne!(label.trim(), "", "{address}: a {selector} has no name");
        }
    }
    // On a narrow screen a table is drawn as a list, and must stay a table for who hears it.
    browser.set_width(400).await;
    for (selector, role) in [
        ("table", "table"),
        ("tbody tr", "row"),
        ("tbody td", "cell"),
        ("tbody th", "rowheader"),
    ] {
        let first = browser.all(selector).await.into_iter().next();
        if let Some(element) = first {
            assert_eq!(browser.role(&element).await, role, "{address}: {selector}");
        }
    }
    browser.set_width(DESK).await;
}

/// Every link and field is reached in the order of reading, and is seen when it is.
pub(super) async fn by_keyboard(browser: &Browser, address: &str) {
    browser.open(address).await;
    let wanted = "const seen = it => it.checkVisibility();\
        return [...document.querySelectorAll('a, button, input:not([type=hidden]), select, summary')]\
        .filter(seen).map(it => it.outerHTML)";
    let wanted: Vec<String> = serde_json::from_value(browser.script(wanted).await).unwrap();
    assert!(
        wanted.len() > 10 && wanted[0].contains("Skip to"),
        "{wanted:?}"
    );
    let focused = "const it = document.activeElement, style = getComputedStyle(it);\
        return [it.outerHTML, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,\
        it.getBoundingClientRect().width > 1]";
    for expected in wanted {
        browser.press(TAB).await;
        let at = browser.script(focused).await;
        assert_eq!(at, json!([expected, true, true]));
    }
}

/// Nothing is wider than a phone, and nothing is lost on it.
pub(super) async fn on_a_phone(browser: &Browser, address: &str) {
    browser.set_width(400).await;
    browser.open(address).await;
    let script = "const root = document.documentElement;\
        const wide = [...document.querySelectorAll('body *')]\
        .filter(it => it.checkVisibility() && it.getBoundingClientRect().right > root.clientWidth + 1)\
        .map(it => it.outerHTML.slice(0, 200));\
        return [root.clientWidth, root.scrollWidth, wide]";
    assert_eq!(
        browser.script(script).await,
        json!([400, 400, []]),
        "{address}"
    );
    browser.set_width(DESK).await;
}

/// WCAG 2.2, 1.4.3: the contrast of every text with what is behind it, by the formula of its relative luminance.
const CONTRAST: &str = r"
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgb = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
};
const luminance = ([r, g, b]) => {
    const linear = [r, g, b].map(it => it / 255).map(it => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const behind = it => {
    for (; it; it = it.parentElement) {
        const colour = rgb(getComputedStyle(it).backgroundColor);
        if (colour[3] === 255) return colour;
    }
    return [0, 0, 0, 0];
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const poor = [];
let count = 0;
for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const it = text.parentElement;
    const box = it.getBoundingClientRect();
    if (!text.data.trim() || !it.checkVisibility() || box.width <= 1 || it.tagName === 'OPTION') continue;
    count += 1;
    const [one, other] = [luminance(rgb(getComputedStyle(it).color)), luminance(behind(it))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)}: ${it.outerHTML.slice(0, 120)}`);
}
const ground = luminance(behind(document.body));
return [count, ground, poor];
";

/// Light and dark are told from each other, and each can be read.
pub(super) async fn by_day_and_by_night(browser: &Browser, address: &str) {
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.set_scheme(scheme).await;
        browser.open(address).await;
        let told = browser.script(CONTRAST).await;
        assert!(told[0].as_u64().unwrap() > 10, "{address}: {told}");
        assert_eq!(told[2], json!([]), "{address} in {scheme}");
        grounds.push(told[1].as_f64().unwrap());
    }
    assert!(grounds[0] > 0.9 && grounds[1] < 0.05, "{grounds:?}");
    browser.set_scheme("light").await;
}

/// What is shown is the same for who runs no scripts.
pub(super) async fn without_scripts(browser: &Browser, addresses: &[String]) {
    let off = |is_off: bool| json!({"value": is_off});
    let command = "Emulation.setScriptExecutionDisabled";
    let text = "return document.querySelector('main').innerText\
        .replace(/[0-9]+ (s|min|h|days)/g, 'T').replace(/[0-9]+/g, 'N')";
    for address in addresses {
        browser.open(address).await;
        let with: Value = browser.script(text).await;
        browser.chromium(command, off(true)).await;
        browser
            .open("data:text/html,<title>no</title><script>document.title = 'ran'</script>")
            .await;
        assert_eq!(browser.title().await, "no", "scripts are off");
        browser.open(address).await;
        assert_eq!(browser.script(text).await, with, "{address}");
        browser.chromium(command, off(false)).await;
    }
}
