//! A run on one axis: its readings and its events, by columns.

use crate::hub::trail::slice::Mark;
use crate::line::Line;
use crate::line::field::{self, Field, Unit};

use super::column::{Column, Point};

/// How many columns an axis has: one for every one or two dots of a screen.
pub const COLUMNS: usize = 500;

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Milliseconds since 1970 by the guest's clock.
    Time,
    /// Lines of the run, where its clock is of no use.
    Lines,
}

/// From where to where a run is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// What it counts.
    pub scale: Scale,
    /// The first position.
    pub from: i64,
    /// The last position, behind the first.
    pub to: i64,
}

impl Axis {
    /// Where a line is, inside or outside of the axis; `None` without a clock where time is counted.
    #[must_use]
    pub fn position(&self, mark: Mark) -> Option<i64> {
        match self.scale {
            Scale::Time => mark.at_ms(),
            Scale::Lines => i64::try_from(mark.seq).ok(),
        }
    }

    /// How far along the axis a position is, in so many equal parts; `None` outside of it.
    #[must_use]
    pub fn part(&self, position: i64, parts: i64) -> Option<i64> {
        if !(self.from..=self.to).contains(&position) {
            return None;
        }
        let (along, whole) =
            (i128::from(position) - i128::from(self.from), i128::from(self.to) - i128::from(self.from));
        i64::try_from(along * i128::from(parts) / whole.max(1)).ok()
    }

    fn column(&self, position: i64) -> Option<usize> {
        let columns = i64::try_from(COLUMNS).ok()?;
        let column = usize::try_from(self.part(position, columns)?).ok()?;
        Some(column.min(COLUMNS - 1))
    }
}

/// What is drawn of samples. Memory is KiB, percentages are tenths, times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// `vm.mem.total.kb`.
    GuestTotal,
    /// `vm.mem.total.kb` less `vm.mem.avail.kb`.
    GuestUsed,
    /// `mem.max`.
    CgroupMax,
    /// `mem.high`.
    CgroupHigh,
    /// `mem.current`.
    CgroupCurrent,
    /// `mem.anon`.
    CgroupAnon,
    /// `cpu.busy.pct`.
    Busy,
    /// `cpu.steal.pct`.
    Steal,
    /// `cpu.throttled.pct`.
    Throttled,
    /// `cpu.stall.pct`.
    CpuStall,
    /// `mem.stall.pct`.
    MemStall,
    /// `io.stall.pct`.
    IoStall,
    /// `cpu.psi.some.avg10`.
    CpuPsi,
    /// `mem.psi.full.avg10`.
    MemPsi,
    /// `io.psi.some.avg10`.
    IoPsi,
    /// `disk.used.pct`.
    DiskUsed,
    /// `inode.used.pct`.
    InodeUsed,
    /// `agent.wait.ms`, which only rises.
    AgentWait,
    /// `late.ms`.
    Late,
}

/// How many [`Track`]s there are.
pub const TRACKS: usize = 19;

/// What stands in a line as it is drawn.
const READ: [(Track, &Field); TRACKS - 1] = [
    (Track::GuestTotal, field::VM_MEM_TOTAL),
    (Track::CgroupMax, field::MEM_MAX),
    (Track::CgroupHigh, field::MEM_HIGH),
    (Track::CgroupCurrent, field::MEM_CURRENT),
    (Track::CgroupAnon, field::MEM_ANON),
    (Track::Busy, field::CPU_BUSY),
    (Track::Steal, field::CPU_STEAL),
    (Track::Throttled, field::CPU_THROTTLED),
    (Track::CpuStall, field::CPU_STALL),
    (Track::MemStall, field::MEM_STALL),
    (Track::IoStall, field::IO_STALL),
    (Track::CpuPsi, field::CPU_PSI_SOME),
    (Track::MemPsi, field::MEM_PSI_FULL),
    (Track::IoPsi, field::IO_PSI_SOME),
    (Track::DiskUsed, field::DISK_USED),
    (Track::InodeUsed, field::INODE_USED),
    (Track::AgentWait, field::AGENT_WAIT),
    (Track::Late, field::LATE),
];

/// What is printed over zero only, and what is there when it could have been: then a missing one is zero.
const ZERO_WHERE: [(Track, Track); 5] = [
    (Track::Steal, Track::Busy),
    (Track::Throttled, Track::Busy),
    (Track::CpuStall, Track::CpuPsi),
    (Track::MemStall, Track::MemPsi),
    (Track::IoStall, Track::IoPsi),
];

