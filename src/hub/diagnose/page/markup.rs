//! HTML as it is written: markup is what stands in this program, and every other text is escaped.
//!
//! That a text of a trail becomes markup is kept out by types: [`Markup::tag`] takes only what was there when this was compiled,
//! and all else goes through [`escape`], the one function that escapes, for what stands between tags and within quoted attributes alike.

use std::fmt::Write as _;

use super::super::units::harmless;

/// A piece of a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Markup {
    html: String,
}

impl Markup {
    /// Markup of this program's own.
    pub(crate) fn tag(&mut self, html: &'static str) -> &mut Self {
        self.html.push_str(html);
        self
    }

    /// A text of anybody's.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.html.push_str(&escape(text));
        self
    }

    /// A whole number.
    pub(crate) fn number(&mut self, number: impl Into<i128>) -> &mut Self {
        let _ = write!(self.html, "{}", number.into());
        self
    }

    /// A length of a drawing, in tenths.
    pub(crate) fn tenths(&mut self, tenths: i64) -> &mut Self {
        if tenths < 0 {
            self.html.push('-');
        }
        let _ = write!(self.html, "{}", tenths.unsigned_abs() / 10);
        if tenths % 10 != 0 {
            let _ = write!(self.html, ".{}", tenths.unsigned_abs() % 10);
        }
        self
    }

    /// Another piece.
    pub(crate) fn add(&mut self, other: &Self) -> &mut Self {
        self.html.push_str(&other.html);
        self
    }

    /// What was written so far, which is forgotten.
    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.html)
    }
}

/// A text in which nothing is left that HTML reads as anything but text, nor that hides or turns what stands beside it.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in harmless(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_short() {
        let cases = [(0, "0"), (10, "1"), (15, "1.5"), (-5, "-0.5"), (-10, "-1")];
        for (tenths, text) in cases {
            assert_eq!(Markup::default().tenths(tenths).take(), text);
        }
    }

    #[test]
    fn a_text_is_escaped() {
        assert_eq!(escape("<b a='1' c=\"2\">&amp;\u{0}"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;amp;\\u{0}");
    }

    proptest! {
        #[test]
        fn nothing_of_a_text_is_markup(text in any::<String>()) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            prop_assert!(!escaped.contains(|c: char| c.is_control()));
            let back = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
            prop_assert_eq!(back.replace("&#39;", "'").replace("&amp;", "&"), harmless(&text));
            // Every ampersand that is left begins one of ours.
            for behind in escaped.split('&').skip(1) {
                prop_assert!(["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|name| behind.starts_with(name)));
            }
        }
    }
}
