//! Runs that are over and well, of which a fleet's figures want no sample: the probe had its last word, and the runner's scripts said that
//! the boot ended. A day of single-shot guests has tens of thousands of them.

use std::collections::HashMap;

use crate::line::RunId;

use super::book::{Origin, Writer};
use super::happening::What;
use super::life::Life;

/// After so many lines all runs are looked through, so that in between few are kept that need not be.
pub(super) const EVERY: u64 = 1 << 18;

type Lives = HashMap<Writer, Box<Life>>;

/// Lets go of the samples of all runs that are over and well.
pub(super) fn let_go(lives: &mut Lives) {
    let over = lives.iter().filter(|(_, life)| !life.is_done && has_last_word(life));
    let over: Vec<Writer> = over.map(|(writer, _)| *writer).collect();
    let named = if over.iter().any(|writer| writer.name == 0) { named(lives) } else { HashMap::new() };
    let done: Vec<Writer> = over.into_iter().filter(|writer| has_ended(*writer, lives, &named)).collect();
    for writer in done {
        if let Some(life) = lives.get_mut(&writer) {
            life.is_done = true;
            (life.whole, life.last_sample) = (None, None);
            life.recent = Vec::new();
            life.happenings.shrink_to_fit();
        }
    }
}

fn has_last_word(life: &Life) -> bool {
    life.happenings.iter().any(|one| matches!(one.what, What::Stop { .. }) && one.mark.seq == life.last.seq)
}

/// Who the runs are by that line of theirs which says it.
fn named(lives: &Lives) -> HashMap<(Origin, RunId), Writer> {
    let says_it = lives.iter().filter(|(writer, life)| writer.name != 0 && boot_id(life).is_some());
    says_it.map(|(writer, _)| ((writer.origin, writer.run), *writer)).collect()
}

fn has_ended(writer: Writer, lives: &Lives, named: &HashMap<(Origin, RunId), Writer>) -> bool {
    let named = if writer.name == 0 { named.get(&(writer.origin, writer.run)).copied() } else { Some(writer) };
    let Some(writer) = named else { return false };
    let stages = lives.get(&Writer { run: RunId::NONE, twin: 0, ..writer }).and_then(|life| life.stages.as_ref());
    let boot_id = lives.get(&writer).and_then(|life| boot_id(life));
    boot_id.zip(stages).is_some_and(|(boot_id, stages)| stages.has_ended(boot_id))
}

fn boot_id(life: &Life) -> Option<&str> {
    life.about.as_ref().and_then(|about| about.boot_id.as_deref())
}
