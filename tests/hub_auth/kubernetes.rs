//! By asking the cluster.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use runner_vitals::hub::serve::auth::kubernetes::{
    self, Kubernetes, KubernetesError, OF_AN_ADDRESS, STRANGERS, Settings,
};
use runner_vitals::hub::serve::auth::naming::{FleetFrom, FleetPattern, NameFrom, Namespaces, Naming};
use runner_vitals::hub::serve::auth::{Refusal, Sender};
use serde_json::{Value, json};

use crate::cluster::{Cluster, kubeconfig, status_of};
use crate::tokens::{AUDIENCE, Issuer, NOW_S, after, all, claims_of_pod, now};

/// Far longer than anything takes that is not stuck.
const GENEROUS: Duration = Duration::from_secs(30);

/// Where requests come from.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

async fn kubernetes(kubeconfig: PathBuf, naming: Naming) -> Kubernetes {
    let cluster = kubernetes::Cluster::Kubeconfig(kubeconfig);
    Kubernetes::new(Settings { cluster, audience: AUDIENCE.to_owned(), naming }).await.unwrap()
}

fn by_label() -> Naming {
    Naming { fleet_from: FleetFrom::Label("tuist.dev/fleet".to_owned()), ..all() }
}

fn sender(name: &str, fleet: Option<&str>) -> Sender {
    Sender { name: name.to_owned(), fleet: fleet.map(str::to_owned) }
}

fn token(pod: &str, uid: &str) -> String {
    Issuer::ec("a").token(&claims_of_pod(pod, uid))
}

fn forbidden(reason: &'static str, who: &str) -> Result<Sender, Refusal> {
    Err(Refusal::forbidden(reason, who.to_owned()))
}

fn unauthenticated(reason: &'static str) -> Result<Sender, Refusal> {
    Err(Refusal::Unauthenticated(reason))
}

#[tokio::test]
async fn a_good_token_is_its_pods() {
    for cluster in [Cluster::plain().await, Cluster::tls().await] {
        let token = token("linux-7d4f9-x2x9q", "u-1");
        cluster.add(&token, "linux-7d4f9-x2x9q", "u-1", &json!({"tuist.dev/fleet": "linux-large"}));
        let pattern = FleetFrom::Pattern(FleetPattern::parse("(.+)-[a-z0-9]+-[a-z0-9]+").unwrap());
        for (naming, expected) in [
            (by_label(), sender("linux-7d4f9-x2x9q", Some("linux-large"))),
            (Naming { fleet_from: pattern.clone(), ..all() }, sender("linux-7d4f9-x2x9q", Some("linux"))),
            (all(), sender("linux-7d4f9-x2x9q", None)),
            (Naming { name_from: NameFrom::ServiceAccount, ..by_label() }, sender("runner-sa", Some("linux-large"))),
        ] {
            let asked = cluster.asked();
            let kubernetes = kubernetes(cluster.kubeconfig.clone(), naming.clone()).await;
            assert_eq!(kubernetes.sender(&token, HERE, now()).await, Ok(expected), "{naming:?}");
            let looks_up = usize::from(matches!(naming.fleet_from, FleetFrom::Label(_)));
            assert_eq!(cluster.asked(), (asked.0 + 1, asked.1 + looks_up));
        }
    }
}

#[tokio::test]
async fn whoever_is_no_runner_is_refused() {
    let cluster = Cluster::plain().await;
    let with = |naming: Naming| kubernetes(cluster.kubeconfig.clone(), naming);
    let kubernetes = with(all()).await;
    let issuer = Issuer::ec("a");
    let say = |token: &str, status: Value| cluster.known.lock().unwrap().tokens.insert(token.to_owned(), status);

    assert_eq!(kubernetes.sender(&token("pod-1", "u-1"), HERE, now()).await, unauthenticated("not_authenticated"));
    let other = token("pod-2", "u-2");
    say(&other, json!({"authenticated": true, "audiences": ["other"], "user": status_of("pod-2", "u-2")["user"]}));
    assert_eq!(kubernetes.sender(&other, HERE, now()).await, unauthenticated("not_authenticated"));
    // An API that does not know what an audience is.
    let any = token("pod-3", "u-3");
    say(&any, json!({"authenticated": true, "user": status_of("pod-3", "u-3")["user"]}));
    assert_eq!(kubernetes.sender(&any, HERE, now()).await, unauthenticated("audience"));
    let human = issuer.token(&json!({"exp": NOW_S + 60}));
    say(&human, json!({"authenticated": true, "audiences": ["vitals"], "user": {"username": "admin"}}));
    assert_eq!(kubernetes.sender(&human, HERE, now()).await, forbidden("no_service_account", "admin"));
    let unbound = issuer.token(&json!({"exp": NOW_S + 61}));
    let user = json!({"username": "system:serviceaccount:runners:runner-sa"});
    say(&unbound, json!({"authenticated": true, "audiences": ["vitals"], "user": user}));
    assert_eq!(kubernetes.sender(&unbound, HERE, now()).await, forbidden("no_pod", "runners/runner-sa"));
    let elsewhere = with(Naming { namespaces: Namespaces::Of(vec!["x".to_owned()]), ..all() }).await;
    let good = token("pod-4", "u-4");
    cluster.add(&good, "pod-4", "u-4", &json!({}));
    assert_eq!(elsewhere.sender(&good, HERE, now()).await, forbidden("namespace", "runners/pod-4"));
}

