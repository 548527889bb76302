//! Which logs are followed, and whether their lines go to stdout too.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::{PathBufValueParser, TypedValueParser as _};

use super::{Adjusted, Environment};

/// The flags.
#[derive(Debug, Default, clap::Args)]
pub struct FollowArgs {
    /// Send the new lines of these files as RUNNER_LOG lines, secrets masked, to the network sinks; a pattern with *, ? and
    /// [a-z] in any component; repeat it for more (environment: separated by colons)
    #[arg(long, value_name = "GLOB", value_parser = PathBufValueParser::new().try_map(check_pattern))]
    pub follow: Vec<PathBuf>,
    /// Write the lines of followed files to stdout too
    #[arg(long)]
    pub follow_stdout: bool,
}

/// What is followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Follow {
    /// Patterns of files; none for no sidecar.
    pub patterns: Vec<PathBuf>,
    /// Whether their lines go to stdout too.
    pub stdout: ToStdout,
}

/// Whether lines of followed files go to stdout too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ToStdout {
    /// To the network sinks only.
    #[default]
    Off,
    /// They do.
    On,
}

impl Follow {
    pub(super) fn new<F: Fn(&str) -> Option<OsString>>(args: FollowArgs, env: &mut Environment<F>) -> Self {
        let patterns = match args.follow.is_empty() {
            true => env.patterns(),
            false => args.follow,
        };
        let stdout = match args.follow_stdout {
            true => ToStdout::On,
            false => {
                env.parsed(&["FOLLOW_STDOUT"], "off", |text| ToStdout::from_str(text, true).ok()).unwrap_or_default()
            }
        };
        Self { patterns, stdout }
    }
}

impl<F: Fn(&str) -> Option<OsString>> Environment<F> {
    /// What is no pattern of a file is told and ignored.
    fn patterns(&mut self) -> Vec<PathBuf> {
        let mut patterns = Vec::new();
        for path in self.paths("FOLLOW") {
            let given = path.display().to_string();
            match check_pattern(path) {
                Ok(pattern) => patterns.push(pattern),
                Err(why) => self.adjusted.push(Adjusted {
                    key: "RUNNER_VITALS_FOLLOW".to_owned(),
                    given,
                    used: format!("not followed: {why}"),
                }),
            }
        }
        patterns
    }
}

fn check_pattern(given: PathBuf) -> Result<PathBuf, String> {
    let path = given.as_os_str().as_bytes();
    let why = match path.split(|byte| *byte == b'/').find_map(foreign_syntax) {
        _ if given.file_name().is_none() => Some("expected the path of a file, or a pattern of such"),
        _ if path.starts_with(b"~") => Some("a leading ~ is the shell's: spell the folder out, or ./~"),
        why => why,
    };
    why.map_or(Ok(given), |why| Err(why.to_owned()))
}

/// What other patterns have and these have not, in a component of one. As it stands there it would match nothing.
fn foreign_syntax(part: &[u8]) -> Option<&'static str> {
    let mut rest = part;
    while let [first, behind @ ..] = rest {
        rest = match (first, behind) {
            (b'*', [b'*', ..]) => return Some("there is no **: name each folder, with a * where it can be any"),
            (b'{' | b'}', _) => return Some("there are no braces: give a pattern for each, or [{] for one"),
            (b'\\', _) => return Some("there are no escapes: [*] is a star, [\\] a backslash"),
            (b'[', _) => match behind_set(behind) {
                None => return Some("a [ without its ]: [[] is one alone"),
                Some(behind) => behind,
            },
            _ => behind,
        };
    }
    None
}

/// What follows a set, of what follows its first bracket. A bracket that comes first in it is one of the set.
fn behind_set(set: &[u8]) -> Option<&[u8]> {
    let is_negated = matches!(set, [b'!' | b'^', ..]);
    let start = if is_negated { 2 } else { 1 };
    let end = set.iter().skip(start).position(|byte| *byte == b']')?;
    set.get(start + end + 1..)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Args, Config};
    use super::*;

    fn config(flags: &[&str], env: &[(&str, &str)]) -> Config {
        let args = Args::try_parse_from(["runner-vitals"].iter().chain(flags)).unwrap();
        Config::new(args, |name| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn flags_go_before_the_environment() {
        let env = [("RUNNER_VITALS_FOLLOW", "/a/*.log::/:b/c?"), ("RUNNER_VITALS_FOLLOW_STDOUT", "ON")];
        let of_env = config(&[], &env);
        assert_eq!(of_env.follow.patterns, [PathBuf::from("/a/*.log"), PathBuf::from("b/c?")]);
        assert_eq!((of_env.follow.stdout, of_env.adjusted.len()), (ToStdout::On, 1));
        let of_flags = config(&["--follow", "/x:y/*", "--follow", "z"], &env[..1]);
        assert_eq!(of_flags.follow.patterns, [PathBuf::from("/x:y/*"), PathBuf::from("z")]);
        assert_eq!((of_flags.follow.stdout, of_flags.adjusted.len()), (ToStdout::Off, 0));
        assert_eq!(config(&["--follow-stdout"], &[]).follow, Follow { patterns: Vec::new(), stdout: ToStdout::On });
        assert_eq!(config(&[], &[("RUNNER_VITALS_FOLLOW_STDOUT", "maybe")]).adjusted.len(), 1);
        for wrong in ["/", "", ".."] {
            assert!(Args::try_parse_from(["runner-vitals", "--follow", wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_the_syntax_does_not_have_is_refused_or_told() {
        for (pattern, is_one) in [
            ("/tmp/*.log", true),
            ("/tmp/[a-c]?[!x][^y][]][!]]*", true),
            ("/tmp/a]b", true),
            ("/tmp/[{][}][*][\\][[]", true),
            ("/tmp/x~", true),
            ("/tmp/~/x", true),
            ("./~x", true),
            ("/tmp/folder/", true),
            ("/tmp/[", false),
            ("/tmp/[/]", false),
            ("/tmp/[]", false),
            ("/tmp/[!]", false),
            ("/tmp/[a][b", false),
            ("/[a/x.log", false),
            ("/a/**/b.log", false),
            ("/a/b**", false),
            ("/a/{b,c}.log", false),
            ("/a/${NAME}.log", false),
            ("/a/b}", false),
            ("/a/\\*", false),
            ("~/x.log", false),
            ("~me/x.log", false),
        ] {
            let flag = Args::try_parse_from(["runner-vitals", "--follow", pattern]);
            assert_eq!(flag.is_ok(), is_one, "{pattern}");
            let config = config(&[], &[("RUNNER_VITALS_FOLLOW", &format!("{pattern}:/b"))]);
            assert_eq!(config.follow.patterns.len(), if is_one { 2 } else { 1 }, "{pattern}");
            let told: Vec<_> = config.adjusted.iter().map(|told| (told.given.as_str(), told.used.as_str())).collect();
            match told[..] {
                [] => assert!(is_one, "{pattern}"),
                [(given, used)] => assert!(!is_one && given == pattern && used.starts_with("not followed: "), "{used}"),
                _ => panic!("{told:?}"),
            }
        }
    }
}
