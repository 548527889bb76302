//! Settings: flags, then the environment (`VITALS_HUB_LISTEN` and so on). An operator starts the hub and reads its errors:
//! a wrong setting is one, never a default.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::out::dir::Caps;
use super::out::loki;
use super::pages::FLEET_PATH;
use super::runners::Pace;
use super::tail;
use super::tls::TlsFiles;
use crate::hub::named::NamedFile;
use crate::line::field::{RUNNER_ENV, Unit};

mod environment;
mod loki_args;
mod senders;
mod tail_args;

use loki_args::LokiArgs;
use senders::SenderArgs;
use tail_args::TailArgs;

pub use environment::{Environment, environment};
pub use senders::AuthMode;

/// Takes RUNNER_VITALS lines from guests by HTTP and brings them out: on stdout, into files, to Loki, or by several of these.
///
/// Every setting can also be given in the environment, as VITALS_HUB_LISTEN and so on; a flag wins.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address for /metrics, /healthz and /readyz, without TLS [default: they are served at --listen]
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    /// Path that guests post to
    #[arg(long, value_name = "PATH", default_value = "/api/internal/runners/vitals", value_parser = parse_path)]
    path: String,
    #[command(flatten)]
    sender: SenderArgs,
    /// Environment of the runners, which becomes runner.env of each line
    #[arg(long, value_name = "NAME", value_parser = parse_env)]
    env: Option<String>,
    /// Write lines to stdout [default: when there is no other way out]
    #[arg(long)]
    stdout: bool,
    /// Write lines to files by day and runner below this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Bytes of all files below --dir, as 500MiB or 10GiB: the oldest give way
    #[arg(long, value_name = "BYTES", default_value = "10GiB", value_parser = parse_bytes, requires = "dir")]
    dir_max_bytes: u64,
    /// How long a day's files are kept below --dir, as 14d or 12h
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = parse_time, requires = "dir")]
    dir_max_age: Duration,
    /// What guests cannot know of their fleets, a TOML file: targets, floors, images; docs/FLEET.md
    #[arg(long, value_name = "FILE")]
    fleet_file: Option<PathBuf>,
    /// Show /fleet and /runners/ID to everybody [default: to who may send lines]
    #[arg(long)]
    open_pages: bool,
    /// Show /fleet and /runners/ID to these tokens alone, which send no lines: a file as that of --auth tokens
    #[arg(long, value_name = "FILE", conflicts_with = "open_pages")]
    page_tokens_file: Option<PathBuf>,
    #[command(flatten)]
    loki: LokiArgs,
    #[command(flatten)]
    tail: TailArgs,
    /// Certificates to trust in place of the system's, PEM: of Loki, and of the URL of a key set
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Connections at once, as far as the hard limit of open files goes
    #[arg(long, value_name = "N", default_value = "12000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// Bytes that requests may hold together until they are answered
    #[arg(long, value_name = "BYTES", default_value = "32MiB", value_parser = parse_queue_bytes)]
    max_queue_bytes: u32,
    /// Lines a second that one runner may send in the long run
    #[arg(long, value_name = "N", default_value = "500", value_parser = clap::value_parser!(u32).range(1..))]
    runner_rate: u32,
    /// Lines that one runner may send at once
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(8192..))]
    runner_burst: u32,
    /// How long lines on their way may take to come out when it ends
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    drain: Duration,
}

/// A complete configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where guests come.
    pub listen: SocketAddr,
    /// Where metrics and health are served, when not there too.
    pub metrics_listen: Option<SocketAddr>,
    /// The path that guests post to.
    pub path: String,
    /// How a sender is known.
    pub auth: AuthMode,
    /// `runner.env` of each line.
    pub env: Option<String>,
    /// The ways out, at least one.
    pub outs: Vec<OutMode>,
    /// What guests cannot know of their fleets.
    pub fleet_file: Option<NamedFile>,
    /// Where else lines of runners are.
    pub tail: Option<tail::Settings>,
    /// Its pages are for everybody.
    pub has_open_pages: bool,
    /// Who may look at them, where not everybody may who sends.
    pub readers: Option<NamedFile>,
    /// Whom the hub itself trusts, in place of the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key.
    pub tls: Option<TlsFiles>,
    /// Connections at once.
    pub max_connections: u32,
    /// Bytes that requests may hold together.
    pub max_queue_bytes: u32,
    /// What one runner may send.
    pub pace: Pace,
    /// How long the end may take.
    pub drain: Duration,
}

