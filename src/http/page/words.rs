//! Times, sizes, digests and references as people read them. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::oci::platform::Platform;
use crate::oci::reference::Reference;
use crate::second::Second;
use crate::verify::finding::Verdict;

pub(super) use crate::view::answers::{counted, number};

/// A point in time, seen from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// For machines.
    pub iso: String,
    /// To the second, with its zone.
    pub full: String,
    /// The time of day, and the date unless it is today's.
    pub clock: String,
    /// How long ago that is, or how long until then.
    pub ago: String,
}

impl Moment {
    pub(super) fn of(at: Timestamp, now: Timestamp) -> Self {
        let is_today = at.strftime("%F").to_string() == now.strftime("%F").to_string();
        let clock = if is_today { "%H:%M" } else { "%F %H:%M" };
        Self {
            iso: at.strftime("%FT%TZ").to_string(),
            full: at.strftime("%F %T UTC").to_string(),
            clock: at.strftime(clock).to_string(),
            ago: match now.duration_since(at) {
                passed if passed.as_secs() < 0 => format!("in {}", span(-passed)),
                passed => format!("{} ago", span(passed)),
            },
        }
    }
}

/// A duration in its largest unit. What is not yet a second is none.
pub(super) fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How long something took.
pub(super) fn took(duration: SignedDuration) -> String {
    let milliseconds = duration.as_millis().max(0);
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => span(duration),
    }
}

/// How often something is due: in the largest unit that loses nothing.
pub(super) fn every(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        _ if seconds > 0 && seconds % 86_400 == 0 => format!("{} d", seconds / 86_400),
        _ if seconds > 0 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        _ if seconds > 0 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// Bytes in the binary unit that leaves one to four digits.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for larger in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    match (unit, tenths) {
        ("B", _) => format!("{bytes} B"),
        (_, 0..1000) => format!("{}.{} {unit}", tenths / 10, tenths % 10),
        _ => format!("{} {unit}", tenths / 10),
    }
}

/// `2026-11-21`
pub(super) fn day(second: Second) -> String {
    Timestamp::from(second).strftime("%F").to_string()
}

/// `99.9 %`; what is not all is never said to be.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(whole.max(1));
    match tenths {
        0 if part > 0 => "less than 0.1 %".to_owned(),
        _ if tenths % 10 == 0 => format!("{} %", tenths / 10),
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// What stood between backticks.
    Code(String),
    /// Shown short, and known whole.
    Digest {
        short: String,
        full: String,
    },
}

const ALGORITHM: &str = "sha256:";
/// Of a whole digest, and of one that was shortened already.
const HEX_DIGITS: [usize; 2] = [64, 12];

/// A message, with its digests and code apart.
pub(super) fn pieces(message: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = message;
    while let Some(start) = rest.find('`') {
        let (before, quoted) = rest.split_at(start);
        let inner = quoted.get(1..).unwrap_or_default();
        let Some(end) = inner.find('`') else {
            break;
        };
        digests(before, &mut pieces);
        pieces.push(Piece::Code(inner.get(..end).unwrap_or_default().to_owned()));
        rest = inner.get(end + 1..).unwrap_or_default();
    }
    digests(rest, &mut pieces);
    pieces
}

fn digests(text: &str, pieces: &mut Vec<Piece>) {
    let mut rest = text;
    let mut seen = 0;
    while let Some(start) = rest.get(seen..).and_then(|unseen| unseen.find(ALGORITHM)) {
        let hex_at = seen + start + ALGORITHM.len();
        let digits = rest.get(hex_at..).unwrap_or_default();
        let digits = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
        if !HEX_DIGITS.contains(&digits) {
            seen = hex_at;
            continue;
        }
        let (found, after) = rest.split_at(hex_at + digits);
        let (before, full) = found.split_at(seen + start);
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Digest {
            short: full.get(..ALGORITHM.len() + 12).unwrap_or(full).to_owned(),
            full: full.to_owned(),
        });
        rest = after;
        seen = 0;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
}

/// A reference, in the parts that an eye looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// With its slash; empty where the reference is malformed.
    pub host: String,
    pub repository: String,
    /// With its colon.
    pub tag: String,
    /// With its `@`, short.
    pub digest: String,
    /// All of it, as text.
    pub full: String,
}

