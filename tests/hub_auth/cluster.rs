//! A stand-in for a cluster: TokenReview and Pods as the API has them, and no more of it.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/>,
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/>.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::Server;

/// What the hub shows to the API: its kubeconfig's token.
const HUB_TOKEN: &str = "the-hub-itself";

/// What a cluster knows and what it was asked.
#[derive(Default)]
pub(crate) struct Known {
    /// `status` by token; any other token is not good.
    pub(crate) tokens: HashMap<String, Value>,
    /// Metadata by namespace and name.
    pub(crate) pods: HashMap<(String, String), Value>,
    /// How often a token was asked about.
    pub(crate) reviews: usize,
    /// How often a Pod was.
    pub(crate) lookups: usize,
    /// How long every answer takes.
    pub(crate) delay: Duration,
    /// Every question is answered with this.
    pub(crate) broken: Option<StatusCode>,
}

/// A running cluster, and a kubeconfig that leads there.
pub(crate) struct Cluster {
    pub(crate) known: Arc<Mutex<Known>>,
    pub(crate) kubeconfig: PathBuf,
    _server: Server,
    dir: TempDir,
}

impl Cluster {
    pub(crate) async fn plain() -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        let server = Server::plain(answers(&known)).await;
        Self::with(known, server)
    }

    pub(crate) async fn tls() -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        let server = Server::tls(answers(&known)).await;
        Self::with(known, server)
    }

    fn with(known: Arc<Mutex<Known>>, server: Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = kubeconfig(&dir, &server.url, server.certificate.as_deref(), HUB_TOKEN);
        Self { known, kubeconfig, _server: server, dir }
    }

    /// A kubeconfig of somebody whom the API does not know.
    pub(crate) fn kubeconfig_of_a_stranger(&self) -> PathBuf {
        kubeconfig(&self.dir, &self._server.url, self._server.certificate.as_deref(), "stranger")
    }

    /// A kubeconfig that trusts the wrong certificate.
    pub(crate) fn kubeconfig_that_trusts_others(&self) -> PathBuf {
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        kubeconfig(&self.dir, &self._server.url, Some(&other.cert.pem()), HUB_TOKEN)
    }

    /// From now on this token is good, and its Pod there.
    pub(crate) fn add(&self, token: &str, pod: &str, uid: &str, labels: &Value) {
        let mut known = self.known.lock().unwrap();
        known.tokens.insert(token.to_owned(), status_of(pod, uid));
        let metadata = json!({"name": pod, "namespace": "runners", "uid": uid, "labels": labels});
        known.pods.insert(("runners".to_owned(), pod.to_owned()), metadata);
    }

    /// How often it was asked about a token and about a Pod.
    pub(crate) fn asked(&self) -> (usize, usize) {
        let known = self.known.lock().unwrap();
        (known.reviews, known.lookups)
    }
}

/// What the API says of a good token.
pub(crate) fn status_of(pod: &str, uid: &str) -> Value {
    json!({
        "authenticated": true,
        "audiences": ["vitals"],
        "user": {
            "username": "system:serviceaccount:runners:runner-sa",
            "uid": "sa-uid",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:runners", "system:authenticated"],
            "extra": {
                "authentication.kubernetes.io/credential-id": ["JTI=1"],
                "authentication.kubernetes.io/pod-name": [pod],
                "authentication.kubernetes.io/pod-uid": [uid],
            },
        },
    })
}

/// Also for a server that is no cluster at all.
pub(crate) fn kubeconfig(dir: &TempDir, url: &str, certificate: Option<&str>, token: &str) -> PathBuf {
    let mut cluster = json!({"server": url});
    if let Some(certificate) = certificate {
        let path = file(dir, certificate);
        cluster["certificate-authority"] = json!(path);
    }
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "hub", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "hub"}}],
    });
    file(dir, &config.to_string())
}

fn file(dir: &TempDir, text: &str) -> PathBuf {
    let path = tempfile::NamedTempFile::new_in(dir).unwrap().into_temp_path().keep().unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

fn answers(
    known: &Arc<Mutex<Known>>,
) -> impl Fn(Request, Bytes) -> std::pin::Pin<Box<dyn Future<Output = Response> + Send>> + Clone + Send + Sync + 'static
{
    let known = Arc::clone(known);
    move |request, body| {
        let (answer, delay) = {
            let mut known = known.lock().unwrap();
            (known.answer(&request, &body), known.delay)
        };
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            answer
        })
    }
}

impl Known {
    fn answer(&mut self, request: &Request, body: &Bytes) -> Response {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let path: Vec<&str> = request.uri().path().trim_start_matches('/').split('/').collect();
        let is_review = path == ["apis", "authentication.k8s.io", "v1", "tokenreviews"];
        self.reviews += usize::from(is_review);
        self.lookups += usize::from(!is_review);
        if let Some(status) = self.broken {
            return failure(status, "InternalError", "broken");
        }
        if header(header::AUTHORIZATION) != format!("Bearer {HUB_TOKEN}") {
            return failure(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized");
        }
        match (request.method(), &path[..]) {
            (&Method::POST, _) if is_review => {
                assert_eq!(header(header::CONTENT_TYPE), "application/json");
                self.review(body)
            }
            (&Method::GET, ["api", "v1", "namespaces", namespace, "pods", name]) => {
                let is_partial = header(header::ACCEPT).contains("as=PartialObjectMetadata");
                self.pod(namespace, name, is_partial)
            }
            _ => failure(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource"),
        }
    }

    fn review(&self, body: &Bytes) -> Response {
        let mut review: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(
            (&review["apiVersion"], &review["kind"]),
            (&json!("authentication.k8s.io/v1"), &json!("TokenReview"))
        );
        let asked_for = review["spec"]["audiences"].as_array().unwrap().clone();
        let refused = |error: &str| json!({"user": {}, "error": error});
        review["status"] = match self.tokens.get(review["spec"]["token"].as_str().unwrap()) {
            None => refused("[invalid bearer token, service account token has expired]"),
            Some(status) => match &status["audiences"] {
                Value::Array(has) if !has.iter().any(|has| asked_for.contains(has)) => refused(
                    "[invalid bearer token, token audiences [\"other\"] is invalid for the target audiences [\"vitals\"]]",
                ),
                _ => status.clone(),
            },
        };
        json_answer(StatusCode::CREATED, &review)
    }

    fn pod(&self, namespace: &str, name: &str, is_partial: bool) -> Response {
        let Some(metadata) = self.pods.get(&(namespace.to_owned(), name.to_owned())) else {
            return failure(StatusCode::NOT_FOUND, "NotFound", &format!("pods \"{name}\" not found"));
        };
        let (version, kind) = if is_partial { ("meta.k8s.io/v1", "PartialObjectMetadata") } else { ("v1", "Pod") };
        json_answer(StatusCode::OK, &json!({"apiVersion": version, "kind": kind, "metadata": metadata}))
    }
}

fn failure(status: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": status.as_u16(),
    });
    json_answer(status, &body)
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    answer.body(Body::from(body.to_string())).unwrap()
}
