//! Where a macOS guest finds the vitals endpoint when nobody set it: beside the one that dispatches its jobs. Pure.

/// The file with the token, where none is set.
pub const DARWIN_TOKEN_FILE: &str = "/etc/tuist-sa-token";

/// The last segment of the dispatch endpoint's path, and that of the vitals endpoint.
const DISPATCH: &str = "dispatch";
const VITALS: &str = "vitals";

/// The vitals endpoint beside a dispatch endpoint (`TUIST_RUNNER_DISPATCH_URL`): the same URL with another last segment,
/// `https://HOST/api/internal/runners/vitals`. A query or fragment is left out: it was the dispatcher's.
///
/// `None` for what is no `http` or `https` URL with a host, or whose path does not end in `dispatch`.
#[must_use]
pub fn vitals_url(dispatch: &str) -> Option<String> {
    let dispatch = dispatch.trim();
    let url = dispatch.split(['?', '#']).next().unwrap_or_default();
    let url = url.strip_suffix('/').unwrap_or(url);
    let (folder, last) = url.rsplit_once('/')?;
    let (scheme, rest) = folder.split_once("://")?;
    let is_http = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    let has_host = !rest.split('/').next().unwrap_or_default().is_empty();
    let is_clean = url.bytes().all(|byte| byte.is_ascii_graphic());
    (last == DISPATCH && is_http && has_host && is_clean).then(|| format!("{folder}/{VITALS}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_segment_is_replaced() {
        for (dispatch, vitals) in [
            ("https://a.dev/api/internal/runners/dispatch", Some("https://a.dev/api/internal/runners/vitals")),
            ("http://[::1]:8080/dispatch", Some("http://[::1]:8080/vitals")),
            (" https://a.dev/dispatch/ \n", Some("https://a.dev/vitals")),
            ("https://a.dev/dispatch/dispatch", Some("https://a.dev/dispatch/vitals")),
            ("HTTPS://a.dev/x/dispatch?fleet=a/b#c", Some("HTTPS://a.dev/x/vitals")),
            ("https://dispatch", None),
            ("https:///dispatch", None),
            ("https://a.dev/dispatcher", None),
            ("https://a.dev/x?dispatch", None),
            ("https://a.dev/x/dispatch//", None),
            ("https://a.dev/a b/dispatch", None),
            ("ftp://a.dev/dispatch", None),
            ("a.dev/dispatch", None),
            ("dispatch", None),
            ("", None),
        ] {
            assert_eq!(vitals_url(dispatch).as_deref(), vitals, "{dispatch:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_sibling_or_nothing(text in ".{0,80}") {
            if let Some(url) = vitals_url(&text) {
                prop_assert!(url.ends_with("/vitals") && text.contains(url.strip_suffix("vitals").unwrap_or_default()));
            }
        }
    }
}