#[tokio::test]
async fn the_api_is_not_asked_about_what_cannot_be_good() {
    let cluster = Cluster::plain().await;
    let kubernetes = kubernetes(cluster.kubeconfig.clone(), by_label()).await;
    let issuer = Issuer::ec("a");
    for (token, reason) in [
        (String::new(), "malformed"),
        ("opaque".to_owned(), "malformed"),
        ("a.b.c".to_owned(), "malformed"),
        (format!("{}.x", token("pod-1", "u-1")), "malformed"),
        (issuer.token(&json!({"exp": NOW_S - 60, "aud": ["vitals"]})), "expired"),
        (issuer.token(&json!({"exp": NOW_S + 60, "aud": ["other"]})), "audience"),
        ("x".repeat(8 * 1024 + 1), "oversized"),
    ] {
        assert_eq!(kubernetes.sender(&token, HERE, now()).await, unauthenticated(reason), "{token}");
    }
    assert_eq!(cluster.asked(), (0, 0));
}

#[tokio::test]
async fn answers_are_kept_for_a_while() {
    let cluster = Cluster::plain().await;
    let kubernetes = kubernetes(cluster.kubeconfig.clone(), by_label()).await;
    let token = token("pod-1", "u-1");
    cluster.add(&token, "pod-1", "u-1", &json!({"tuist.dev/fleet": "linux"}));
    let good = Ok(sender("pod-1", Some("linux")));
    for (at_s, asked) in [(0, (1, 1)), (59, (1, 1)), (60, (2, 1)), (119, (2, 1)), (299, (3, 1)), (361, (4, 2))] {
        assert_eq!(kubernetes.sender(&token, HERE, after(at_s)).await, good, "{at_s}");
        assert_eq!(cluster.asked(), asked, "{at_s}");
    }
    // Gone: it is good for the rest of its minute, and refused then, for five seconds without asking.
    cluster.known.lock().unwrap().tokens.clear();
    for (at_s, is_good, reviews) in [(400, true, 4), (421, false, 5), (425, false, 5), (427, false, 6)] {
        assert_eq!(kubernetes.sender(&token, HERE, after(at_s)).await.is_ok(), is_good, "{at_s}");
        assert_eq!(cluster.asked().0, reviews, "{at_s}");
    }
}

#[tokio::test]
async fn an_answer_is_never_good_past_the_tokens_end() {
    let cluster = Cluster::plain().await;
    let kubernetes = kubernetes(cluster.kubeconfig.clone(), all()).await;
    let mut claims = claims_of_pod("pod-1", "u-1");
    claims["exp"] = json!(NOW_S + 20);
    let token = Issuer::ec("a").token(&claims);
    cluster.add(&token, "pod-1", "u-1", &json!({}));
    for (at_s, reviews) in [(0, 1), (19, 1), (20, 2)] {
        // The cluster's clock may be behind: it is the judge of the end.
        assert!(kubernetes.sender(&token, HERE, after(at_s)).await.is_ok(), "{at_s}");
        assert_eq!(cluster.asked().0, reviews, "{at_s}");
    }
    assert_eq!(kubernetes.sender(&token, HERE, after(80)).await, unauthenticated("expired"));
}

