//! Where the lines go: stdout, vitals endpoints, Loki; and what is needed for the way there.
//!
//! A URL with credentials in it is not used, and never told as it was given: lines, `ps` and a usage error are all read by
//! others.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::{Adjusted, Environment};
use crate::probe::endpoint::vitals_url;
use crate::url::{Url, without_secrets};

/// Where Loki takes pushes, when a URL does not say.
const LOKI_PUSH: &str = "/loki/api/v1/push";

/// Where the platform puts a runner's token.
#[cfg(target_os = "macos")]
const USUAL_TOKEN_FILE: &str = crate::probe::endpoint::DARWIN_TOKEN_FILE;
#[cfg(not(target_os = "macos"))]
const USUAL_TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// What a sink is not used with.
const WITHOUT_TOKEN: &str = "without a token: it could be read on the way";

/// The flags.
#[derive(Debug, Default, clap::Args)]
pub struct SinkArgs {
    /// Where lines go: stdout, http(s)://… (a vitals endpoint), loki+http(s)://… (Loki or Alloy); repeat it for more
    /// (environment: separated by spaces or commas) [default: stdout]
    #[arg(long, value_name = "URL", value_parser = SinkParser)]
    pub sink: Vec<Sink>,
    /// File with the bearer token for the sinks, read anew for each request; never sent in the clear beyond this machine
    /// [default: the platform's, to vitals endpoints only]
    #[arg(long, value_name = "PATH")]
    pub token_file: Option<PathBuf>,
    /// Trust the certificates of this PEM file, in place of the system's
    #[arg(long, value_name = "PATH")]
    pub ca_file: Option<PathBuf>,
    /// Label of the stream in Loki, besides job, fleet, env and os; repeat it for more (environment: separated by commas)
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    pub label: Vec<(String, String)>,
    /// Tenant in Loki: the header X-Scope-OrgID
    #[arg(long, value_name = "ID", value_parser = parse_tenant)]
    pub loki_tenant: Option<String>,
}

/// A sink as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// The probe's own.
    Stdout,
    /// A server.
    Network(Target),
    /// It is wrong and may hold a secret: what may be told of it, and why it is not used.
    Withheld(String, String),
}

/// Reads a sink of a flag. What is wrong is a usage error, which shows no secret.
#[derive(Clone, Copy, Debug)]
struct SinkParser;

/// What a server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Lines, as `docs/LINE.md` says under "Over HTTP".
    Http,
    /// Loki's push.
    Loki,
}

/// A server that takes lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How it takes them.
    pub protocol: Protocol,
    /// Where it is.
    pub url: Url,
}

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sinks {
    /// Whether they go to stdout.
    pub is_stdout: bool,
    /// The servers.
    pub network: Vec<Target>,
    /// Where the token is.
    pub token: TokenFile,
    /// The certificates to trust, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Labels in Loki, besides those of every runner.
    pub labels: Vec<(String, String)>,
    /// The tenant in Loki.
    pub loki_tenant: Option<String>,
}

/// Where the token is, and whose choice that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFile {
    /// It was set for the probe: every sink gets it.
    Set(PathBuf),
    /// The platform's, as its variable says: vitals endpoints get it.
    Platform(PathBuf),
    /// The platform's, where there is one.
    Usual(PathBuf),
}

impl TypedValueParser for SinkParser {
    type Value = Sink;

    fn parse_ref(&self, cmd: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Sink, clap::Error> {
        let sink = StringValueParser::new().try_map(|given| parse_sink(&given)).parse_ref(cmd, arg, value)?;
        let Sink::Withheld(given, why) = sink else { return Ok(sink) };
        let flag = arg.map(ToString::to_string).unwrap_or_default();
        let message = format!("invalid value '{given}' for '{flag}': {why}");
        let mut error = clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(cmd);
        error.insert(ContextKind::InvalidArg, ContextValue::String(flag));
        error.insert(ContextKind::InvalidValue, ContextValue::String(given));
        Err(error)
    }
}

impl Target {
    /// Reads a sink's URL.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (protocol, rest) = match text.get(..5).filter(|head| head.eq_ignore_ascii_case("loki+")) {
            Some(_) => (Protocol::Loki, text.get(5..).unwrap_or_default()),
            None => (Protocol::Http, text),
        };
        let mut url = Url::parse(rest).map_err(|error| error.to_string())?;
        if protocol == Protocol::Loki && url.path() == "/" {
            let query = url.target.split_off(1);
            url.target = format!("{LOKI_PUSH}{query}");
        }
        Ok(Self { protocol, url })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.protocol == Protocol::Loki { "loki+" } else { "" };
        write!(f, "{prefix}{}", self.url)
    }
}

