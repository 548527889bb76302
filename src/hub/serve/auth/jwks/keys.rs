//! A JSON Web Key Set: the public keys that its issuer signs with. Pure.
//!
//! Only RSA and P-256 keys are taken, each for its one algorithm: what a token's header says never chooses how a key is
//! used. RFC 7517, RFC 7518 section 6.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, crypto};
use serde::Deserialize;
use serde_json::Value;

/// More keys than an issuer has at a time.
const MOST_KEYS: usize = 64;

/// RS256 needs 2048 bits (RFC 7518, 3.3); over 4096 the check takes longer than a key is worth.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// The keys of a set that can be used.
#[derive(Clone, Debug)]
pub struct Keys {
    keys: Vec<Key>,
    /// Keys of the set that are not taken: of another kind, for another use, without a name, too short or broken.
    pub ignored: usize,
}

/// A public key, for one algorithm.
#[derive(Clone, Debug)]
pub struct Key {
    /// What it is called.
    pub id: String,
    /// What it is good for.
    pub algorithm: Algorithm,
    /// Itself.
    pub decoding: DecodingKey,
}

/// Why a text is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysError {
    /// It is not JSON with a list of `keys`.
    Malformed,
    /// It has more keys than are looked at.
    TooMany,
    /// None of its keys, so many, can be used.
    NoneUsable(usize),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("no JSON Web Key Set"),
            Self::TooMany => write!(f, "more than {MOST_KEYS} keys"),
            Self::NoneUsable(ignored) => {
                write!(f, "none of its {ignored} keys is an RS256 (2048 to 4096 bits) or ES256 key with a kid")
            }
        }
    }
}

impl std::error::Error for KeysError {}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Keys {
    /// Reads a key set. A key that cannot be used is left out and counted.
    ///
    /// # Errors
    /// [`KeysError`] when there is no key then.
    pub fn parse(json: &[u8]) -> Result<Self, KeysError> {
        let set: Set = serde_json::from_slice(json).map_err(|_| KeysError::Malformed)?;
        let given = set.keys.len();
        if given > MOST_KEYS {
            return Err(KeysError::TooMany);
        }
        let keys: Vec<Key> = set.keys.into_iter().filter_map(usable).collect();
        let ignored = given - keys.len();
        if keys.is_empty() { Err(KeysError::NoneUsable(ignored)) } else { Ok(Self { keys, ignored }) }
    }

    /// The key of this name for this algorithm.
    #[must_use]
    pub fn find(&self, id: &str, algorithm: Algorithm) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id && key.algorithm == algorithm)
    }
}

/// The key, where it is one that tokens are checked with here.
fn usable(json: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(json).ok()?;
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let is_for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature))
        && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify))
        && common.key_algorithm.is_none_or(|algorithm| algorithm == named);
    let id = common.key_id.clone().filter(|id| !id.is_empty())?;
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    (is_for_signatures && is_sound(&decoding, algorithm)).then_some(Key { id, algorithm, decoding })
}