#[tokio::test]
async fn a_label_is_that_of_this_pod_and_no_other() {
    let cluster = Cluster::plain().await;
    let kubernetes = kubernetes(cluster.kubeconfig.clone(), by_label()).await;
    let replaced = token("pod-1", "u-old");
    cluster.add(&replaced, "pod-1", "u-old", &json!({}));
    cluster.add(&token("pod-1", "u-new"), "pod-1", "u-new", &json!({"tuist.dev/fleet": "other"}));
    assert_eq!(kubernetes.sender(&replaced, HERE, now()).await, unauthenticated("pod_replaced"));
    let unlabelled = token("pod-2", "u-2");
    cluster.add(&unlabelled, "pod-2", "u-2", &json!({"app": "runner"}));
    assert_eq!(kubernetes.sender(&unlabelled, HERE, now()).await, Ok(sender("pod-2", None)));
    let gone = token("pod-3", "u-3");
    cluster.add(&gone, "pod-3", "u-3", &json!({"tuist.dev/fleet": "linux"}));
    cluster.known.lock().unwrap().pods.clear();
    assert_eq!(kubernetes.sender(&gone, HERE, now()).await, Ok(sender("pod-3", None)), "its last lines are not lost");
}

#[tokio::test]
async fn trouble_with_the_api_is_no_judgement() {
    let cluster = Cluster::tls().await;
    let token = token("pod-1", "u-1");
    cluster.add(&token, "pod-1", "u-1", &json!({}));
    let unavailable = |reason| Err(Refusal::Unavailable(reason));
    let stranger = kubernetes(cluster.kubeconfig_of_a_stranger(), by_label()).await;
    assert_eq!(stranger.sender(&token, HERE, now()).await, unavailable("api_refused"));
    let deceived = kubernetes(cluster.kubeconfig_that_trusts_others(), by_label()).await;
    assert_eq!(deceived.sender(&token, HERE, now()).await, unavailable("api"));

    let kubernetes = kubernetes(cluster.kubeconfig.clone(), by_label()).await;
    for (at_s, status) in
        [(0, StatusCode::INTERNAL_SERVER_ERROR), (2, StatusCode::SERVICE_UNAVAILABLE), (4, StatusCode::FORBIDDEN)]
    {
        cluster.known.lock().unwrap().broken = Some(status);
        assert_eq!(kubernetes.sender(&token, HERE, after(at_s)).await, unavailable("api_refused"), "{status}");
    }
    cluster.known.lock().unwrap().broken = None;
    assert_eq!(kubernetes.sender(&token, HERE, after(6)).await, Ok(sender("pod-1", None)), "nothing of it is kept");
}

#[tokio::test]
async fn an_api_that_is_down_or_no_api_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = kubernetes(kubeconfig(&dir, &format!("http://{closed}"), None, "x"), by_label()).await;
    assert_eq!(down.sender(&token("pod-1", "u-1"), HERE, now()).await, Err(Refusal::Unavailable("api")));
    let web = crate::server::Server::plain(|_, _| async { axum::response::Response::new("<html>".into()) }).await;
    let other = kubernetes(kubeconfig(&dir, &web.url, None, "x"), by_label()).await;
    assert_eq!(other.sender(&token("pod-1", "u-1"), HERE, now()).await, Err(Refusal::Unavailable("api")));
}

#[tokio::test]
async fn a_slow_api_costs_no_more_than_the_deadline() {
    let cluster = Cluster::plain().await;
    cluster.known.lock().unwrap().delay = Duration::from_secs(600);
    let kubernetes = kubernetes(cluster.kubeconfig.clone(), by_label()).await;
    let token = token("pod-1", "u-1");
    let all = async { tokio::join!(kubernetes.sender(&token, HERE, now()), kubernetes.sender(&token, HERE, now())) };
    let (first, second) = tokio::time::timeout(GENEROUS, all).await.expect("a deadline");
    assert_eq!((first, second), (Err(Refusal::Unavailable("timeout")), Err(Refusal::Unavailable("timeout"))));
    assert_eq!(cluster.asked().0, 1, "who waits for the same does not ask again");
}

#[tokio::test]
async fn a_retry_behind_a_question_that_took_too_long_does_not_ask_again_at_once() {
    let cluster = Cluster::plain().await;
    cluster.known.lock().unwrap().delay = Duration::from_secs(600);
    let kubernetes = kubernetes(cluster.kubeconfig.clone(), by_label()).await;
    let token = token("pod-1", "u-1");
    let began = std::time::Instant::now();
    let ask =
        async |now| tokio::time::timeout(GENEROUS, kubernetes.sender(&token, HERE, now)).await.expect("a deadline");
    assert_eq!(ask(now()).await, Err(Refusal::Unavailable("timeout")));
    assert_eq!(ask(now() + began.elapsed()).await, Err(Refusal::Unavailable("timeout")));
    assert_eq!(cluster.asked().0, 1);
    let later = now() + began.elapsed() + kubernetes::UNAVAILABLE_FOR;
    assert_eq!(ask(later).await, Err(Refusal::Unavailable("timeout")));
    assert_eq!(cluster.asked().0, 2, "and then it does");
}

