//! From what a token proves to who it is: `runner.name` and `runner.fleet`. Pure.
//!
//! What is proven is a service account and mostly the Pod that the token was made for
//! (<https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>). A name is one within a namespace
//! only: whoever may make Pods in another one could have any, so [`Namespaces`] have to be said.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::Refusal;

/// A Kubernetes name is a DNS subdomain: no longer than this (RFC 1123).
const MOST_NAME_BYTES: usize = 253;

/// What a compiled pattern may weigh.
const MOST_PATTERN_BYTES: usize = 256 * 1024;

/// Who a token was made for, as its issuer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Where the service account and the Pod live.
    pub namespace: String,
    /// The service account.
    pub account: String,
    /// The Pod that the token ends with; `None` for a token that is bound to none.
    pub pod: Option<Pod>,
}

/// A Pod, and which of those that have had its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Its name, that of no other Pod at the time.
    pub name: String,
    /// Its uid, that of no other Pod ever; `None` where the issuer does not tell.
    pub uid: Option<String>,
}

/// Which name a runner goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameFrom {
    /// That of the Pod: one runner, one Pod.
    #[default]
    Pod,
    /// That of the service account: one runner, one account.
    ServiceAccount,
}

/// Where a runner's fleet is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FleetFrom {
    /// Nowhere: it is not known.
    #[default]
    Nothing,
    /// A label of the Pod, by its key. Only the API can tell.
    Label(String),
    /// A part of the runner's name.
    Pattern(FleetPattern),
}

/// Where runners live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// Anywhere in the cluster: for one where nobody else can make a Pod or a token.
    All,
    /// In these; with none of them nobody is a runner.
    Of(Vec<String>),
}

/// What of a proof becomes which part of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// Whose tokens are those of runners.
    pub namespaces: Namespaces,
    /// `runner.name`.
    pub name_from: NameFrom,
    /// `runner.fleet`.
    pub fleet_from: FleetFrom,
}

/// A regular expression for the whole name, whose first group is the fleet: `(.+)-[a-z0-9]+-[a-z0-9]+`.
///
/// It takes time in proportion to the name, whatever the pattern.
#[derive(Clone, Debug)]
pub struct FleetPattern(Regex);

/// Why a text is no fleet pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It is no regular expression, or too large; what is wrong with it, in several lines.
    Syntax(String),
    /// It has no group that could be the fleet.
    NoGroup,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => write!(f, "no fleet pattern: {error}"),
            Self::NoGroup => f.write_str("no fleet pattern: it has no (group) that is the fleet"),
        }
    }
}

impl std::error::Error for PatternError {}

impl PartialEq for FleetPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for FleetPattern {}

impl FleetPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let compiled = |pattern: &str| {
            let built = RegexBuilder::new(pattern).size_limit(MOST_PATTERN_BYTES).build();
            built.map_err(|error| PatternError::Syntax(error.to_string()))
        };
        // By itself first: a stray parenthesis is not to pair up with those around it.
        if compiled(pattern)?.captures_len() < 2 {
            return Err(PatternError::NoGroup);
        }
        compiled(&format!(r"\A(?:{pattern})\z")).map(Self)
    }

    /// The fleet in this name, where the whole of it matches and the group is not empty.
    #[must_use]
    pub fn fleet(&self, name: &str) -> Option<String> {
        let group = self.0.captures(name)?.get(1)?;
        Some(group.as_str().to_owned()).filter(|fleet| !fleet.is_empty())
    }
}

impl Bound {
    /// Reads a user's name as Kubernetes gives it to a service account: `system:serviceaccount:NAMESPACE:NAME`.
    #[must_use]
    pub fn parse(user: &str, pod: Option<Pod>) -> Option<Self> {
        let (namespace, account) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let bound = Self { namespace: namespace.to_owned(), account: account.to_owned(), pod };
        (is_name(namespace) && is_name(account)).then_some(bound)
    }

