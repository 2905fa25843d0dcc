//! The last of what a program says, however much that is. Pure.

use std::collections::VecDeque;

/// So much is kept.
pub const KEPT: usize = 64 << 10;

/// The last bytes of an output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tail {
    kept: VecDeque<u8>,
    /// Of all that was said.
    bytes: u64,
}

impl Tail {
    pub fn take(&mut self, part: &[u8]) {
        self.bytes = self.bytes.saturating_add(part.len() as u64);
        let part = part
            .get(part.len().saturating_sub(KEPT)..)
            .unwrap_or_default();
        let surplus = (self.kept.len() + part.len()).saturating_sub(KEPT);
        self.kept.drain(..surplus);
        self.kept.extend(part);
    }

    /// Of all that was said.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What was kept, without what would do something to a terminal.
    pub fn text(&self) -> String {
        let (front, back) = self.kept.as_slices();
        let bytes = [front, back].concat();
        let text = String::from_utf8_lossy(&bytes);
        let is_shown = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
        text.chars().filter(is_shown).collect()
    }

    /// The last lines of it.
    pub fn lines(&self, count: usize) -> Vec<String> {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(count));
        last.map(|line| (*line).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_however_it_comes() {
        let mut tail = Tail::default();
        let all: Vec<u8> = (b'a'..=b'z').cycle().take(KEPT * 3).collect();
        for part in all.chunks(1000) {
            tail.take(part);
        }
        let mut at_once = Tail::default();
        at_once.take(&all);
        assert_eq!(tail.text(), at_once.text());
        assert_eq!(tail.text().as_bytes(), &all[KEPT * 2..]);
        assert_eq!(tail.bytes(), (KEPT * 3) as u64);
        tail.take(b"");
        tail.take(b"\x1b[2Jone\r\ntwo\n\xff\n");
        assert_eq!(tail.lines(2), ["two", "\u{fffd}"]);
        assert!(tail.text().ends_with("[2Jone\ntwo\n\u{fffd}\n"));
        assert_eq!(Tail::default().lines(3), Vec::<String>::new());
    }
}
