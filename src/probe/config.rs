//! Settings: flags, then the environment, then defaults. What was clamped or ignored is told, never fatal.
//!
//! A wrong flag is a usage error: a person typed it. A wrong environment value costs a `config` line and the default:
//! a launcher set it, and nobody is there to read an error.

mod follow;
pub mod phase;
mod runner;
mod sinks;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::levels::Target;

pub use follow::{Follow, FollowArgs, ToStdout};
pub use runner::{Runner, RunnerArgs};
pub use sinks::{Protocol, Sink, SinkArgs, Sinks, Target as SinkTarget, TokenFile};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(3);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// Writes RUNNER_VITALS lines: what a CI guest feels, so that its last lines say what it died of.
///
/// Every setting can also be given in the environment, as RUNNER_VITALS_INTERVAL and so on; a flag wins.
#[derive(Debug, Default, Parser)]
#[command(name = "runner-vitals", version, max_term_width = 100)]
#[command(
    override_usage = "runner-vitals [OPTIONS]\n       runner-vitals exec [OPTIONS] -- CMD [ARGS]...\n       runner-vitals phase [OPTIONS] PHASE"
)]
#[command(after_help = "runner-vitals exec runs CMD with the probe beside it: see runner-vitals exec --help\n\
                        runner-vitals phase writes one line for a script: see runner-vitals phase --help")]
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
    /// Where the lines go.
    #[command(flatten)]
    pub sinks: SinkArgs,
    /// Watch the room on this path too; repeat it for more (environment: separated by colons)
    #[arg(long, value_name = "PATH")]
    pub watch: Vec<PathBuf>,
    /// Which logs are followed.
    #[command(flatten)]
    pub follow: FollowArgs,
    /// End when this process ends [default: the parent, when started in the background]
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub exit_with: Option<u32>,
    /// Watch this cgroup instead of the own: a path in the hierarchy, or a folder below its mount point
    #[arg(long, value_name = "PATH", conflicts_with = "cgroup_of", value_parser = parse_cgroup)]
    pub cgroup: Option<PathBuf>,
    /// Watch the cgroup of this process instead of the own
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub cgroup_of: Option<u32>,
    /// Name of the process that is the CI runner's agent, where it is none of the known ones
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub agent: Option<String>,
    /// Take no protection: leave the memory unlocked, the OOM score and the CPU priority as they are
    #[arg(long)]
    pub no_protect: bool,
    /// Who the runner is.
    #[command(flatten)]
    pub runner: RunnerArgs,
    /// Read the kernel's files below this folder: a captured tree
    #[arg(long, value_name = "DIR", value_parser = parse_root)]
    pub root: Option<PathBuf>,
    /// Started by `exec`: stdin is a pipe that tells how the job ended
    #[arg(long, hide = true, overrides_with = "supervised")]
    pub supervised: bool,
    /// A flag before `--` that `exec` did not understand, and what was given for it
    #[arg(long, hide = true, num_args = 2, value_names = ["FLAG", "GIVEN"], allow_hyphen_values = true)]
    pub ignored: Vec<String>,
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
    /// Where the lines go.
    pub sinks: Sinks,
    /// Paths to watch besides the usual ones.
    pub watch: Vec<PathBuf>,
    /// Which logs are followed.
    pub follow: Follow,
    /// The process whose end is the probe's end, and the setting that says so.
    pub exit_with: Option<(&'static str, u32)>,
    /// Whether it was started by `exec`, and ends with its job.
    pub is_supervised: bool,
    /// Which cgroup is watched.
    pub target: Target,
    /// The setting that says so.
    pub target_key: &'static str,
    /// The name of the agent's process, besides the known ones.
    pub agent: Option<String>,
    /// Whether the probe takes what keeps it alive and on time.
    pub protect: Protect,
    /// Who the runner is.
    pub runner: Runner,
    /// A captured tree; `None` for this machine.
    pub root: Option<PathBuf>,
    /// What was clamped or ignored.
    pub adjusted: Vec<Adjusted>,
}

/// Whether the probe takes what keeps it alive and on time when the guest is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Protect {
    /// As far as it is allowed.
    #[default]
    On,
    /// It stays as it was started.
    Off,
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
        let mut env = Environment { get: env, adjusted: ignored(&args.ignored) };
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
        let agent = args.agent.or_else(|| env.parsed(&["AGENT"], "the known ones", |name| parse_name(name).ok()));
        let protect = match args.no_protect {
            true => Protect::Off,
            false => env.parsed(&["PROTECT"], "on", |text| Protect::from_str(text, true).ok()).unwrap_or_default(),
        };
        let runner = Runner::new(args.runner, &mut env);
        let fields = fields.unwrap_or_default();
        let sinks = Sinks::new(args.sinks, &mut env);
        let follow = Follow::new(args.follow, &mut env);
        let adjusted = env.adjusted;
        let (root, is_supervised) = (args.root, args.supervised);
        Self {
            interval,
            samples,
            fields,
            sinks,
            watch,
            follow,
            exit_with,
            is_supervised,
            target,
            target_key,
            agent,
            protect,
            runner,
            root,
            adjusted,
        }
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

    /// The words of a list of ours.
    fn words(&self, name: &str, separators: &[char]) -> Vec<String> {
        let list = self.text(&[name]).unwrap_or_default();
        list.split(separators).map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// A word of such a list, read; what has no form is told and ignored.
    fn told<T>(&mut self, name: &str, given: &str, read: Result<T, String>) -> Option<T> {
        if read.is_err() {
            let (key, given) = (format!("RUNNER_VITALS_{name}"), given.to_owned());
            self.adjusted.push(Adjusted { key, given, used: "not used".to_owned() });
        }
        read.ok()
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

/// What `exec` did not understand, flag and value by turns.
fn ignored(told: &[String]) -> Vec<Adjusted> {
    let pairs = told.chunks_exact(2).filter_map(|pair| if let [key, given] = pair { Some((key, given)) } else { None });
    let used = "no flags: the environment and the defaults";
    pairs.map(|(key, given)| Adjusted { key: key.clone(), given: given.clone(), used: used.to_owned() }).collect()
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

/// As a file's name, from which the kernel takes the name of a process.
fn parse_name(given: &str) -> Result<String, String> {
    if given.is_empty() || given.contains('/') {
        return Err("expected the name of a process, without its folder".to_owned());
    }
    Ok(given.to_owned())
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
            ["--agent", "/bin/agent"],
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
    fn protections_are_taken_unless_told_otherwise() {
        assert_eq!(config(&[], &[]).protect, Protect::On);
        assert_eq!(config(&[], &[("RUNNER_VITALS_PROTECT", "OFF")]).protect, Protect::Off);
        assert_eq!(config(&["--no-protect"], &[("RUNNER_VITALS_PROTECT", "on")]).protect, Protect::Off);
        let wrong = config(&[], &[("RUNNER_VITALS_PROTECT", "maybe")]);
        assert_eq!((wrong.protect, wrong.adjusted.len()), (Protect::On, 1));
    }

    #[test]
    fn once_is_one_sample() {
        assert_eq!(config(&["--once"], &[("RUNNER_VITALS_SAMPLES", "7")]).samples, Some(1));
        assert_eq!(config(&[], &[("RUNNER_VITALS_SAMPLES", "7")]).samples, Some(7));
    }
}
