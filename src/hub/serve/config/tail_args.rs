//! Settings: Loki as where lines of runners are that do not send here.

use std::path::PathBuf;

use super::ConfigError;
use crate::hub::credentials::{Credentials, parse_tenant};
use crate::hub::named::NamedFile;
use crate::hub::serve::tail::Settings;
use crate::url::{Url, without_secrets};

/// Where else lines of runners are.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TailArgs {
    /// Ask Loki every few seconds for what Pod logs bring there: /fleet, /metrics and /runners/ID have it too
    #[arg(long, value_name = "URL", requires = "tail_query")]
    tail_loki: Option<String>,
    /// The lines that this log query finds, as {namespace="runners"} |= "RUNNER_VITALS"
    #[arg(long, value_name = "LOGQL", requires = "tail_loki")]
    tail_query: Option<String>,
    /// Tenant in that Loki: the header X-Scope-OrgID
    #[arg(long, value_name = "ID", requires = "tail_loki", value_parser = parse_tenant)]
    tail_loki_tenant: Option<String>,
    /// File with a bearer token for that Loki
    #[arg(long, value_name = "FILE", requires = "tail_loki", conflicts_with = "tail_loki_basic_auth_file")]
    tail_loki_token_file: Option<PathBuf>,
    /// File with user:password for that Loki
    #[arg(long, value_name = "FILE", requires = "tail_loki")]
    tail_loki_basic_auth_file: Option<PathBuf>,
}

impl TailArgs {
    /// What these settings are together; `None` when it is not asked.
    ///
    /// # Errors
    /// When the URL is none; what is secret in it is not in the error.
    pub(super) fn settings(self) -> Result<Option<Settings>, ConfigError> {
        let (Some(given), Some(query)) = (self.tail_loki, self.tail_query) else { return Ok(None) };
        let url = Url::parse(&given);
        let url = url.map_err(|error| ConfigError(format!("--tail-loki {}: {error}", without_secrets(&given))))?;
        let token = self.tail_loki_token_file;
        let token = token.map(|path| Credentials::Bearer(NamedFile::new("--tail-loki-token-file", path)));
        let basic = self.tail_loki_basic_auth_file;
        let basic = basic.map(|path| Credentials::Basic(NamedFile::new("--tail-loki-basic-auth-file", path)));
        let credentials = token.or(basic);
        Ok(Some(Settings { url, query, tenant: self.tail_loki_tenant, credentials }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;

    #[test]
    fn a_tail_has_a_query_and_no_secret_in_its_url() {
        let tail = |words: &[&str]| config(&[&["--auth", "none"], words].concat()).map(|config| config.tail);
        let settings =
            tail(&["--tail-loki", "http://loki:3100", "--tail-query", "{a=\"b\"}", "--tail-loki-tenant", "t"]);
        let settings = settings.unwrap().unwrap();
        assert_eq!((settings.query.as_str(), settings.tenant.as_deref()), ("{a=\"b\"}", Some("t")));
        for words in [
            &["--tail-loki", "http://loki:3100"][..],
            &["--tail-query", "{a=\"b\"}"],
            &["--tail-loki-tenant", "t"],
            &["--tail-loki", "https://user:secret@loki", "--tail-query", "{a=\"b\"}"],
        ] {
            let error = tail(words).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
        assert_eq!(tail(&[]), Ok(None));
    }
}
