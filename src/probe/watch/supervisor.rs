//! What the supervisor of `exec` tells the probe through its stdin: one short line when the job has ended, or nothing
//! but the end of the pipe when the supervisor itself has.

use super::super::end::End;

/// How the job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobEnd {
    /// By a code or a signal.
    pub end: End,
    /// The most memory that one of its processes had resident, in KiB.
    pub maxrss_kb: u64,
    /// The last signal that was passed on to it and asks for its end.
    pub told: Option<u8>,
}

impl JobEnd {
    /// As the supervisor writes it: far shorter than what a pipe takes at once.
    #[must_use]
    pub fn line(&self) -> String {
        let (how, number) = match self.end {
            End::Exit(code) => ("exit", code),
            End::Signal(signal) => ("signal", signal),
        };
        let told = self.told.map_or_else(|| "-".to_owned(), |signal| signal.to_string());
        format!("{how} {number} {} {told}\n", self.maxrss_kb)
    }

    /// As the probe reads it; `None` for anything else.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split(' ');
        let end = match (words.next()?, words.next()?.parse().ok()?) {
            ("exit", code) => End::Exit(code),
            ("signal", signal) => End::Signal(signal),
            _ => return None,
        };
        let maxrss_kb = words.next()?.parse().ok()?;
        let told = match words.next()? {
            "-" => None,
            signal => Some(signal.parse().ok()?),
        };
        words.next().is_none().then_some(Self { end, maxrss_kb, told })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for (end, told) in [(End::Exit(0), None), (End::Exit(255), Some(15)), (End::Signal(9), Some(1))] {
            let job = JobEnd { end, maxrss_kb: 51_200, told };
            assert_eq!(JobEnd::parse(job.line().as_bytes()), Some(job));
        }
    }

    #[test]
    fn anything_else_is_not() {
        for line in [
            "",
            "exit 3 5 -",
            "exit 3 5\n",
            "exit 256 5 -\n",
            "exit -1 5 -\n",
            "sleep 3 5 -\n",
            "exit 3 5 x\n",
            "exit 3 5 7 7\n",
            "\n",
        ] {
            assert_eq!(JobEnd::parse(line.as_bytes()), None, "{line:?}");
        }
        assert_eq!(JobEnd::parse(b"exit \xff 5 -\n"), None);
    }
}