/// What happened, by the lane that it is marked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// `oom`, `kmsg.oom`.
    Oom,
    /// Another `kmsg.*`.
    Kernel,
    /// `pressure`.
    Pressure,
    /// `agent`.
    Agent,
    /// `disk`.
    Disk,
    /// `gap`.
    Gap,
    /// `degraded`.
    Degraded,
    /// `stop`.
    Stop,
}

impl Lane {
    /// All of them, in the order in which they are drawn.
    pub const ALL: [Self; 8] =
        [Self::Oom, Self::Kernel, Self::Pressure, Self::Agent, Self::Disk, Self::Gap, Self::Degraded, Self::Stop];

    /// The lane of an event; `None` for what is no news.
    fn of(event: &str) -> Option<Self> {
        match event {
            "oom" | "kmsg.oom" => Some(Self::Oom),
            "pressure" => Some(Self::Pressure),
            "agent" => Some(Self::Agent),
            "disk" => Some(Self::Disk),
            "gap" => Some(Self::Gap),
            "degraded" => Some(Self::Degraded),
            "stop" => Some(Self::Stop),
            _ => event.starts_with("kmsg.").then_some(Self::Kernel),
        }
    }
}

/// What happened in one lane in one column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// How often; 0 where nothing did.
    pub count: u32,
    /// Where on the axis the first of it was.
    pub position: i64,
}

/// A run on one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The axis.
    pub axis: Axis,
    /// Samples that the axis has no place for: their clock was elsewhere, or none.
    pub outside: u64,
    tracks: [Vec<Option<Column>>; TRACKS],
    lanes: [Vec<Marks>; Lane::ALL.len()],
}

impl View {
    /// An empty one.
    #[must_use]
    pub fn new(axis: Axis) -> Self {
        Self { axis, outside: 0, tracks: Default::default(), lanes: Default::default() }
    }

    /// The columns of a reading that are not empty, from left to right.
    pub fn track(&self, of: Track) -> impl Iterator<Item = &Column> {
        self.tracks.get(of as usize).into_iter().flatten().flatten()
    }

    /// Whether a reading was ever over zero.
    #[must_use]
    pub fn is_over_zero(&self, of: Track) -> bool {
        self.track(of).any(|column| column.high > 0)
    }

    /// What happened, from left to right.
    pub fn lane(&self, of: Lane) -> impl Iterator<Item = Marks> {
        self.lanes.get(of as usize).into_iter().flatten().copied().filter(|marks| marks.count > 0)
    }

    pub(super) fn take(&mut self, mark: Mark, line: &Line<'_>) {
        let at = self.axis.position(mark).and_then(|position| Some((position, self.axis.column(position)?)));
        let Some((position, column)) = at else {
            self.outside += u64::from(line.event.is_none());
            return;
        };
        if line.event.is_some() {
            return self.event(line, position, column);
        }
        let mut put = |track: Track, value| {
            let point = Point { seq: line.seq, position, value };
            let Some(columns) = self.tracks.get_mut(track as usize) else { return };
            // Room is taken for what is there.
            columns.resize(COLUMNS, None);
            match columns.get_mut(column) {
                Some(Some(column)) => column.take(point),
                Some(empty) => *empty = Some(Column::of(point)),
                None => {}
            }
        };
        let mut there = [false; TRACKS];
        for (track, field) in READ {
            let Some(value) = reading(line, field) else { continue };
            put(track, value);
            mark_there(&mut there, track);
        }
        for (track, proof) in ZERO_WHERE {
            if there.get(proof as usize) == Some(&true) && there.get(track as usize) == Some(&false) {
                put(track, 0);
            }
        }
        if let Some((total, available)) = reading(line, field::VM_MEM_TOTAL).zip(reading(line, field::VM_MEM_AVAIL)) {
            put(Track::GuestUsed, total.saturating_sub(available));
        }
    }

    fn event(&mut self, line: &Line<'_>, position: i64, column: usize) {
        let Some(lane) = line.event.as_deref().and_then(Lane::of).and_then(|lane| self.lanes.get_mut(lane as usize))
        else {
            return;
        };
        lane.resize(COLUMNS, Marks::default());
        if let Some(marks) = lane.get_mut(column) {
            marks.position = if marks.count == 0 { position } else { marks.position.min(position) };
            marks.count = marks.count.saturating_add(1);
        }
    }
}

fn mark_there(there: &mut [bool], track: Track) {
    if let Some(there) = there.get_mut(track as usize) {
        *there = true;
    }
}

/// A reading in the units of [`Track`].
fn reading(line: &Line<'_>, of: &Field) -> Option<i64> {
    let value = line.scaled(of)?;
    Some(match of.unit {
        Unit::Bytes => value >> 10,
        Unit::MsTenths => value / 10,
        _ => value,
    })
}
