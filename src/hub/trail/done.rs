//! Runs that are over and well, of which a fleet's figures want no sample: the probe had its last word, and the runner's scripts said that
//! the boot ended since it began. A day of single-shot guests has tens of thousands of them.

use std::collections::{HashMap, HashSet};

use crate::line::RunId;

use super::book::{Origin, Writer};
use super::happening::What;
use super::kept::Kept;
use super::life::{KILLS, Life};

type Lives = HashMap<Writer, Kept>;

/// Lets go of the samples of all runs that are over and well. Those that are packed have none.
pub(super) fn let_go(lives: &mut Lives) {
    let open = lives.iter().filter_map(|(writer, kept)| Some(*writer).zip(kept.opened()));
    let over: Vec<Writer> =
        open.filter(|(_, life)| !life.is_done && has_last_word(life)).map(|(writer, _)| writer).collect();
    let named = named(&over, lives);
    let done: Vec<Writer> = over.into_iter().filter(|writer| has_ended(*writer, lives, &named)).collect();
    for writer in done {
        if let Some(life) = lives.get_mut(&writer).map(Kept::open) {
            life.is_done = true;
            (life.whole, life.last_sample, life.kills) = (None, None, [None; KILLS.len()]);
            life.recent = Vec::new();
            life.happenings.shrink_to_fit();
        }
    }
}

fn has_last_word(life: &Life) -> bool {
    life.happenings.iter().any(|one| matches!(one.what, What::Stop { .. }) && one.mark.seq == life.last.seq)
}

/// Who those without a name are by that line of theirs which says it.
fn named(over: &[Writer], lives: &Lives) -> HashMap<(Origin, RunId), Writer> {
    let run = |writer: &Writer| (writer.origin, writer.run);
    let unnamed: HashSet<(Origin, RunId)> = over.iter().filter(|writer| writer.name == 0).map(run).collect();
    if unnamed.is_empty() {
        return HashMap::new();
    }
    let named = lives.iter().filter(|(writer, _)| writer.name != 0 && unnamed.contains(&run(writer)));
    let says_it = named.filter(|(_, kept)| boot_id(&kept.life()).is_some());
    says_it.map(|(writer, _)| (run(writer), *writer)).collect()
}

fn has_ended(writer: Writer, lives: &Lives, named: &HashMap<(Origin, RunId), Writer>) -> bool {
    let since_ms = lives.get(&writer).and_then(|kept| kept.life().first.at_ms());
    let named = if writer.name == 0 { named.get(&(writer.origin, writer.run)).copied() } else { Some(writer) };
    let Some(writer) = named else { return false };
    let life = |writer: &Writer| lives.get(writer).map(Kept::life);
    let (own, scripts) = (life(&writer), life(&Writer { run: RunId::NONE, twin: 0, ..writer }));
    let boot_id = own.as_deref().and_then(boot_id);
    let stages = scripts.as_deref().and_then(|life| life.stages.as_ref());
    boot_id.zip(stages).is_some_and(|(boot_id, stages)| stages.has_ended(boot_id, since_ms))
}

fn boot_id(life: &Life) -> Option<&str> {
    life.about.as_ref().and_then(|about| about.boot_id.as_deref())
}
