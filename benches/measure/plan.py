"""`pullproof gc plan` beside distribution's dry run and beside `find`, over S3 with a latency, and how it grows."""

import collections
import contextlib
import datetime
import json
import os
import re
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from .growth import MIB
from .machine import Problem, answers, free_port, run, server, wait_for
from .speed import best
from .table import Limit, Table
from .trees import Shape, Tree

# Most tags for its manifests: distribution reads each tag for each manifest without one.
SMALL = Shape(repositories=1, manifests=1_000, tags=2_000, layers=3)
WIDE = Shape(repositories=1_000, manifests=20, tags=20, layers=3)
TENTH = WIDE._replace(repositories=100)
MILLION = Shape(repositories=1_000, manifests=100, tags=100, layers=8)
# The far one is ten times the near one, each way.
NEAR, NEAR_MS = Shape(repositories=1, manifests=100, tags=200, layers=3), 10
FAR, FAR_MS = SMALL, 100

# What all trees take in memory, and some more.
TREES_BYTES = 3 << 30
BUCKET = "registry"
USER, SECRET = "pullproof", "not-a-secret"
# The peak that wait4 tells of a child is at least that of who started it: so who starts it is small.
WATCH = """
import json, os, sys, time
start = time.monotonic()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
status, usage = os.wait4(child, 0)[1:]
with open(sys.argv[1], "w") as told:
    json.dump([os.waitstatus_to_exitcode(status), time.monotonic() - start, usage.ru_utime + usage.ru_stime,
               usage.ru_maxrss * 1024], told)
"""


class Planned(NamedTuple):
    """Seconds, and bytes."""

    wall: float
    cpu: float
    peak: int


def measure(bench, wanted, repetitions, say, directory):
    """Trees are large, so that each is written once, and taken away in the end."""
    with planted(bench, directory) as (tree, where):
        if "plan" in wanted:
            say(f"gc plan, {where}; half of {SMALL}, {SMALL.files:,} files is garbage",
                small(bench, tree(SMALL), repetitions))
            say(f"gc plan, {where}, warm, best of {repetitions} by turns;\n"
                f"half of {WIDE}, {WIDE.files:,} files is garbage", wide(bench, tree(WIDE), repetitions))
        if "plan-growth" in wanted:
            say(f"gc plan --summary, half of it garbage; {where}, and over an S3 server in Python",
                growth(bench, tree(TENTH), tree(WIDE), repetitions))
        if "plan-s3" in wanted:
            say(f"gc plan over S3 (versitygw behind toxiproxy), half of it garbage;\n{NEAR}\n{FAR}",
                s3(bench, tree(NEAR, True), tree(FAR, True), repetitions))


@contextlib.contextmanager
def planted(bench, directory):
    """A function that writes a tree, each once, and on what. On memory where there is enough: a disk takes
    minutes to delete 650,000 inodes, and what is measured are warm caches, which are memory too."""
    root = Path(tempfile.mkdtemp(prefix="pullproof-trees.", dir=directory or memory() or bench.work))
    kind = bench.work / "filesystem"
    bench.run(["stat", "-f", "-c", "%T", root], kind)
    where = f"on {kind.read_text().strip()}"
    trees = {}

    def tree(shape, is_bucket=False):
        key = shape, is_bucket
        if key not in trees:
            print(f"plan: writing {shape.files:,} files", file=bench.progress, flush=True)
            trees[key] = Tree(root / str(len(trees)) / BUCKET, shape, is_bucket)
        return trees[key]

    try:
        yield tree, where
    finally:
        # Python's own way takes longer.
        bench.run(["rm", "-rf", root], bench.work / "rm")


def memory():
    """A directory in memory, if it is large enough and holds ETags; otherwise `None`."""
    directory = Path("/dev/shm")
    try:
        free = os.statvfs(directory)
        with open("/proc/meminfo", encoding="ascii") as told:
            available = next(int(line.split()[1]) * 1024 for line in told if line.startswith("MemAvailable:"))
        with tempfile.NamedTemporaryFile(dir=directory) as file:
            os.setxattr(file.name, "user.etag", b"")
    except OSError:
        return None
    is_enough = free.f_bavail * free.f_frsize > TREES_BYTES and available > 2 * TREES_BYTES
    return directory if is_enough else None


