//! Settings: flags, then the environment, then defaults. What was clamped or ignored is told, never fatal.
//!
//! A wrong flag is a usage error: a person typed it. A wrong environment value costs a `config` line and the default:
//! a launcher set it, and nobody is there to read an error.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::levels::Target;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(3);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// Writes RUNNER_VITALS lines: what a CI guest feels, so that its last lines say what it died of.
///
/// Every setting can also be given in the environment, as RUNNER_VITALS_INTERVAL and so on; a flag wins.
#[derive(Debug, Default, Parser)]
#[command(name = "runner-vitals", version, max_term_width = 100)]
pub struct Args {
    /// Time between two samples: seconds (3, 1.5) or a duration (3s, 1500ms); 1 s to 60 s [default: 3]
    #[arg(long, value_name = "TIME", value_parser = parse_interval)]
    pub interval: Option<Interval>,
    /// End after this many samples
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub samples: Option<u64>,
    /// Take one sample and end
    #[arg(long, conflicts_with = "samples")]
    pub once: bool,
    /// Which fields a sample prints [default: full]
    #[arg(long, value_name = "SET")]
    pub fields: Option<Fields>,
    /// Watch the room on this path too; repeat it for more (environment: separated by colons)
    #[arg(long, value_name = "PATH")]
    pub watch: Vec<PathBuf>,
    /// End when this process ends [default: the parent, when started in the background]
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub exit_with: Option<u32>,
    /// Watch this cgroup instead of the own: a path in the hierarchy, or a folder below its mount point
    #[arg(long, value_name = "PATH", conflicts_with = "cgroup_of", value_parser = parse_cgroup)]
    pub cgroup: Option<PathBuf>,
    /// Watch the cgroup of this process instead of the own
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub cgroup_of: Option<u32>,
    /// Name of the runner
    #[arg(long, value_name = "NAME")]
    pub runner: Option<String>,
    /// Fleet that the runner belongs to
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<String>,
    /// Environment that the runner belongs to
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// Image that the runner was started from
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// Memory limit that the platform gave the runner from outside
    #[arg(long, value_name = "BYTES")]
    pub runner_mem_limit: Option<u64>,
    /// Read the kernel's files below this folder: a captured tree
    #[arg(long, value_name = "DIR", value_parser = parse_root)]
    pub root: Option<PathBuf>,
}

/// Which fields a sample prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Fields {
    /// The fields of the contract and late.ms
    Contract,
    /// All that this guest can tell
    #[default]
    Full,
}

/// An interval as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    given: String,
    time: Duration,
}

/// A complete configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Time between two samples.
    pub interval: Duration,
    /// After how many samples it ends; `None` for never.
    pub samples: Option<u64>,
    /// Which fields a sample prints.
    pub fields: Fields,
    /// Paths to watch besides the usual ones.
    pub watch: Vec<PathBuf>,
    /// The process whose end is the probe's end, and the setting that says so.
    pub exit_with: Option<(&'static str, u32)>,
    /// Which cgroup is watched.
    pub target: Target,
    /// The setting that says so.
    pub target_key: &'static str,
    /// Who the runner is.
    pub runner: Runner,
    /// A captured tree; `None` for this machine.
    pub root: Option<PathBuf>,
    /// What was clamped or ignored.
    pub adjusted: Vec<Adjusted>,
}

/// Who the runner is, where known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runner {
    /// Its name.
    pub name: Option<String>,
    /// Its fleet.
    pub fleet: Option<String>,
    /// Its environment.
    pub env: Option<String>,
    /// Its image.
    pub image: Option<String>,
    /// The memory limit that it has from outside, in bytes.
    pub mem_limit_bytes: Option<u64>,
}

/// A setting that is not used as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjusted {
    /// The flag or variable.
    pub key: String,
    /// What was given.
    pub given: String,
    /// What is used.
    pub used: String,
}

impl Config {
    /// Completes the flags from the environment and the defaults.
    #[must_use]
    pub fn new(args: Args, env: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut env = Environment { get: env, adjusted: Vec::new() };
        let interval = env.interval(args.interval);
        let samples = if args.once { Some(1) } else { args.samples };
        let samples = samples.or_else(|| env.parsed(&["SAMPLES"], "endless", |text| number(text, 1..=u64::MAX)));
        let fields = args.fields.or_else(|| env.parsed(&["FIELDS"], "full", |text| Fields::from_str(text, false).ok()));
        let watch = match args.watch.is_empty() {
            true => env.paths("WATCH"),
            false => args.watch,
        };
        let pid = |text: &str| number(text, 1..=PID_MAX).and_then(|pid| u32::try_from(pid).ok());
        let exit_with = args.exit_with.map(|pid| ("--exit-with", pid)).or_else(|| {
            let pid = env.parsed(&["EXIT_WITH"], "default", pid);
            pid.map(|pid| ("RUNNER_VITALS_EXIT_WITH", pid))
        });
        let (target_key, target) = match (args.cgroup, args.cgroup_of) {
            (Some(path), _) => ("--cgroup", Target::Path(path)),
            (_, Some(pid)) => ("--cgroup-of", Target::OfPid(pid)),
            _ => env.target(pid),
        };
        let runner = Runner {
            name: args.runner.or_else(|| env.text(&["RUNNER", "TUIST_RUNNER_POD_NAME"])),
            fleet: args.fleet.or_else(|| env.text(&["FLEET", "TUIST_RUNNER_POOL"])),
            env: args.env.or_else(|| env.text(&["ENV"])),
            image: args.image.or_else(|| env.text(&["IMAGE"])),
            mem_limit_bytes: args
                .runner_mem_limit
                .or_else(|| env.parsed(&["RUNNER_MEM_LIMIT"], "unknown", |text| number(text, 1..=u64::MAX))),
        };
        let fields = fields.unwrap_or_default();
        let adjusted = env.adjusted;
        let root = args.root;
        Self { interval, samples, fields, watch, exit_with, target, target_key, runner, root, adjusted }
    }
}

