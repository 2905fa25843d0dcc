"""How time, memory and scrapes grow with the number of references, on `pullproof serve`."""

import contextlib
import gzip
import http.client
import json
import math
import re
import time

from .machine import Problem, free_port, run, server, wait_for
from .table import Limit, Table

MIB = 1 << 20
# As Prometheus asks.
SCRAPE = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.3",
          "Accept-Encoding": "gzip"}
REQUESTS = re.compile(rb"^pullproof_registry_requests_total\{[^}]*\} (\d+)", re.MULTILINE)
# Rounds follow each other with a pause, in which nothing is counted as a scrape during a round.
INTERVALS = {1_000: "1s", 10_000: "15s", 100_000: "3m"}


class Size:
    """What was measured with one number of references."""

    def __init__(self, references):
        self.references = references
        # From benches/formula: 51 blobs for each repository of 5 tags.
        self.blobs = references // 5 * 51
        self.rounds = []
        self.scrapes = []
        self.peak = 0
        self.series = 0
        self.bytes = 0
        self.is_streamed = False
        self.scrape_growth = 0

    def scrape_at(self, percent):
        """By nearest rank, in seconds."""
        ordered = sorted(self.scrapes)
        return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def measure(bench, sizes, scrapes):
    formula = bench.work / "formula"
    source = bench.root / "benches/formula/main.rs"
    run(["rustc", "--edition", "2024", "-C", "opt-level=3", source, "-o", formula],
        bench.work / "rustc", None)
    measured = []
    for references in sizes:
        print(f"growth: {references:,} references", file=bench.progress, flush=True)
        # Where rounds are over in a moment, or a scrape of many takes long: the worst of a few stands for p99.
        wanted = scrapes if references == 10_000 else max(20, scrapes // 5)
        measured.append(grow(bench, formula, references, wanted))
    return report(measured)


def grow(bench, formula, references, scrapes):
    size = Size(references)
    host = f"127.0.0.1:{free_port()}"
    listed = bench.work / "growth.txt"
    bench.run([formula, "list", references, host], listed)
    state = bench.work / f"state-{references}"
    port = free_port()
    config = bench.work / "growth.yaml"
    config.write_text(f"""
inventory: {{references: [{{name: keep, file: growth.txt}}]}}
registries:
  - {{host: "{host}", plainHttp: true, verify: {{interval: {INTERVALS.get(references, "1m")}}}}}
http: {{metrics: "127.0.0.1:{port}", ui: "127.0.0.1:{free_port()}"}}
metrics: {{maxSeries: 10000000, maxSeriesPerNamespace: 10000000}}
log: {{format: json}}
state: {{directory: {state}}}
""")
    log, said = bench.work / "registry.log", bench.work / f"daemon-{references}.log"
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(server([formula, "serve", references, host], log, bench.environment))
        wait_for("the formula registry", lambda: "ready" in log.read_text(), registry, log)
        daemon = stack.enter_context(
            server([bench.pullproof, "--config", config, "serve"], said, bench.environment))
        wait_for("the first round", lambda: rounds(said), daemon, said, 1800)
        first_scrape(size, daemon.pid, port)
        during_rounds(size, port, scrapes)
        wait_for("the second round", lambda: len(rounds(said)) > 1, daemon, said, 600)
        size.peak = memory(daemon.pid, "VmHWM")
        size.rounds = rounds(said)
    if any(entry["pullable"] != references for entry in size.rounds):
        raise Problem(f"not all of {references} references were found pullable: {size.rounds}")
    if daemon.returncode != 0:
        raise Problem(f"the daemon ended with {daemon.returncode}")
    return size


def rounds(said):
    entries = (json.loads(line) for line in said.read_text().splitlines() if "round finished" in line)
    return [entry for entry in entries if entry["full"]]


def memory(pid, key):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(f"{key}:"))


