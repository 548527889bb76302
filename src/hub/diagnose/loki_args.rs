//! Settings: Loki as a source.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::builder::NonEmptyStringValueParser;

use crate::hub::credentials::{Credentials, parse_tenant};
use crate::hub::named::NamedFile;
use crate::hub::trail::loki::question::{of_pod, parse_time, since_1970_ns};
use crate::hub::trail::loki::{Question, Settings};
use crate::net::client::Matcher;
use crate::url::{Url, without_secrets};

/// How far back is looked where nothing else is said: a death is asked for on the same day.
const SINCE: Duration = Duration::from_secs(24 * 3600);

/// Loki takes entries that are so far ahead of its clock: those of a guest whose clock is fast.
const AHEAD: Duration = Duration::from_secs(600);

/// How long an answer may take: as long as Loki itself lets a query take.
const WITHIN: Duration = Duration::from_secs(60);

/// Which Loki is asked for what.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LokiArgs {
    /// Ask Loki, or a gateway before it; with a path of its own: /loki/api/v1/query_range below that
    ///
    /// Without --pod and --query it is asked for the lines of the stream {job="runner-vitals"}: for diagnose those of --runner, or all with --all.
    #[arg(long, value_name = "URL")]
    pub loki: Option<String>,
    /// The lines of this Pod, where it is a label of streams: {pod="NAME"} |= "RUNNER_VITALS"
    #[arg(long, value_name = "NAME", requires = "loki", group = "what", value_parser = NonEmptyStringValueParser::new())]
    pub pod: Option<String>,
    /// The lines that this log query finds
    #[arg(long, value_name = "LOGQL", requires = "loki", group = "what", value_parser = NonEmptyStringValueParser::new())]
    pub query: Option<String>,
    /// How far back, from now or from --to: 90m, 6h, 2days [default: 24h]
    #[arg(long, value_name = "DURATION", requires = "loki", conflicts_with = "from", value_parser = parse_since)]
    pub since: Option<Duration>,
    /// Lines from this time on, like 2026-06-04T12:00:00Z or 2026-06-04T14:00:00+02:00 (RFC 3339), by Loki's clock
    #[arg(long, value_name = "TIME", requires = "loki", value_parser = parse_time)]
    pub from: Option<SystemTime>,
    /// Lines up to this time, in the same form; who wrote lines until then is taken to live on behind it
    ///
    /// Without it, up to now; lines of a fast clock, ten minutes ahead, are found too. With --since it is where that counts back from.
    ///
    /// [default: now]
    #[arg(long, value_name = "TIME", requires = "loki", value_parser = parse_time)]
    pub to: Option<SystemTime>,
    /// Tenant in Loki: the header X-Scope-OrgID
    #[arg(long, alias = "tenant", value_name = "ID", requires = "loki", value_parser = parse_tenant)]
    pub loki_tenant: Option<String>,
    /// File with a bearer token for Loki
    #[arg(long, value_name = "FILE", requires = "loki", conflicts_with = "loki_basic_auth_file")]
    pub loki_token_file: Option<PathBuf>,
    /// File with user:password for Loki
    #[arg(long, value_name = "FILE", requires = "loki")]
    pub loki_basic_auth_file: Option<PathBuf>,
    /// Certificates to trust instead of the system's, PEM
    #[arg(long, value_name = "FILE", requires = "loki")]
    pub ca_file: Option<PathBuf>,
}

