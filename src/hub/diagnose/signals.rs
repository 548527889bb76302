//! Signals by their names, and what a job's end by one or by a code means to who looks for the reason.

/// Those that have the same number everywhere.
const NAMES: [(i64, &str); 10] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (6, "SIGABRT"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (13, "SIGPIPE"),
    (15, "SIGTERM"),
];

/// `9 (SIGKILL)`; a number without a name that is the same everywhere stays one.
pub(super) fn named(signal: i64) -> String {
    name(signal).map_or_else(|| signal.to_string(), |name| format!("{signal} ({name})"))
}

/// The signal that a shell's code stands for: 128 and its number.
pub(super) fn of_code(exit: i64) -> Option<i64> {
    exit.checked_sub(128).filter(|signal| name(*signal).is_some())
}

fn name(signal: i64) -> Option<&'static str> {
    NAMES.iter().find(|(number, _)| *number == signal).map(|(_, name)| *name)
}

/// Where to look when the job ended so and nothing in the guest explains it, though something else may have ailed it; nothing where it
/// succeeded.
pub(super) fn advice(exit: Option<i64>, signal: Option<i64>, has_ailed: bool) -> Option<String> {
    if let Some(signal) = signal.or(exit.and_then(of_code)) {
        let name = named(signal);
        return Some(match signal {
            9 => format!(
                "find who sent signal {name}: a time limit of the job or the platform, a `kill -9`, a container that was removed, or a kill for memory that no line here tells of"
            ),
            1 | 2 | 3 | 15 => {
                format!(
                    "find who sent signal {name}: a cancelled workflow, a time limit, a platform that drains its nodes"
                )
            }
            13 => format!("signal {name}: what read the job's output went away first; look at that"),
            4 | 6 | 8 | 11 => {
                format!("a program of the job crashed, signal {name}: look at the job's own log, and for its core file")
            }
            _ => format!("find who sent signal {name}: the job's own log may say"),
        });
    }
    match exit {
        Some(0) => None,
        Some(126 | 127) => {
            Some("a command was not found or could not be run: look at the job's own log and at the image".to_owned())
        }
        Some(exit) if has_ailed => {
            Some(format!("the job failed, with code {exit}: look at its own log first, then at what else there was"))
        }
        Some(exit) => Some(format!(
            "the job failed by itself, with code {exit}, and nothing here points at the machine: look at the job's own log"
        )),
        None => Some(
            "to know the job's code, run it under `runner-vitals exec`, or tell it with `runner-vitals phase ended`"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_says_where_to_look() {
        let cases = [
            (Some(0), None, None),
            (None, Some(9), Some("find who sent signal 9 (SIGKILL)")),
            (Some(137), None, Some("find who sent signal 9 (SIGKILL)")),
            (Some(143), None, Some("find who sent signal 15 (SIGTERM)")),
            (None, Some(11), Some("a program of the job crashed, signal 11 (SIGSEGV)")),
            (None, Some(30), Some("find who sent signal 30:")),
            (Some(127), None, Some("a command was not found")),
            (Some(3), None, Some("the job failed by itself, with code 3")),
            (Some(i64::MIN), None, Some("the job failed by itself")),
            (None, None, Some("to know the job's code")),
        ];
        for (exit, signal, begins) in cases {
            let says = advice(exit, signal, false);
            match begins {
                Some(begins) => assert!(says.as_ref().is_some_and(|says| says.starts_with(begins)), "{says:?}"),
                None => assert_eq!(says, None),
            }
        }
    }
}
