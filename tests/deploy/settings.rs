//! The hub's settings in its Deployment: what the real hub makes of them, and what stands elsewhere of the same.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use runner_vitals::hub::serve::auth::kubernetes::Cluster;
use runner_vitals::hub::serve::auth::naming::{FleetFrom, NameFrom};
use runner_vitals::hub::serve::config::{AuthMode, OutMode};

use crate::hub::Hub;
use crate::probe::PATIENCE;
use crate::support::{config, container, hub_config, list, manifest, named, namespace, string};

#[test]
fn it_listens_to_others_through_tls() {
    let config = config();
    assert!(config.listen.ip().is_unspecified() && config.metrics_listen.unwrap().ip().is_unspecified());
    let (container, deployment) = (container(), manifest("Deployment"));
    let mount = named(&container["volumeMounts"], "tls");
    let volume = named(&deployment["spec"]["template"]["spec"]["volumes"], "tls");
    assert_eq!(volume["secret"]["secretName"], "vitals-hub-tls");
    assert_eq!(volume["secret"]["defaultMode"], 0o440);
    let tls = config.tls.unwrap();
    let folder = Path::new(string(&mount["mountPath"]));
    let (cert, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    assert_eq!((tls.cert.path(), tls.key.path()), (&*cert, &*key), "a Secret of type tls has these");
}

#[test]
fn it_asks_the_cluster_about_runners_of_one_namespace() {
    let AuthMode::Kubernetes(settings) = config().auth else { panic!("asks the cluster") };
    assert_eq!(settings.cluster, Cluster::Own);
    assert_eq!(settings.naming.name_from, NameFrom::Pod);
    assert!(matches!(settings.naming.fleet_from, FleetFrom::Label(_)));
    assert_eq!(namespace(&settings), string(&manifest("Role")["metadata"]["namespace"]));
}

#[test]
fn its_policy_lets_it_reach_loki_and_the_api() {
    let outs = config().outs;
    let [OutMode::Loki(loki)] = &outs[..] else { panic!("Loki and nothing else: {outs:?}") };
    let policy = manifest("NetworkPolicy");
    let rules = list(&policy["spec"]["egress"]);
    let namespace = loki.url.host.split('.').nth(1).unwrap();
    let to_loki = rules
        .iter()
        .find(|rule| rule["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == namespace);
    assert_eq!(to_loki.unwrap()["ports"][0]["port"], loki.url.port);
    // Names first: neither a cache on the node nor the API is found by a selector.
    let to_all: Vec<_> = rules.iter().filter(|rule| rule["to"].is_null()).collect();
    let ports = to_all.iter().map(|rule| {
        let ports = list(&rule["ports"]).iter();
        ports.map(|port| (port["protocol"].as_str(), port["port"].as_u64().unwrap())).collect::<Vec<_>>()
    });
    let names = vec![(Some("UDP"), 53), (Some("TCP"), 53)];
    assert_eq!(ports.collect::<Vec<_>>(), [names, vec![(None, 443), (None, 6443)]]);
}

#[test]
fn it_has_time_to_drain() {
    let (container, deployment) = (container(), manifest("Deployment"));
    let pod = &deployment["spec"]["template"]["spec"];
    let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
    let before = Duration::from_secs(container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap());
    assert!(grace >= before + config().drain + Duration::from_secs(3));
}

/// The paths that the kubelet asks, asked of a hub that has a port for them as the Deployment says.
#[test]
fn probes_ask_what_the_hub_answers() {
    let hub = Hub::start(&["--metrics-listen", "127.0.0.1:0"]);
    let side: SocketAddr = hub.logged("message=metrics address=").parse().unwrap();
    let container = container();
    for (probe, path) in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        let get = &container[probe]["httpGet"];
        assert_eq!((string(&get["path"]), string(&get["port"])), (path, "metrics"), "{probe}");
        assert_eq!(status(side, string(&get["path"])), 200, "{probe}");
        assert_eq!(status(hub.address, string(&get["path"])), 404, "{probe}: it has a port of its own");
    }
    assert_eq!(status(side, "/metrics"), 200);
}

fn status(address: SocketAddr, path: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_flag_that_the_hub_does_not_know_is_noticed() {
    assert!(hub_config(&["serve", "--auth=none"]).is_ok());
    for flag in ["--fleet-lable=x", "--listen=8443", "--env", "--loki=loki:3100"] {
        assert!(hub_config(&["serve", "--auth=none", flag]).is_err(), "{flag}");
    }
}
