//! Parts a stream into its documents before any is parsed, so that one that is broken does not take
//! the others with it. YAML makes that easy: `---` at the start of a line ends a document wherever
//! it stands, in block scalars and quotes too (YAML 1.2.2, 9.1.2, c-forbidden).

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// Counted from 1; empty documents count.
    pub number: usize,
    /// The line of the file where `text` begins, from 1.
    pub first_line: u64,
    pub text: &'a str,
}

/// Every document that holds anything but comments.
pub(super) fn documents(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut cutter = Cutter::default();
    let mut begin = 0;
    let mut begin_line = 1;
    let mut at = 0;
    for (line_number, line) in (1..).zip(text.split_inclusive('\n')) {
        if begins_with_marker(line, "---") {
            cutter.cut(text.get(begin..at).unwrap_or_default(), begin_line);
            (begin, begin_line) = (at, line_number);
        } else if begins_with_marker(line, "...") {
            cutter.cut(text.get(begin..at).unwrap_or_default(), begin_line);
            (begin, begin_line) = (at + line.len(), line_number + 1);
        }
        at += line.len();
    }
    cutter.cut(text.get(begin..).unwrap_or_default(), begin_line);
    cutter.found
}

#[derive(Default)]
struct Cutter<'a> {
    found: Vec<Document<'a>>,
    number: usize,
}

impl<'a> Cutter<'a> {
    fn cut(&mut self, text: &'a str, first_line: u64) {
        let is_filled = holds_anything(text);
        // What precedes the first marker, or follows `...`, is a document only if there is anything.
        if is_filled || begins_with_marker(text, "---") {
            self.number += 1;
        }
        if is_filled {
            self.found.push(Document {
                number: self.number,
                first_line,
                text,
            });
        }
    }
}

fn begins_with_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn holds_anything(text: &str) -> bool {
    text.lines().any(|line| {
        let line = match line.strip_prefix("---") {
            Some(rest) if begins_with_marker(line, "---") => rest,
            Some(_) | None => line,
        };
        let content = line.trim();
        !content.is_empty() && !content.starts_with('#') && !line.starts_with('%')
    })
}
