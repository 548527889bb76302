//! Settings: the way to Loki.

use std::path::PathBuf;

use super::ConfigError;
use crate::hub::credentials::parse_tenant;
use crate::hub::named::NamedFile;
use crate::hub::serve::out::loki::{Credentials, Patience, Settings};
use crate::url::{Url, without_secrets};

/// The way to Loki.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LokiArgs {
    /// Push lines to Loki, or to Alloy's receiver of its pushes; without a path: /loki/api/v1/push
    #[arg(long, value_name = "URL")]
    loki: Option<String>,
    /// Label of every stream in Loki, besides job, fleet and env; repeat it for more
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = parse_label, requires = "loki")]
    loki_label: Vec<(String, String)>,
    /// Tenant in Loki: the header X-Scope-OrgID
    #[arg(long, value_name = "ID", requires = "loki", value_parser = parse_tenant)]
    loki_tenant: Option<String>,
    /// File with a bearer token for Loki
    #[arg(long, value_name = "FILE", requires = "loki", conflicts_with = "loki_basic_auth_file")]
    loki_token_file: Option<PathBuf>,
    /// File with user:password for Loki
    #[arg(long, value_name = "FILE", requires = "loki")]
    loki_basic_auth_file: Option<PathBuf>,
}

impl LokiArgs {
    /// What these settings are together; `None` when nothing goes there.
    ///
    /// # Errors
    /// When the URL is none. It is read here, for an error of the flag itself would show what is secret in it.
    pub(super) fn settings(self, env: Option<String>) -> Result<Option<Settings>, ConfigError> {
        let Some(given) = self.loki else { return Ok(None) };
        let url = Url::parse(&given);
        let url = url.map_err(|error| ConfigError(format!("--loki {}: {error}", without_secrets(&given))))?;
        let token = self.loki_token_file.map(|path| Credentials::Bearer(NamedFile::new("--loki-token-file", path)));
        let basic = self.loki_basic_auth_file;
        let basic = basic.map(|path| Credentials::Basic(NamedFile::new("--loki-basic-auth-file", path)));
        Ok(Some(Settings {
            url,
            env,
            labels: self.loki_label,
            tenant: self.loki_tenant,
            credentials: token.or(basic),
            patience: Patience::default(),
        }))
    }
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::OutMode;
    use super::super::tests::config;

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
}
