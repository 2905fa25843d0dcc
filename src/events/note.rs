//! The words of an Event. Any tenant can write an image's name, so what is shown of it is bounded and plain; a
//! platform's is so by itself.

use std::fmt::Write as _;

use super::Change;
use super::decision::Stand;
use crate::inventory::Class;
use crate::metrics::workloads;
use crate::verify::finding::explanation::explain;

/// What the API takes (`note` of events.k8s.io/v1).
pub const NOTE_BYTES_MAX: usize = 1024;
/// How much is shown of what somebody else wrote.
const SHOWN_BYTES_MAX: usize = 400;

pub(super) fn note(change: Change, image: &str, stand: &Stand<'_>) -> String {
    let text = match change {
        Change::Breaks => breaks(image, stand),
        Change::Heals => format!(
            "{} can be pulled again, on every platform that is needed.",
            plain(image)
        ),
    };
    cut(&text, NOTE_BYTES_MAX).to_owned()
}

fn breaks(image: &str, stand: &Stand<'_>) -> String {
    let shown = plain(image);
    let failures = workloads::failures(stand.image);
    let Some(first) = failures.first() else {
        return format!("{shown} cannot be pulled.");
    };
    let words = explain(first.code);
    let mut text = format!("{shown}: {}", words.what);
    if let Some(platform) = &first.platform {
        push(&mut text, format_args!(" for {platform}"));
    }
    push(&mut text, format_args!(" ({}).", first.code));
    match failures.len() - 1 {
        0 => {}
        1 => text.push_str(" One more platform is broken."),
        more => push(
            &mut text,
            format_args!(" {more} more platforms are broken."),
        ),
    }
    match stand.containers.len() {
        0 | 1 => {}
        count => push(&mut text, format_args!(" {count} containers need it.")),
    }
    if stand.class == Class::Rollback {
        text.push_str(" A rollback would pull it.");
    }
    push(&mut text, format_args!(" {}", words.first));
    // With a name that was cut it would be another command.
    if shown == image {
        push(&mut text, format_args!(" See `pullproof explain {image}`."));
    }
    text
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a string takes everything");
}

/// A name fit to be shown: printable ASCII, of which references are made, and not too long. A terminal
/// obeys other characters, and some write from right to left.
fn plain(name: &str) -> String {
    let mut shown = String::new();
    for character in name.chars() {
        let character = if character.is_ascii_graphic() || character == ' ' {
            character
        } else {
            '\u{fffd}'
        };
        if shown.len() + character.len_utf8() > SHOWN_BYTES_MAX {
            shown.push('…');
            break;
        }
        shown.push(character);
    }
    shown
}

/// At most so many bytes, and no half of a character.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_in_plain_characters_and_not_at_any_length() {
        assert_eq!(plain("r.example/web:1"), "r.example/web:1");
        assert_eq!(
            plain("a\n\u{1b}[2J\u{202e}ü"),
            "a\u{fffd}\u{fffd}[2J\u{fffd}\u{fffd}"
        );
        let long = plain(&"ü".repeat(10_000));
        assert!(long.len() <= SHOWN_BYTES_MAX + '…'.len_utf8());
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("üü", 4), "üü");
        assert_eq!(cut("üü", 3), "ü");
        assert_eq!(cut("üü", 1), "");
        assert_eq!(cut("", 3), "");
    }
}
