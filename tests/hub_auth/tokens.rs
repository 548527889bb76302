//! Tokens as a cluster issues them, signed by a key of the test's own.

use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use runner_vitals::hub::serve::auth::naming::{FleetFrom, NameFrom, Namespaces, Naming};
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
pub(crate) const AUDIENCE: &str = "vitals";

/// The time of every test.
pub(crate) const NOW_S: u64 = 1_780_574_400;

pub(crate) fn now() -> SystemTime {
    after(0)
}

pub(crate) fn after(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_S + seconds)
}

/// Every Pod of the cluster is a runner of its name, and of no fleet.
pub(crate) fn all() -> Naming {
    Naming { namespaces: Namespaces::All, name_from: NameFrom::Pod, fleet_from: FleetFrom::Nothing }
}

/// Somebody who signs tokens.
pub(crate) struct Issuer {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: String,
    key: EncodingKey,
}

impl Issuer {
    pub(crate) fn ec(kid: &str) -> Self {
        let key = EncodingKey::from_ec_der(&rcgen::KeyPair::generate().unwrap().serialize_der());
        Self { algorithm: Algorithm::ES256, kid: kid.to_owned(), key }
    }

    pub(crate) fn rsa(kid: &str) -> Self {
        let key = EncodingKey::from_rsa_pem(include_bytes!("../keys/test-only-rsa-2048.pem")).unwrap();
        Self { algorithm: Algorithm::RS256, kid: kid.to_owned(), key }
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.clone()), typ: None, ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).unwrap()
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        serde_json::to_value(jwk).unwrap()
    }
}

/// What a token says that is bound to this Pod, good for ten minutes.
pub(crate) fn claims_of_pod(pod: &str, uid: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": [AUDIENCE], "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 600,
        "sub": "system:serviceaccount:runners:runner-sa",
        "kubernetes.io": {
            "namespace": "runners",
            "pod": {"name": pod, "uid": uid},
            "serviceaccount": {"name": "runner-sa", "uid": "sa-uid"},
        },
    })
}