/// A way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutMode {
    /// The hub's own stdout.
    Stdout,
    /// Files below a folder.
    Dir(PathBuf, Caps),
    /// Loki.
    Loki(Box<loki::Settings>),
}

/// Settings that do not go together, or one of the environment that is not of its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// The configuration that these settings are.
    ///
    /// # Errors
    /// When they do not go together.
    pub fn new(args: Args) -> Result<Self, ConfigError> {
        let auth = args.sender.mode()?;
        if auth == AuthMode::None && !args.listen.ip().to_canonical().is_loopback() {
            let why = "--auth none takes lines from anybody: it listens on a loopback address only";
            return Err(ConfigError(why.to_owned()));
        }
        if ["/metrics", "/healthz", "/readyz", FLEET_PATH].contains(&&*args.path) {
            return Err(ConfigError(format!("--path {}: something else is served there", args.path)));
        }
        let caps = Caps { max_bytes: args.dir_max_bytes, max_age: args.dir_max_age };
        let dir = args.dir.map(|dir| OutMode::Dir(dir, caps));
        let loki = args.loki.settings(args.env.clone())?.map(|loki| OutMode::Loki(Box::new(loki)));
        let stdout = (args.stdout || (dir.is_none() && loki.is_none())).then_some(OutMode::Stdout);
        Ok(Self {
            listen: args.listen,
            metrics_listen: args.metrics_listen,
            path: args.path,
            auth,
            env: args.env,
            outs: stdout.into_iter().chain(dir).chain(loki).collect(),
            fleet_file: args.fleet_file.map(|path| NamedFile::new("--fleet-file", path)),
            tail: args.tail.settings()?,
            has_open_pages: args.open_pages,
            readers: args.page_tokens_file.map(|path| NamedFile::new("--page-tokens-file", path)),
            ca_file: args.ca_file,
            tls: args.tls_cert.zip(args.tls_key).map(|(cert, key)| TlsFiles {
                cert: NamedFile::new("--tls-cert", cert),
                key: NamedFile::new("--tls-key", key),
            }),
            max_connections: args.max_connections,
            max_queue_bytes: args.max_queue_bytes,
            pace: Pace { a_second: args.runner_rate, burst: args.runner_burst },
            drain: args.drain,
        })
    }
}

fn parse_path(text: &str) -> Result<String, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte));
    if text.starts_with('/') && is_plain { Ok(text.to_owned()) } else { Err("a path begins with /".to_owned()) }
}

