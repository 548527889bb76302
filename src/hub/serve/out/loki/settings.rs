//! Where to push, as whom, and under which labels.

use std::fmt;
use std::time::Duration;

use http::HeaderValue;

use crate::hub::credentials::Credentials;
use crate::net::loki::is_label_name;
use crate::url::Url;

/// Where Loki takes pushes, where a URL has no path.
pub const PUSH_PATH: &str = "/loki/api/v1/push";

/// `job`, where nothing else is set: that of lines that guests push themselves.
pub const JOB: &str = "runner-vitals";

/// What belongs to an entry besides its labels, so that none may have its name.
const METADATA: [&str; 3] = ["runner", "boot", "recv"];

/// Where to push, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Loki, or what passes pushes on to it. Without a path it is [`PUSH_PATH`].
    pub url: Url,
    /// The `env` label: the hub's own.
    pub env: Option<String>,
    /// Labels besides `fleet` and `env`. `job` is [`JOB`] unless it is among them.
    pub labels: Vec<(String, String)>,
    /// `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// Who the hub is to it.
    pub credentials: Option<Credentials>,
    /// How long anything may take.
    pub patience: Patience,
}

/// How long is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the answer to a push: Loki takes a fraction of a second.
    pub push: Duration,
    /// Until lines that are tried all the while are not out.
    pub put: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { push: Duration::from_secs(5), put: Duration::from_secs(10) }
    }
}

/// Why these settings cannot be pushed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LokiError {
    /// A label has a name or a value that Loki would not take, a name that is taken, or one that is there twice.
    Label {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The tenant is nothing that a header can have.
    Tenant,
    /// The credentials would be sent in the clear over a network.
    Exposed(Url),
}

impl fmt::Display for LokiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { name, problem } => write!(f, "--loki-label {name:?}: {problem}"),
            Self::Tenant => f.write_str("--loki-tenant: a tenant is a word that a header can have"),
            Self::Exposed(url) => write!(f, "--loki {url}: credentials in the clear can be read on the way: use https"),
        }
    }
}

impl std::error::Error for LokiError {}

/// The URL with the path that pushes go to.
pub(super) fn push_url(mut url: Url) -> Url {
    if url.path() == "/" {
        url.target = url.target.replacen('/', PUSH_PATH, 1);
    }
    url
}

/// The tenant as a header.
pub(super) fn tenant_header(tenant: &str) -> Result<HeaderValue, LokiError> {
    let header = HeaderValue::from_str(tenant).ok().filter(|tenant| !tenant.is_empty());
    header.ok_or(LokiError::Tenant)
}

/// The labels of every stream but its fleet.
pub(super) fn stream_labels(
    env: Option<String>,
    labels: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, LokiError> {
    let job = ("job".to_owned(), JOB.to_owned());
    let env = env.filter(|env| !env.is_empty()).map(|env| ("env".to_owned(), env));
    let has_job = labels.iter().any(|(name, _)| name == "job");
    let mut all: Vec<_> = Some(job).filter(|_| !has_job).into_iter().chain(env).collect();
    for (name, value) in labels {
        let problem = match &*name {
            name if !is_label_name(name) => {
                Some("a name is letters, digits and _, and does not begin with a digit or __")
            }
            "fleet" | "env" => Some("the hub sets it itself"),
            name if METADATA.contains(&name) => Some("each entry has that of its own"),
            name if all.iter().any(|(other, _)| other == name) => Some("it is there twice"),
            _ if value.is_empty() => Some("its value is empty"),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(LokiError::Label { name, problem });
        }
        all.push((name, value));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_hubs_and_what_is_set() {
        let labels = |env: &str, set: &[(&str, &str)]| {
            let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            stream_labels(Some(env.to_owned()), set)
                .map(|all| all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
        };
        for (env, set, all) in [
            ("", &[][..], "job=runner-vitals"),
            ("production", &[("os", "macos")], "job=runner-vitals env=production os=macos"),
            ("", &[("job", "x"), ("team", "a b")], "job=x team=a b"),
        ] {
            assert_eq!(labels(env, set).unwrap(), all);
        }
        for set in [
            &[("a.b", "x")][..],
            &[("__a", "x")],
            &[("", "x")],
            &[("fleet", "x")],
            &[("env", "x")],
            &[("runner", "x")],
            &[("recv", "x")],
            &[("a", "")],
            &[("a", "x"), ("a", "y")],
            &[("job", "x"), ("job", "y")],
        ] {
            assert!(matches!(labels("production", set), Err(LokiError::Label { .. })), "{set:?}");
        }
    }
}
