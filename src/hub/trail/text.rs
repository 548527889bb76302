//! Texts of lines as long as their fields are: who writes the lines does not say how much is kept of them.

use crate::line::Line;
use crate::line::field::{Field, Unit};

/// The longest name of a Pod, and the longest label that names one.
pub(super) const LABEL_BYTES: usize = 253;

/// A text of a line, no longer than its field allows.
pub(super) fn of<'a>(line: &'a Line<'_>, field: &Field) -> Option<&'a str> {
    line.text(field).map(|text| cut(text, field))
}

/// A text no longer than a field allows.
pub(super) fn cut<'a>(text: &'a str, field: &Field) -> &'a str {
    match field.unit {
        Unit::Text(most) => cut_at(text, most),
        _ => text,
    }
}

/// At most so many bytes of a text, whole characters.
pub(super) fn cut_at(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}