#[tokio::test]
async fn many_requests_with_one_token_are_one_question() {
    let cluster = Cluster::plain().await;
    cluster.known.lock().unwrap().delay = Duration::from_millis(200);
    let kubernetes = Arc::new(kubernetes(cluster.kubeconfig.clone(), by_label()).await);
    let token = Arc::new(token("pod-1", "u-1"));
    cluster.add(&token, "pod-1", "u-1", &json!({"tuist.dev/fleet": "linux"}));
    let requests = (0..50).map(|_| {
        let (kubernetes, token) = (Arc::clone(&kubernetes), Arc::clone(&token));
        tokio::spawn(async move { kubernetes.sender(&token, HERE, now()).await })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap(), Ok(sender("pod-1", Some("linux"))));
    }
    assert_eq!(cluster.asked(), (1, 1));
}

/// Tokens that look as good as any and that nobody has signed.
fn made_up(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    let token = token("pod-x", "u-x");
    let signed = token.rsplit_once('.').unwrap().0.to_owned();
    range.map(move |i| format!("{signed}.{i:086}"))
}

/// How many of these tokens, each from its address, were refused, and how many could not be asked about.
async fn flood(
    kubernetes: &Arc<Kubernetes>,
    tokens: impl Iterator<Item = String>,
    from: impl Fn(u32) -> IpAddr,
    at_s: u64,
) -> (usize, usize) {
    let asks = tokens.zip(0..).map(|(token, i)| {
        let (kubernetes, from) = (Arc::clone(kubernetes), from(i));
        tokio::spawn(async move { kubernetes.sender(&token, from, after(at_s)).await })
    });
    let (mut refused, mut unknown) = (0, 0);
    for told in asks.collect::<Vec<_>>() {
        match told.await.unwrap() {
            Err(Refusal::Unauthenticated("not_authenticated")) => refused += 1,
            // A busy machine may not get to all of them in time.
            Err(Refusal::Unavailable("too_many_unknown" | "timeout")) => unknown += 1,
            other => panic!("{other:?}"),
        }
    }
    (refused, unknown)
}

/// What may come besides while a busy machine stands still: less than a second.
const MORE: usize = STRANGERS.a_second as usize;

#[tokio::test]
async fn whoever_makes_up_tokens_keeps_neither_the_api_busy_nor_a_known_runner_out_nor_one_from_elsewhere() {
    const BURST: usize = OF_AN_ADDRESS.burst as usize;
    let elsewhere = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    let cluster = Cluster::plain().await;
    let kubernetes = Arc::new(kubernetes(cluster.kubeconfig.clone(), all()).await);
    let (known, new, other) = (token("pod-1", "u-1"), token("pod-2", "u-2"), token("pod-3", "u-3"));
    for (token, pod, uid) in [(&known, "pod-1", "u-1"), (&new, "pod-2", "u-2"), (&other, "pod-3", "u-3")] {
        cluster.add(token, pod, uid, &json!({}));
    }
    assert_eq!(kubernetes.sender(&known, HERE, now()).await, Ok(sender("pod-1", None)));

    let (refused, unknown) = flood(&kubernetes, made_up(0..1500), |_| HERE, 0).await;
    assert_eq!(refused + unknown, 1500);
    assert!(unknown > 1000 - MORE && cluster.asked().0 <= BURST + MORE, "{unknown} {:?}", cluster.asked());
    // A minute later its answer is not good any more, and again there is a flood.
    let before = cluster.asked().0;
    let (_, unknown) = flood(&kubernetes, made_up(1500..3000), |_| HERE, 60).await;
    let asked = cluster.asked().0 - before;
    assert!(unknown >= 1000 - MORE && asked <= BURST + MORE, "{unknown} {asked}");
    assert_eq!(kubernetes.sender(&known, HERE, after(60)).await, Ok(sender("pod-1", None)), "it keeps its place");
    assert_eq!(kubernetes.sender(&other, elsewhere, after(60)).await, Ok(sender("pod-3", None)), "it comes in at once");
    let unknown = Err(Refusal::Unavailable("too_many_unknown"));
    assert_eq!(kubernetes.sender(&new, HERE, after(60)).await, unknown, "no judgement");
    assert_eq!(kubernetes.sender(&new, HERE, after(62)).await, Ok(sender("pod-2", None)), "and it comes in");
}