impl Sinks {
    /// Completes the flags from the environment.
    pub(super) fn new<F: Fn(&str) -> Option<OsString>>(args: SinkArgs, env: &mut Environment<F>) -> Self {
        let of_servers = flags_of_servers(&args);
        let token = token_file(args.token_file, env);
        let mut sinks = Self {
            is_stdout: false,
            network: Vec::new(),
            token,
            ca_file: args.ca_file.or_else(|| env.text(&["CA_FILE"]).map(PathBuf::from)),
            labels: Vec::new(),
            loki_tenant: args.loki_tenant.or_else(|| env.parsed(&["LOKI_TENANT"], "none", |id| parse_tenant(id).ok())),
        };
        let (key, labels) = match args.label.is_empty() {
            false => ("--label", args.label),
            true => {
                let words = env.words("LABEL", &[',']);
                let labels = words.iter().filter_map(|word| env.told("LABEL", word, parse_label(word))).collect();
                ("RUNNER_VITALS_LABEL", labels)
            }
        };
        labels.into_iter().for_each(|label| sinks.add_label(key, label, &mut env.adjusted));
        let wanted: Vec<(String, Sink)> = match args.sink.is_empty() {
            false => args.sink.into_iter().map(|sink| ("--sink".to_owned(), sink)).collect(),
            true => sinks_of(env),
        };
        wanted.into_iter().for_each(|(key, sink)| sinks.add(key, sink, &mut env.adjusted));
        sinks.is_stdout |= sinks.network.is_empty();
        let is_there = |wanted: Option<Protocol>| {
            sinks.network.iter().any(|target| wanted.is_none_or(|protocol| protocol == target.protocol))
        };
        let unused = of_servers.into_iter().filter(|(_, _, protocol)| !is_there(*protocol));
        env.adjusted.extend(unused.map(|(key, given, protocol)| {
            let server = protocol.map_or("server", |_| "Loki");
            Adjusted { key: key.to_owned(), given, used: format!("not used: no sink is a {server}") }
        }));
        sinks
    }

    /// A stream has one value of each label. The last that is given is used, as the last word on it; the others are told.
    fn add_label(&mut self, key: &str, label: (String, String), adjusted: &mut Vec<Adjusted>) {
        let Some(at) = self.labels.iter().position(|(name, _)| *name == label.0) else {
            return self.labels.push(label);
        };
        let (name, value) = &label;
        let used = format!("not used: {name}={value} comes after it");
        if let Some((_, earlier)) = self.labels.get_mut(at).filter(|(_, earlier)| earlier != value) {
            adjusted.push(Adjusted { key: key.to_owned(), given: format!("{name}={earlier}"), used });
            earlier.clone_from(value);
        }
    }

    fn add(&mut self, key: String, sink: Sink, adjusted: &mut Vec<Adjusted>) {
        match sink {
            Sink::Stdout => self.is_stdout = true,
            Sink::Withheld(given, why) => adjusted.push(Adjusted { key, given, used: format!("not used: {why}") }),
            // Twice the same would be every line twice.
            Sink::Network(target) if self.network.contains(&target) => {}
            Sink::Network(target) => {
                if target.url.is_exposed() && self.token.is_for(target.protocol) {
                    let used = WITHOUT_TOKEN.to_owned();
                    adjusted.push(Adjusted { key, given: target.to_string(), used });
                }
                self.network.push(target);
            }
        }
    }
}

impl TokenFile {
    /// Whether a sink of this kind gets it. What the platform gives a runner is for the platform's endpoint.
    #[must_use]
    pub const fn is_for(&self, protocol: Protocol) -> bool {
        matches!((self, protocol), (Self::Set(_), _) | (_, Protocol::Http))
    }
}

