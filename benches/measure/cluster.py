"""Objects as a real API server writes them, recorded, and an API server that has many such."""

import contextlib
import http.server
import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from .machine import Problem, answers, free_port, run, server, wait_for

TOKENS = "admintoken,admin,uid1,\"system:masters\"\n"
PATHS = {
    "deployments": "/apis/apps/v1/deployments", "statefulsets": "/apis/apps/v1/statefulsets",
    "daemonsets": "/apis/apps/v1/daemonsets", "cronjobs": "/apis/batch/v1/cronjobs",
    "replicationcontrollers": "/api/v1/replicationcontrollers", "podtemplates": "/api/v1/podtemplates",
    "replicasets": "/apis/apps/v1/replicasets",
    "controllerrevisions": "/apis/apps/v1/controllerrevisions", "jobs": "/apis/batch/v1/jobs",
    "pods": "/api/v1/pods", "serviceaccounts": "/api/v1/serviceaccounts", "nodes": "/api/v1/nodes",
}


class Real:
    """etcd, an API server and the controllers."""

    def __init__(self, work, url):
        self.url = url
        self.trust = ssl.create_default_context()
        # Its certificate is made by itself at its start.
        self.trust.check_hostname, self.trust.verify_mode = False, ssl.CERT_NONE

    def ask(self, method, path, body=None, kind="application/json"):
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode() if body is not None else None,
            {"Authorization": "Bearer admintoken", "Content-Type": kind}, method=method)
        with urllib.request.urlopen(request, timeout=60, context=self.trust) as answer:
            return json.load(answer)

    def is_ready(self):
        try:
            self.ask("GET", "/api/v1/namespaces/default")
        except (OSError, urllib.error.HTTPError):
            return False
        return True


@contextlib.contextmanager
def real(bench):
    work = bench.work / "cluster"
    work.mkdir()
    (work / "tokens.csv").write_text(TOKENS)
    run(["openssl", "genrsa", "-out", work / "sa.key", "2048"], work / "openssl", bench.environment)
    etcd, port = f"http://127.0.0.1:{free_port()}", free_port()
    kubeconfig = work / "config"
    kubeconfig.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": f"https://127.0.0.1:{port}",
                                                "insecure-skip-tls-verify": True}}],
        "users": [{"name": "it", "user": {"token": "admintoken"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}]}))
    found = Real(work, f"https://127.0.0.1:{port}")
    with contextlib.ExitStack() as stack:
        def start(name, command, condition):
            log = work / f"{name}.log"
            child = stack.enter_context(server(command, log, bench.environment))
            wait_for(name, condition, child, log)
        start("etcd", ["etcd", "--data-dir", work / "etcd", "--listen-client-urls", etcd,
                       "--advertise-client-urls", etcd,
                       "--listen-peer-urls", f"http://127.0.0.1:{free_port()}"],
              lambda: answers(f"{etcd}/health"))
        start("kube-apiserver", [
            bench.testbed / "kube-apiserver", f"--etcd-servers={etcd}", f"--secure-port={port}",
            "--bind-address=127.0.0.1", f"--cert-dir={work / 'certificates'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={work / 'sa.key'}",
            f"--service-account-signing-key-file={work / 'sa.key'}",
            f"--token-auth-file={work / 'tokens.csv'}", "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount"],
              found.is_ready)
        start("kube-controller-manager", [
            bench.testbed / "kube-controller-manager", f"--kubeconfig={kubeconfig}",
            "--leader-elect=false", "--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400",
            f"--service-account-private-key-file={work / 'sa.key'}"], lambda: True)
        yield found


def template(app, image):
    """What people write: probes, resources, environment, a volume."""
    def container(name, image):
        return {"name": name, "image": image, "ports": [{"containerPort": 8080, "name": "http"}],
                "env": [{"name": f"SETTING_{number}", "value": f"value-{number}"} for number in range(12)],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "livenessProbe": {"httpGet": {"path": "/livez", "port": "http"}},
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
                "volumeMounts": [{"name": "settings", "mountPath": "/etc/settings"}]}
    return {"metadata": {"labels": {"app": app, "app.kubernetes.io/part-of": "shop"}},
            "spec": {"containers": [container("app", image), container("proxy", "PROXY")],
                     "volumes": [{"name": "settings", "configMap": {"name": app}}]}}


def record(bench, count=40):
    """Some objects of each kind, as the API server lists them."""
    with real(bench) as cluster:
        for number in range(count):
            app = f"app-{number}"
            spec = {"replicas": 4, "selector": {"matchLabels": {"app": app}}}
            for version in ("v1", "v2"):
                body = {"metadata": {"name": app}, "spec": spec | {"template": template(app, f"IMAGE:{version}")}}
                path = PATHS["deployments"].replace("/v1/", "/v1/namespaces/default/")
                if version == "v1":
                    cluster.ask("POST", path, body)
                else:
                    cluster.ask("PATCH", f"{path}/{app}", body, "application/strategic-merge-patch+json")
            name = f"db-{number}"
            stateful = {"replicas": 1, "serviceName": name, "selector": {"matchLabels": {"app": name}},
                        "template": template(name, "IMAGE:v1")}
            path = PATHS["statefulsets"].replace("/v1/", "/v1/namespaces/default/")
            cluster.ask("POST", path, {"metadata": {"name": name}, "spec": stateful})
            job = template(f"report-{number}", "IMAGE:v1")
            job["spec"]["restartPolicy"] = "Never"
            path = PATHS["cronjobs"].replace("/v1/", "/v1/namespaces/default/")
            cluster.ask("POST", path, {"metadata": {"name": f"report-{number}"}, "spec": {
                "schedule": "0 4 * * *", "jobTemplate": {"spec": {"template": job}}}})
        def listed(kind):
            return cluster.ask("GET", PATHS[kind])["items"]
        end = time.monotonic() + 120
        while len(listed("pods")) < 4 * count or len(listed("replicasets")) < count:
            if time.monotonic() > end:
                raise Problem("the controllers made too few pods")
            time.sleep(0.2)
        for pod in listed("pods"):
            told = [{"name": one["name"], "image": one["image"], "imageID": f"{one['image']}@sha256:{'0' * 64}",
                     "ready": True, "restartCount": 0, "started": True,
                     "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
                    for one in pod["spec"]["containers"]]
            status = {"status": {"phase": "Running", "podIP": "10.1.2.3", "containerStatuses": told,
                                 "conditions": [{"type": kind, "status": "True"} for kind in
                                                ("Initialized", "Ready", "ContainersReady", "PodScheduled")]}}
            with contextlib.suppress(urllib.error.HTTPError):
                cluster.ask("PATCH", f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}/status",
                            status, "application/strategic-merge-patch+json")
        return {kind: listed(kind) for kind in ("deployments", "replicasets", "statefulsets", "cronjobs", "pods")}