def small(bench, tree, repetitions):
    storage = {"filesystem": {"rootdirectory": str(tree.root)}}
    ours = plan_best(bench, filesystem(tree), tree, repetitions)
    three, two = distribution(bench, storage, tree), distribution_2(bench, storage, tree)
    return compared(ours, {"distribution 3.1, dry run": three, "distribution 2.8, dry run": two}), [
        Limit.at_least("1 repository: distribution 3.1 / gc plan", three.wall / ours.wall, 300)]


def wide(bench, tree, repetitions):
    find = ["sh", "-c", 'exec find "$1" -type f > /dev/null', "sh", tree.root]
    # What was just written is not all in the caches, at least not the directories' own content.
    bench.run(find, bench.work / "find")
    ours, found = [], []
    for _ in range(repetitions):
        found.append(bench.run(find, bench.work / "find"))
        ours.append(plan(bench, filesystem(tree), tree))
    ours, found = best_planned(ours), best(found)
    three = distribution(bench, {"filesystem": {"rootdirectory": str(tree.root)}}, tree)
    return compared(ours, {"find -type f": found, "distribution 3.1, dry run": three}), [
        Limit.at_most("1,000 repositories: gc plan / find", ours.wall / found.wall, 1),
        Limit.at_least("1,000 repositories: distribution 3.1 / gc plan", three.wall / ours.wall, 15)]


def compared(ours, others):
    table = Table("", "seconds", "CPU s", "to gc plan", "peak RSS")
    table.row("pullproof gc plan", f"{ours.wall:.3f}", f"{ours.cpu:.3f}", "", f"{ours.peak / MIB:.1f} MiB")
    for name, spent in others.items():
        table.row(name, f"{spent.wall:.2f}", f"{spent.cpu:.2f}", f"{spent.wall / ours.wall:.1f}", "")
    return table


def s3(bench, near, far, repetitions):
    table = Table("", "latency", "tags", "time", "LIST", "GET", "HEAD")

    def row(name, shape, milliseconds, spent, asked):
        kinds = ("ListObjectsV2", "GetObject", "HeadObject")
        if unknown := set(asked) - set(kinds):
            raise Problem(f"{name} asked for {', '.join(sorted(unknown))}, which no plan needs")
        table.row(name, f"{milliseconds} ms", f"{shape.tags:,}", f"{spent.wall:.2f} s",
                  *(f"{asked[kind]:,}" for kind in kinds))

    every = []
    for _ in range(repetitions):
        with gateway(bench, near, NEAR_MS) as (host, asked):
            every.append(plan(bench, bucket(bench, host), near))
    ours = best_planned(every)
    row("pullproof gc plan", NEAR, NEAR_MS, ours, asked)
    with gateway(bench, far, FAR_MS) as (host, asked):
        ours_far = plan(bench, bucket(bench, host), far)
    row("pullproof gc plan", FAR, FAR_MS, ours_far, asked)
    print("plan-s3: distribution takes minutes", file=bench.progress, flush=True)
    with gateway(bench, near, NEAR_MS) as (host, asked):
        three = distribution(bench, {"s3": {
            "accesskey": USER, "secretkey": SECRET, "region": "us-east-1", "regionendpoint": f"http://{host}",
            "forcepathstyle": True, "secure": False, "bucket": BUCKET}}, near)
    row("distribution 3.1, dry run", NEAR, NEAR_MS, three, asked)
    # A request for each tag for each manifest without one.
    times = FAR.manifests * FAR.tags * FAR_MS / (NEAR.manifests * NEAR.tags * NEAR_MS)
    table.row(f"the same, {times:,.0f} times as long; not run", f"{FAR_MS} ms", f"{FAR.tags:,}",
              f"{three.wall * times / 3600:.1f} h", "", "", "")
    return table, [
        Limit.at_most(f"S3, {NEAR.manifests} manifests, {NEAR_MS} ms: gc plan", ours.wall, 1, " s"),
        Limit.at_most(f"S3, {FAR.manifests:,} manifests, {FAR_MS} ms: gc plan", ours_far.wall, 20, " s")]