const PID_MAX: u64 = i32::MAX as u64;

struct Environment<F> {
    get: F,
    adjusted: Vec<Adjusted>,
}

impl<F: Fn(&str) -> Option<OsString>> Environment<F> {
    /// The first of these variables that is set. A short name is one of ours.
    fn raw(&self, names: &[&str]) -> Option<(String, String)> {
        names.iter().find_map(|name| {
            let name = if name.starts_with("TUIST_") { (*name).to_owned() } else { format!("RUNNER_VITALS_{name}") };
            let value = (self.get)(&name)?.to_string_lossy().into_owned();
            Some((name, value))
        })
    }

    /// A text; an empty one is as good as none.
    fn text(&self, names: &[&str]) -> Option<String> {
        names.iter().filter_map(|name| self.raw(&[name])).map(|(_, value)| value).find(|value| !value.is_empty())
    }

    /// Paths between colons, of any bytes.
    fn paths(&self, name: &str) -> Vec<PathBuf> {
        let list = (self.get)(&format!("RUNNER_VITALS_{name}")).unwrap_or_default();
        let paths = list.as_bytes().split(|byte| *byte == b':').filter(|path| !path.is_empty());
        paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect()
    }

    /// A value that has a form; what has not is told and ignored, an empty one just ignored.
    fn parsed<T>(&mut self, names: &[&str], used: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (key, given) = self.raw(names).filter(|(_, value)| !value.is_empty())?;
        let value = parse(given.trim());
        if value.is_none() {
            self.adjusted.push(Adjusted { key, given, used: used.to_owned() });
        }
        value
    }

    fn target(&mut self, pid: impl Fn(&str) -> Option<u32>) -> (&'static str, Target) {
        match self.parsed(&["CGROUP"], "own", |path| parse_cgroup(path).ok()) {
            Some(path) => ("RUNNER_VITALS_CGROUP", Target::Path(path)),
            None => {
                let pid = self.parsed(&["CGROUP_OF"], "own", pid);
                ("RUNNER_VITALS_CGROUP_OF", pid.map_or(Target::Own, Target::OfPid))
            }
        }
    }

    fn interval(&mut self, flag: Option<Interval>) -> Duration {
        let names = ["INTERVAL", "TUIST_RUNNER_VITALS_INTERVAL"];
        let set = names.iter().filter_map(|name| self.raw(&[name]));
        // An empty one gives way to the second name, as in any other setting; alone it is a wrong value.
        let env = set.reduce(|first, second| if first.1.is_empty() { second } else { first });
        let (key, given, time) = match (flag, env) {
            (Some(Interval { given, time }), _) => ("--interval".to_owned(), given, Some(time)),
            (None, Some((key, given))) => {
                let time = parse_interval(&given).ok().map(|interval| interval.time);
                (key, given, time)
            }
            (None, None) => return DEFAULT_INTERVAL,
        };
        let used = time.map_or(DEFAULT_INTERVAL, |time| time.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL));
        if time != Some(used) {
            self.adjusted.push(Adjusted { key, given, used: humantime::format_duration(used).to_string() });
        }
        used
    }
}

fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    text.parse().ok().filter(|number| range.contains(number))
}

/// Seconds as a plain number, or a duration with its units; more than nothing.
fn parse_interval(given: &str) -> Result<Interval, String> {
    let text = given.trim();
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let time = seconds.or_else(|| humantime::parse_duration(text).ok()).filter(|time| !time.is_zero());
    let interval = time.map(|time| Interval { given: given.to_owned(), time });
    interval.ok_or_else(|| "expected seconds over 0 (3, 1.5) or a duration (3s, 1500ms)".to_owned())
}

/// No longer than the kernel takes a path (`PATH_MAX`).
fn parse_cgroup(given: &str) -> Result<PathBuf, String> {
    if given.len() < 4096 { Ok(given.into()) } else { Err("longer than a path can be".to_owned()) }
}

