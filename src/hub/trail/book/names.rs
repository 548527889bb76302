//! Texts that many lines have, each kept once.

use std::collections::HashMap;
use std::rc::Rc;

/// Texts by number; number 0 is no text.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Names {
    numbers: HashMap<Rc<str>, u32>,
    texts: Vec<Rc<str>>,
}

impl Names {
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let text: Rc<str> = text.into();
        self.texts.push(Rc::clone(&text));
        let number = u32::try_from(self.texts.len()).unwrap_or(0);
        self.numbers.insert(text, number);
        number
    }

    /// The number of a text that has one.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        if text.is_empty() { Some(0) } else { self.numbers.get(text).copied() }
    }

    pub(in super::super) fn text(&self, number: u32) -> Option<&str> {
        self.shared(number).map(AsRef::as_ref)
    }

    pub(in super::super) fn shared(&self, number: u32) -> Option<&Rc<str>> {
        self.texts.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }
}