/// The flags that only servers have a use for, each with the kind of server. In the environment they can be set for all
/// runners, whatever the sinks of each.
fn flags_of_servers(args: &SinkArgs) -> Vec<(&'static str, String, Option<Protocol>)> {
    let path = |key, path: &Option<PathBuf>| path.as_ref().map(|path| (key, path.display().to_string(), None));
    let labels = args.label.iter().map(|(key, value)| ("--label", format!("{key}={value}"), Some(Protocol::Loki)));
    let tenant = args.loki_tenant.iter().map(|id| ("--loki-tenant", id.clone(), Some(Protocol::Loki)));
    let paths = [path("--token-file", &args.token_file), path("--ca-file", &args.ca_file)];
    paths.into_iter().flatten().chain(labels).chain(tenant).collect()
}

/// What the environment says: `RUNNER_VITALS_SINK`, or stdout; and the endpoint of `RUNNER_VITALS_URL` besides.
fn sinks_of<F: Fn(&str) -> Option<OsString>>(env: &mut Environment<F>) -> Vec<(String, Sink)> {
    let mut sinks = Vec::new();
    for word in env.words("SINK", &[',', ' ', '\t', '\n']) {
        sinks.extend(of_environment("RUNNER_VITALS_SINK", &word, &mut env.adjusted));
    }
    let url = env.words("URL", &[' ', '\t', '\n']).into_iter().next();
    let url = url.and_then(|url| of_environment("RUNNER_VITALS_URL", &url, &mut env.adjusted));
    if sinks.is_empty() {
        // Where a VM's log dies with it, stdout is no place to be found later.
        let dispatch = if cfg!(target_os = "macos") { env.text(&["TUIST_RUNNER_DISPATCH_URL"]) } else { None };
        let vitals = dispatch.filter(|_| url.is_none()).and_then(|dispatch| vitals_url(&dispatch));
        match vitals.and_then(|vitals| of_environment("TUIST_RUNNER_DISPATCH_URL", &vitals, &mut env.adjusted)) {
            Some(vitals) => sinks.push(vitals),
            None => sinks.push((String::new(), Sink::Stdout)),
        }
    }
    sinks.extend(url);
    sinks
}

/// A sink of the environment; one that is wrong is told.
fn of_environment(key: &str, word: &str, adjusted: &mut Vec<Adjusted>) -> Option<(String, Sink)> {
    match parse_sink(word) {
        Ok(sink) => Some((key.to_owned(), sink)),
        Err(why) => {
            let (key, used) = (key.to_owned(), format!("not used: {why}"));
            adjusted.push(Adjusted { key, given: without_secrets(word), used });
            None
        }
    }
}

fn token_file<F: Fn(&str) -> Option<OsString>>(flag: Option<PathBuf>, env: &Environment<F>) -> TokenFile {
    let set = flag.or_else(|| env.text(&["TOKEN_FILE"]).map(PathBuf::from)).map(TokenFile::Set);
    let platform = || env.text(&["TUIST_RUNNER_SA_TOKEN_PATH"]).map(|path| TokenFile::Platform(path.into()));
    set.or_else(platform).unwrap_or_else(|| TokenFile::Usual(USUAL_TOKEN_FILE.into()))
}

/// A sink. What is wrong and may hold a secret is no error, for an error shows what was given.
fn parse_sink(given: &str) -> Result<Sink, String> {
    let text = given.trim();
    if text.eq_ignore_ascii_case("stdout") {
        return Ok(Sink::Stdout);
    }
    match Target::parse(text) {
        Ok(target) => Ok(Sink::Network(target)),
        Err(why) if text.contains(['@', '?', '#']) => Ok(Sink::Withheld(without_secrets(text), why)),
        Err(why) => Err(format!("{why}; or stdout, loki+http://, loki+https://")),
    }
}

/// `key=value`, the key as Loki takes it.
fn parse_label(given: &str) -> Result<(String, String), String> {
    let pair = given.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
    let is_key = |key: &str| {
        let is_word = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_word && !key.is_empty() && !key.starts_with(|first: char| first.is_ascii_digit()) && !key.starts_with("__")
    };
    match pair.filter(|(key, value)| is_key(key) && (1..=1024).contains(&value.len())) {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("expected KEY=VALUE, the key of letters, digits and _".to_owned()),
    }
}

