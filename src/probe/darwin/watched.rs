//! Which process the probe ends with. Pure: the caller asks the kernel.

use rustix::io::Errno;

use crate::probe::config::{Adjusted, Config};

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// It has ended already: the launcher takes the place of the shell that started the probe, and a job can be shorter than
    /// that takes.
    pub has_ended: bool,
    /// What of it is not as set.
    pub adjusted: Option<Adjusted>,
}

/// Has the process watched whose end is the probe's: as set, else `parent`, when there is one to end with.
///
/// `watch` asks the kernel to tell that a process has ended.
pub fn watch(config: &Config, parent: Option<u32>, watch: impl Fn(u32) -> Result<(), Errno>) -> Watched {
    let has_ended = |pid| match watch(pid) {
        Ok(()) => Some(false),
        Err(Errno::SRCH) => Some(true),
        Err(_) => None,
    };
    let of_parent = || parent.and_then(has_ended);
    let Some((key, given)) = config.exit_with else {
        return Watched { has_ended: of_parent().unwrap_or_default(), adjusted: None };
    };
    if let Some(has_ended) = has_ended(given) {
        return Watched { has_ended, adjusted: None };
    }
    let of_parent = of_parent();
    let used = if of_parent.is_some() { "the parent" } else { "none" };
    let adjusted = Adjusted { key: key.to_owned(), given: given.to_string(), used: used.to_owned() };
    Watched { has_ended: of_parent.unwrap_or_default(), adjusted: Some(adjusted) }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::probe::config::Args;

    fn config(flags: &[&str]) -> Config {
        Config::new(Args::try_parse_from(["runner-vitals"].iter().chain(flags)).unwrap(), |_| None)
    }

    /// 7 is there, 8 has ended, of 9 the kernel tells nothing.
    fn kernel(pid: u32) -> Result<(), Errno> {
        match pid {
            7 => Ok(()),
            8 => Err(Errno::SRCH),
            _ => Err(Errno::NOMEM),
        }
    }

    #[test]
    fn a_process_that_has_ended_already_ends_the_probe() {
        let cases = [
            (&["--exit-with", "7"][..], Some(7), false, None),
            (&["--exit-with", "8"], Some(7), true, None),
            (&["--exit-with", "9"], Some(7), false, Some("the parent")),
            (&["--exit-with", "9"], Some(8), true, Some("the parent")),
            (&["--exit-with", "9"], None, false, Some("none")),
            (&[], Some(7), false, None),
            (&[], Some(8), true, None),
            (&[], Some(9), false, None),
            (&[], None, false, None),
        ];
        for (flags, parent, has_ended, used) in cases {
            let watched = watch(&config(flags), parent, kernel);
            let adjusted = watched.adjusted.as_ref().map(|adjusted| adjusted.used.as_str());
            assert_eq!((watched.has_ended, adjusted), (has_ended, used), "{flags:?} {parent:?}");
        }
    }
}
