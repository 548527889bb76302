//! What the API says of a token, and of a Pod. Pure.
//!
//! Source: <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/>.

use std::time::{Duration, SystemTime};

use jsonwebtoken::dangerous::insecure_decode_claims;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::hub::serve::auth::Refusal;
use crate::hub::serve::auth::naming::{Bound, Pod};

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// A token that ended so long ago is not asked about any more: no two clocks differ by that.
const LONG_AGO: Duration = Duration::from_secs(60);

/// What a token says of itself, before anybody has checked that.
#[derive(Debug, Deserialize)]
pub(super) struct Unchecked {
    exp: Option<f64>,
    aud: Option<Audiences>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

/// What the Pod of a token has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// The label, or none of that name.
    Known(Option<String>),
    /// Another Pod has the name by now.
    Replaced,
}

impl Unchecked {
    /// Reads what a service account's token says of itself: it is a JSON Web Token.
    pub(super) fn read(token: &str) -> Option<Self> {
        let parts = token.split('.').count();
        insecure_decode_claims(token).ok().filter(|_| parts == 3)
    }

    /// Why there is no need to ask about it: whoever makes up tokens is not to keep the API busy.
    pub(super) fn refusal(&self, audience: &str, now: SystemTime) -> Option<Refusal> {
        let is_past = self.ends().is_some_and(|ends| ends + LONG_AGO <= now);
        let is_for_us = match &self.aud {
            None => true,
            Some(Audiences::One(aud)) => aud == audience,
            Some(Audiences::Many(auds)) => auds.iter().any(|aud| aud == audience),
        };
        match (is_past, is_for_us) {
            (true, _) => Some(Refusal::Unauthenticated("expired")),
            (_, false) => Some(Refusal::Unauthenticated("audience")),
            _ => None,
        }
    }

    /// When it ends; `None` where it does not say so, or in no way that a clock can show.
    pub(super) fn ends(&self) -> Option<SystemTime> {
        let since = Duration::try_from_secs_f64(self.exp?).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(since).filter(|ends| ends.checked_add(LONG_AGO).is_some())
    }
}

/// The question about a token.
pub(super) fn question(token: &str, audience: &str) -> TokenReview {
    let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![audience.to_owned()]) };
    TokenReview { spec, ..TokenReview::default() }
}

/// Whom the answer proves.
pub(super) fn judge(answer: TokenReview, audience: &str) -> Result<Bound, Refusal> {
    let status = answer.status.unwrap_or_default();
    if status.authenticated != Some(true) {
        return Err(Refusal::Unauthenticated("not_authenticated"));
    }
    // An API that knows of no audiences takes every token: then this is not there.
    if !status.audiences.unwrap_or_default().iter().any(|said| said == audience) {
        return Err(Refusal::Unauthenticated("audience"));
    }
    let user = status.user.unwrap_or_default();
    let pod = pod_of(&user);
    let name = user.username.unwrap_or_default();
    Bound::parse(&name, pod).ok_or_else(|| Refusal::forbidden("no_service_account", name))
}

/// What the Pod of this uid has for a label, by what the API says of the Pod that has its name now.
pub(super) fn label(found: Option<&ObjectMeta>, uid: Option<&str>, key: &str) -> Label {
    match found {
        // It was there a moment ago, or its token would not have been good: its last lines are not to be lost for that.
        None => Label::Known(None),
        Some(metadata) if uid.is_some() && metadata.uid.as_deref() != uid => Label::Replaced,
        Some(metadata) => {
            let label = metadata.labels.as_ref().and_then(|labels| labels.get(key));
            Label::Known(label.filter(|label| !label.is_empty()).cloned())
        }
    }
}