impl Name {
    pub(super) fn of(reference: &str) -> Self {
        let full = reference.to_owned();
        match reference.parse::<Reference>() {
            Ok(parsed) => Self {
                host: format!("{}/", parsed.host()),
                repository: parsed.repository().to_owned(),
                tag: parsed
                    .tag()
                    .map_or_else(String::new, |tag| format!(":{tag}")),
                digest: parsed
                    .digest()
                    .map_or_else(String::new, |digest| format!("@{}", digest.short())),
                full,
            },
            Err(_) => Self {
                host: String::new(),
                repository: full.clone(),
                tag: String::new(),
                digest: String::new(),
                full,
            },
        }
    }
}

/// A platform of an image as a small labelled mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub verdict: Verdict,
    pub name: String,
    pub needed: bool,
}

impl Mark {
    pub(super) fn sign(&self) -> &'static str {
        sign(self.verdict)
    }
}

/// The sign beside a verdict's word, so that colour is never the only one to tell.
pub(super) fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pullable => "✓",
        Verdict::Unknown => "?",
        Verdict::Broken => "✗",
    }
}

pub(super) fn platform(platform: Option<&Platform>) -> String {
    match platform {
        None => "any platform".to_owned(),
        Some(platform) if platform.is_unknown() => "attestation".to_owned(),
        Some(platform) => platform.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        for (value, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (150 * 1024, "150 KiB"),
            (1536 * 1024 * 1024, "1.5 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(value), expected);
        }
        assert_eq!(percent(99_999, 100_000), "99.9 %");
        assert_eq!(percent(1, 100_000), "less than 0.1 %");
        assert_eq!(
            (percent(3, 3), percent(0, 3), percent(1, 0)),
            ("100 %".into(), "0 %".into(), "100 %".into())
        );
        assert_eq!(counted(1, "image"), "1 image");
        assert_eq!(counted(0, "image"), "0 images");
    }

    #[test]
    fn times_are_said_in_their_largest_unit() {
        for (seconds, expected) in [
            (-5, "0 s"),
            (90, "90 s"),
            (150, "2 min"),
            (7200, "2 h"),
            (200_000, "2 days"),
        ] {
            assert_eq!(span(SignedDuration::from_secs(seconds)), expected);
        }
        assert_eq!(took(SignedDuration::from_millis(2130)), "2.1 s");
        assert_eq!(every(SignedDuration::from_secs(600)), "10 min");
        assert_eq!(every(SignedDuration::from_secs(90)), "90 s");
        let now: Timestamp = "2026-08-02T03:14:07Z".parse().unwrap();
        let moment = Moment::of("2026-08-02T02:58:00Z".parse().unwrap(), now);
        assert_eq!(
            (moment.clock.as_str(), moment.ago.as_str()),
            ("02:58", "16 min ago")
        );
        let moment = Moment::of("2026-08-01T23:58:00Z".parse().unwrap(), now);
        assert_eq!(moment.clock, "2026-08-01 23:58");
        let moment = Moment::of("2026-08-02T04:14:07Z".parse().unwrap(), now);
        assert_eq!(moment.ago, "in 60 min");
    }

    #[test]
    fn a_message_is_taken_apart_without_loss() {
        let hex = "ab".repeat(32);
        let check = |message: &str, digests: usize, code: usize| {
            let pieces = pieces(message);
            let mut counts = [0, 0];
            let mut whole = String::new();
            for piece in &pieces {
                match piece {
                    Piece::Text(text) => whole.push_str(text),
                    Piece::Code(text) => {
                        counts[1] += 1;
                        whole.push_str(&format!("`{text}`"));
                    }
                    Piece::Digest { full, .. } => {
                        counts[0] += 1;
                        whole.push_str(full);
                    }
                }
            }
            assert_eq!(whole, message);
            assert_eq!(counts, [digests, code], "{message}");
        };
        check("", 0, 0);
        check("nothing", 0, 0);
        check("sha256:", 0, 0);
        check("sha256:é sha256:abab names", 0, 0);
        check(&format!("sha256:{hex}"), 1, 0);
        check(&format!("sha256:{hex}ab"), 0, 0);
        check(
            &format!("the blob sha256:{hex} that sha256:abababababab names"),
            2,
            0,
        );
        check(&format!("sha256:x sha256:{hex}"), 1, 0);
        check("tag `7` of `é`: ``", 0, 3);
        check("`open", 0, 0);
    }
}
