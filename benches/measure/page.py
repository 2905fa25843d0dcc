"""How long the page takes with very many images, as a browser asks for it."""

import contextlib
import http.client
import json
import time
import urllib.parse

from .growth import rounds
from .machine import Problem, free_port, run, server, wait_for
from .table import Limit, Table

REFERENCES = 100_000
NAMESPACES = 500
REPETITIONS = 10
LIMIT_MS = 300


def measure(bench):
    formula = bench.work / "formula-page"
    run(["rustc", "--edition", "2024", "-C", "opt-level=3", bench.root / "benches/formula/main.rs", "-o", formula],
        bench.work / "rustc", None)
    host, ui = f"127.0.0.1:{free_port()}", free_port()
    listed = bench.work / "page.txt"
    bench.run([formula, "list", REFERENCES, host], listed)
    references = listed.read_text().split()
    workloads = bench.work / "workloads"
    workloads.mkdir()
    write(workloads, references)
    config = bench.work / "page.yaml"
    config.write_text(f"""
inventory: {{manifests: [{{name: many, path: workloads}}]}}
registries:
  - {{host: "{host}", plainHttp: true, verify: {{interval: 24h, blobInterval: 24h}}}}
http: {{metrics: "127.0.0.1:{free_port()}", ui: "127.0.0.1:{ui}"}}
log: {{format: json}}
state: {{directory: {bench.work / "state-page"}}}
""")
    log, said = bench.work / "registry-page.log", bench.work / "daemon-page.log"
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(server([formula, "serve", REFERENCES, host], log, bench.environment))
        wait_for("the formula registry", lambda: "ready" in log.read_text(), registry, log)
        daemon = stack.enter_context(
            server([bench.pullproof, "--config", config, "serve"], said, bench.environment))
        print(f"page: {REFERENCES:,} references", file=bench.progress, flush=True)
        wait_for("the first round", lambda: rounds(said), daemon, said, 1800)
        return ask(ui, references)


def write(workloads, references):
    """A file for each namespace, a Deployment for each reference."""
    for number in range(NAMESPACES):
        own = references[number::NAMESPACES]
        texts = (json.dumps({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": f"app-{place}", "namespace": f"team-{number}"},
            "spec": {"selector": {"matchLabels": {"app": "it"}}, "template": {
                "metadata": {"labels": {"app": "it"}},
                "spec": {"containers": [{"name": "app", "image": reference}]}}}})
            for place, reference in enumerate(own))
        (workloads / f"{number}.yaml").write_text("\n---\n".join(texts))


def ask(ui, references):
    middle = references[len(references) // 2]
    quoted = urllib.parse.quote(middle, safe="")
    # What is asked, and what is in an answer that is the right one.
    paths = {
        "/": f"1–100 of {REFERENCES:,}",
        f"/?verdict=pullable&class=runtime&offset={REFERENCES // 2}": f"of {REFERENCES:,} that fit the filter",
        "/?namespace=team-7": f"of {REFERENCES // NAMESPACES:,} that fit the filter",
        f"/?q={urllib.parse.quote(middle.split('/')[1], safe='')}": "that fit the filter",
        "/?q=nowhere": "No image fits this filter",
        f"/image?reference={quoted}": "layer 1",
        "/registries": "100 % known",
    }
    table = Table("page", "bytes", "median", "worst")
    limits = []
    for path, expected in paths.items():
        times = []
        for _ in range(REPETITIONS):
            took, body = once(ui, path)
            if expected not in body:
                raise Problem(f"{path} does not say {expected!r}: {body[:2000]}")
            times.append(took * 1000)
        times.sort()
        shown = path if len(path) < 50 else f"{path[:46]} ..."
        table.row(shown, f"{len(body.encode()):,}", f"{times[len(times) // 2]:.0f} ms", f"{times[-1]:.0f} ms")
        limits.append(Limit.at_most(f"page: worst of {shown}", times[-1], LIMIT_MS, " ms"))
    return table, limits


def once(ui, path):
    connection = http.client.HTTPConnection("127.0.0.1", ui, timeout=60)
    start = time.monotonic()
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read().decode()
    took = time.monotonic() - start
    connection.close()
    if response.status != 200:
        raise Problem(f"{path} was answered with {response.status}")
    return took, body
