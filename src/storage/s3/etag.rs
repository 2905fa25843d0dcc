//! What a content is called by the server that keeps it. Pure.

use std::fmt;

/// An ETag, without the quotes around it.
///
/// Of an object of one part that no key of its own encrypts it is the MD5 of the content; otherwise it
/// means nothing but that the object is the same one as before. Two pushes of the same content have the
/// same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Etag(Box<str>);

impl Etag {
    /// With quotes or without; `None` where it says nothing, or is none.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim_matches('"');
        let is_one = !text.is_empty()
            && text.len() <= 1024
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'"');
        is_one.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a header has it.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// Whether the object was written in several parts: the ETag depends on how it was divided then, and
    /// the same content may have another.
    pub(super) fn is_of_parts(&self) -> bool {
        self.0.contains('-')
    }
}

impl fmt::Debug for Etag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_not_of_the_name() {
        let etag = Etag::new("\"9a0364b9e99bb480dd25e1f0284c8555-2\"").unwrap();
        assert_eq!(
            Etag::new("9a0364b9e99bb480dd25e1f0284c8555-2"),
            Some(etag.clone())
        );
        assert_eq!(etag.quoted(), "\"9a0364b9e99bb480dd25e1f0284c8555-2\"");
        assert!(etag.is_of_parts());
        assert!(
            !Etag::new("9a0364b9e99bb480dd25e1f0284c8555")
                .unwrap()
                .is_of_parts()
        );
        for none in ["", "\"\"", "a b", "a\"b", "a\r\nb", "é"] {
            assert_eq!(Etag::new(none), None, "{none}");
        }
    }
}
