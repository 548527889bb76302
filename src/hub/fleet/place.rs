//! Stages on the fleet's axis of time: boot by boot, put right where a guest's clock was set meanwhile.

use std::collections::HashMap;

use crate::hub::trail::stage::Stage;

/// One boot of a runner, or all that tells no boot.
#[derive(Clone, Debug, Default)]
pub(super) struct Boot {
    /// When the guest booted.
    pub(super) boot_ms: Option<i64>,
    /// Its stages, in their order.
    pub(super) stages: Vec<Placed>,
    /// When the last of its lines was written.
    pub(super) heard_ms: i64,
}

/// A stage and when it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) at_ms: i64,
    pub(super) stage: Stage,
}

/// Places the stages; and how many cannot be: neither they nor their boot have a time.
///
/// Within a boot the order is that of the time since boot. The clock is taken as it was last, since what sets it puts it right.
pub(super) fn place(stages: impl Iterator<Item = Stage>, until_ms: i64) -> (Vec<Boot>, u64) {
    let mut boots: HashMap<u64, Vec<Stage>> = HashMap::new();
    for stage in stages {
        boots.entry(stage.boot).or_default().push(stage);
    }
    let mut untimed = 0;
    let mut placed: Vec<Boot> = Vec::new();
    for stages in boots.into_values() {
        let (boot, lost) = boot(&stages, until_ms);
        untimed += lost;
        placed.extend(Some(boot).filter(|boot| !boot.stages.is_empty()));
    }
    placed.sort_by_key(|boot| (boot.stages.first().map(|first| first.at_ms), boot.heard_ms));
    (placed, untimed)
}

fn boot(stages: &[Stage], until_ms: i64) -> (Boot, u64) {
    let booted = |stage: &Stage| {
        let uptime = i64::try_from(stage.uptime_ms?).ok()?;
        Some((uptime, stage.at_ms?.saturating_sub(uptime)))
    };
    let boot_ms = stages.iter().filter_map(booted).max_by_key(|(uptime, _)| *uptime).map(|(_, booted)| booted);
    let at = |stage: &Stage| match (boot_ms, stage.uptime_ms.and_then(|uptime| i64::try_from(uptime).ok())) {
        (Some(booted), Some(uptime)) => Some(booted.saturating_add(uptime)),
        _ => stage.at_ms,
    };
    let mut untimed = 0;
    let mut heard_ms = i64::MIN;
    let mut placed = Vec::new();
    for stage in stages {
        let Some(at_ms) = at(stage) else {
            untimed += 1;
            continue;
        };
        if at_ms > until_ms {
            continue;
        }
        // What the clock was off by when it was told again.
        let off = stage.at_ms.map_or(0, |told| at_ms.saturating_sub(told));
        let heard = stage.heard_ms.map_or(at_ms, |heard| heard.saturating_add(off)).max(at_ms);
        heard_ms = heard_ms.max(heard.min(until_ms));
        placed.push(Placed { at_ms, stage: *stage });
    }
    placed.sort_by_key(|one| (one.at_ms, one.stage.phase));
    (Boot { boot_ms, stages: placed, heard_ms }, untimed)
}