/// As Loki takes it: <https://grafana.com/docs/loki/latest/operations/multi-tenancy/>.
fn parse_tenant(given: &str) -> Result<String, String> {
    let is_taken = |byte: u8| byte.is_ascii_alphanumeric() || b"!-_.*'()|".contains(&byte);
    match (1..=150).contains(&given.len()) && given.bytes().all(is_taken) {
        true => Ok(given.to_owned()),
        false => Err("expected letters, digits and !-_.*'()|, 150 at most".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Args, Config};
    use super::*;

    fn config(flags: &[&str], env: &[(&str, &str)]) -> Config {
        let args = Args::try_parse_from(["runner-vitals"].iter().chain(flags)).unwrap();
        let get = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Config::new(args, get)
    }

    /// The sinks in words, stdout first.
    fn sinks(flags: &[&str], env: &[(&str, &str)]) -> String {
        let sinks = config(flags, env).sinks;
        let network = sinks.network.iter().map(ToString::to_string);
        sinks.is_stdout.then(|| "stdout".to_owned()).into_iter().chain(network).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn stdout_is_the_default_and_a_flag_wins() {
        let url = ("RUNNER_VITALS_URL", "https://v.example/vitals");
        let sink = ("RUNNER_VITALS_SINK", "http://localhost/a, loki+https://loki.example\tstdout");
        let flags = ["--sink", "https://v.example/b"];
        assert_eq!(sinks(&[], &[]), "stdout");
        assert_eq!(sinks(&[], &[url]), "stdout https://v.example/vitals");
        let three = "stdout http://localhost/a loki+https://loki.example/loki/api/v1/push";
        assert_eq!(sinks(&[], &[sink]), three);
        assert_eq!(sinks(&[], &[sink, url]), format!("{three} https://v.example/vitals"));
        assert_eq!(sinks(&flags, &[sink, url]), "https://v.example/b");
        assert_eq!(sinks(&[&flags[..], &flags, &["--sink", "STDOUT"]].concat(), &[]), "stdout https://v.example/b");
        assert_eq!(sinks(&[], &[("RUNNER_VITALS_SINK", "http://localhost")]), "http://localhost/");
    }

    #[test]
    fn a_path_in_loki_is_left_as_it_is() {
        for (given, target) in [
            ("loki+http://loki:3100", "/loki/api/v1/push"),
            ("LOKI+http://loki:3100/?a=b", "/loki/api/v1/push?a=b"),
            ("loki+http://alloy:9999/api/push", "/api/push"),
            ("http://vitals", "/"),
        ] {
            assert_eq!(Target::parse(given).unwrap().url.target, target, "{given}");
        }
    }

    #[test]
    fn a_wrong_sink_is_a_usage_error_or_told() {
        for sink in ["", "vitals", "ftp://a", "loki+ftp://a", "loki", "http://"] {
            assert!(Args::try_parse_from(["runner-vitals", "--sink", sink]).is_err(), "{sink}");
        }
        let env = [("RUNNER_VITALS_SINK", "ftp://a http://"), ("RUNNER_VITALS_URL", "v.example")];
        assert_eq!((sinks(&[], &env).as_str(), config(&[], &env).adjusted.len()), ("stdout", 3));
    }

    #[test]
    fn credentials_are_neither_used_nor_told() {
        let secret = "https://user:hunter2@v.example/x?key=hunter2";
        let env = [("RUNNER_VITALS_SINK", secret), ("RUNNER_VITALS_URL", secret)];
        let config = config(&[], &env);
        assert!(config.sinks.is_stdout && config.sinks.network.is_empty());
        assert!(!config.adjusted.is_empty() && !format!("{config:?}").contains("hunter2"), "{config:?}");
        for secret in [secret, "htps:/u:hunter2@v.example/x", "https://v.example/x#hunter2"] {
            let error = Args::try_parse_from(["runner-vitals", "--sink", secret]).unwrap_err();
            assert!(error.use_stderr() && !format!("{error} {error:?}").contains("hunter2"), "{error:?}");
            assert!(error.to_string().contains("v.example/x"), "{error}");
        }
    }

    #[test]
    fn flags_that_no_sink_has_a_use_for_are_told() {
        let flags = ["--label", "a=b", "--loki-tenant", "t", "--token-file", "/t", "--ca-file", "/c"];
        let told = |sinks: &[&str]| {
            let config = config(&[&flags[..], sinks].concat(), &[]);
            config
                .adjusted
                .into_iter()
                .map(|told| format!("{} {} {}", told.key, told.given, told.used))
                .collect::<Vec<_>>()
        };
        let of_loki = ["--label a=b not used: no sink is a Loki", "--loki-tenant t not used: no sink is a Loki"];
        let of_all = ["--token-file /t not used: no sink is a server", "--ca-file /c not used: no sink is a server"];
        assert_eq!(told(&[]), [of_all, of_loki].concat());
        assert_eq!(told(&["--sink", "https://v.example"]), of_loki);
        assert_eq!(told(&["--sink", "loki+https://l.example"]), [""; 0]);
        let env = [("RUNNER_VITALS_LABEL", "a=b"), ("RUNNER_VITALS_TOKEN_FILE", "/t")];
        assert_eq!(config(&[], &env).adjusted, []);
    }

    #[test]
    fn a_token_is_not_for_everybody() {
        let token = |env: &[(&str, &str)]| config(&[], env).sinks.token;
        let ours = ("RUNNER_VITALS_TOKEN_FILE", "/ours");
        let platform = ("TUIST_RUNNER_SA_TOKEN_PATH", "/platform");
        assert_eq!(token(&[ours, platform]), TokenFile::Set("/ours".into()));
        assert_eq!(token(&[platform]), TokenFile::Platform("/platform".into()));
        assert_eq!(token(&[("RUNNER_VITALS_TOKEN_FILE", "")]), TokenFile::Usual(USUAL_TOKEN_FILE.into()));
        assert!(token(&[ours]).is_for(Protocol::Loki) && !token(&[platform]).is_for(Protocol::Loki));
        assert!(token(&[]).is_for(Protocol::Http) && !token(&[]).is_for(Protocol::Loki));
    }

    #[test]
    fn a_sink_in_the_clear_is_told_to_get_no_token() {
        let told = |sink: &str, env: &[(&str, &str)]| config(&["--sink", sink], env).adjusted.len();
        let ours = [("RUNNER_VITALS_TOKEN_FILE", "/ours")];
        assert_eq!(told("http://v.example", &[]), 1);
        assert_eq!(told("http://127.0.0.1", &ours) + told("https://v.example", &ours), 0);
        assert_eq!((told("loki+http://v.example", &[]), told("loki+http://v.example", &ours)), (0, 1));
    }

    #[test]
    fn labels_are_as_loki_takes_them() {
        let flags = ["--label", "team=a b", "--label", "Region_1=x=y"];
        let pairs = [("team", "a b"), ("Region_1", "x=y")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(config(&flags, &[]).sinks.labels, pairs);
        let env = [("RUNNER_VITALS_LABEL", "team=a b,,Region_1=x=y, no-label=1"), ("RUNNER_VITALS_LOKI_TENANT", "a/b")];
        let config = config(&[], &env);
        assert_eq!((config.sinks.labels.as_slice(), config.adjusted.len()), (&pairs[..], 2));
        assert_eq!(config.sinks.loki_tenant, None);
        for label in ["a", "=b", "1a=b", "a-b=c", "__a=b", "a="] {
            assert!(Args::try_parse_from(["runner-vitals", "--label", label]).is_err(), "{label}");
        }
    }

    /// Loki would take one of them, and not say which.
    #[test]
    fn of_a_label_that_is_given_twice_the_last_is_used_and_the_others_are_told() {
        let flags =
            ["--label", "team=a", "--label", "os=x", "--label", "team=b", "--label", "team=b", "--label", "team=c"];
        let flags = [&flags[..], &["--sink", "loki+https://l.example"]].concat();
        let env = [("RUNNER_VITALS_LABEL", "team=a,os=x,team=b,team=b,team=c")];
        for (config, key) in [(config(&flags, &[]), "--label"), (config(&[], &env), "RUNNER_VITALS_LABEL")] {
            let labels: Vec<String> =
                config.sinks.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(labels, ["team=c", "os=x"]);
            let told = |given: &str, used: &str| Adjusted { key: key.into(), given: given.into(), used: used.into() };
            let first = told("team=a", "not used: team=b comes after it");
            assert_eq!(config.adjusted, [first, told("team=b", "not used: team=c comes after it")]);
        }
    }
}
