//! Which charts a page has, and what each says where it has nothing to draw.

use crate::hub::trail::film::Reel;
use crate::hub::trail::film::view::{Scale, Track, View};

use super::curve::{Curve, Look};
use super::frame::Chart;
use super::ticks::Unit;

/// What a guest says of what it can tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Tells {
    /// `psi`.
    pub(super) psi: Option<String>,
    /// `mem.level`.
    pub(super) mem_level: Option<String>,
    /// `cpu.throttled.pct`.
    pub(super) throttling: bool,
    /// Time between two due samples.
    pub(super) interval_ms: i64,
}

/// All charts of a view, in their order. One without a curve says in its notes why.
pub(super) fn charts(view: &View, reel: &Reel, tells: &Tells) -> [Chart; 6] {
    let draw = Draw { view, gap: gap(view, tells) };
    [
        guest_memory(&draw),
        cgroup_memory(&draw, tells),
        cpu(&draw, tells),
        pressure(&draw, tells),
        disk(&draw, reel),
        waiting(&draw),
    ]
}

/// What lies further apart is not joined: three samples are missing, and more than two columns.
fn gap(view: &View, tells: &Tells) -> i64 {
    let columns = i64::try_from(crate::hub::trail::film::view::COLUMNS).unwrap_or(1);
    let column = view.axis.to.saturating_sub(view.axis.from) / columns;
    let samples = match view.axis.scale {
        Scale::Time => tells.interval_ms.saturating_mul(3).saturating_add(1000),
        Scale::Lines => 50,
    };
    samples.max(column.saturating_mul(3))
}

struct Draw<'v> {
    view: &'v View,
    gap: i64,
}

impl Draw<'_> {
    fn curve(&self, name: &'static str, look: Look, track: Track) -> Option<Curve> {
        Curve::of(name, look, self.view.track(track), self.gap)
    }

    /// A curve of what is told over zero only: a line along the bottom would claim more than is known.
    fn over_zero(&self, name: &'static str, look: Look, track: Track) -> Option<Curve> {
        self.curve(name, look, track).filter(|_| self.view.is_over_zero(track))
    }
}

fn guest_memory(draw: &Draw<'_>) -> Chart {
    let used = draw.curve("used", Look::First, Track::GuestUsed);
    let note = match used {
        Some(_) => "used: all there is, less what is available",
        None => "not told: vm.mem.total.kb and vm.mem.avail.kb are not there",
    };
    let limit = draw.curve("all there is", Look::Limit, Track::GuestTotal);
    Chart {
        title: "Memory of the guest",
        unit: Unit::Kib,
        curves: used.into_iter().chain(limit).collect(),
        notes: vec![note.to_owned()],
    }
}

fn cgroup_memory(draw: &Draw<'_>, tells: &Tells) -> Chart {
    let current = draw.curve("in use", Look::First, Track::CgroupCurrent);
    let limit = draw.curve("limit", Look::Limit, Track::CgroupMax);
    let high = draw.curve("slowed from", Look::Limit, Track::CgroupHigh);
    let mut notes = Vec::new();
    if current.is_none() {
        notes.push("not told: mem.current is not there".to_owned());
    } else {
        notes.extend(tells.mem_level.as_ref().map(|level| format!("cgroup {level}")));
        notes.push("page cache is in use too; anonymous memory is what cannot be dropped".to_owned());
    }
    if limit.is_none() && high.is_none() {
        notes.push("no limit is told".to_owned());
    }
    let anon = draw.curve("anonymous", Look::Second, Track::CgroupAnon);
    Chart {
        title: "Memory of the runner's cgroup",
        unit: Unit::Kib,
        curves: current.into_iter().chain(anon).chain(high).chain(limit).collect(),
        notes,
    }
}

fn cpu(draw: &Draw<'_>, tells: &Tells) -> Chart {
    let busy = draw.curve("busy", Look::First, Track::Busy);
    let steal = draw.over_zero("stolen", Look::Second, Track::Steal);
    let throttled = draw.over_zero("throttled", Look::Third, Track::Throttled);
    let mut notes = Vec::new();
    if busy.is_none() {
        notes.push("busy: not told".to_owned());
    }
    if steal.is_none() {
        notes.push("stolen by the host: nothing told, which can also mean that it does not tell".to_owned());
    }
    notes.push(match (&throttled, tells.throttling) {
        (Some(_), _) => "throttled: share of the quota's periods".to_owned(),
        (None, true) => "throttled: never".to_owned(),
        (None, false) => "throttling: not told".to_owned(),
    });
    let curves = busy.into_iter().chain(steal).chain(throttled).collect();
    Chart { title: "CPU, share of all CPUs", unit: Unit::Percent, curves, notes }
}

/// The share of each span where the kernel's totals are there; else its averages, which lag.
fn pressure(draw: &Draw<'_>, tells: &Tells) -> Chart {
    let stalls = [Track::CpuStall, Track::MemStall, Track::IoStall];
    let averages = [Track::CpuPsi, Track::MemPsi, Track::IoPsi];
    let has_stalls = stalls.iter().any(|track| draw.view.is_over_zero(*track));
    let named = [("CPU", Look::First), ("memory", Look::Second), ("io", Look::Third)];
    let tracks = if has_stalls { stalls } else { averages };
    let curves: Vec<Curve> =
        named.into_iter().zip(tracks).filter_map(|((name, look), track)| draw.curve(name, look, track)).collect();
    let note = if curves.is_empty() {
        let psi = tells.psi.as_ref().map_or_else(String::new, |psi| format!(" (psi={psi})"));
        format!("not told: this guest has no pressure readings{psi}")
    } else if has_stalls {
        "share of each span; CPU: some task waited, memory and io: all tasks did".to_owned()
    } else {
        "the kernel's averages over 10 s, which lag; CPU and io: some task waited, memory: all tasks did".to_owned()
    };
    Chart { title: "Pressure: how much of the time tasks waited", unit: Unit::Percent, curves, notes: vec![note] }
}

fn disk(draw: &Draw<'_>, reel: &Reel) -> Chart {
    let used = draw.curve("room used", Look::First, Track::DiskUsed);
    let inodes = draw.curve("inodes used", Look::Second, Track::InodeUsed);
    let notes = match (&used, &reel.disk_path) {
        (None, _) => vec!["room: not told".to_owned()],
        (Some(_), Some(path)) => vec![format!("the fullest watched path, at last {path}")],
        (Some(_), None) => vec!["the fullest watched path".to_owned()],
    };
    let curves = used.into_iter().chain(inodes).collect();
    Chart { title: "Disk", unit: Unit::Percent, curves, notes }
}

fn waiting(draw: &Draw<'_>) -> Chart {
    let scale = draw.view.axis.scale;
    let agent = Curve::rise("agent", Look::First, draw.view.track(Track::AgentWait), draw.gap, scale);
    let late = draw.curve("probe late", Look::Second, Track::Late);
    let each = if scale == Scale::Time { "second" } else { "line" };
    let note = match agent {
        Some(_) => format!("agent: how long its threads were ready and had no CPU, summed, each {each}"),
        None => "the agent's wait: not told; no agent was found, or its kernel does not count".to_owned(),
    };
    let mut notes = vec![note];
    if late.is_none() {
        notes.push("the probe's lateness: not told".to_owned());
    }
    let curves = agent.into_iter().chain(late).collect();
    Chart { title: "The agent's wait for a CPU", unit: Unit::Ms, curves, notes }
}