fn parse_env(text: &str) -> Result<String, String> {
    match RUNNER_ENV.unit {
        // A longer one would be cut in the line.
        Unit::Text(cap) if text.len() > cap => Err(format!("longer than {cap} bytes")),
        _ => Ok(text.to_owned()),
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

fn parse_queue_bytes(text: &str) -> Result<u32, String> {
    let bytes = u32::try_from(parse_bytes(text)?).map_err(|_| "less than 4 GiB".to_owned())?;
    if bytes < 4 * 1024 * 1024 { Err("4 MiB or more: a request holds up to 2 MiB".to_owned()) } else { Ok(bytes) }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let factor: u64 = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err("a number of bytes, or of KiB, MiB, GiB or TiB".to_owned()),
    };
    number
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(factor))
        .ok_or_else(|| "not a number of bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::super::auth::kubernetes::Cluster;
    use super::super::auth::naming::{FleetFrom, NameFrom, Namespaces, Naming};
    use super::*;

    pub(super) fn config(words: &[&str]) -> Result<Config, String> {
        let command = Args::augment_args(Command::new("serve").no_binary_name(true));
        let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
        let args = Args::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        Config::new(args).map_err(|error| error.to_string())
    }

    #[test]
    fn stdout_is_the_way_out_when_there_is_no_other() {
        let outs = |words: &[&str]| config(&[&["--auth", "none"], words].concat()).unwrap().outs;
        let caps = Caps { max_bytes: 10 << 30, max_age: Duration::from_hours(14 * 24) };
        let dir = || OutMode::Dir("d".into(), caps);
        assert_eq!(outs(&[]), [OutMode::Stdout]);
        assert_eq!(outs(&["--dir", "d"]), [dir()]);
        assert_eq!(outs(&["--dir", "d", "--stdout"]), [OutMode::Stdout, dir()]);
    }

    #[test]
    fn anybody_is_let_in_on_loopback_only() {
        for listen in ["127.0.0.1:0", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(config(&["--auth", "none", "--listen", listen]).is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            assert!(config(&["--auth", "none", "--listen", listen]).unwrap_err().contains("loopback"), "{listen}");
            assert!(config(&["--auth", "tokens=f", "--listen", listen]).is_ok());
        }
    }

    #[test]
    fn a_wrong_setting_is_an_error() {
        for words in [
            &[][..],
            &["--auth", "tokens="],
            &["--auth", "some"],
            &["--auth", "none", "--path", "x"],
            &["--auth", "none", "--path", "/metrics"],
            &["--auth", "none", "--path", "/fleet"],
            &["--auth", "none", "--path", "/{x}"],
            &["--auth", "none", "--tls-cert", "c"],
            &["--auth", "none", "--dir", "d", "--dir-max-bytes", "10GB"],
            &["--auth", "none", "--dir", "d", "--dir-max-bytes", "99999999TiB"],
            &["--auth", "none", "--dir", "d", "--dir-max-age", "14"],
            &["--auth", "none", "--dir-max-bytes", "10GiB"],
            &["--auth", "none", "--dir-max-age", "14d"],
            &["--auth", "none", "--max-connections", "0"],
            &["--auth", "none", "--max-queue-bytes", "1KiB"],
            &["--auth", "none", "--env", &"e".repeat(65)],
            &["--auth", "none", "--open-pages", "--page-tokens-file", "f"],
        ] {
            assert!(config(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_token_is_checked_with_what_it_takes() {
        let auth = |words: &[&str]| config(words).map(|config| config.auth);
        let kubernetes = &["--auth", "kubernetes", "--audience", "vitals"];
        let all = &["--namespace", "*"];
        let AuthMode::Kubernetes(settings) = auth(&[&kubernetes[..], all].concat()).unwrap() else { panic!() };
        let naming = Naming { namespaces: Namespaces::All, name_from: NameFrom::Pod, fleet_from: FleetFrom::Nothing };
        assert_eq!((settings.cluster, settings.naming), (Cluster::Own, naming));
        let more =
            ["--kubeconfig", "k", "--namespace", "a,b", "--name-from", "service-account", "--fleet-label", "x/y"];
        let AuthMode::Kubernetes(settings) = auth(&[&kubernetes[..], &more].concat()).unwrap() else { panic!() };
        assert_eq!(settings.cluster, Cluster::Kubeconfig("k".into()));
        assert_eq!(
            (settings.naming.namespaces, settings.naming.name_from),
            (Namespaces::Of(vec!["a".to_owned(), "b".to_owned()]), NameFrom::ServiceAccount)
        );
        assert_eq!(settings.naming.fleet_from, FleetFrom::Label("x/y".to_owned()));
        let jwks = &["--auth", "jwks=https://issuer/keys", "--issuer", "https://issuer", "--audience", "vitals"];
        let jwks = &[&jwks[..], &["--namespace", "n"]].concat();
        let AuthMode::Jwks(settings) = auth(&[&jwks[..], &["--fleet-pattern", "(.+)-x"]].concat()).unwrap() else {
            panic!()
        };
        assert_eq!(
            (settings.expected.issuer.as_str(), settings.expected.audience.as_str()),
            ("https://issuer", "vitals")
        );
        for (words, says) in [
            (&["--auth", "kubernetes"][..], "--audience"),
            (&["--auth", "kubernetes", "--audience", ""], "--audience"),
            (&["--auth", "kubernetes", "--audience", "a"], "--namespace"),
            (&["--auth", "kubernetes", "--audience", "a", "--namespace", ""], "--namespace"),
            (&["--auth", "kubernetes", "--audience", "a", "--namespace", "a,*"], "'*' is all"),
            (&["--auth", "kubernetes", "--audience", "a", "--namespace", "runners-*"], "\"runners-*\""),
            (&["--auth", "jwks=f", "--issuer", "i", "--audience", "a"], "--namespace"),
            (&["--auth", "jwks=f", "--audience", "a"], "--issuer"),
            (&["--auth", "jwks=f", "--issuer", "i"], "--audience"),
            (&["--auth", "jwks=http://issuer/keys", "--issuer", "i", "--audience", "a"], "https"),
            (&["--auth", "jwks=f", "--issuer", "i", "--audience", "a", "--fleet-label", "l"], "--fleet-label"),
            (&["--auth", "kubernetes", "--audience", "a", "--issuer", "i"], "--issuer"),
            (&["--auth", "kubernetes", "--audience", "a", "--fleet-pattern", "x"], "group"),
            (
                &["--auth", "kubernetes", "--audience", "a", "--fleet-pattern", "(x)", "--fleet-label", "l"],
                "--fleet-label",
            ),
            (&["--auth", "none", "--audience", "a"], "--audience"),
            (&["--auth", "tokens=f", "--namespace", "n"], "--namespace"),
            (&["--auth", "jwks="], "jwks=FILE"),
            (&["--auth", "jwks=https://user:secret@issuer", "--issuer", "i", "--audience", "a"], "credentials"),
        ] {
            let error = config(words).unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{words:?}: {error}");
        }
    }

    #[test]
    fn loki_is_a_way_out_like_any_other() {
        let outs =
            |words: &[&str]| config(&[&["--auth", "none", "--env", "e"], words].concat()).map(|config| config.outs);
        let loki = ["--loki", "http://loki:3100", "--loki-label", "os=macos,team=a", "--loki-tenant", "t"];
        let [OutMode::Loki(settings)] = &outs(&loki).unwrap()[..] else { panic!("nothing else") };
        let labels = [("os", "macos"), ("team", "a")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            (settings.env.as_deref(), &settings.labels[..], settings.tenant.as_deref()),
            (Some("e"), &labels[..], Some("t"))
        );
        let all = outs(&["--loki", "https://loki", "--stdout", "--dir", "d", "--loki-basic-auth-file", "f"]).unwrap();
        assert!(matches!(&all[..], [OutMode::Stdout, OutMode::Dir(..), OutMode::Loki(_)]), "{all:?}");
        for words in [
            &["--loki", "loki:3100"][..],
            &["--loki", "https://user:secret@loki"],
            &["--loki", "https://loki", "--loki-label", "os"],
            &["--loki", "https://loki", "--loki-token-file", "a", "--loki-basic-auth-file", "b"],
            &["--loki-tenant", "t"],
            &["--loki-label", "os=x"],
        ] {
            let error = outs(words).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn every_setting_stands_on_a_page() {
        let hub = include_str!("../../../docs/HUB.md");
        let pages = [hub, include_str!("../../../docs/HUB-AUTH.md")];
        for arg in Args::augment_args(Command::new("")).get_arguments() {
            let flag = format!("`--{}", arg.get_long().unwrap());
            let is_told = |page: &str| [" ", "`"].iter().any(|end| page.contains(&format!("{flag}{end}")));
            assert!(pages.into_iter().any(is_told), "{flag}");
        }
        let about = hub.split("\n## ").next().unwrap();
        assert!(["stdout", "files", "Loki"].iter().all(|out| about.contains(out)), "{about}");
    }
}
