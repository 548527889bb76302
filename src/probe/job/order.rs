//! What stands behind `exec`: flags for the probe, `--`, the job.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use super::super::config::{Args, Config};

const ABOUT: &str =
    "Runs CMD with the probe beside it, and ends as CMD ends: with its exit code, or 128 and the signal.";

const LONG_ABOUT: &str =
    "Runs CMD with the probe beside it, and ends as CMD ends: with its exit code, or 128 and the signal.

CMD gets what it would get without this program: environment, descriptors, priority, limits, signals. \
Whatever is wrong with the probe or its flags, CMD runs. RUNNER_VITALS=off in the environment: no probe.";

/// A job, and the flags of the probe that goes beside it, not looked at yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<'a> {
    /// For the probe.
    pub flags: &'a [OsString],
    /// The job: a program and its arguments; never empty.
    pub job: &'a [OsString],
}

/// A flag of the probe that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The flag.
    pub flag: String,
    /// What was given for it; empty when that is not what is wrong.
    pub given: String,
    /// In a sentence.
    pub why: String,
}

impl<'a> Order<'a> {
    /// Takes what stands behind `exec` apart, at the first `--`.
    ///
    /// # Errors
    /// When there is no job: help that was asked for, or a usage error.
    pub fn parse(args: &'a [OsString]) -> Result<Self, clap::Error> {
        let mut parts = args.splitn(2, |arg| arg == "--");
        let flags = parts.next().unwrap_or_default();
        match parts.next() {
            Some(job) if !job.is_empty() => Ok(Self { flags, job }),
            _ => Err(no_job(flags)),
        }
    }

    /// Whether the probe will take its flags.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check_flags(&self) -> Result<(), Wrong> {
        parse_flags(self.flags).map(drop).map_err(|error| {
            let context = |kind| match error.get(kind) {
                Some(ContextValue::String(text)) => text.clone(),
                _ => String::new(),
            };
            // `--interval <TIME>`
            let flag = context(ContextKind::InvalidArg).split(' ').next().unwrap_or_default().to_owned();
            let why = error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Wrong {
                    flag: "--help, --version".to_owned(),
                    given: String::new(),
                    why: "help stands alone: runner-vitals exec --help".to_owned(),
                },
                _ => Wrong { flag, given: context(ContextKind::InvalidValue), why },
            }
        })
    }

    /// Whether the probe sends its lines by network too, by its flags or the environment.
    pub fn has_network_sink(&self, env: impl Fn(&str) -> Option<OsString>) -> bool {
        // Flags that are wrong are ignored.
        let args = parse_flags(self.flags).ok().and_then(|matches| Args::from_arg_matches(&matches).ok());
        !Config::new(args.unwrap_or_default(), env).sinks.network.is_empty()
    }
}

fn no_job(flags: &[OsString]) -> clap::Error {
    match parse_flags(flags) {
        Err(error) if !error.use_stderr() => error,
        _ => command().error(ErrorKind::MissingRequiredArgument, "there is no job: it stands behind `--`"),
    }
}

fn parse_flags(flags: &[OsString]) -> Result<ArgMatches, clap::Error> {
    command().no_binary_name(true).try_get_matches_from(flags)
}

/// What may stand behind `exec`: for help, man pages and completions.
#[must_use]
pub fn command() -> Command {
    Args::command()
        .name("runner-vitals exec")
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .override_usage("runner-vitals exec [OPTIONS] -- CMD [ARGS]...")
        .after_help("")
        // The job's end is the probe's.
        .mut_arg("exit_with", |arg| arg.hide(true))
        .mut_arg("samples", |arg| arg.hide(true))
        .mut_arg("once", |arg| arg.hide(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &str) -> Vec<OsString> {
        words.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
    }

    #[test]
    fn the_first_dashes_part_the_flags_from_the_job() {
        for (words, flags, job) in [
            ("-- true", "", "true"),
            ("--interval 1 -- sh -c x", "--interval 1", "sh -c x"),
            ("-- env -- true", "", "env -- true"),
            ("--nonsense -- --help", "--nonsense", "--help"),
            ("-- --", "", "--"),
        ] {
            let all = args(words);
            let order = Order::parse(&all).unwrap();
            assert_eq!((order.flags, order.job), (args(flags).as_slice(), args(job).as_slice()), "{words}");
        }
    }

    #[test]
    fn without_a_job_there_is_help_or_a_usage_error() {
        for (words, is_wrong) in [
            ("", true),
            ("--", true),
            ("true", true),
            ("--interval 1", true),
            ("--nonsense", true),
            ("--help", false),
            ("-h", false),
            ("--version", false),
            ("--help --", false),
        ] {
            let error = Order::parse(&args(words)).unwrap_err();
            assert_eq!(error.use_stderr(), is_wrong, "{words}: {error}");
            assert!(!is_wrong || error.to_string().contains("exec [OPTIONS] -- CMD"), "{error}");
        }
    }

    #[test]
    fn a_wrong_flag_is_named() {
        for (words, flag, given) in [
            ("--nonsense=1 -- x", "--nonsense", ""),
            ("--interval soon -- x", "--interval", "soon"),
            ("--interval -- x", "--interval", ""),
            ("extra -- x", "extra", ""),
            ("--once --samples 3 -- x", "--once", ""),
            ("--sink http://u:pw@localhost -- x", "--sink", "http://localhost"),
            ("--help -- x", "--help, --version", ""),
        ] {
            let wrong = Order::parse(&args(words)).unwrap().check_flags().unwrap_err();
            assert_eq!((wrong.flag.as_str(), wrong.given.as_str()), (flag, given), "{}", wrong.why);
            assert!(!wrong.why.is_empty());
        }
        assert_eq!(Order::parse(&args("--interval 1 --fields full -- x")).unwrap().check_flags(), Ok(()));
    }

    #[test]
    fn a_network_sink_is_found_in_flags_and_environment() {
        let env = |name: &str| (name == "RUNNER_VITALS_URL").then(|| "http://localhost".into());
        let of = |words: &str, is_set: bool| {
            let args = args(words);
            Order::parse(&args).unwrap().has_network_sink(|name| env(name).filter(|_| is_set))
        };
        assert!(of("--sink http://localhost -- x", false) && of("-- x", true) && of("--nonsense -- x", true));
        assert!(!of("-- x", false) && !of("--sink stdout -- x", true));
    }
}
