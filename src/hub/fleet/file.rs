//! The fleet file: what guests cannot know. TOML, a `[[fleet]]` each; `docs/FLEET.md` has its keys.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::figures::Key;

/// All fleets that are told of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetFile {
    /// Each.
    #[serde(default, rename = "fleet")]
    pub fleets: Vec<Spec>,
}

/// What is told of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// `runner.env` of its runners; none for those that say none.
    pub env: Option<String>,
    /// `runner.fleet` of its runners.
    pub fleet: Option<String>,
    /// How many members its controller aims at.
    pub target: Option<u32>,
    /// It is never to aim at fewer.
    pub min: Option<u32>,
    /// It is never to aim at more.
    pub max: Option<u32>,
    /// How many are to be warm beyond the load.
    pub warm_floor: Option<u32>,
    /// How many members a roll goes over.
    pub replicas: Option<u32>,
    /// How often the controller replaces those that ended: seconds, or a duration as `30s`.
    #[serde(default, deserialize_with = "duration")]
    pub reaper_interval: Option<Duration>,
    /// The image that its members are to have.
    pub image: Option<String>,
    /// Of 100 members so many may be rolled at once.
    pub max_concurrent_percent: Option<u32>,
    /// Jobs that run or wait, by the controller.
    pub load: Option<u32>,
    /// Members that its allocator granted, by the controller.
    pub allocated: Option<u32>,
    /// Members that are being rolled, by the controller.
    pub rolling: Option<u32>,
}

/// The fleet file is of no use.
#[derive(Debug)]
pub enum FleetFileError {
    /// It cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no fleet file.
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, where that is known.
        line: Option<usize>,
        /// Why, in one line.
        why: String,
    },
    /// What it says of a fleet makes no sense.
    Fleet {
        /// The file.
        path: PathBuf,
        /// Which fleet, and why.
        why: String,
    },
}

impl fmt::Display for FleetFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Parse { path, line: Some(line), why } => write!(f, "{}: line {line}: {why}", path.display()),
            Self::Parse { path, line: None, why } => write!(f, "{}: {why}", path.display()),
            Self::Fleet { path, why } => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for FleetFileError {}

impl FleetFile {
    /// Reads it.
    ///
    /// # Errors
    /// It cannot be read, is no TOML of this form, or what it says makes no sense.
    pub fn read(path: &Path) -> Result<Self, FleetFileError> {
        let text = fs::read_to_string(path).map_err(|error| FleetFileError::Read { path: path.to_owned(), error })?;
        Self::parse(&text, path)
    }

    /// What its text says; `path` is what errors call it.
    ///
    /// # Errors
    /// It is no TOML of this form, or what it says makes no sense.
    pub fn parse(text: &str, path: &Path) -> Result<Self, FleetFileError> {
        let file: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            FleetFileError::Parse {
                path: path.to_owned(),
                line: before.map(|before| before.matches('\n').count() + 1),
                why: error.message().lines().collect::<Vec<_>>().join(", "),
            }
        })?;
        match file.nonsense() {
            Some(why) => Err(FleetFileError::Fleet { path: path.to_owned(), why }),
            None => Ok(file),
        }
    }

    /// What is told of a fleet.
    #[must_use]
    pub fn of(&self, key: &Key) -> Option<&Spec> {
        self.fleets.iter().find(|spec| spec.key() == *key)
    }

    fn nonsense(&self) -> Option<String> {
        self.fleets.iter().enumerate().find_map(|(nth, spec)| {
            let is_twice = self.fleets.iter().take(nth).any(|other| other.key() == spec.key());
            let over = |a: Option<u32>, b: Option<u32>| a.zip(b).is_some_and(|(a, b)| a > b);
            let why = match spec {
                _ if is_twice => "is there twice",
                _ if over(spec.min, spec.max) => "has a min over its max",
                _ if over(spec.target, spec.max) => "has a target over its max",
                _ if over(spec.max_concurrent_percent, Some(100)) => "has a max_concurrent_percent over 100",
                _ => return None,
            };
            let (env, fleet) = (spec.env.as_deref().unwrap_or("no env"), spec.fleet.as_deref().unwrap_or("no fleet"));
            Some(format!("{env:?} {fleet:?} {why}"))
        })
    }
}

impl Spec {
    /// Whose it is.
    #[must_use]
    pub fn key(&self) -> Key {
        Key { env: self.env.clone(), fleet: self.fleet.clone() }
    }
}

/// Seconds, or a duration with its units.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected seconds (30) or a duration (\"30s\")")]
    enum Given {
        Seconds(u32),
        Text(String),
    }
    match Given::deserialize(deserializer)? {
        Given::Seconds(seconds) => Ok(Some(Duration::from_secs(seconds.into()))),
        Given::Text(text) => humantime::parse_duration(&text).map(Some).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FleetFile, String> {
        FleetFile::parse(text, Path::new("fleets.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_fleet_is_told_of_with_all_or_nothing() {
        let file = parse(
            "[[fleet]]\nenv = \"prod\"\nfleet = \"linux-4\"\ntarget = 20\nmin = 5\nmax = 40\nwarm_floor = 4\nreplicas = 20\n\
             reaper_interval = \"1m 30s\"\nimage = \"img-2\"\nmax_concurrent_percent = 25\nload = 12\nallocated = 18\nrolling = 1\n\
             [[fleet]]\nfleet = \"linux-4\"\nreaper_interval = 30\n",
        )
        .unwrap();
        let key = |env: Option<&str>| Key { env: env.map(str::to_owned), fleet: Some("linux-4".to_owned()) };
        let prod = file.of(&key(Some("prod"))).unwrap();
        assert_eq!((prod.target, prod.reaper_interval), (Some(20), Some(Duration::from_secs(90))));
        let other = file.of(&key(None)).unwrap();
        assert_eq!((other.target, other.reaper_interval), (None, Some(Duration::from_secs(30))));
        assert_eq!(file.of(&key(Some("staging"))), None);
        assert_eq!(parse("").unwrap(), FleetFile::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        for (text, says) in [
            ("[[fleet]]\ntarget = -1", "line 2"),
            ("[[fleet]]\ntarget = \"x\"", "line 2"),
            ("[[fleet]]\ntarge = 1", "unknown field `targe`"),
            ("[[fleets]]", "unknown field `fleets`"),
            ("[[fleet]", "line 1: "),
            ("[[fleet]]\ntarget = 1\nthis is no TOML\n", "line 3: "),
            ("[[fleet]]\nreaper_interval = \"soon\"", "line 2"),
            ("[[fleet]]\nreaper_interval = []", "expected seconds"),
            ("[[fleet]]\nfleet = \"a\"\n[[fleet]]\nfleet = \"a\"", "is there twice"),
            ("[[fleet]]\nmin = 3\nmax = 2", "min over its max"),
            ("[[fleet]]\ntarget = 3\nmax = 2", "target over its max"),
            ("[[fleet]]\nmax_concurrent_percent = 101", "over 100"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("fleets.toml: ") && error.contains(says), "{text:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
