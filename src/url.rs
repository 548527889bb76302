//! An `http` or `https` URL, as both ends of the network take it in a setting. Std only.
//!
//! What is taken is less than RFC 3986 allows: a host, a port, a path and a query. Credentials in a URL are refused: a
//! setting is told in lines and shown by `ps`, and a token has a file of its own.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Longer than any that works everywhere.
const MOST_BYTES: usize = 2048;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Through TLS.
    Https,
}

/// Where a server is, and what is asked of it. Its `Debug` and `Display` leave the query out: it may hold a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// The port, the scheme's own where none was given.
    pub port: u16,
    /// The path, `/` where none was given, and the query behind it with its `?`.
    pub target: String,
}

/// Why a text is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It begins with neither `http://` nor `https://`.
    Scheme,
    /// It has a user or a password in it.
    Credentials,
    /// There is no host, or it holds what a host cannot.
    Host,
    /// The port is no number from 1 to 65535.
    Port,
    /// Path or query hold a byte that has to be escaped, or there is a fragment.
    Path,
    /// It is longer than 2048 bytes.
    TooLong,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "expected http:// or https://",
            Self::Credentials => "credentials do not belong into a URL",
            Self::Host => "no host, or not one",
            Self::Port => "expected a port from 1 to 65535",
            Self::Path => "a character that has to be escaped, or a fragment",
            Self::TooLong => "longer than 2048 bytes",
        })
    }
}

impl std::error::Error for UrlError {}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MOST_BYTES {
            return Err(UrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = Scheme::of(scheme).ok_or(UrlError::Scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).ok_or(UrlError::Host)?;
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        let (host, port) = host_and_port(authority)?;
        let port = port.map_or(Ok(scheme.port()), |port| parse_port(port).ok_or(UrlError::Port))?;
        if !target.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\')) {
            return Err(UrlError::Path);
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { scheme, host, port, target: format!("{slash}{target}") })
    }

    /// Whether it leads to this machine: an address of the loopback, or the name `localhost`, which is one without
    /// a lookup (RFC 6761, 6.3).
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.host.parse() {
            Ok(address) => IpAddr::is_loopback(&address),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Whether what is sent there can be read on the way: in the clear, and beyond this machine.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.scheme == Scheme::Http && !self.is_loopback()
    }

    /// The path without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// As a `Host` header names it: the port only where it is not the scheme's own.
    #[must_use]
    pub fn host_header(&self) -> String {
        let host = self.bracketed();
        if self.port == self.scheme.port() { host } else { format!("{host}:{}", self.port) }
    }

    /// Host and port, as CONNECT names them.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.host_header(), self.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Scheme {
    /// As a URL has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| name.eq_ignore_ascii_case(scheme.name()))
    }
}

/// What may be told of a text that was given for a URL, also of one that is none: nothing of a user, a password or a
/// query.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    // First: a password can hold what ends a path.
    let whole = rest.rsplit('@').next().unwrap_or_default();
    let rest = whole.split(['?', '#']).next().unwrap_or_default();
    let cut = if rest.len() < whole.len() { "?…" } else { "" };
    let colons = if scheme.is_empty() { "" } else { "://" };
    // Where the scheme itself is no word, there is no telling what it is.
    let is_word = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+');
    let scheme = if is_word { scheme } else { "" };
    format!("{scheme}{colons}{rest}{cut}")
}

fn host_and_port(authority: &str) -> Result<(String, Option<&str>), UrlError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(UrlError::Host)?;
        let address: Ipv6Addr = host.parse().map_err(|_| UrlError::Host)?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(UrlError::Host)?) };
        return Ok((address.to_string(), port));
    }
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(is_host) {
        return Err(UrlError::Host);
    }
    Ok((host.to_ascii_lowercase(), port))
}

fn parse_port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_plain && *port > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in() {
        for (text, shown, target) in [
            ("http://vitals", "http://vitals/", "/"),
            ("HTTPS://Vitals.Example:443/a/b?c=d", "https://vitals.example/a/b", "/a/b?c=d"),
            ("https://vitals:8443", "https://vitals:8443/", "/"),
            ("http://127.0.0.1:80?x", "http://127.0.0.1/", "/?x"),
            ("http://[::1]:8080/v", "http://[::1]:8080/v", "/v"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.target.as_str()), (shown, target), "{text}");
            assert_eq!(format!("{url:?}"), format!("{shown:?}"), "nothing of the query");
        }
        assert_eq!(Url::parse("https://[fe80::1]").unwrap().authority(), "[fe80::1]:443");
    }

    #[test]
    fn what_is_none_is_refused() {
        use UrlError::{Credentials, Host, Path, Port, Scheme, TooLong};
        for (text, error) in [
            ("", Scheme),
            ("vitals.example", Scheme),
            ("ftp://vitals", Scheme),
            ("loki+http://vitals", Scheme),
            ("http://user:pass@vitals/", Credentials),
            ("http://", Host),
            ("http://:80", Host),
            ("http://a b/", Host),
            ("http://a\r\nX: y/", Host),
            ("http://[::1", Host),
            ("http://[::1]80", Host),
            ("http://a:0", Port),
            ("http://a:", Port),
            ("http://a:+80", Port),
            ("http://a:65536", Port),
            ("http://a/b c", Path),
            ("http://a/b\r\nX: y", Path),
            ("http://a/b#c", Path),
            ("http://a/é", Path),
            (&format!("http://a/{}", "x".repeat(MOST_BYTES)), TooLong),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_safe_in_the_clear() {
        for (text, is_exposed) in [
            ("http://127.0.0.1", false),
            ("http://127.9.9.9:1", false),
            ("http://[::1]", false),
            ("http://LOCALHOST", false),
            ("http://localhost.example", true),
            ("http://127.0.0.1.example", true),
            ("http://127.1", true),
            ("http://0.0.0.0", true),
            ("http://10.0.0.1", true),
            ("https://vitals.example", false),
        ] {
            assert_eq!(Url::parse(text).unwrap().is_exposed(), is_exposed, "{text}");
        }
    }

    #[test]
    fn secrets_are_left_out_of_what_is_told() {
        for (text, told) in [
            ("https://user:pa@ss@vitals/v", "https://vitals/v"),
            ("https://vitals/v?key=secret", "https://vitals/v?…"),
            ("user:secret@vitals", "vitals"),
            ("htps:/u:secret@vitals", "vitals"),
            ("https://u:pa?se#cret@vitals/v", "https://vitals/v"),
            ("https://vitals/v#key=secret", "https://vitals/v?…"),
            ("x?key=secret://b", "://b"),
            ("a@secret://b", "://b"),
            ("vitals", "vitals"),
        ] {
            assert_eq!(without_secrets(text), told);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_url_or_none(text in "\\PC*|(https?://)?[a-z\\[\\]:@/?#.0-9 \\r\\n]*") {
            if let Ok(url) = Url::parse(&text) {
                prop_assert!(url.target.starts_with('/') && url.target.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(!url.host.is_empty() && url.port > 0);
                let again = Url::parse(&format!("{}://{}{}", url.scheme.name(), url.authority(), url.target));
                prop_assert_eq!(again, Ok(url));
            }
            prop_assert!(!without_secrets(&text).contains('@'));
        }
    }
}
