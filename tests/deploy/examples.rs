//! The two Pods: whole, and of the same names as the hub and Alloy.

use std::collections::BTreeSet;

use runner_vitals::hub::serve::auth::naming::FleetFrom;
use runner_vitals::hub::serve::config::AuthMode;
use runner_vitals::line::field;
use serde_json::{Value, json};

use crate::support::{
    config, container, document, files, list, manifest, named, namespace, path, setting, string, strings, text,
};

pub(crate) const FOLDER: &str = "deploy/kubernetes/examples";

pub(crate) fn example(name: &str) -> Value {
    document(&format!("{FOLDER}/{name}.yaml"))
}

/// The sidecar's container and the runner's.
pub(crate) fn sidecar() -> (Value, Value) {
    let pod = example("sidecar");
    (named(&pod["spec"]["initContainers"], "vitals").clone(), named(&pod["spec"]["containers"], "runner").clone())
}

fn containers(pod: &Value) -> Vec<Value> {
    let all = ["initContainers", "containers"].map(|kind| pod["spec"][kind].as_array().cloned().unwrap_or_default());
    all.concat()
}

fn mounts(container: &Value) -> BTreeSet<String> {
    list(&container["volumeMounts"]).iter().map(|mount| string(&mount["name"]).to_owned()).collect()
}

/// Who follows docs/INSTALL.md has made and pushed the images that the manifests name, and not of themselves.
#[test]
fn the_images_are_those_that_the_page_builds() {
    let page = text("docs/INSTALL.md");
    let hub = document("deploy/kubernetes/kustomization.yaml")["images"][0].clone();
    let hub = format!("{}:{}", string(&hub["newName"]), string(&hub["newTag"]));
    let runner = string(&named(&example("in-container")["spec"]["containers"], "runner")["image"]).to_owned();
    for image in [hub, runner.clone()] {
        for command in [format!(" -t {image} .\n"), format!("    docker push {image}\n")] {
            assert!(page.contains(&command), "docs/INSTALL.md has no {command}");
        }
    }
    let (sidecar, beside) = sidecar();
    assert_eq!([string(&sidecar["image"]), string(&beside["image"])], [&runner, &runner]);
    assert!(!page.contains(&format!("RUNNER_IMAGE={runner} ")));
}

#[test]
fn pods_are_of_the_namespace_fleet_and_environment_that_the_rest_is_about() {
    assert_eq!(files(FOLDER, ".yaml"), ["in-container.yaml", "sidecar.yaml"]);
    let AuthMode::Kubernetes(settings) = config().auth else { panic!("asks the cluster") };
    let FleetFrom::Label(fleet) = &settings.naming.fleet_from else { panic!("a label") };
    let values = document("deploy/alloy/values.yaml");
    let tolerations = &values["collectors"]["alloy-logs"]["controller"]["tolerations"];
    for pod in [example("in-container"), example("sidecar")] {
        assert_eq!(string(&pod["metadata"]["namespace"]), namespace(&settings));
        assert!(pod["metadata"]["labels"][fleet].is_string());
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false, "jobs have no token of the cluster");
        for toleration in list(&pod["spec"]["tolerations"]) {
            assert!(list(tolerations).contains(toleration), "Alloy goes where runners go");
        }
        let who =
            containers(&pod).into_iter().find(|container| string(&container["env"][1]["name"]).contains("VITALS"));
        let env = who.unwrap()["env"].clone();
        let field_of = |name: &str| string(&named(&env, name)["valueFrom"]["fieldRef"]["fieldPath"]).to_owned();
        assert_eq!(field_of("RUNNER_VITALS_RUNNER"), "metadata.name");
        assert_eq!(field_of("RUNNER_VITALS_FLEET"), format!("metadata.labels['{fleet}']"));
        assert_eq!(named(&env, "RUNNER_VITALS_ENV")["value"], json!(config().env));
        let limit = &named(&env, "RUNNER_VITALS_RUNNER_MEM_LIMIT")["valueFrom"]["resourceFieldRef"];
        assert_eq!(limit["resource"], "limits.memory");
        let runner = named(&pod["spec"]["containers"], "runner");
        assert_eq!(named(&env, "RUNNER_VITALS_IMAGE")["value"], runner["image"]);
    }
}

#[test]
fn every_volume_is_there_and_used() {
    for pod in [example("in-container"), example("sidecar")] {
        let volumes: BTreeSet<String> =
            list(&pod["spec"]["volumes"]).iter().map(|volume| string(&volume["name"]).to_owned()).collect();
        let used: BTreeSet<String> = containers(&pod).iter().flat_map(mounts).collect();
        assert_eq!(used, volumes);
        let kmsg = named(&pod["spec"]["volumes"], "kmsg");
        assert_eq!(kmsg["hostPath"], json!({ "path": "/dev/kmsg", "type": "CharDevice" }));
    }
}