#[tokio::test]
async fn whoever_makes_up_tokens_at_many_addresses_keeps_out_new_runners_only_and_not_for_long() {
    const BURST: usize = STRANGERS.burst as usize;
    let cluster = Cluster::plain().await;
    let kubernetes = Arc::new(kubernetes(cluster.kubeconfig.clone(), all()).await);
    let (known, new) = (token("pod-1", "u-1"), token("pod-2", "u-2"));
    cluster.add(&known, "pod-1", "u-1", &json!({}));
    cluster.add(&new, "pod-2", "u-2", &json!({}));
    assert_eq!(kubernetes.sender(&known, HERE, now()).await, Ok(sender("pod-1", None)));
    let before = cluster.asked().0;
    let each_another = |i: u32| IpAddr::from((0x0a01_0000 + i).to_be_bytes());
    let (refused, unknown) = flood(&kubernetes, made_up(0..1500), each_another, 60).await;
    assert_eq!(refused + unknown, 1500);
    let asked = cluster.asked().0 - before;
    assert!(unknown >= 500 - MORE && asked <= BURST + MORE, "{unknown} {asked}");
    assert_eq!(kubernetes.sender(&known, HERE, after(60)).await, Ok(sender("pod-1", None)), "it keeps its place");
    let unknown = Err(Refusal::Unavailable("too_many_unknown"));
    assert_eq!(kubernetes.sender(&new, HERE, after(60)).await, unknown, "no judgement");
    assert_eq!(kubernetes.sender(&new, HERE, after(62)).await, Ok(sender("pod-2", None)), "and it comes in");
}

#[tokio::test]
async fn a_token_that_is_not_good_any_more_is_a_strangers() {
    let cluster = Cluster::plain().await;
    let kubernetes = Arc::new(kubernetes(cluster.kubeconfig.clone(), all()).await);
    let token = token("pod-1", "u-1");
    cluster.add(&token, "pod-1", "u-1", &json!({}));
    assert!(kubernetes.sender(&token, HERE, now()).await.is_ok());
    cluster.known.lock().unwrap().tokens.clear();
    assert_eq!(kubernetes.sender(&token, HERE, after(60)).await, unauthenticated("not_authenticated"));
    flood(&kubernetes, made_up(0..1500), |_| HERE, 66).await;
    assert_eq!(kubernetes.sender(&token, HERE, after(66)).await, Err(Refusal::Unavailable("too_many_unknown")));
}

#[tokio::test]
async fn whoever_asks_and_goes_away_leaves_the_next_one_his_turn() {
    let cluster = Cluster::plain().await;
    cluster.known.lock().unwrap().delay = Duration::from_millis(100);
    let kubernetes = Arc::new(kubernetes(cluster.kubeconfig.clone(), all()).await);
    let token = Arc::new(token("pod-1", "u-1"));
    cluster.add(&token, "pod-1", "u-1", &json!({}));
    let first = {
        let (kubernetes, token) = (Arc::clone(&kubernetes), Arc::clone(&token));
        tokio::spawn(async move { kubernetes.sender(&token, HERE, now()).await })
    };
    while cluster.asked().0 == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert_eq!(kubernetes.sender(&token, HERE, now()).await, Ok(sender("pod-1", None)));
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken");
    std::fs::write(&broken, "clusters: [").unwrap();
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let exposed = kubeconfig(&dir, "http://192.0.2.1:8080", None, "x");
    for (path, says) in
        [(dir.path().join("none"), "none"), (broken, "broken"), (empty, "empty"), (exposed, "in the clear")]
    {
        let cluster = kubernetes::Cluster::Kubeconfig(path.clone());
        let settings = Settings { cluster, audience: AUDIENCE.to_owned(), naming: all() };
        let error = Kubernetes::new(settings).await.unwrap_err();
        assert!(matches!(error, KubernetesError::Kubeconfig { .. }) && error.to_string().contains(says), "{error}");
    }
    let settings = |audience: &str, cluster| Settings { cluster, audience: audience.to_owned(), naming: all() };
    let error = Kubernetes::new(settings("", kubernetes::Cluster::Own)).await.unwrap_err();
    assert!(matches!(error, KubernetesError::NoAudience), "{error}");
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        let error = Kubernetes::new(settings(AUDIENCE, kubernetes::Cluster::Own)).await.unwrap_err();
        assert!(matches!(error, KubernetesError::NotInCluster(_)), "{error}");
    }
}

#[tokio::test]
async fn no_token_stands_in_what_is_told() {
    let cluster = Cluster::plain().await;
    let kubernetes = kubernetes(cluster.kubeconfig.clone(), by_label()).await;
    let token = token("pod-1", "u-1");
    cluster.add(&token, "pod-1", "u-1", &json!({}));
    kubernetes.sender(&token, HERE, now()).await.unwrap();
    let told = format!("{kubernetes:?}");
    assert!(!told.contains(&token) && !told.contains("the-hub-itself"), "{told}");
}
