//! `/proc/pressure/{cpu,memory,io}` (`Documentation/accounting/psi.rst`).

use super::text::{hundredths, lines, number, words};

/// What can run short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Memory: time that tasks spend on getting some back.
    Memory,
    /// Input and output.
    Io,
    /// The CPUs.
    Cpu,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Io, Self::Cpu];

    /// As the kernel and lines name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Io => "io",
            Self::Cpu => "cpu",
        }
    }

    /// Which row is watched for trouble, and how many thousandths of a window are trouble.
    ///
    /// - memory: `some` 40 %. A stream of files through a cgroup that is full of page cache shows 16 % on a slow emulated
    ///   CPU, up to 30 % when that is busy too, and less on any other, since clean pages cost little to take back; a working
    ///   set that no longer fits shows 45 % and more (all measured in the guests of `tests/microvm`).
    /// - io: `full` 80 %. Unpacking onto a slow disk makes all tasks wait half of the time and is no trouble.
    /// - cpu: `some` 95 %. Any parallel build has tasks waiting for a CPU most of the time: this alone is no trouble, see
    ///   `signs::is_starved`.
    #[must_use]
    pub const fn threshold(self) -> (Row, u64) {
        match self {
            Self::Memory => (Row::Some, 400),
            Self::Io => (Row::Full, 800),
            Self::Cpu => (Row::Some, 950),
        }
    }
}

/// One of the two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Some task waited.
    Some,
    /// All tasks waited.
    Full,
}

impl Row {
    /// As the kernel names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Some => "some",
            Self::Full => "full",
        }
    }
}

/// One row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// `avg10` in hundredths of a per cent.
    pub avg10_x100: u64,
    /// `total`: stalled microseconds since boot.
    pub total_us: u64,
}

/// The two rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Some task waited.
    pub some: Option<Stall>,
    /// All tasks waited; /proc/pressure/cpu has it since 5.13 only.
    pub full: Option<Stall>,
}

impl Pressure {
    /// This row.
    #[must_use]
    pub fn row(&self, row: Row) -> Option<Stall> {
        match row {
            Row::Some => self.some,
            Row::Full => self.full,
        }
    }
}

/// Reads the rows, whatever else stands between.
#[must_use]
pub fn parse(text: &[u8]) -> Pressure {
    let mut pressure = Pressure::default();
    for line in lines(text) {
        if let Some(row) = line.strip_prefix(b"some ") {
            pressure.some = pressure.some.or_else(|| stall(row));
        } else if let Some(row) = line.strip_prefix(b"full ") {
            pressure.full = pressure.full.or_else(|| stall(row));
        }
    }
    pressure
}

fn stall(row: &[u8]) -> Option<Stall> {
    let (mut avg10, mut total) = (None, None);
    for word in words(row) {
        if let Some(value) = word.strip_prefix(b"avg10=") {
            avg10 = hundredths(value);
        } else if let Some(value) = word.strip_prefix(b"total=") {
            total = number(value);
        }
    }
    Some(Stall { avg10_x100: avg10?, total_us: total? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_full() {
        let some = Some(Stall { avg10_x100: 2062, total_us: 3_854_991 });
        assert_eq!(parse(b"some avg10=20.62 avg60=4.89 avg300=1.07 total=3854991\n"), Pressure { some, full: None });
        let full = Some(Stall { avg10_x100: 0, total_us: 5 });
        assert_eq!(
            parse(b"some avg10=20.62 total=3854991\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5"),
            Pressure { some, full }
        );
    }

    #[test]
    fn a_broken_row_is_absent() {
        for text in
            [&b""[..], b"some", b"some \n", b"some avg10=1.00\n", b"some avg10=x total=1", b"full avg10=1.00 total=-1"]
        {
            assert_eq!(parse(text), Pressure::default(), "{text:?}");
        }
    }
}