fn parse_root(given: &str) -> Result<PathBuf, String> {
    let dir = std::path::absolute(given).map_err(|error| error.to_string())?;
    if dir.is_dir() { Ok(dir) } else { Err("no such folder".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[&str], env: &[(&str, &str)]) -> Config {
        let args = Args::try_parse_from(["runner-vitals"].iter().chain(flags)).unwrap();
        let get = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Config::new(args, get)
    }

    fn adjusted(config: &Config) -> Vec<String> {
        config.adjusted.iter().map(|Adjusted { key, given, used }| format!("{key} {given:?} {used}")).collect()
    }

    #[test]
    fn intervals_from_the_environment_never_fail() {
        let cases = [
            ("3", 3000, None),
            ("1.5", 1500, None),
            (" 3s ", 3000, None),
            ("1500ms", 1500, None),
            ("2m", 60_000, Some("1m")),
            ("0.2", 1000, Some("1s")),
            ("1ms", 1000, Some("1s")),
            ("61", 60_000, Some("1m")),
            ("1e300", 3000, Some("3s")),
            ("0", 3000, Some("3s")),
            ("0s", 3000, Some("3s")),
            ("", 3000, Some("3s")),
            ("-1", 3000, Some("3s")),
            ("NaN", 3000, Some("3s")),
            ("soon", 3000, Some("3s")),
        ];
        for (given, ms, used) in cases {
            let config = config(&[], &[("RUNNER_VITALS_INTERVAL", given)]);
            assert_eq!(config.interval, Duration::from_millis(ms), "{given:?}");
            let expected: Vec<String> =
                used.map(|used| format!("RUNNER_VITALS_INTERVAL {given:?} {used}")).into_iter().collect();
            assert_eq!(adjusted(&config), expected);
        }
    }

    #[test]
    fn a_flag_is_clamped_and_a_wrong_one_refused() {
        let config = config(&["--interval", "0.5"], &[("RUNNER_VITALS_INTERVAL", "x")]);
        assert_eq!((config.interval, adjusted(&config)), (SHORTEST_INTERVAL, vec!["--interval \"0.5\" 1s".to_owned()]));
        for flags in [
            ["--interval", "0"],
            ["--interval", "soon"],
            ["--interval", ""],
            ["--samples", "0"],
            ["--exit-with", "0"],
            ["--exit-with", "4294967295"],
            ["--fields", "some"],
            ["--root", "/no/such/folder"],
            ["--nonsense", "1"],
        ] {
            assert!(Args::try_parse_from(["runner-vitals"].iter().chain(&flags)).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn the_first_name_wins_even_when_it_is_wrong() {
        let both = [("TUIST_RUNNER_VITALS_INTERVAL", "5"), ("RUNNER_VITALS_INTERVAL", "x")];
        assert_eq!(config(&[], &both).interval, DEFAULT_INTERVAL);
        assert_eq!(config(&[], &both[..1]).interval, Duration::from_secs(5));
        let env = [
            ("RUNNER_VITALS_RUNNER", ""),
            ("TUIST_RUNNER_POD_NAME", "pod-1"),
            ("TUIST_RUNNER_POOL", "linux"),
            ("RUNNER_VITALS_FLEET", "f"),
        ];
        let runner = config(&["--env", "prod"], &env).runner;
        assert_eq!(
            (runner.name.as_deref(), runner.fleet.as_deref(), runner.env.as_deref()),
            (Some("pod-1"), Some("f"), Some("prod"))
        );
    }

    #[test]
    fn wrong_values_in_the_environment_are_told_and_ignored() {
        let env = [
            ("RUNNER_VITALS_SAMPLES", "none"),
            ("RUNNER_VITALS_FIELDS", "all"),
            ("RUNNER_VITALS_EXIT_WITH", "0"),
            ("RUNNER_VITALS_CGROUP_OF", "99999999999"),
            ("RUNNER_VITALS_WATCH", "/a::/b:"),
            ("RUNNER_VITALS_RUNNER", ""),
        ];
        let config = config(&[], &env);
        assert_eq!((config.samples, config.fields, config.exit_with), (None, Fields::Full, None));
        assert_eq!((config.target.clone(), config.runner.name.clone()), (Target::Own, None));
        assert_eq!(config.watch, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(adjusted(&config).len(), 4, "{:?}", adjusted(&config));
    }

    #[test]
    fn an_empty_interval_gives_way_to_the_second_name() {
        let env = [("RUNNER_VITALS_INTERVAL", ""), ("TUIST_RUNNER_VITALS_INTERVAL", "5")];
        let config = config(&[], &env);
        assert_eq!((config.interval, config.adjusted.len()), (Duration::from_secs(5), 0));
    }

    #[test]
    fn a_path_longer_than_any_is_refused() {
        let long = "/a".repeat(20_000);
        let config = config(&[], &[("RUNNER_VITALS_CGROUP", &long)]);
        assert_eq!((config.target, config.adjusted.len()), (Target::Own, 1));
        assert!(Args::try_parse_from(["runner-vitals", "--cgroup", &long]).is_err());
    }

    #[test]
    fn once_is_one_sample() {
        assert_eq!(config(&["--once"], &[("RUNNER_VITALS_SAMPLES", "7")]).samples, Some(1));
        assert_eq!(config(&[], &[("RUNNER_VITALS_SAMPLES", "7")]).samples, Some(7));
    }
}