    /// Who that is, for the log: with the namespace, which it can be about.
    fn told(&self) -> String {
        let name = self.pod.as_ref().map_or(&self.account, |pod| &pod.name);
        format!("{}/{name}", self.namespace)
    }
}

impl Namespaces {
    /// Whether runners live in this one.
    #[must_use]
    pub fn has(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(names) => names.iter().any(|name| name == namespace),
        }
    }
}

impl Naming {
    /// The name of the runner whom this proves.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] to whoever is no runner: of another namespace, or without a Pod where that gives the name.
    pub fn name<'a>(&self, bound: &'a Bound) -> Result<&'a str, Refusal> {
        if !self.namespaces.has(&bound.namespace) {
            return Err(Refusal::forbidden("namespace", bound.told()));
        }
        let name = match (self.name_from, &bound.pod) {
            (NameFrom::ServiceAccount, _) => &bound.account,
            (NameFrom::Pod, Some(pod)) => &pod.name,
            (NameFrom::Pod, None) => return Err(Refusal::forbidden("no_pod", bound.told())),
        };
        if is_name(name) { Ok(name) } else { Err(Refusal::forbidden("name", bound.told())) }
    }
}

/// Whether a namespace can have this name: a DNS label (RFC 1123).
#[must_use]
pub fn is_namespace(name: &str) -> bool {
    const MOST_LABEL_BYTES: usize = 63;
    is_name(name) && name.len() <= MOST_LABEL_BYTES && !name.contains('.')
}

