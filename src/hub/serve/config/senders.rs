//! Settings: how a sender is known, and which part of that is a runner's name and fleet.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ValueEnum;

use super::ConfigError;
use crate::hub::named::NamedFile;
use crate::hub::serve::auth::jwks::{self, Expected, Source};
use crate::hub::serve::auth::kubernetes::{self, Cluster};
use crate::hub::serve::auth::naming::{FleetFrom, FleetPattern, NameFrom, Namespaces, Naming, is_namespace};

/// How a sender is known.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SenderArgs {
    /// How to know who sends: kubernetes, jwks=FILE-or-URL, tokens=FILE, or none (on loopback only)
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    auth: Mode,
    /// For whom a token has to be, with kubernetes and jwks, which take no token without it
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// Who has to have issued a token, with jwks, which takes no token without it
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// How the API is reached, with kubernetes [default: as the Pod that this runs in]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the runners, with kubernetes and jwks, which take no token without it; repeat it for more; '*' is any
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    namespace: Vec<String>,
    /// What becomes runner.name, with kubernetes and jwks [default: pod]
    #[arg(long, value_name = "WHICH")]
    name_from: Option<Name>,
    /// Label of the runner's Pod that becomes runner.fleet, with kubernetes
    #[arg(long, value_name = "KEY", conflicts_with = "fleet_pattern")]
    fleet_label: Option<String>,
    /// Regular expression for the whole runner.name, whose first group becomes runner.fleet, with kubernetes and jwks
    #[arg(long, value_name = "REGEX", value_parser = FleetPattern::parse)]
    fleet_pattern: Option<FleetPattern>,
}

/// How a sender is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Not at all.
    None,
    /// By a file of hashed tokens.
    Tokens(NamedFile),
    /// By asking the cluster.
    Kubernetes(kubernetes::Settings),
    /// By keys that are known beforehand.
    Jwks(jwks::Settings),
}

/// What `--auth` says.
#[derive(Clone, Debug)]
pub(super) enum Mode {
    None,
    Tokens(PathBuf),
    Kubernetes,
    /// A path or a URL, which is read later: an error of the flag itself would show what is secret in it.
    Jwks(String),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// That of the Pod
    Pod,
    /// That of the service account
    ServiceAccount,
}

impl SenderArgs {
    /// What these settings are together.
    pub(super) fn mode(self) -> Result<AuthMode, ConfigError> {
        self.only_what_is_used()?;
        let naming = |namespaces| Naming {
            namespaces,
            name_from: match self.name_from {
                None | Some(Name::Pod) => NameFrom::Pod,
                Some(Name::ServiceAccount) => NameFrom::ServiceAccount,
            },
            fleet_from: match (self.fleet_label, self.fleet_pattern) {
                (Some(label), _) => FleetFrom::Label(label),
                (None, Some(pattern)) => FleetFrom::Pattern(pattern),
                (None, None) => FleetFrom::Nothing,
            },
        };
        let said = |what: Option<String>, flag| {
            let what = what.filter(|what| !what.is_empty());
            what.ok_or_else(|| ConfigError(format!("--auth checks no token without {flag}")))
        };
        match self.auth {
            Mode::None => Ok(AuthMode::None),
            Mode::Tokens(path) => Ok(AuthMode::Tokens(NamedFile::new("--auth tokens=", path))),
            Mode::Kubernetes => {
                let audience = said(self.audience, "--audience")?;
                let cluster = self.kubeconfig.map_or(Cluster::Own, Cluster::Kubeconfig);
                let naming = naming(namespaces(self.namespace)?);
                Ok(AuthMode::Kubernetes(kubernetes::Settings { cluster, audience, naming }))
            }
            Mode::Jwks(source) => {
                let source = Source::parse(&source).map_err(|error| ConfigError(format!("--auth jwks: {error}")))?;
                let (issuer, audience) = (said(self.issuer, "--issuer")?, said(self.audience, "--audience")?);
                let naming = naming(namespaces(self.namespace)?);
                Ok(AuthMode::Jwks(jwks::Settings { source, expected: Expected { issuer, audience }, naming }))
            }
        }
    }

    /// A setting that changes nothing is a misunderstanding.
    fn only_what_is_used(&self) -> Result<(), ConfigError> {
        for (flag, is_given) in [
            ("audience", self.audience.is_some()),
            ("issuer", self.issuer.is_some()),
            ("kubeconfig", self.kubeconfig.is_some()),
            ("namespace", !self.namespace.is_empty()),
            ("name-from", self.name_from.is_some()),
            ("fleet-label", self.fleet_label.is_some()),
            ("fleet-pattern", self.fleet_pattern.is_some()),
        ] {
            if is_given && !self.auth.uses(flag) {
                return Err(ConfigError(format!("--{flag} does not go with --auth {}", self.auth.word())));
            }
        }
        Ok(())
    }
}

impl Mode {
    /// Whether this flag can change anything with it.
    pub(super) fn uses(&self, long: &str) -> bool {
        let (asks, has_keys) = (matches!(self, Self::Kubernetes), matches!(self, Self::Jwks(_)));
        match long {
            "audience" | "namespace" | "name-from" | "fleet-pattern" => asks || has_keys,
            "issuer" => has_keys,
            "kubeconfig" | "fleet-label" => asks,
            _ => true,
        }
    }

    /// How it is called; a source of keys could show what is secret in it.
    fn word(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tokens(_) => "tokens",
            Self::Kubernetes => "kubernetes",
            Self::Jwks(_) => "jwks",
        }
    }
}

/// What `--auth` says among these words, if that is a mode.
pub(super) fn given_mode(given: &[OsString]) -> Option<Mode> {
    let words: Vec<&str> = given.iter().filter_map(|word| word.to_str()).collect();
    let behind = words.windows(2).find_map(|pair| pair.strip_prefix(&["--auth"])?.first().copied());
    let value = words.iter().find_map(|word| word.strip_prefix("--auth=")).or(behind)?;
    parse_mode(value).ok()
}

/// Where runners live, which has to be said: whoever can make a Pod elsewhere could give it any runner's name.
fn namespaces(names: Vec<String>) -> Result<Namespaces, ConfigError> {
    let wrong = |what: String| Err(ConfigError(format!("--namespace {what}")));
    match &names[..] {
        [] => {
            let why = "--auth checks no token without --namespace, where the runners live: \
                       elsewhere anybody could have a Pod of a runner's name ('*' takes tokens of all namespaces)";
            Err(ConfigError(why.to_owned()))
        }
        [all] if all == "*" => Ok(Namespaces::All),
        _ => match names.iter().find(|name| !is_namespace(name)) {
            Some(star) if star == "*" => wrong("'*' is all of them: it goes with no other".to_owned()),
            Some(name) => wrong(format!("{name:?}: no namespace has such a name")),
            None => Ok(Namespaces::Of(names)),
        },
    }
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    match text.split_once('=') {
        None if text == "none" => Ok(Mode::None),
        None if text == "kubernetes" => Ok(Mode::Kubernetes),
        Some(("tokens", file)) if !file.is_empty() => Ok(Mode::Tokens(file.into())),
        Some(("jwks", source)) if !source.is_empty() => Ok(Mode::Jwks(source.to_owned())),
        _ => Err("it is kubernetes, jwks=FILE-or-URL, tokens=FILE or none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

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
}