def growth(bench, tenth, wide, repetitions):
    table = Table("blobs", "storage", "seconds", "CPU s", "peak RSS", "LIST", "GET", "HEAD")

    def row(tree, storage, planned, *asked):
        table.row(f"{tree.shape.blobs:,}", storage, f"{planned.wall:.2f}", f"{planned.cpu:.2f}",
                  f"{planned.peak / MIB:.1f} MiB", *(asked or ("", "", "")))

    measured = []
    for tree in (tenth, wide):
        # Once for the caches.
        plan(bench, filesystem(tree), tree, "--summary")
        measured.append(plan_best(bench, filesystem(tree), tree, repetitions, "--summary"))
        row(tree, "files", measured[-1])
    print(f"plan-growth: {MILLION.blobs:,} blobs", file=bench.progress, flush=True)
    with objects(bench, MILLION) as (million, storage, asked):
        most = plan(bench, storage, million, "--summary")
        row(million, "S3", most, *(f"{count:,}" for count in asked()))

    def each(tree, planned):
        return (planned.peak - measured[0].peak) / (tree.shape.blobs - tenth.shape.blobs)

    slower = (measured[1].wall / wide.shape.blobs) / (measured[0].wall / tenth.shape.blobs)
    step = f"{tenth.shape.blobs:,} to "
    return table, [
        Limit.at_most(f"blobs in files, {step}{wide.shape.blobs:,}: time a blob, to before", slower, 1.5),
        Limit.at_most(f"blobs in files, {step}{wide.shape.blobs:,}: memory a blob",
                      each(wide, measured[1]), 200, " B"),
        Limit.at_most(f"blobs on S3, {step}{MILLION.blobs:,}: memory a blob", each(million, most), 200, " B"),
        Limit.at_most(f"blobs on S3, {MILLION.blobs:,}: time", most.wall, 120, " s")]


def filesystem(tree):
    return {"filesystem": {"root": str(tree.root)}}


def bucket(bench, host):
    keys = bench.work / "s3.ini"
    keys.write_text(f"[default]\naws_access_key_id = {USER}\naws_secret_access_key = {SECRET}\n")
    return {"s3": {"endpoint": f"http://{host}", "region": "us-east-1", "bucket": BUCKET, "prefix": "",
                   "credentials": {"accessKey": {"file": str(keys)}}, "maxConcurrency": 64}}


def plan_best(bench, storage, tree, repetitions, *options):
    return best_planned([plan(bench, storage, tree, *options) for _ in range(repetitions)])


def best_planned(every):
    return Planned(min(one.wall for one in every), min(one.cpu for one in every),
                   max(one.peak for one in every))


def plan(bench, storage, tree, *options):
    """One plan, which must be the one that the tree's formula says."""
    config, told, out = (bench.work / name for name in ("plan.yaml", "plan.spent", "plan.json"))
    (bench.work / "keep.txt").write_text("# Nothing is in use.\n")
    # JSON is YAML too.
    config.write_text(json.dumps({
        "inventory": {"references": [{"name": "keep", "file": "keep.txt"}]},
        "registries": [{"host": "registry.example:5000", "kind": "distribution", "storage": storage}],
        "gc": {"untagged": "delete", "tagHistory": "delete", "minimumAge": "24h"}}))
    # Nothing is young then.
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=2)
    command = [bench.pullproof, "--config", config, "gc", "plan", "--now", f"{later:%Y-%m-%dT%H:%M:%SZ}",
               "-o", "json", *options]
    run([sys.executable, "-S", "-c", WATCH, told, *command], out, bench.environment)
    status, *spent = json.loads(told.read_text())
    if status != 0:
        raise Problem(f"gc plan ended with {status}: {said(out)}")
    counts, shape = json.loads(out.read_text())["counts"], tree.shape
    wanted = {"repositories": shape.repositories, "tags": shape.repositories * shape.tags,
              "manifests": shape.repositories * shape.manifests, "blobs": shape.blobs,
              "kept_blobs": shape.blobs - shape.garbage, "garbage_blobs": shape.garbage,
              "garbage_bytes": tree.garbage_bytes, "young": 0}
    if wrong := {name: counts.get(name) for name, count in wanted.items() if counts.get(name) != count}:
        raise Problem(f"gc plan counted {wrong}, and {({name: wanted[name] for name in wrong})} is there")
    return Planned(*spent)


