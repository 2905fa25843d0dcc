"""A large and busy cluster, on `pullproof serve`: what it takes to know it, and to go on knowing it."""

import json
import os
import time
import urllib.parse
import urllib.request

from . import apiserver, cluster
from .growth import MIB, memory
from .machine import Problem, free_port, server, wait_for
from .table import Limit, Table

CHANGES_A_SECOND = 10
# Three watches one after the other, and some more.
SECONDS = 4 * apiserver.WATCH_SECONDS
# One in so many changes is a new image; the others are pods that are replaced or change their status.
RELEASE_EVERY = 100


def measure(bench):
    print("inventory: recording", file=bench.progress, flush=True)
    recorded = cluster.record(bench)
    registry = f"127.0.0.1:{free_port()}"
    api = apiserver.Server(recorded, registry)
    kubeconfig = bench.work / "many.kubeconfig"
    kubeconfig.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{api.port}"}}],
        "users": [{"name": "it", "user": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}]}))
    ui, config, said = free_port(), bench.work / "inventory.yaml", bench.work / "inventory.log"
    config.write_text(f"""
inventory: {{clusters: [{{name: prod, kubeconfig: {kubeconfig}}}]}}
registries:
  - {{host: "{registry}", plainHttp: true, verify: {{interval: 24h, blobInterval: 24h}}}}
http: {{metrics: "127.0.0.1:{free_port()}", ui: "127.0.0.1:{ui}"}}
state: {{directory: {bench.work / "inventory.state"}}}
log: {{format: json}}
""")

    def status():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ui}/api/v1/status", timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return None

    def complete():
        told = status()
        is_complete = told and told["sources"] and told["sources"][0]["complete"]
        return told if is_complete and told["summary"]["images"] >= images else None

    images = 2 * apiserver.APPS + 1
    begun = time.monotonic()
    with server([bench.pullproof, "--config", config, "serve"], said, bench.environment) as daemon:
        wait_for("the source to be complete", complete, daemon, said, 300)
        took, started = time.monotonic() - begun, memory(daemon.pid, "VmHWM")
        print(f"inventory: complete after {took:.1f} s; changing", file=bench.progress, flush=True)
        settled(daemon.pid)
        lists, expired = api.lists, api.expired
        before, begun = cpu(daemon.pid), time.monotonic()
        releases = change(api, begun + SECONDS)
        share = (cpu(daemon.pid) - before) / (time.monotonic() - begun)
        wait_for("the last image", lambda: knows(ui, api, releases[-1]), daemon, said, 60)
        peak, resident = memory(daemon.pid, "VmHWM"), memory(daemon.pid, "VmRSS")
        relisted, rounds = api.lists - lists, (api.expired - expired) / len(cluster.PATHS)
    table = Table("workloads", "pods", "images", "start to complete", "peak then", "peak RSS", "RSS",
                  "of a core", "watches ended")
    table.row(f"{apiserver.WORKLOADS:,}", f"{apiserver.PODS:,}", f"{images:,}", f"{took:.1f} s",
              f"{started / MIB:.0f} MiB", f"{peak / MIB:.0f} MiB", f"{resident / MIB:.0f} MiB",
              f"{share:.2%}", f"{rounds:.1f} times")
    return table, [
        Limit.at_most("inventory: start to complete", took, 60, " s"),
        Limit.at_most("inventory: peak of resident memory", peak / MIB, 150, " MiB"),
        Limit.at_most(f"inventory: a core at {CHANGES_A_SECOND} changes a second", share * 100, 2, " %"),
        Limit.at_least("inventory: times that every watch ended", rounds, 3),
        Limit.exactly("inventory: lists after the first", relisted, 0),
    ]


def cpu(pid):
    """Seconds of processor, of all threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settled(pid):
    """Until what came of the start is done: a second with next to no work."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        before = cpu(pid)
        time.sleep(3)
        if cpu(pid) - before < 0.06:
            return
    raise Problem("the daemon does not come to rest after its start")


def change(api, end):
    """So many changes a second until then. The Deployments with a new image."""
    released, number = [], 0
    while time.monotonic() < end:
        due = time.monotonic() + 1 / CHANGES_A_SECOND
        # A prime, so that they go through all namespaces.
        pod = number * 7919 % apiserver.PODS
        if number % RELEASE_EVERY == RELEASE_EVERY - 1:
            released.append(pod % apiserver.DEPLOYMENTS)
            api.release(released[-1])
        elif number % 2:
            api.replace_pod(pod)
        else:
            api.touch_pod(pod)
        number += 1
        time.sleep(max(0, due - time.monotonic()))
    return released


def knows(ui, api, deployment):
    image = api.objects.image(deployment, 2 + api.objects.releases[deployment])
    query = urllib.parse.urlencode({"q": image})
    with urllib.request.urlopen(f"http://127.0.0.1:{ui}/api/v1/images?{query}", timeout=30) as answer:
        return image.encode() in answer.read()
