//! One JSON Web Token, held against keys, an issuer, an audience and a time. Pure.
//!
//! RFC 7519 and RFC 8725: the key decides the algorithm, the audience and the end are mandatory, nothing in the header is
//! followed. Nothing of a claim is looked at before the signature is good.

use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;

use super::keys::Keys;
use crate::hub::serve::auth::naming::{Bound, Pod};

/// Far longer than any service account's token, and what a header has room for.
pub const MOST_TOKEN_BYTES: usize = 8 * 1024;

/// By so much the clocks of an issuer and of the hub may differ.
pub const LEEWAY: Duration = Duration::from_secs(10);

/// What a token has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its `iss`.
    pub issuer: String,
    /// One of its `aud`.
    pub audience: String,
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is longer than is looked at.
    Oversized,
    /// It is no token of three parts, its header none that is known here, or a claim is not of its type.
    Malformed,
    /// It is signed in a way that is not taken, or not at all.
    Algorithm,
    /// It does not say by which key it is signed.
    NoKeyId,
    /// There is no such key (yet).
    UnknownKey,
    /// Nobody who has that key has signed it.
    Signature,
    /// It is of another issuer, or of none.
    Issuer,
    /// It is for somebody else, or for nobody in particular.
    Audience,
    /// It has no end.
    Endless,
    /// It has ended.
    Expired,
    /// It does not begin yet.
    NotYet,
}

/// What a good token says.
#[derive(Debug, Deserialize)]
pub struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<Kubernetes>,
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims>.
#[derive(Debug, Deserialize)]
struct Kubernetes {
    pod: Option<Object>,
}

#[derive(Debug, Deserialize)]
struct Object {
    name: String,
    uid: Option<String>,
}

impl Problem {
    /// In a word, for a metric's label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::NoKeyId => "no_kid",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Endless => "no_expiry",
            Self::Expired => "expired",
            Self::NotYet => "not_yet_valid",
        }
    }
}

/// What this token says, if it is good at `now`.
///
/// # Errors
/// The first [`Problem`] that it has.
pub fn check(token: &str, keys: &Keys, expected: &Expected, now: SystemTime) -> Result<Claims, Problem> {
    if token.len() > MOST_TOKEN_BYTES {
        return Err(Problem::Oversized);
    }
    let header = decode_header(token).map_err(|_| Problem::Malformed)?;
    // What a header calls critical has to be understood (RFC 7515, 4.1.11), and here nothing is.
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) || header.crit.is_some() {
        return Err(Problem::Algorithm);
    }
    let id = header.kid.ok_or(Problem::NoKeyId)?;
    let key = keys.find(&id, header.alg).ok_or(Problem::UnknownKey)?;
    let token = decode::<Claims>(token, &key.decoding, &validation(key.algorithm, expected));
    let claims = token.map_err(|error| problem_of(error.kind()))?.claims;
    check_times(&claims, now)?;
    Ok(claims)
}

impl Claims {
    /// Which service account and which Pod it was made for.
    ///
    /// # Errors
    /// Whose it is instead, as far as it says.
    pub fn bound(self) -> Result<Bound, String> {
        let pod = self.kubernetes.and_then(|kubernetes| kubernetes.pod);
        let user = self.sub.unwrap_or_default();
        Bound::parse(&user, pod.map(|pod| Pod { name: pod.name, uid: pod.uid })).ok_or(user)
    }
}

/// The times are not the library's to check: it would ask the clock itself.
fn validation(algorithm: Algorithm, expected: &Expected) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[&expected.issuer]);
    validation.set_audience(&[&expected.audience]);
    validation
}

fn check_times(claims: &Claims, now: SystemTime) -> Result<(), Problem> {
    let ends = time(claims.exp.ok_or(Problem::Endless)?)?;
    if ends + LEEWAY <= now {
        return Err(Problem::Expired);
    }
    match claims.nbf.map(time).transpose()? {
        Some(begins) if begins > now + LEEWAY => Err(Problem::NotYet),
        _ => Ok(()),
    }
}

/// A NumericDate: seconds since 1970, also broken ones (RFC 7519, 2). None that a clock cannot show.
fn time(seconds: f64) -> Result<SystemTime, Problem> {
    let since = Duration::try_from_secs_f64(seconds).map_err(|_| Problem::Malformed)?;
    // With room for the leeway.
    let time = SystemTime::UNIX_EPOCH.checked_add(since).filter(|time| time.checked_add(LEEWAY).is_some());
    time.ok_or(Problem::Malformed)
}