/// Whether Kubernetes could have given this name: a DNS subdomain (RFC 1123). Nothing of it has to be quoted in a line or
/// a log, nor does it lead anywhere in a path.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let (first, last) = (part.bytes().next(), part.bytes().next_back());
        first.is_some_and(is_plain)
            && last.is_some_and(is_plain)
            && part.bytes().all(|byte| is_plain(byte) || byte == b'-')
    };
    name.len() <= MOST_NAME_BYTES && name.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound(pod: Option<&str>) -> Bound {
        let pod = pod.map(|name| Pod { name: name.to_owned(), uid: None });
        Bound::parse("system:serviceaccount:runners:runner-sa", pod).unwrap()
    }

    fn forbidden(why: &'static str, who: &str) -> Result<&'static str, Refusal> {
        Err(Refusal::forbidden(why, who.to_owned()))
    }

    #[test]
    fn a_fleet_is_the_first_group_of_the_whole_name() {
        for (pattern, name, fleet) in [
            ("(.+)-[a-z0-9]+-[a-z0-9]+", "linux-large-7d4f9-x2x9q", Some("linux-large")),
            ("(.+)-[a-z0-9]+-[a-z0-9]+", "linux-x2x9q", None),
            ("(mac|macos)-.*", "macos-1", Some("macos")),
            ("x-(mac|macos)", "x-macos", Some("macos")),
            ("(a)b", "xab", None),
            ("(a)b", "abx", None),
            ("(a)b", "ab\n", None),
            ("(a*)b", "b", None),
            ("(a)?b", "b", None),
            ("a|(b)", "a", None),
        ] {
            assert_eq!(FleetPattern::parse(pattern).unwrap().fleet(name).as_deref(), fleet, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        assert_eq!(FleetPattern::parse("abc").unwrap_err(), PatternError::NoGroup);
        assert_eq!(FleetPattern::parse("(?:abc)").unwrap_err(), PatternError::NoGroup);
        for pattern in ["(", "a)(b", "(?x)(a) # b", "((a{1000}){1000}){1000}"] {
            let error = FleetPattern::parse(pattern).unwrap_err();
            assert!(matches!(error, PatternError::Syntax(_)), "{pattern}: {error}");
        }
    }

    #[test]
    fn a_service_account_is_read_from_the_users_name() {
        let read = Bound::parse("system:serviceaccount:runners:runner-sa", None).unwrap();
        assert_eq!((read.namespace.as_str(), read.account.as_str()), ("runners", "runner-sa"));
        let long = format!("system:serviceaccount:runners:{}", "a".repeat(254));
        for user in [
            "",
            "system:serviceaccount:runners",
            "system:serviceaccount::a",
            "system:serviceaccount:a:",
            "system:serviceaccount:a:b:c",
            "system:serviceaccount:a:b c",
            "system:serviceaccount:a:B",
            "system:node:a",
            "xsystem:serviceaccount:a:b",
            &long,
        ] {
            assert_eq!(Bound::parse(user, None), None, "{user}");
        }
    }

    #[test]
    fn a_runner_has_a_pod_and_is_of_a_namespace() {
        let by = |name_from, namespaces| Naming { namespaces, name_from, fleet_from: FleetFrom::Nothing };
        let of = |names: &[&str]| Namespaces::Of(names.iter().map(|name| (*name).to_owned()).collect());
        let all = || Namespaces::All;
        for (naming, pod, name) in [
            (by(NameFrom::Pod, all()), Some("pod-1"), Ok("pod-1")),
            (by(NameFrom::Pod, of(&["x", "runners"])), Some("pod-1"), Ok("pod-1")),
            (by(NameFrom::Pod, of(&["x", "runner"])), Some("pod-1"), forbidden("namespace", "runners/pod-1")),
            (by(NameFrom::Pod, of(&[])), Some("pod-1"), forbidden("namespace", "runners/pod-1")),
            (by(NameFrom::ServiceAccount, of(&["*"])), Some("pod-1"), forbidden("namespace", "runners/pod-1")),
            (by(NameFrom::Pod, all()), None, forbidden("no_pod", "runners/runner-sa")),
            (by(NameFrom::Pod, all()), Some("a b"), forbidden("name", "runners/a b")),
            (by(NameFrom::ServiceAccount, all()), Some("pod-1"), Ok("runner-sa")),
            (by(NameFrom::ServiceAccount, of(&["runners"])), None, Ok("runner-sa")),
        ] {
            assert_eq!(naming.name(&bound(pod)), name, "{naming:?}");
        }
    }

    #[test]
    fn a_name_is_one_that_kubernetes_gives() {
        for name in ["a", "0", "pod-1", "a.b-c.d", &"a".repeat(253)] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a.-b",
            "A",
            "a_b",
            "a b",
            "a\nb",
            "a\"b",
            "a=b",
            "a/b",
            "../a",
            "a\u{202e}b",
            "é",
            &"a".repeat(254),
        ] {
            assert!(!is_name(name), "{name:?}");
            let naming =
                Naming { namespaces: Namespaces::All, name_from: NameFrom::Pod, fleet_from: FleetFrom::Nothing };
            assert_eq!(naming.name(&bound(Some(name))), forbidden("name", &format!("runners/{name}")), "{name:?}");
        }
        for (name, is) in [("runners", true), ("a-1", true), ("a.b", false), ("*", false), ("", false)] {
            assert_eq!(is_namespace(name), is, "{name}");
        }
        assert!(is_namespace(&"a".repeat(63)) && !is_namespace(&"a".repeat(64)));
    }

    proptest! {
        #[test]
        fn any_text_is_a_pattern_or_none(pattern in "\\PC{0,20}|[a-z(.*+?|)\\[\\]{}]{0,20}", name in "[a-z-]{0,20}") {
            if let Ok(pattern) = FleetPattern::parse(&pattern) {
                prop_assert!(pattern.fleet(&name).is_none_or(|fleet| name.contains(&fleet)));
            }
        }

        #[test]
        fn any_user_is_an_account_or_none(user in "(system:serviceaccount:)?[a-zA-Z0-9:. é-]{0,40}") {
            if let Some(bound) = Bound::parse(&user, None) {
                prop_assert_eq!(format!("system:serviceaccount:{}:{}", bound.namespace, bound.account), user);
            }
        }
    }
}
