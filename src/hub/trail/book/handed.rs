//! Books that hand lines on and keep no lives: into a film, of what is read once more, or into a tail.

use super::{Book, NAME_ROW, Origin, Read, Writer};
use crate::hub::trail::film::Film;
use crate::hub::trail::slice::Place;
use crate::hub::trail::tail::Tail;
use crate::hub::trail::text;
use crate::line::scan::Found;
use crate::line::{Line, field};

impl Book {
    /// A book that the same sources, read once more in the same order, go through into a film; it knows from `read` whose the lines are,
    /// unless that was of stages.
    #[must_use]
    pub fn again(read: &Read, film: Film) -> Self {
        Self { names: read.names.clone(), twins: read.twins.clone(), film: Some(film), ..Self::default() }
    }

    /// What a second reading gave.
    #[must_use]
    pub fn into_film(self) -> Film {
        self.film.unwrap_or_default()
    }

    /// Hands a line of a chosen run to the film.
    pub(super) fn film_text(&mut self, text: &str, origin: Origin, place: Place) {
        let Some(film) = self.film.as_mut().filter(|film| film.can_be(text)) else { return };
        let Ok(line) = Line::decode(text) else { return };
        if let Some(name) = self.names.find(text::of(&line, field::RUNNER_NAME).unwrap_or_default()) {
            let is_unnamed = origin == Origin::default() && name == 0;
            let twin = if is_unnamed { self.twins.known(line.run, place).unwrap_or_default() } else { 0 };
            film.take(Writer { origin, name, run: line.run, twin }, place, text, &line);
        }
    }

    /// A book that hands lines on: events as they are, and of the samples of each runner the latest.
    #[must_use]
    pub fn of_tail() -> Self {
        Self { tail: Some(Tail::default()), ..Self::default() }
    }

    /// What was handed on.
    #[must_use]
    pub fn into_tail(self) -> Tail {
        self.tail.unwrap_or_default()
    }

    pub(super) fn tail_text(&mut self, text: &str, origin: Origin, place: Place) {
        let pod = self.names.text(origin.0);
        let Some(tail) = &mut self.tail else { return };
        let mut name = None;
        let head = self.scanner.sample(text, |row, found| match found {
            Found::Text(text) if Some(row) == *NAME_ROW => name = Some(text),
            _ => {}
        });
        self.counts.ours += 1;
        match head {
            Some(head) => tail.sample(pod.or(name), text, head),
            None => match Line::decode(text) {
                Ok(line) => tail.line(pod.or_else(|| line.text(field::RUNNER_NAME)), text, &line),
                Err(error) => {
                    self.counts.ours -= 1;
                    self.is_broken(place, error.to_string());
                }
            },
        }
    }
}
