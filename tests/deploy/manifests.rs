//! The hub's manifests belong together, and give it no more than it needs.

use serde_json::json;

use crate::support::{bytes, config, container, document, files, list, manifest, manifests, named, string, text};

const NAME: &str = "app.kubernetes.io/name";

#[test]
fn every_manifest_is_applied() {
    let kustomization = document("deploy/kubernetes/kustomization.yaml");
    let mut listed: Vec<String> =
        list(&kustomization["resources"]).iter().map(|name| string(name).to_owned()).collect();
    listed.push("kustomization.yaml".to_owned());
    listed.sort();
    assert_eq!(listed, files("deploy/kubernetes", ".yaml"));
    let mut kinds: Vec<String> = manifests().iter().map(|one| string(&one["kind"]).to_owned()).collect();
    kinds.sort();
    let all = "ClusterRole ClusterRoleBinding Deployment NetworkPolicy PodDisruptionBudget Role RoleBinding Service ServiceAccount";
    assert_eq!(kinds.join(" "), all);
    assert_eq!(named(&kustomization["images"], "vitals-hub")["name"], container()["image"]);
}

#[test]
fn everything_is_about_the_same_pods() {
    let deployment = manifest("Deployment");
    let labels = json!({ NAME: "vitals-hub" });
    let template = &deployment["spec"]["template"];
    assert_eq!(template["metadata"]["labels"], labels);
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(template["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"], labels);
    assert_eq!(manifest("Service")["spec"]["selector"], labels);
    assert_eq!(manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], labels);
    let budget = manifest("PodDisruptionBudget");
    assert_eq!(budget["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(budget["spec"]["maxUnavailable"], 1, "one is left, and a node can be drained");
    for kind in ["Deployment", "Service", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"] {
        assert_eq!(manifest(kind)["metadata"]["namespace"], "monitoring", "{kind}");
    }
}

#[test]
fn it_may_ask_about_tokens_and_read_a_runners_pod() {
    let asks = json!([{ "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"] }]);
    assert_eq!(manifest("ClusterRole")["rules"], asks);
    let role = manifest("Role");
    assert_eq!(role["rules"], json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }]));
    let account = manifest("ServiceAccount");
    for (binding, role) in [("ClusterRoleBinding", manifest("ClusterRole")), ("RoleBinding", role)] {
        let binding = manifest(binding);
        assert_eq!(binding["roleRef"]["kind"], role["kind"]);
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
        assert_eq!(binding["metadata"]["namespace"], role["metadata"]["namespace"]);
        let (name, namespace) = (&account["metadata"]["name"], &account["metadata"]["namespace"]);
        let subject = json!([{ "kind": "ServiceAccount", "name": name, "namespace": namespace }]);
        assert_eq!(binding["subjects"], subject);
    }
    let deployment = manifest("Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], account["metadata"]["name"]);
    assert_eq!(
        (&account["automountServiceAccountToken"], &pod["automountServiceAccountToken"]),
        (&json!(false), &json!(true))
    );
}

/// The document and the manifests say the same rules.
#[test]
fn the_document_has_the_same_rights() {
    let document = text("docs/HUB-AUTH.md");
    for rule in [
        "{ apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create] }",
        "{ apiGroups: [\"\"], resources: [pods], verbs: [get] }",
    ] {
        assert!(document.contains(rule), "{rule}");
    }
}

#[test]
fn it_is_nobody_and_may_write_nowhere() {
    let deployment = manifest("Deployment");
    let pod = &deployment["spec"]["template"]["spec"]["securityContext"];
    let nobody = json!({
        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    assert_eq!(pod, &nobody);
    let nothing = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
    });
    assert_eq!(container()["securityContext"], nothing);
    assert!(list(&container()["volumeMounts"]).iter().all(|mount| mount["readOnly"] == true));
    assert_eq!(deployment["spec"]["template"]["spec"]["enableServiceLinks"], false, "VITALS_HUB_… are settings");
}

#[test]
fn ports_are_those_of_the_container() {
    let container = container();
    let (https, metrics) = (named(&container["ports"], "https"), named(&container["ports"], "metrics"));
    assert_eq!(https["containerPort"], config().listen.port());
    assert_eq!(metrics["containerPort"], config().metrics_listen.unwrap().port());
    let service = manifest("Service");
    assert_eq!(service["spec"]["ports"], json!([{ "name": "https", "port": 443, "targetPort": "https" }]));
    let deployment = manifest("Deployment");
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["k8s.grafana.com/metrics.portName"], "metrics");
    assert_eq!(annotations["k8s.grafana.com/scrape"], "true");
    let job = string(&annotations["k8s.grafana.com/job"]);
    let down = format!("absent(up{{job=\"{job}\"}})");
    assert!(text("deploy/prometheus/vitals-hub.yaml").contains(&down), "scraped under another job, it is always down");
    let policy = manifest("NetworkPolicy");
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    let rules = list(&policy["spec"]["ingress"]);
    assert_eq!(rules[0], json!({ "ports": [{ "port": "https" }] }), "guests come from anywhere");
    assert_eq!(rules[1], json!({ "from": [{ "podSelector": {} }], "ports": [{ "port": "metrics" }] }));
    assert_eq!(rules.len(), 2);
}

/// A limit under what the hub may hold by its own bounds would kill it at the worst moment.
#[test]
fn it_asks_for_what_it_was_measured_to_need() {
    let page = text("benches/BUDGET.md");
    let hub = page.split_once("## The hub").unwrap().1;
    let bound_of = |row: &str| {
        let row = hub.lines().find(|line| line.starts_with(&format!("| {row} |"))).unwrap();
        row.split('|').nth(2).unwrap().trim().to_owned()
    };
    let resident = bound_of("peak resident memory");
    let resident_bytes = resident.strip_suffix(" MiB").unwrap().parse::<u64>().unwrap() << 20;
    let container = container();
    let resources = &container["resources"];
    assert_eq!(bytes(&resources["requests"]["memory"]), resident_bytes);
    assert_eq!(resources["limits"]["cpu"], json!(null), "a throttled hub answers late");
    let config = config();
    const A_CONNECTION: u64 = 16 << 10;
    const REMEMBERED: u64 = 40 << 20;
    const FOR_LOKI: u64 = 16 << 20;
    let held =
        u64::from(config.max_connections) * A_CONNECTION + u64::from(config.max_queue_bytes) + REMEMBERED + FOR_LOKI;
    assert!(bytes(&resources["limits"]["memory"]) > held + resident_bytes, "{held}");
}
