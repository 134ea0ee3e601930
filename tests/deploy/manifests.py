"""The manifests and the chart: valid by the published schemas, hardened, and consistent with each other.

Renders both overlays of config/kubernetes with `kubectl kustomize`, and the chart in config/helm with Helm's own library,
with several values. Then the same checks for all. Writes the overlays to target/deploy as JSON, for terminations.py.
Needs what requirements.txt lists.
"""

import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema
import kubernetes_validate
import yaml

from parts import ROOT, binary

try:
    import helm_python
except ImportError:
    # Its library is published for some machines only.
    helm_python = None

# The oldest version with native sidecars by default, the one that promises them, and the newest known one.
VERSIONS = ["1.29.0", "1.33.0", "1.37.0"]
OVERLAYS = ["inbound", "outbound"]
CHART = ROOT / "config/helm/sidecache"
SERVICE_MONITOR = json.loads((pathlib.Path(__file__).parent / "servicemonitor.json").read_text(encoding="utf-8"))

VALUES = {
    "only what is required": {"upstream": "http://rag:8000"},
    "everything": {
        "upstream": "https://rag.example/base",
        "config": 'presets = ["lightrag"]\nupstream.connect_timeout = "1s"\n\n[ttl]\nquery = "10m"\n',
        "drain": {"delaySeconds": 5, "timeoutSeconds": 120},
        "secret": "other",
        "image": {"repository": "registry.example/sidecache", "tag": "1.2.3", "pullSecrets": [{"name": "pull"}]},
        "replicas": 1,
        "service": {"type": "LoadBalancer", "port": 8080},
        "disruptionBudget": {"maxUnavailable": "25%"},
        "networkPolicy": {"egress": [{"to": [{"podSelector": {"matchLabels": {"app": "rag"}}}]}]},
        "metrics": {"enabled": True, "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
        "podLabels": {"team": "search"},
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    },
    "nothing that can be left out": {
        "upstream": "http://rag",
        "disruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
}

WRONG_VALUES = {
    "no upstream": {},
    "no URL": {"upstream": "rag:8000"},
    "a misspelt name": {"upstream": "http://rag", "replica": 3},
    "a misspelt name deep inside": {"upstream": "http://rag", "metrics": {"serviceMonitor": {"enable": True}}},
    "a text for a number": {"upstream": "http://rag", "replicas": "3"},
    "no port": {"upstream": "http://rag", "service": {"port": 0}},
    "no peers": {"upstream": "http://rag", "networkPolicy": {"clients": []}},
    "a service monitor without metrics": {"upstream": "http://rag", "metrics": {"serviceMonitor": {"enabled": True}}},
}


# ---- schemas


def check_schema(item):
    if item["kind"] == "ServiceMonitor":
        jsonschema.validate(item, SERVICE_MONITOR)
        return
    for version in VERSIONS:
        kubernetes_validate.validate(item, version, strict=True)


def refuses(item, change):
    """Whether the schemas refuse an item after a change: else they show nothing."""
    wrong = copy.deepcopy(item)
    change(wrong)
    try:
        check_schema(wrong)
    except (kubernetes_validate.ValidationError, jsonschema.ValidationError):
        return True
    return False


def check_refusals(items):
    by_kind = {item["kind"]: item for item in items}
    container = lambda item: item["spec"]["template"]["spec"]["containers"][0]
    for kind, change in [
        ("Deployment", lambda item: container(item).update(readinesProbe={})),
        ("Deployment", lambda item: container(item)["resources"]["limits"].update(memory=[])),
        ("Deployment", lambda item: item["spec"].update(replicas="2")),
        ("NetworkPolicy", lambda item: item["spec"].update(ingres=[])),
        ("PodDisruptionBudget", lambda item: item["spec"].update(maxUnavailble=1)),
        ("ServiceMonitor", lambda item: item["spec"]["endpoints"][0].update(intervall="30s")),
        ("ServiceMonitor", lambda item: item["spec"]["endpoints"][0].update(interval="30 s")),
    ]:
        assert refuses(by_kind[kind], change), f"a wrong {kind} is taken for a right one"


# ---- what every set of manifests promises


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def check_container(name, container, pod):
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False, name
    assert security["readOnlyRootFilesystem"] is True, name
    assert security["capabilities"] == {"drop": ["ALL"]}, name
    assert not security.get("privileged") and "runAsUser" not in security, name
    assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
    assert "memory" in container["resources"]["limits"], name
    assert "livenessProbe" in container, name
    if container["name"] == "sidecache":
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container), name
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    for kind in ["startupProbe", "livenessProbe", "readinessProbe"]:
        probe = container.get(kind, {})
        for how in ["httpGet", "tcpSocket"]:
            assert how not in probe or probe[how]["port"] in ports, f"{name}: {kind} asks a port that is not named"
        if "httpGet" in probe:
            # The kubelet connects to the pod's address.
            assert "host" not in probe["httpGet"], name
    for variable in container.get("env", []):
        if re.search("TOKEN|KEY|REDIS_URL|PASSWORD", variable["name"]):
            assert "secretKeyRef" in variable["valueFrom"], f"{name}: {variable['name']} is no secret"
    mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
    assert mounted <= {volume["name"] for volume in pod.get("volumes", [])}, name


def seconds(config, name, default):
    found = re.search(rf'^{name} = "(\d+)s"', config, re.M)
    return int(found.group(1)) if found else default


def check_set(what, items):
    """One Deployment and what belongs to it."""
    named = {(item["kind"], item["metadata"]["name"]): item for item in items}
    assert len(named) == len(items), f"{what}: two items have one name"
    (deployment,) = [item for item in items if item["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]
    assert pod["automountServiceAccountToken"] is False and pod["securityContext"]["runAsNonRoot"] is True, what
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, what
    assert not any(pod.get(name) for name in ["hostNetwork", "hostPID", "hostIPC"]), what
    for container in containers(pod):
        check_container(f"{what}: {container['name']}", container, pod)
    (sidecache,) = [container for container in containers(pod) if container["name"] == "sidecache"]

    # What selects these pods selects them, and no others.
    is_selected = lambda selector: selector and selector.items() <= labels.items()
    assert is_selected(deployment["spec"]["selector"]["matchLabels"]), what
    ports = {port["name"]: port["containerPort"] for container in containers(pod) for port in container.get("ports", [])}
    for item in items:
        name = f"{what}: {item['kind']} {item['metadata']['name']}"
        if item["kind"] == "PodDisruptionBudget":
            assert is_selected(item["spec"]["selector"]["matchLabels"]), name
        elif item["kind"] == "NetworkPolicy":
            assert is_selected(item["spec"]["podSelector"]["matchLabels"]), name
            assert "Ingress" in item["spec"]["policyTypes"], name
            opened = {port["port"] for rule in item["spec"]["ingress"] for port in rule["ports"]}
            assert opened == set(ports.values()), f"{name}: opens {opened}, there are {ports}"
            assert all(rule.get("from") for rule in item["spec"]["ingress"]), f"{name}: open to all"
        elif item["kind"] == "Service":
            assert is_selected(item["spec"]["selector"]), name
            assert all(port["targetPort"] in ports for port in item["spec"]["ports"]), name
        elif item["kind"] == "ServiceMonitor":
            chosen = item["spec"]["selector"]["matchLabels"].items()
            services = [other for other in items if other["kind"] == "Service"]
            (service,) = [other for other in services if chosen <= other["metadata"]["labels"].items()]
            names = {port["name"] for port in service["spec"]["ports"]}
            assert all(endpoint["port"] in names for endpoint in item["spec"]["endpoints"]), name
            (token,) = [one for one in sidecache["env"] if one["name"] == "ADMIN_TOKEN"]
            credentials = item["spec"]["endpoints"][0]["authorization"]["credentials"]
            assert credentials == token["valueFrom"]["secretKeyRef"], f"{name}: another token"

    # The configuration that the pod mounts is there, and there is enough time for the drain.
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "config"]
    config = named["ConfigMap", volume["configMap"]["name"]]["data"]["sidecache.toml"]
    drain = seconds(config, "drain_delay", 0) + seconds(config, "drain_timeout", 30)
    assert pod["terminationGracePeriodSeconds"] > drain, f"{what}: the drain takes {drain} s"
    check_config(what, config)
    listen = re.search(r'^listen = "([^:]+):8080"', config, re.M).group(1)
    has_port = ports.get("clients") == 8080
    assert listen == ("0.0.0.0" if has_port else "127.0.0.1"), f"{what}: {listen}"


def check_config(what, config):
    """sidecache takes the configuration."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "sidecache.toml"
        path.write_text(config, encoding="utf-8")
        done = subprocess.run(
            [binary(), "check", "--config", path], capture_output=True, text=True, cwd=folder, check=False,
            env={"PATH": os.environ["PATH"], "ADMIN_TOKEN": "a-token-of-some-length"},
        )
    assert done.returncode == 0, f"{what}: {done.stderr}"


# ---- the overlays and the chart


def overlay(name):
    kubectl = pathlib.Path(sys.executable).parent / "kubectl"
    done = subprocess.run(
        [kubectl, "kustomize", ROOT / "config/kubernetes" / name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def rendered(chart, values):
    files = chart.render(values, name="answers", namespace="prod")
    notes = [text for path, text in files.items() if path.endswith("NOTES.txt")]
    items = [
        item
        for path, text in sorted(files.items())
        if path.endswith(".yaml")
        for item in yaml.safe_load_all(text)
        if item
    ]
    return items, "".join(notes)


def check_chart():
    found = helm_python.lint(str(CHART), VALUES["everything"], strict=True)
    # An icon is for a catalogue.
    complaints = [line for line in found.get("messages", []) if "icon is recommended" not in str(line)]
    assert not complaints, complaints
    with helm_python.Chart.load(str(CHART)) as chart:
        for what, values in VALUES.items():
            chart.validate_schema(values)
            items, notes = rendered(chart, values)
            for item in items:
                check_schema(item)
            check_set(f"chart, {what}", items)
            assert values["upstream"] in notes, notes
            kinds = {item["kind"] for item in items}
            print(f"chart, {what}: {len(items)} items: {', '.join(sorted(kinds))}")
        for what, values in WRONG_VALUES.items():
            try:
                chart.validate_schema(values)
                rendered(chart, values)
            except helm_python.HelmError:
                continue
            raise AssertionError(f"the chart takes {what}")
    check_twins()


def check_twins():
    """The chart's pod is the inbound overlay's: what one has, the other must have too."""
    with helm_python.Chart.load(str(CHART)) as chart:
        values = {"upstream": "http://rag:8000", "metrics": {"enabled": True, "serviceMonitor": {"enabled": True}}}
        items, _ = rendered(chart, values)
    def pod(items):
        (found,) = [item for item in items if item["kind"] == "Deployment"]
        text = json.dumps(found["spec"]["template"]["spec"], sort_keys=True)
        spec = json.loads(re.sub(r'"sidecache-[0-9a-z]{10}"|"answers-sidecache"', '"NAME"', text))
        for container in containers(spec):
            container.pop("imagePullPolicy", None)
        del spec["topologySpreadConstraints"]
        return spec

    ours, theirs = pod(overlay("inbound")), pod(items)
    assert ours == theirs, f"the overlay and the chart differ:\n{json.dumps(ours)}\n{json.dumps(theirs)}"


def main():
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "deploy"
    target.mkdir(parents=True, exist_ok=True)
    for name in OVERLAYS:
        items = overlay(name)
        for item in items:
            check_schema(item)
        check_set(name, items)
        check_refusals(items)
        (target / f"{name}.json").write_text(json.dumps(items, indent=1), encoding="utf-8")
        print(f"overlay {name}: {len(items)} items are valid in Kubernetes {', '.join(VERSIONS)}, and hardened")
    if not helm_python:
        print("chart: not checked, since there is no helm-python-sdk for this machine")
        return
    check_chart()
    print(f"chart: rendered by Helm {helm_python.helm_sdk_version()}; {len(WRONG_VALUES)} wrong values are refused")


if __name__ == "__main__":
    main()
