//! A run as a book keeps it: open while its lines come, and packed when none has come for a while, since a fleet's day has hundreds of
//! thousands of runs. Opened again it is what it was, so that nothing depends on when it was packed.

use std::borrow::Cow;

use super::book::{Origin, Writer};
use super::life::Life;
use super::slice::{Mark, Place};
use crate::line::RunId;

/// When so many runs were opened, and as many as stay open, all are looked through, so that few are open that need not be.
pub(super) const OPENED: usize = 1024;

/// A run: open, or its bytes.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    open: Option<Box<Life>>,
    packed: Box<[u8]>,
}

impl Kept {
    pub(super) fn new(life: Life) -> Self {
        Self { open: Some(Box::new(life)), packed: Box::default() }
    }

    pub(super) const fn is_packed(&self) -> bool {
        self.open.is_none()
    }

    /// The run where it is open.
    pub(super) fn opened(&self) -> Option<&Life> {
        self.open.as_deref()
    }

    /// The run, to be read.
    pub(super) fn life(&self) -> Cow<'_, Life> {
        self.opened().map_or_else(|| Cow::Owned(unpacked(&self.packed)), Cow::Borrowed)
    }

    /// The run, to take lines.
    pub(super) fn open(&mut self) -> &mut Life {
        let packed = std::mem::take(&mut self.packed);
        self.open.get_or_insert_with(|| Box::new(unpacked(&packed)))
    }

    pub(super) fn into_life(self) -> Box<Life> {
        self.open.unwrap_or_else(|| Box::new(unpacked(&self.packed)))
    }

    /// Changes it, and leaves it as open or packed as it was.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Life)) {
        let was_packed = self.is_packed();
        change(self.open());
        if was_packed {
            self.pack();
        }
    }

    /// Packs it where it holds no sample, and is over or had no line since the last time. With samples it is still to be looked at.
    pub(super) fn put_away(&mut self) {
        let Some(life) = &mut self.open else { return };
        let is_quiet = !std::mem::take(&mut life.is_new);
        if life.whole.is_none() && (life.is_done || is_quiet) {
            self.pack();
        }
    }

    fn pack(&mut self) {
        if let Some(Ok(bytes)) = self.open.as_ref().map(postcard::to_allocvec) {
            debug_assert_eq!(self.open.as_deref(), Some(&unpacked(&bytes)), "what is packed can be unpacked");
            *self = Self { open: None, packed: bytes.into() };
        }
    }
}

/// What was packed can be unpacked.
fn unpacked(bytes: &[u8]) -> Life {
    let nobody = || Writer { origin: Origin::default(), name: 0, run: RunId::NONE, twin: 0 };
    postcard::from_bytes(bytes).unwrap_or_else(|_| Life::new(nobody(), Mark::new(0, None, Place::default())))
}

/// The guest's side knows nothing of it.
pub(super) mod run_id {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::line::RunId;

    pub(crate) fn serialize<S: Serializer>(run: &RunId, to: S) -> Result<S::Ok, S::Error> {
        run.as_str().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<RunId, D::Error> {
        Ok(RunId::parse(<&str>::deserialize(from)?).unwrap_or(RunId::NONE))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::book::Book;
    use super::super::runners::Runner;
    use super::*;

    /// What is made of lines when after each so many of them all runs are packed.
    fn runners(text: &str, packed_after: usize) -> Vec<Runner> {
        let mut book = Book::of_stages();
        for (nth, line) in text.lines().enumerate() {
            if nth % packed_after == 0 {
                book.lives.values_mut().for_each(Kept::pack);
                assert!(book.lives.values().all(Kept::is_packed));
            }
            let place = Place { source: 0, line: u32::try_from(nth).unwrap() };
            book.take_at(line.as_bytes(), Origin::default(), place, Some(i64::try_from(nth).unwrap() * 100));
        }
        assert_eq!(book.broken, []);
        book.into_runners().0
    }

    #[test]
    fn runs_that_stay_open_are_looked_through_less_often_the_more_they_are() {
        let mut book = Book::of_stages();
        for nth in 0..6000 {
            let line = format!("RUNNER_VITALS ts= run={} seq=1 load1=0.10", RunId::from_random(nth).as_str());
            book.take(line.as_bytes(), Origin::default(), Place::default());
        }
        assert_eq!(book.opened, 6000 - 4096);
    }

    #[test]
    fn what_was_packed_between_any_two_lines_is_what_it_was() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trail");
        let phase = |run: &str, phase: &str| {
            format!(
                "RUNNER_VITALS ts=2026-06-04T12:00:0{}.000Z run={run} seq=1 event=phase phase={phase} boot.id=b runner.name=r poll.served=3 \
                 runner.env=prod runner.image=i runner.created.ts=2026-06-04T11:00:00Z job.nr=7 job.exit=1 job.result=failure waited.ms=9\n",
                phase.len()
            )
        };
        let told =
            phase("aaaa", "warming") + &phase("bbbb", "claimed") + &phase("cccc", "ready") + &phase("dddd", "ended");
        let mut texts = vec![told];
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "log") {
                texts.push(fs::read_to_string(path).unwrap());
            }
        }
        assert!(texts.len() > 10);
        for text in texts {
            let newest_first: String = text.lines().rev().flat_map(|line| [line, "\n"]).collect();
            for text in [text, newest_first] {
                let whole = runners(&text, usize::MAX);
                for packed_after in [1, 7] {
                    let packed = runners(&text, packed_after);
                    assert_eq!(packed.len(), whole.len());
                    for (packed, whole) in packed.iter().zip(&whole) {
                        assert_eq!((&packed.name, &packed.runs), (&whole.name, &whole.runs));
                    }
                }
            }
        }
    }
}
