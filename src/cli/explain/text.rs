//! Small pieces of text: sizes, short digests, lines that fit a width. Pure.

use std::fmt::Write as _;

use crate::cli::table::shown;
use crate::oci::digest::Digest;

/// How wide lines may be, and whether digests are shown whole.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    pub width: usize,
    pub whole_digests: bool,
}

impl Measure {
    /// A digest in a column of its own, where what it is needs no saying: the first 12 digits.
    pub fn digest(self, digest: &Digest) -> String {
        if self.whole_digests {
            return digest.to_string();
        }
        let hex = digest.hex();
        hex.get(..12).unwrap_or(&hex).to_owned()
    }

    /// Digests within a text. What moves a cursor is escaped: parts of it come from manifests.
    pub fn text(self, text: &str) -> String {
        let mut safe = String::with_capacity(text.len());
        for character in text.chars() {
            if character.is_control() && !character.is_whitespace() {
                safe.extend(character.escape_default());
            } else {
                safe.push(character);
            }
        }
        if self.whole_digests {
            safe
        } else {
            shown(&safe)
        }
    }

    /// Words in lines of this width, each line after this margin.
    pub fn wrapped(self, margin: &str, text: &str) -> String {
        let mut lines = String::new();
        let mut line = margin.to_owned();
        let mut is_empty = true;
        for word in self.text(text).split_whitespace() {
            let width = line.chars().count() + word.chars().count() + usize::from(!is_empty);
            if !is_empty && width > self.width {
                push(&mut lines, &line);
                margin.clone_into(&mut line);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        push(&mut lines, &line);
        lines
    }
}

/// Ends a line.
pub fn push(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{}", line.trim_end()).expect("a String takes every write");
}

/// `873 B`, `12.3 MiB`
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut amount = bytes as f64;
    let mut word = "B";
    for unit in UNITS {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        word = unit;
    }
    if amount < 10.0 {
        format!("{amount:.1} {word}")
    } else {
        format!("{amount:.0} {word}")
    }
}

/// A count with its noun.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_or_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (12_900_000, "12 MiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn lines_keep_to_the_width_and_lose_no_word() {
        let measure = Measure {
            width: 20,
            whole_digests: false,
        };
        let text = "one two three four a-word-that-is-longer-than-a-line five";
        let wrapped = measure.wrapped("  ", text);
        assert_eq!(
            wrapped,
            "  one two three four\n  a-word-that-is-longer-than-a-line\n  five\n"
        );
    }
}