fn problem_of(error: &ErrorKind) -> Problem {
    match error {
        ErrorKind::InvalidSignature => Problem::Signature,
        ErrorKind::InvalidIssuer => Problem::Issuer,
        ErrorKind::InvalidAudience => Problem::Audience,
        ErrorKind::InvalidAlgorithm => Problem::Algorithm,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "iss" => Problem::Issuer,
            "aud" => Problem::Audience,
            _ => Problem::Endless,
        },
        _ => Problem::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const RSA: &[u8] = include_bytes!("../../../../../tests/keys/test-only-rsa-2048.pem");
    const NOW_S: u64 = 1_780_574_400;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// A P-256 key for `ec`, an RSA key for `rsa`, and another P-256 key that is not in the set.
    struct Signers {
        ec: EncodingKey,
        rsa: EncodingKey,
        other: EncodingKey,
        set: Value,
        keys: Keys,
    }

    fn signers() -> Signers {
        let ec = || EncodingKey::from_ec_der(&rcgen::KeyPair::generate().unwrap().serialize_der());
        let (ec, other, rsa) = (ec(), ec(), EncodingKey::from_rsa_pem(RSA).unwrap());
        let jwk = |key: &EncodingKey, algorithm, kid: &str| {
            let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
            jwk.common.key_id = Some(kid.to_owned());
            jwk
        };
        let set = json!({"keys": [jwk(&ec, Algorithm::ES256, "ec"), jwk(&rsa, Algorithm::RS256, "rsa")]});
        let keys = Keys::parse(set.to_string().as_bytes()).unwrap();
        Signers { ec, rsa, other, set, keys }
    }

    fn header(algorithm: Algorithm, kid: &str) -> Header {
        Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) }
    }

    fn claims() -> Value {
        json!({
            "iss": "https://issuer", "aud": ["vitals", "other"], "exp": NOW_S + 600, "nbf": NOW_S, "iat": NOW_S,
            "sub": "system:serviceaccount:runners:runner-sa",
            "kubernetes.io": {"namespace": "runners", "pod": {"name": "pod-1", "uid": "u-1"}},
        })
    }

    fn but(name: &str, value: Value) -> Value {
        let mut claims = claims();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value;
        }
        claims
    }

    fn checked(token: &str, keys: &Keys) -> Result<Claims, Problem> {
        let expected = Expected { issuer: "https://issuer".to_owned(), audience: "vitals".to_owned() };
        check(token, keys, &expected, at(NOW_S))
    }

    #[test]
    fn a_token_of_either_kind_is_good() {
        let Signers { ec, rsa, keys, .. } = signers();
        for (algorithm, kid, key) in [(Algorithm::ES256, "ec", &ec), (Algorithm::RS256, "rsa", &rsa)] {
            let token = encode(&header(algorithm, kid), &claims(), key).unwrap();
            let bound = checked(&token, &keys).unwrap().bound().unwrap();
            let pod = Some(Pod { name: "pod-1".to_owned(), uid: Some("u-1".to_owned()) });
            assert_eq!(bound, Bound { namespace: "runners".to_owned(), account: "runner-sa".to_owned(), pod });
        }
    }

    #[test]
    fn claims_are_held_against_what_is_expected() {
        let Signers { ec, keys, .. } = signers();
        for (claims, problem) in [
            (but("aud", json!("vitals")), None),
            (but("nbf", Value::Null), None),
            (but("exp", json!(NOW_S - 9)), None),
            (but("exp", json!(1_780_574_390.5)), None),
            (but("nbf", json!(NOW_S + 10)), None),
            (but("exp", json!(NOW_S - 10)), Some(Problem::Expired)),
            (but("exp", json!(0)), Some(Problem::Expired)),
            (but("exp", Value::Null), Some(Problem::Endless)),
            (but("exp", json!(-1)), Some(Problem::Endless)),
            (but("exp", json!(1e300)), Some(Problem::Endless)),
            (but("exp", json!(1e19)), Some(Problem::Malformed)),
            (but("exp", json!("2100-01-01")), Some(Problem::Malformed)),
            (but("nbf", json!(NOW_S + 11)), Some(Problem::NotYet)),
            (but("nbf", json!("now")), Some(Problem::Malformed)),
            (but("nbf", json!(-1)), Some(Problem::Malformed)),
            (but("iss", json!("https://issuer/")), Some(Problem::Issuer)),
            (but("iss", json!("")), Some(Problem::Issuer)),
            (but("iss", Value::Null), Some(Problem::Issuer)),
            (but("iss", json!(1)), Some(Problem::Issuer)),
            (but("aud", json!("vital")), Some(Problem::Audience)),
            (but("aud", json!(["other"])), Some(Problem::Audience)),
            (but("aud", json!([])), Some(Problem::Audience)),
            (but("aud", json!(1)), Some(Problem::Audience)),
            (but("aud", Value::Null), Some(Problem::Audience)),
            (json!([]), Some(Problem::Malformed)),
        ] {
            let token = encode(&header(Algorithm::ES256, "ec"), &claims, &ec).unwrap();
            assert_eq!(checked(&token, &keys).err(), problem, "{claims}");
        }
    }

    #[test]
    fn nobody_but_the_issuer_can_sign() {
        let Signers { ec, rsa, other, set, keys } = signers();
        // What an attacker has: the public key, as it is published.
        let n = set["keys"][1]["n"].as_str().unwrap();
        let secrets = [n.as_bytes().to_vec(), set.to_string().into_bytes(), RSA.to_vec()];
        for secret in secrets {
            for kid in ["rsa", "ec"] {
                let token = encode(&header(Algorithm::HS256, kid), &claims(), &EncodingKey::from_secret(&secret));
                assert_eq!(checked(&token.unwrap(), &keys).unwrap_err(), Problem::Algorithm);
            }
        }
        for (header, key, problem) in [
            (header(Algorithm::ES256, "ec"), &other, Problem::Signature),
            (header(Algorithm::RS512, "rsa"), &rsa, Problem::Algorithm),
            (header(Algorithm::PS256, "rsa"), &rsa, Problem::Algorithm),
            (header(Algorithm::ES256, "rsa"), &ec, Problem::UnknownKey),
            (header(Algorithm::RS256, "ec"), &rsa, Problem::UnknownKey),
            (header(Algorithm::ES256, "gone"), &ec, Problem::UnknownKey),
            (header(Algorithm::ES256, ""), &ec, Problem::UnknownKey),
            (Header::new(Algorithm::ES256), &ec, Problem::NoKeyId),
            (Header { crit: Some(vec!["b64".to_owned()]), ..header(Algorithm::ES256, "ec") }, &ec, Problem::Algorithm),
        ] {
            let token = encode(&header, &claims(), key).unwrap();
            assert_eq!(checked(&token, &keys).unwrap_err(), problem, "{header:?}");
        }
    }

    /// A key that comes with the token is the attacker's.
    #[test]
    fn keys_in_a_header_are_not_looked_at() {
        let Signers { other, keys, .. } = signers();
        let jwk = Jwk::from_encoding_key(&other, Algorithm::ES256).unwrap();
        let url = Some("https://attacker/jwks".to_owned());
        let header = Header { jwk: Some(jwk), jku: url.clone(), x5u: url, ..header(Algorithm::ES256, "ec") };
        assert_eq!(checked(&encode(&header, &claims(), &other).unwrap(), &keys).unwrap_err(), Problem::Signature);
    }

    #[test]
    fn a_token_is_whole_or_nothing() {
        let Signers { ec, keys, .. } = signers();
        let token = encode(&header(Algorithm::ES256, "ec"), &claims(), &ec).unwrap();
        let [head, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
        // {"alg":"none","kid":"ec"}, {"alg":"ES256","alg":"none","kid":"ec"}
        let none = "eyJhbGciOiJub25lIiwia2lkIjoiZWMifQ";
        let twice = "eyJhbGciOiJFUzI1NiIsImFsZyI6Im5vbmUiLCJraWQiOiJlYyJ9";
        let other =
            encode(&header(Algorithm::ES256, "ec"), &but("sub", json!("system:serviceaccount:a:b")), &ec).unwrap();
        let other_payload = other.split('.').nth(1).unwrap();
        let cases = [
            (format!("{none}.{payload}."), Problem::Malformed),
            (format!("{none}.{payload}.{signature}"), Problem::Malformed),
            (format!("{twice}.{payload}.{signature}"), Problem::Malformed),
            (format!("{head}.{payload}."), Problem::Signature),
            (format!("{head}.{payload}"), Problem::Malformed),
            (format!("{head}.{payload}.{signature}."), Problem::Malformed),
            (format!("{head}.{payload}.{signature}.x"), Problem::Malformed),
            (format!("{head}.{other_payload}.{signature}"), Problem::Signature),
            (format!("{head}.{payload}.{}", "A".repeat(86)), Problem::Signature),
            (format!(" {token}"), Problem::Malformed),
            (String::new(), Problem::Malformed),
            ("..".to_owned(), Problem::Malformed),
            ("x".repeat(MOST_TOKEN_BYTES), Problem::Malformed),
            ("x".repeat(MOST_TOKEN_BYTES + 1), Problem::Oversized),
            (format!("{token}{}", "A".repeat(MOST_TOKEN_BYTES)), Problem::Oversized),
        ];
        for (token, problem) in cases {
            assert_eq!(checked(&token, &keys).unwrap_err(), problem, "{token}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_no_token(token in "\\PC*|[A-Za-z0-9_-]*\\.[A-Za-z0-9_-]*\\.[A-Za-z0-9_-]*") {
            let Signers { keys, .. } = signers();
            prop_assert!(checked(&token, &keys).is_err());
        }

        #[test]
        fn no_bit_of_a_token_can_be_changed(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
            let Signers { ec, keys, .. } = signers();
            let token = encode(&header(Algorithm::ES256, "ec"), &claims(), &ec).unwrap();
            let at = at.index(token.len());
            let mut changed = token.clone();
            changed.replace_range(at..=at, &to);
            prop_assert!(changed == token || checked(&changed, &keys).is_err(), "{}", changed);
        }

        #[test]
        fn any_number_is_a_time_or_none(seconds in any::<f64>()) {
            if let Ok(time) = time(seconds) {
                prop_assert!(time >= SystemTime::UNIX_EPOCH && time + LEEWAY > time);
            }
        }
    }
}
