//! Settings: what the environment adds to the flags, which win.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Args as _, Command};

use super::senders::{Mode, given_mode};
use super::{Args, ConfigError};

/// What the environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The flags that it adds to those given: `--listen` is VITALS_HUB_LISTEN there.
    pub flags: Vec<OsString>,
    /// Its variables that a given flag excludes: by name, and that flag.
    pub outdone: Vec<(String, String)>,
}

/// What the environment says besides these flags, which win: over a variable of their own name, and over one that they do
/// not go with.
///
/// # Errors
/// When a switch is neither on nor off.
pub fn environment(given: &[OsString], lookup: impl Fn(&str) -> Option<OsString>) -> Result<Environment, ConfigError> {
    let command = Args::augment_args(Command::new(""));
    let auth = given_mode(given);
    let Environment { mut flags, mut outdone } = Environment::default();
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long() else { continue };
        let name = format!("VITALS_HUB_{}", long.to_ascii_uppercase().replace('-', "_"));
        let Some(value) = lookup(&name) else { continue };
        if is_given(given, long) {
            continue;
        }
        if let Some(flag) = excluding(&command, arg, given, auth.as_ref()) {
            outdone.push((name, flag));
            continue;
        }
        let mut flag = OsString::from(format!("--{long}"));
        if !matches!(arg.get_action(), ArgAction::SetTrue) {
            flag.push("=");
            flag.push(&value);
        } else if !is_on(&name, &value)? {
            continue;
        }
        flags.push(flag);
    }
    Ok(Environment { flags, outdone })
}

/// The given flag that this one does not go with.
fn excluding(command: &Command, arg: &Arg, given: &[OsString], auth: Option<&Mode>) -> Option<String> {
    if let (Some(mode), Some(long)) = (auth, arg.get_long())
        && !mode.uses(long)
    {
        return Some("--auth".to_owned());
    }
    // Each conflict stands at one of the two only.
    let conflicts = |one: &Arg, other: &Arg| command.get_arg_conflicts_with(one).contains(&other);
    let others = command.get_arguments().filter(|other| conflicts(arg, other) || conflicts(other, arg));
    others.filter_map(Arg::get_long).find(|long| is_given(given, long)).map(|long| format!("--{long}"))
}

fn is_given(given: &[OsString], long: &str) -> bool {
    given
        .iter()
        .filter_map(|word| word.to_str()?.strip_prefix("--"))
        .any(|word| word.split_once('=').map_or(word, |(flag, _)| flag) == long)
}

fn is_on(name: &str, value: &OsStr) -> Result<bool, ConfigError> {
    match value.to_string_lossy().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(ConfigError(format!("{name} is to be true or false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::AuthMode;
    use super::super::tests::config;
    use super::*;
    use crate::hub::named::NamedFile;

    #[test]
    fn the_environment_adds_what_no_flag_says() {
        let flags = |given: &[&str], set: &[(&str, &str)]| {
            let given: Vec<OsString> = given.iter().map(OsString::from).collect();
            let lookup = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            environment(&given, lookup).map(|told| told.flags)
        };
        const SET: &[(&str, &str)] = &[
            ("VITALS_HUB_AUTH", "tokens=a b"),
            ("VITALS_HUB_STDOUT", "true"),
            ("VITALS_HUB_DIR_MAX_AGE", "1d"),
            ("VITALS_HUB_HELP", "1"),
        ];
        assert_eq!(flags(&[], SET).unwrap(), ["--auth=tokens=a b", "--stdout", "--dir-max-age=1d"]);
        assert_eq!(flags(&["--auth", "none", "--stdout", "--dir-max-age=2d"], SET), Ok(Vec::new()));
        assert_eq!(flags(&[], &[("VITALS_HUB_STDOUT", "0")]), Ok(Vec::new()));
        assert!(flags(&[], &[("VITALS_HUB_STDOUT", "perhaps")]).is_err());
    }

    #[test]
    fn a_flag_wins_over_variables_that_it_excludes() {
        const SET: &[(&str, &str)] = &[
            ("AUTH", "kubernetes"),
            ("AUDIENCE", "a"),
            ("NAMESPACE", "n"),
            ("FLEET_LABEL", "l"),
            ("LOKI", "https://loki"),
            ("LOKI_TOKEN_FILE", "t"),
        ];
        let told = |given: &[&str]| {
            let words: Vec<OsString> = given.iter().map(OsString::from).collect();
            let lookup = |name: &str| {
                let set = SET.iter().find(|(key, _)| name.strip_prefix("VITALS_HUB_") == Some(key));
                set.map(|(_, value)| OsString::from(value))
            };
            let Environment { flags, outdone } = environment(&words, lookup).unwrap();
            let all: Vec<String> = flags.iter().map(|flag| flag.to_str().unwrap().to_owned()).collect();
            let all: Vec<&str> = all.iter().map(String::as_str).chain(given.iter().copied()).collect();
            let outdone: Vec<String> = outdone
                .iter()
                .map(|(name, by)| format!("{} {by}", name.strip_prefix("VITALS_HUB_").unwrap()))
                .collect();
            (config(&all).map(|config| config.auth), outdone)
        };
        let (auth, outdone) = told(&[]);
        assert!(matches!(auth, Ok(AuthMode::Kubernetes(_))) && outdone.is_empty(), "{auth:?} {outdone:?}");
        let (auth, outdone) = told(&["--auth", "none"]);
        assert_eq!(
            (auth, outdone),
            (
                Ok(AuthMode::None),
                ["AUDIENCE --auth", "NAMESPACE --auth", "FLEET_LABEL --auth"].map(str::to_owned).to_vec()
            )
        );
        let (auth, outdone) = told(&["--auth=tokens=f"]);
        assert_eq!((auth, outdone.len()), (Ok(AuthMode::Tokens(NamedFile::new("--auth tokens=", "f".into()))), 3));
        let (auth, outdone) = told(&["--auth", "jwks=f", "--issuer", "i"]);
        assert!(matches!(auth, Ok(AuthMode::Jwks(_))), "{auth:?}");
        assert_eq!(outdone, ["FLEET_LABEL --auth"]);
        for flags in [["--fleet-pattern", "(x)"], ["--fleet-pattern=(x)", "--stdout"]] {
            let (auth, outdone) = told(&flags);
            assert!(matches!(auth, Ok(AuthMode::Kubernetes(_))), "{auth:?}");
            assert_eq!(outdone, ["FLEET_LABEL --fleet-pattern"]);
        }
        // Whichever of the two says so.
        let (auth, outdone) = told(&["--loki-basic-auth-file", "b"]);
        assert!(auth.is_ok(), "{auth:?}");
        assert_eq!(outdone, ["LOKI_TOKEN_FILE --loki-basic-auth-file"]);
        // Flags among themselves, and what stands in the environment only.
        let (auth, _) = told(&["--auth", "none", "--audience", "b"]);
        assert!(auth.unwrap_err().contains("--audience does not go with --auth none"));
        let (auth, _) = told(&["--issuer", "i"]);
        assert!(auth.unwrap_err().contains("--issuer does not go with --auth kubernetes"));
        let (auth, _) = told(&["--fleet-pattern", "(x)", "--fleet-label", "m"]);
        assert!(auth.unwrap_err().contains("cannot be used with"));
    }
}