def scrape(port, size, headers=SCRAPE):
    """One scrape: how long it took, and how many requests it tells of."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    start = time.monotonic()
    connection.request("GET", "/metrics", headers=headers)
    response = connection.getresponse()
    body = response.read()
    took = time.monotonic() - start
    connection.close()
    if response.status != 200:
        raise Problem(f"/metrics was answered with {response.status}")
    if headers.get("Accept-Encoding") == "identity":
        size.is_streamed = "Content-Length" not in response.headers
    if response.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    if not body.endswith(b"# EOF\n"):
        raise Problem("/metrics ended before its end")
    size.bytes = len(body)
    size.series = body.count(b"\npullproof_workload_image_pullable{")
    return took, sum(map(int, REQUESTS.findall(body)))


def during_rounds(size, port, wanted):
    """Scrapes count where requests were made both before and after them, so that a round was
    running."""
    taken = []
    end = time.monotonic() + 900
    while len(size.scrapes) < wanted:
        taken.append(scrape(port, size))
        size.scrapes = [took for (_, before), (took, at), (_, after) in zip(taken, taken[1:], taken[2:])
                        if before < at < after]
        if time.monotonic() > end:
            raise Problem(f"only {len(size.scrapes)} of {len(taken)} scrapes fell into a round")
        # As fast as a few impatient Prometheus servers, and no faster: a scrape must not wait for another.
        time.sleep(0.1)


def first_scrape(size, pid, port):
    """By how much it raises the peak, once that of the round and of what is written after it is
    over. Without compression, whose bodies never have a length."""
    before, since, end = 0, time.monotonic(), time.monotonic() + 120
    while time.monotonic() < min(since + 12, end):
        peak = memory(pid, "VmHWM")
        if peak != before:
            before, since = peak, time.monotonic()
        time.sleep(0.2)
    scrape(port, size, SCRAPE | {"Accept-Encoding": "identity"})
    size.scrape_growth = memory(pid, "VmHWM") - before


def report(measured):
    table = Table("references", "blobs", "round one", "round two", "peak RSS", "/metrics", "adds",
                  "p50", "p99", "scrapes")
    for size in measured:
        table.row(f"{size.references:,}", f"{size.blobs:,}",
                  f"{size.rounds[0]['seconds']:.1f} s", f"{size.rounds[1]['seconds']:.1f} s",
                  f"{size.peak / MIB:.0f} MiB", f"{size.bytes / MIB:.1f} MiB",
                  f"{size.scrape_growth / MIB:.1f} MiB", f"{size.scrape_at(50) * 1000:.0f} ms",
                  f"{size.scrape_at(99) * 1000:.0f} ms", f"{len(size.scrapes)}")
    limits = []
    for size in measured:
        name = f"{size.references:,} references: "
        if size.series != size.references:
            raise Problem(f"{name}{size.series:,} are pullable at the last scrape")
        if size.references == 10_000:
            limits.append(Limit.at_most(name + "scrape during a round, p99", size.scrape_at(99) * 1000, 200, " ms"))
        if size.references == 100_000:
            limits.append(Limit.at_most(name + "scrape during a round, p99", size.scrape_at(99), 2, " s"))
            limits.append(Limit.at_most(name + "peak of resident memory", size.peak / MIB, 256, " MiB"))
            limits.append(Limit.at_most(name + "what a scrape adds to the peak, to its body",
                                        size.scrape_growth / size.bytes, 0.5))
            limits.append(Limit.exactly(name + "bodies of /metrics made as a whole", int(not size.is_streamed), 0))
    for small, middle, large in zip(measured, measured[1:], measured[2:]):
        name = f"{middle.references:,} to {large.references:,}: "
        limits += [
            Limit.at_most(name + what, slope(middle, large, of) / slope(small, middle, of), 1.5)
            for what, of in (("memory a reference, to the step before", lambda size: size.peak),
                             ("time a reference, to the step before",
                              lambda size: size.rounds[0]["seconds"]))
        ]
    return table, limits


def slope(small, large, of):
    return (of(large) - of(small)) / (large.references - small.references)
