//! What was met on the way through sources, for those who read them.

use super::Names;
use crate::hub::trail::join::Twins;
use crate::hub::trail::slice::Place;

/// What was met on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that are ours and whole.
    pub ours: u64,
    /// Lines that are ours and broken.
    pub broken: u64,
    /// Lines that are not ours.
    pub passed_over: u64,
    /// Those of them that have our tag somewhere behind their beginning: no line of ours.
    pub mentions: u64,
    /// Those of them that are JSON.
    pub in_json: u64,
    /// Lines too long to be ours.
    pub overlong: u64,
}

/// A line that is ours and broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Where it stands.
    pub place: Place,
    /// What is wrong with it.
    pub error: String,
}

/// What a reading met, once the runners are taken out.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// What was met.
    pub counts: Counts,
    /// The first broken lines.
    pub broken: Vec<Broken>,
    /// The first line that has our tag and is no line of ours.
    pub first_mention: Option<Place>,
    /// What could not be read, and why, where it is known that there is more.
    pub partial: Option<String>,
    /// What the sources are called, by their numbers.
    pub sources: Vec<String>,
    pub(super) names: Names,
    pub(super) twins: Twins,
}

impl Read {
    /// A place as a person looks it up: `FILE:LINE`; the source alone where a line is found by its run and number.
    #[must_use]
    pub fn place(&self, place: Place) -> String {
        let source = usize::try_from(place.source).ok().and_then(|at| self.sources.get(at));
        let source = source.map_or("?", String::as_str);
        if place.line == 0 { source.to_owned() } else { format!("{source}:{}", place.line) }
    }
}