/// Whether the key is long enough, or a point of its curve.
fn is_sound(key: &DecodingKey, algorithm: Algorithm) -> bool {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => {
            MODULUS_BYTES.contains(&n.iter().skip_while(|byte| **byte == 0).count())
        }
        // That nothing is signed is no error; a key that is none is.
        DecodingKeyKind::SecretOrDer(_) => crypto::verify("", b"", key, algorithm).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::EncodingKey;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn ec() -> Value {
        let key = rcgen::KeyPair::generate().unwrap();
        let key = EncodingKey::from_ec_der(&key.serialize_der());
        serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()).unwrap()
    }

    fn rsa(pem: &[u8]) -> Value {
        let key = EncodingKey::from_rsa_pem(pem).unwrap();
        serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap()).unwrap()
    }

    fn with(mut key: Value, members: &Value) -> Value {
        for (name, value) in members.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    #[test]
    fn only_what_can_be_used_is_taken() {
        let rsa_2048 = rsa(include_bytes!("../../../../../tests/keys/test-only-rsa-2048.pem"));
        let rsa_1024 = rsa(include_bytes!("../../../../../tests/keys/test-only-rsa-1024.pem"));
        let named = |key: Value| with(key, &json!({"kid": "a"}));
        let no_alg = |mut key: Value| {
            key.as_object_mut().unwrap().remove("alg");
            key
        };
        for (key, algorithm) in [
            (named(ec()), Some(Algorithm::ES256)),
            (named(rsa_2048.clone()), Some(Algorithm::RS256)),
            (no_alg(named(ec())), Some(Algorithm::ES256)),
            (no_alg(named(rsa_2048.clone())), Some(Algorithm::RS256)),
            (
                with(named(ec()), &json!({"use": "sig", "key_ops": ["verify"], "x5c": ["x"], "new": 1})),
                Some(Algorithm::ES256),
            ),
            (ec(), None),
            (with(ec(), &json!({"kid": ""})), None),
            (with(named(ec()), &json!({"use": "enc"})), None),
            (with(named(ec()), &json!({"key_ops": ["sign"]})), None),
            (with(named(ec()), &json!({"alg": "ES384"})), None),
            (with(named(ec()), &json!({"alg": "RS256"})), None),
            (with(named(ec()), &json!({"crv": "P-384"})), None),
            (with(named(ec()), &json!({"x": ec()["x"]})), None),
            (with(named(ec()), &json!({"y": "AA"})), None),
            (named(rsa_1024), None),
            (with(named(rsa_2048.clone()), &json!({"alg": "RS512"})), None),
            (with(named(rsa_2048.clone()), &json!({"alg": "HS256"})), None),
            (with(named(rsa_2048), &json!({"n": "!"})), None),
            (json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "a"}), None),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "a"}), None),
            (json!({"kty": "new", "kid": "a"}), None),
            (json!("a"), None),
            (json!(null), None),
        ] {
            let set = json!({"keys": [key], "more": true}).to_string();
            match (Keys::parse(set.as_bytes()), algorithm) {
                (Ok(keys), Some(algorithm)) => {
                    assert!(keys.find("a", algorithm).is_some(), "{set}");
                    let other = if algorithm == Algorithm::ES256 { Algorithm::RS256 } else { Algorithm::ES256 };
                    assert!(keys.find("a", other).is_none() && keys.find("b", algorithm).is_none(), "{set}");
                }
                (Err(error), None) => assert_eq!(error, KeysError::NoneUsable(1), "{set}"),
                (read, expected) => panic!("{set}: {read:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_does_not_cost_the_others() {
        let set = json!({"keys": [{"kty": "oct", "k": "x", "kid": "a"}, with(ec(), &json!({"kid": "a"}))]}).to_string();
        let keys = Keys::parse(set.as_bytes()).unwrap();
        assert_eq!((keys.keys.len(), keys.ignored), (1, 1));
    }

    #[test]
    fn what_is_no_set_is_told() {
        for (text, error) in [
            ("", KeysError::Malformed),
            ("{}", KeysError::Malformed),
            ("[]", KeysError::Malformed),
            ("{\"keys\":{}}", KeysError::Malformed),
            ("<html>", KeysError::Malformed),
            ("{\"keys\":[]}", KeysError::NoneUsable(0)),
        ] {
            assert_eq!(Keys::parse(text.as_bytes()).unwrap_err(), error, "{text}");
        }
        let many = json!({"keys": vec![1; MOST_KEYS + 1]}).to_string();
        assert_eq!(Keys::parse(many.as_bytes()).unwrap_err(), KeysError::TooMany);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_set_or_none(bytes in any::<Vec<u8>>(), kty in "RSA|EC|oct|OKP", n in "[A-Za-z0-9_=-]{0,60}") {
            let _ = Keys::parse(&bytes);
            let set = json!({"keys": [{"kty": kty, "n": n, "e": n, "x": n, "y": n, "crv": "P-256", "kid": "a", "k": n}]});
            prop_assert!(Keys::parse(set.to_string().as_bytes()).is_err());
        }
    }
}