/// The probe says in `caps` which of them it has, and the table of fields which it looks for.
#[test]
fn capabilities_are_those_that_the_probe_looks_for() {
    let meaning = field::find("caps").unwrap().about;
    for container in [named(&example("in-container")["spec"]["containers"], "runner").clone(), sidecar().0] {
        let added: BTreeSet<&str> = strings(&container["securityContext"]["capabilities"]["add"]).into_iter().collect();
        assert_eq!(added, BTreeSet::from(["IPC_LOCK", "SYSLOG", "SYS_NICE", "SYS_RESOURCE"]));
        for name in added {
            assert!(meaning.contains(&name.to_ascii_lowercase()), "{name}: {meaning}");
        }
    }
}

#[test]
fn the_launcher_runs_the_job_in_the_container() {
    let pod = example("in-container");
    let runner = named(&pod["spec"]["containers"], "runner");
    assert_eq!(strings(&runner["command"]), ["/usr/local/bin/run-job.sh"]);
    assert!(path("image/run-job.sh").exists());
    assert!(text("README.md").contains("/usr/local/bin/run-job.sh"), "where the README's Dockerfile puts it");
    assert!(!strings(&runner["args"]).is_empty(), "it wants a job");
}

#[test]
fn the_sidecar_is_native_and_sees_the_job() {
    let pod = example("sidecar");
    let (vitals, runner) = sidecar();
    assert_eq!(vitals["restartPolicy"], "Always");
    assert_eq!(pod["spec"]["shareProcessNamespace"], true);
    assert_eq!((&pod["spec"]["restartPolicy"], &pod["spec"]["serviceAccountName"]), (&json!("Never"), &json!(null)));
    let (of_sidecar, of_runner) = (mounts(&vitals), mounts(&runner));
    let alone: Vec<&String> = of_sidecar.difference(&of_runner).collect();
    assert_eq!(alone, ["ca", "cgroup", "kmsg", "token"], "the job has neither token nor device");
    assert_eq!(of_runner.difference(&of_sidecar).count(), 0);
    assert!(list(&vitals["volumeMounts"]).iter().all(|mount| mount["readOnly"] == true));
    let cgroup = named(&pod["spec"]["volumes"], "cgroup");
    assert_eq!(cgroup["hostPath"]["path"], named(&vitals["volumeMounts"], "cgroup")["mountPath"]);
    assert_eq!(runner["securityContext"], json!(null));
    assert_eq!(vitals["securityContext"]["runAsUser"], 0, "capabilities reach nobody else");
}

#[test]
fn the_sidecars_token_is_for_the_hub() {
    let pod = example("sidecar");
    let (vitals, _) = sidecar();
    let args = strings(&vitals["args"]);
    let AuthMode::Kubernetes(settings) = config().auth else { panic!("asks the cluster") };
    let token = &named(&pod["spec"]["volumes"], "token")["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(string(&token["audience"]), settings.audience);
    let inside =
        |mount: &str, file: &str| format!("{}/{file}", string(&named(&vitals["volumeMounts"], mount)["mountPath"]));
    assert_eq!(setting(&args, "--token-file="), [inside("token", string(&token["path"]))]);
    assert_eq!(setting(&args, "--ca-file="), [inside("ca", "ca.crt")]);
    let service = manifest("Service");
    let (name, namespace) = (string(&service["metadata"]["name"]), string(&service["metadata"]["namespace"]));
    let url = format!("https://{name}.{namespace}.svc{}", config().path);
    assert_eq!(setting(&args, "--sink="), [url.as_str()], "443 is the Service's port");
    assert!(text("deploy/kubernetes/service.yaml").contains(&url));
    let audience = string(&token["audience"]);
    assert!(text("docs/HUB-AUTH.md").contains(&format!("audience: {audience}")));
}

#[test]
fn the_sidecar_follows_and_watches_what_it_has() {
    let (vitals, runner) = sidecar();
    let args = strings(&vitals["args"]);
    let at = |container: &Value, name: &str| string(&named(&container["volumeMounts"], name)["mountPath"]).to_owned();
    assert_eq!(setting(&args, "--watch="), [at(&vitals, "work")]);
    let follows = setting(&args, "--follow=");
    let document = text("docs/SIDECAR.md");
    assert!(!follows.is_empty());
    for pattern in follows {
        let pattern = pattern.strip_prefix(&at(&vitals, "diag")).unwrap();
        assert!(document.contains(&format!("'{}{pattern}'", at(&runner, "diag"))), "{pattern}");
    }
}

#[test]
fn nothing_of_a_runner_comes_to_loki_twice() {
    let (vitals, runner) = sidecar();
    let args = strings(&vitals["args"]);
    assert!(!args.iter().any(|arg| arg.contains("stdout")), "the sidecar's log is empty");
    assert!(!string(&runner["command"][2]).contains("run-job.sh"), "no second probe");
    let pod = example("in-container");
    let env = &named(&pod["spec"]["containers"], "runner")["env"];
    let names: Vec<&str> = list(env).iter().map(|one| string(&one["name"])).collect();
    assert!(!names.contains(&"RUNNER_VITALS_URL") && !names.contains(&"RUNNER_VITALS_SINK"), "stdout alone");
    assert_eq!(container()["name"], "vitals-hub");
}