fn pod_of(user: &UserInfo) -> Option<Pod> {
    let extra = |key| user.extra.as_ref()?.get(key)?.first().filter(|value| !value.is_empty()).cloned();
    Some(Pod { name: extra(POD_NAME)?, uid: extra(POD_UID) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn judged(status: &Value) -> Result<Bound, Refusal> {
        let answer =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {}, "status": status});
        judge(serde_json::from_value(answer).unwrap(), "vitals")
    }

    #[test]
    fn an_answer_is_judged() {
        let user = json!({
            "username": "system:serviceaccount:runners:runner-sa",
            "extra": {POD_NAME: ["pod-1"], POD_UID: ["u-1"], "other": []},
        });
        let pod = Some(Pod { name: "pod-1".to_owned(), uid: Some("u-1".to_owned()) });
        let bound = Bound { namespace: "runners".to_owned(), account: "runner-sa".to_owned(), pod };
        let status =
            |audiences: Value, user: &Value| json!({"authenticated": true, "audiences": audiences, "user": user});
        assert_eq!(judged(&status(json!(["other", "vitals"]), &user)), Ok(bound.clone()));
        let alone = json!({"username": "system:serviceaccount:runners:runner-sa"});
        assert_eq!(judged(&status(json!(["vitals"]), &alone)), Ok(Bound { pod: None, ..bound }));
        let unauthenticated = Err(Refusal::Unauthenticated("not_authenticated"));
        let audience = Err(Refusal::Unauthenticated("audience"));
        let nobody = |who: &str| Err(Refusal::forbidden("no_service_account", who.to_owned()));
        for (status, refusal) in [
            (json!({}), unauthenticated.clone()),
            (json!({"authenticated": false, "user": user, "audiences": ["vitals"]}), unauthenticated.clone()),
            (json!({"user": user, "audiences": ["vitals"], "error": "expired"}), unauthenticated),
            (status(json!([]), &user), audience.clone()),
            (status(json!(null), &user), audience.clone()),
            (status(json!(["vital", ""]), &user), audience),
            (status(json!(["vitals"]), &json!({"username": "admin"})), nobody("admin")),
            (status(json!(["vitals"]), &json!(null)), nobody("")),
        ] {
            assert_eq!(judged(&status), refusal, "{status}");
        }
    }

    #[test]
    fn a_label_is_that_of_the_pod_with_the_uid() {
        let metadata = |labels: Value, uid: Value| -> ObjectMeta {
            serde_json::from_value(json!({"name": "pod-1", "uid": uid, "labels": labels})).unwrap()
        };
        let known = |label: &str| Label::Known(Some(label.to_owned()));
        for (found, uid, expected) in [
            (Some(metadata(json!({"fleet": "a"}), json!("u-1"))), Some("u-1"), known("a")),
            (Some(metadata(json!({"fleet": "a"}), json!("u-1"))), None, known("a")),
            (Some(metadata(json!({"fleet": "a"}), json!("u-2"))), Some("u-1"), Label::Replaced),
            (Some(metadata(json!({"fleet": "a"}), json!(null))), Some("u-1"), Label::Replaced),
            (Some(metadata(json!({"fleet": ""}), json!("u-1"))), Some("u-1"), Label::Known(None)),
            (Some(metadata(json!({"other": "a"}), json!("u-1"))), Some("u-1"), Label::Known(None)),
            (Some(metadata(json!(null), json!("u-1"))), Some("u-1"), Label::Known(None)),
            (None, Some("u-1"), Label::Known(None)),
        ] {
            assert_eq!(label(found.as_ref(), uid, "fleet"), expected, "{found:?}");
        }
    }

    #[test]
    fn what_a_token_says_of_itself_can_only_spare_a_question() {
        for (exp, aud, refusal) in [
            (json!(1000), json!(["vitals"]), None),
            (json!(1000), json!("vitals"), None),
            (json!(1000), json!(null), None),
            (json!(null), json!("vitals"), None),
            (json!(1e300), json!("vitals"), None),
            (json!(-1), json!("vitals"), None),
            (json!(941), json!("vitals"), None),
            (json!(940), json!("vitals"), Some(Refusal::Unauthenticated("expired"))),
            (json!(1000), json!(["other"]), Some(Refusal::Unauthenticated("audience"))),
        ] {
            let unchecked: Unchecked = serde_json::from_value(json!({"exp": exp, "aud": aud})).unwrap();
            assert_eq!(unchecked.refusal("vitals", at(1000)), refusal, "{exp} {aud}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_token_or_none(token in "\\PC*|[A-Za-z0-9_-]*\\.[A-Za-z0-9_-]*\\.[A-Za-z0-9_-]*") {
            if let Some(unchecked) = Unchecked::read(&token) {
                let _ = (unchecked.refusal("vitals", at(1000)), unchecked.ends());
            }
        }
    }
}