impl LokiArgs {
    /// What else to try where nothing was found.
    pub(crate) fn hint(&self) -> &'static str {
        match (&self.loki, &self.pod, &self.query) {
            (Some(_), Some(_), _) => "; where the Pod is no label of streams, ask without --pod",
            (Some(_), None, None) => "; lines under other labels are found by --query",
            _ => "",
        }
    }

    /// Whom to ask for what; `None` where Loki is not asked. `else_query` is for where neither a Pod nor a query is named.
    ///
    /// # Errors
    /// What is wrong with a setting, without what is secret in it.
    pub(crate) fn question(
        &self,
        now: SystemTime,
        else_query: Option<String>,
    ) -> Result<Option<(Settings, Question)>, String> {
        let Some(given) = &self.loki else { return Ok(None) };
        let url = Url::parse(given).map_err(|error| format!("--loki {}: {error}", without_secrets(given)))?;
        let query = match (&self.query, &self.pod) {
            (Some(query), _) => query.clone(),
            (None, Some(pod)) => of_pod(pod),
            (None, None) => else_query.ok_or("--loki: expected --runner, --pod, --query or --all with it")?,
        };
        let ahead = now.checked_add(AHEAD).unwrap_or(now);
        let from = match self.from {
            Some(from) => from,
            None => self.to.unwrap_or(now).checked_sub(self.since.unwrap_or(SINCE)).unwrap_or(SystemTime::UNIX_EPOCH),
        };
        let question = Question { query, from_ns: since_1970_ns(from), to_ns: since_1970_ns(self.to.unwrap_or(ahead)) };
        if question.from_ns >= question.to_ns {
            return Err("--from: it is not before --to".to_owned());
        }
        let file = |setting, path: &Option<PathBuf>| path.clone().map(|path| NamedFile::new(setting, path));
        let token = file("--loki-token-file", &self.loki_token_file).map(Credentials::Bearer);
        let basic = file("--loki-basic-auth-file", &self.loki_basic_auth_file).map(Credentials::Basic);
        let credentials = token.or(basic);
        if credentials.is_some() && url.is_exposed() {
            return Err(format!("--loki {url}: credentials in the clear can be read on the way: use https"));
        }
        let settings = Settings {
            url,
            tenant: self.loki_tenant.clone(),
            credentials,
            ca_file: self.ca_file.clone(),
            proxies: Matcher::from_env(),
            within: WITHIN,
        };
        Ok(Some((settings, question)))
    }
}

fn parse_since(text: &str) -> Result<Duration, String> {
    let since = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if since.is_zero() { Err("nothing is asked for".to_owned()) } else { Ok(since) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        loki: LokiArgs,
    }

    fn asked(flags: &str) -> Result<Option<(Settings, Question)>, String> {
        let cli =
            Cli::try_parse_from(flags.split(' ').filter(|flag| !flag.is_empty())).map_err(|error| error.to_string())?;
        cli.loki.question(parse_time("2026-06-04T12:00:00Z").unwrap(), None)
    }

    #[test]
    fn a_stretch_of_time_is_what_is_said() {
        let stretch =
            |flags: &str| asked(&format!("x --loki http://loki --pod p {flags}")).unwrap().unwrap().1.to_string();
        for (flags, from, to) in [
            ("", "2026-06-03T12:00:00.", "2026-06-04T12:10:00."),
            ("--since 1h30m", "2026-06-04T10:30:00.", "2026-06-04T12:10:00."),
            ("--since 1h --to 2026-06-01T00:00:00Z", "2026-05-31T23:00:00.", "2026-06-01T00:00:00."),
            ("--from 2026-06-01T02:00:00+02:00", "2026-06-01T00:00:00.", "2026-06-04T12:10:00."),
            ("--since 1000years", "1970-01-01T", "2026-06-04T12:10:00."),
        ] {
            let stretch = stretch(flags);
            let (_, times) = stretch.split_once(" from ").unwrap();
            let (began, ended) = times.split_once(" to ").unwrap();
            assert!(began.starts_with(from) && ended.starts_with(to), "{flags}: {stretch}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (flags, says) in [
            ("x --pod p", "--loki"),
            ("x --loki http://loki", "--pod"),
            ("x --loki http://loki --pod p --query q", "cannot be used with"),
            ("x --loki http://loki --pod p --since 1h --from 2026-06-01T00:00:00Z", "cannot be used with"),
            ("x --loki http://loki --pod p --loki-token-file a --loki-basic-auth-file b", "cannot be used with"),
            ("x --loki http://loki --pod p --to 2026-06-01T00:00:00Z --from 2026-06-02T00:00:00Z", "not before"),
            ("x --loki http://loki --pod p --since tomorrow", "--since"),
            ("x --loki http://loki --pod p --since 0s", "'--since <DURATION>': nothing"),
            ("x --loki http://loki --pod=", "'--pod <NAME>'"),
            ("x --loki http://loki --query=", "'--query <LOGQL>'"),
            ("x --loki http://loki --pod p --loki-tenant=", "'--loki-tenant <ID>': a tenant is"),
            ("x --loki http://loki?k=secret --pod p --loki-token-file f", "--loki http://loki"),
            ("x --loki http://u:secret@loki?key=secret --pod p", "credentials do not belong"),
        ] {
            let error = asked(flags).unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{flags}: {error}");
        }
        assert!(asked("x").unwrap().is_none());
    }
}
