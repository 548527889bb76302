//! What was told of the watched paths: which cannot be asked, which is full, and that one hangs.

use std::time::Duration;

use super::kernel::Trouble;
use super::slow::{MOST_USUAL_PATHS, Slow};
use super::source::disk::Standing;
use super::voice::Voice;

/// What was told last, path by path.
#[derive(Debug)]
pub struct DiskNews {
    told: Vec<(Option<Trouble>, Standing)>,
    told_hung: bool,
}

impl DiskNews {
    /// Nothing was told yet of the usual paths and so many more.
    #[must_use]
    pub fn new(more_paths: usize) -> Self {
        Self { told: Vec::with_capacity(MOST_USUAL_PATHS + more_paths), told_hung: false }
    }

    /// Tells what changed. What cannot be told now is told later.
    pub fn tell(&mut self, slow: &mut Slow, voice: &mut Voice, now: Duration) {
        if slow.disks().is_err() {
            if let Some(path) = slow.hung_path().filter(|_| !self.told_hung) {
                self.told_hung = voice.degraded(path, Some(Trouble::Hung), now);
            }
            return;
        }
        let Ok(disks) = slow.disks() else { return };
        self.told_hung = false;
        self.told.resize(disks.paths.len(), Default::default());
        let looks = disks.paths.iter().zip(disks.troubles.iter().zip(&disks.rooms));
        for ((path, (trouble, room)), (told, standing)) in looks.zip(&mut self.told) {
            if told != trouble && voice.degraded(path, *trouble, now) {
                *told = *trouble;
            }
            let Some(room) = room else { continue };
            let (next, is_news) = standing.with(*room);
            if !is_news || voice.disk(path, *room, now) {
                *standing = next;
            }
        }
    }
}