def said(out):
    """Why there is no plan: its refusals, or what else was printed last."""
    with contextlib.suppress(ValueError, KeyError):
        return "; ".join(refusal["message"] for refusal in json.loads(out.read_text())["refusals"])
    printed = (Path(f"{out}.err").read_text() + out.read_text()).strip().splitlines()
    return printed[-1] if printed else "nothing was said"


def distribution(bench, storage, tree):
    command = [bench.testbed / "registry-3.1", "garbage-collect", "--dry-run", "--delete-untagged"]
    return dry_run(bench, command, storage, tree)


def distribution_2(bench, storage, tree):
    command = shutil.which("docker-registry")
    if not command:
        raise Problem("docker-registry is missing: run tests/testbed/install")
    return dry_run(bench, [command, "garbage-collect", "--dry-run", "--delete-untagged"], storage, tree)


def dry_run(bench, command, storage, tree):
    print(f"plan: {Path(command[0]).name} garbage-collect", file=bench.progress, flush=True)
    config, out = bench.work / "collect.yml", bench.work / "collect"
    config.write_text(json.dumps({"version": "0.1", "log": {"level": "error"}, "storage": storage}))
    spent = bench.run([*command, config], out)
    found = sum(line.startswith("blob eligible for deletion: ") for line in out.read_text().splitlines())
    if found != tree.shape.garbage:
        raise Problem(f"{Path(command[0]).name} found {found} blobs to delete instead of {tree.shape.garbage}")
    return spent


@contextlib.contextmanager
def gateway(bench, tree, milliseconds, versions=None):
    """The bucket behind a latency: its host, and what was asked, which is known after the end."""
    program = bench.testbed / "versitygw"
    if not program.is_file():
        raise Problem(f"{program} is missing: run tests/testbed/install")
    host, log, access = f"127.0.0.1:{free_port()}", bench.work / "versitygw.log", bench.work / "access.log"
    access.unlink(missing_ok=True)
    asked = collections.Counter()
    # Without the first, each request has a connection of its own, which no S3 asks for.
    command = [program, "--keep-alive", "--quiet", "--access-log", access, "--port", host, "posix",
               *(("--versioning-dir", versions) if versions else ()), tree.root.parent]
    environment = bench.environment | {"ROOT_ACCESS_KEY": USER, "ROOT_SECRET_KEY": SECRET}
    with server(command, log, environment) as child:
        wait_for("versitygw", lambda: answers(f"http://{host}/"), child, log)
        with bench.slowed(host, milliseconds) as slow:
            delays(slow, milliseconds)
            yield slow, asked
    # Those of another user are the questions above, whether it is there.
    asked.update(re.findall(rf"^{USER} .* s3_(\w+) ", access.read_text(), re.MULTILINE))


def delays(host, milliseconds):
    start = time.monotonic()
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://{host}/", timeout=10).close()
    if time.monotonic() - start < milliseconds / 1000:
        raise Problem("S3 answered faster than the latency allows: the proxy did not add it")


class Formula(NamedTuple):
    """A tree that is nowhere."""

    shape: Shape
    garbage_bytes: int


@contextlib.contextmanager
def objects(bench, shape):
    """An S3 server that has it; yields what it has, where, and a count of LIST, GET and HEAD."""
    port, log = free_port(), bench.work / "objects.log"
    command = [sys.executable, "-B", "-m", "measure.objects", port, BUCKET, *shape]
    environment = bench.environment | {"PYTHONPATH": str(bench.root / "benches")}
    with server(command, log, environment) as child:
        told = wait_for("the objects", lambda: re.search(r"ready (\d+)\n", log.read_text()), child, log, 300)

        def asked():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts", timeout=10) as answer:
                counts = json.load(answer)
            return [counts.get(kind, 0) for kind in ("LIST", "GET", "HEAD")]

        yield Formula(shape, int(told[1])), bucket(bench, f"127.0.0.1:{port}"), asked
