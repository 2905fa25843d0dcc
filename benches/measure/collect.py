"""Whole collections: on a disk beside `mv`, and over S3 with a latency, where the next run purges."""

import contextlib
import datetime
import json
import os
from pathlib import Path
from typing import NamedTuple

from .machine import Problem, answers, free_port, run, server, wait_for
from .plan import BUCKET, SECRET, USER, bucket, gateway, planted, said
from .table import Limit, Table
from .trees import ROOT, Repository, Shape

# What is garbage are 5,000 objects and more: ten batches.
SHAPE, MILLISECONDS = Shape(repositories=10, manifests=100, tags=50, layers=3), 10
# Of it 100,800 blobs are garbage, and a ninth of that is kept: that has to be proven, which is not what is
# compared.
FILES = Shape(repositories=20, manifests=100, tags=50, layers=54, every=10)


def measure(bench, say, directory, wanted):
    with planted(bench, directory) as (tree, where):
        if "collect" in wanted:
            say(f"gc run, {where}; of {FILES}, {FILES.garbage:,} blobs are garbage", moved(bench, tree(FILES)))
        if "collect-s3" in wanted:
            say(f"gc run over S3 with versions (versitygw behind toxiproxy), {MILLISECONDS} ms a request, half of it "
                f"garbage;\n{SHAPE}", twice(bench, tree(SHAPE, True)))


def moved(bench, tree):
    storage = {"filesystem": {"rootdirectory": str(tree.root)}}
    with registry(bench, storage) as name:
        spent, told = collect(bench, name, {"filesystem": {"root": str(tree.root)}}, FILES, "quarantined")
    if told["quarantined"]["items"] != 2 * FILES.garbage:
        raise Problem(f"{told['quarantined']} was taken, and {2 * FILES.garbage:,} files are garbage")
    # As whoever knows which they are would do it, in the quarantine where they are now: with its directory each.
    held = next((tree.root / "pullproof/quarantine").iterdir()) / ROOT
    blobs = aside(bench, held / "blobs/sha256", "*/*", tree.root / "aside/blobs")
    links = aside(bench, held / "repositories", "**/sha256/*", tree.root / "aside/links")
    if blobs.count != FILES.garbage or links.count != FILES.garbage:
        raise Problem(f"mv moved {blobs.count:,} blobs and {links.count:,} links of {FILES.garbage:,} each")
    took = told["took"]
    table = Table("", "seconds", "CPU s")
    table.row("a whole gc run", f"{spent.wall:.1f}", f"{spent.cpu:.1f}")
    for phase, seconds in took.items():
        table.row(f"  {phase}", f"{seconds:.1f}", "")
    for what, one in (("the blobs", blobs), ("their links", links)):
        table.row(f"mv of {what}", f"{one.spent.wall:.2f}", f"{one.spent.cpu:.2f}")
    by_hand = blobs.spent.wall + links.spent.wall
    return table, [
        Limit.at_most(f"{FILES.garbage:,} blobs and links on a disk: quarantine / mv", took["quarantine"] / by_hand, 3)]


class Aside(NamedTuple):
    spent: object
    count: int


def aside(bench, directory, pattern, to):
    """Has one process move what fits the pattern."""
    names = bench.work / "names"
    names.write_text("".join(f"{one.relative_to(directory)}\n" for one in directory.glob(pattern)))
    to.mkdir(parents=True)
    mv = ["sh", "-c", 'cd "$1" && exec xargs -a "$2" mv -t "$3"', "sh", directory, names, to]
    spent = bench.run(mv, bench.work / "mv")
    return Aside(spent, len(list(to.iterdir())))


def twice(bench, tree):
    table = Table("", "seconds", "CPU s", "objects", "requests")
    versions = bench.work / "versions"
    versions.mkdir()
    # As PutBucketVersioning does it.
    os.setxattr(tree.root, "user.versioning", b"\1")
    # Of each blob its bytes, and a link to it.
    wanted = 2 * SHAPE.garbage
    spent, before = [], 0
    with gateway(bench, tree, MILLISECONDS, versions) as (host, _), registry(bench, over(host)) as name:
        for which, result in (("the first", "quarantined"), ("the second", "purged")):
            # Whoever asks for a blob is sent to the bucket.
            one, told = collect(bench, name, bucket(bench, host), SHAPE, result, host)
            asked, items = requests(bench), told[result]["items"]
            if items != wanted:
                raise Problem(f"{items} objects were {result}, and {wanted} are garbage")
            table.row(f"{which}: {result}", f"{one.wall:.1f}", f"{one.cpu:.1f}", f"{items:,}", f"{asked - before:,}")
            before = asked
            spent.append(one.wall)
    return table, [
        Limit.at_most(f"S3, {MILLISECONDS} ms: the first gc run", spent[0], 120, " s"),
        Limit.at_most(f"S3, {MILLISECONDS} ms: the second gc run", spent[1], 120, " s")]


def over(host):
    """The bucket, as distribution is told of it."""
    return {"s3": {
        "accesskey": USER, "secretkey": SECRET, "region": "us-east-1", "regionendpoint": f"http://{host}",
        "forcepathstyle": True, "secure": False, "bucket": BUCKET}}


@contextlib.contextmanager
def registry(bench, storage):
    """distribution 3.1 over the same storage, as slow."""
    name = f"127.0.0.1:{free_port()}"
    config, log = bench.work / "serve.yml", bench.work / "serve.log"
    config.write_text(json.dumps({
        "version": "0.1", "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": storage,
        "http": {"addr": name}}))
    environment = bench.environment | {"OTEL_TRACES_EXPORTER": "none"}
    with server([bench.testbed / "registry-3.1", "serve", config], log, environment) as child:
        wait_for("the registry", lambda: answers(f"http://{name}/v2/"), child, log)
        yield name


def collect(bench, name, storage, shape, result, *others):
    """One run, which must end so. What is in use is what has a tag."""
    config, out = bench.work / "collect.yaml", bench.work / "collect.json"
    images = (Repository(shape, number) for number in range(shape.repositories))
    lines = (f"{name}/{one.name}:{tag}\n" for one in images for tag in one.tags)
    (bench.work / "keep.txt").write_text("".join(lines))
    now = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=10)
    config.write_text(json.dumps({
        "inventory": {"references": [{"name": "keep", "file": "keep.txt"}]},
        "registries": [
            {"host": name, "plainHttp": True, "kind": "distribution", "storage": storage},
            *({"host": other, "plainHttp": True} for other in others)],
        "gc": {
            "mode": "purge", "untagged": "delete", "tagHistory": "delete", "minimumAge": "0s", "rehearsal": "0s",
            "quarantineFor": "0s", "longestRequest": "0s", "watchEvery": "0s", "maxCollectPercent": 100,
            "alarmPercent": 100, "settle": {"cache": "none"},
            "windows": [{"name": "now", "schedule": f"{now.minute} {now.hour} * * *", "duration": "2h"}]},
        "state": {"directory": str(bench.work / "collected")}}))
    command = [bench.pullproof, "--config", config, "gc", "run", "-o", "json"]
    try:
        spent = run(command, out, bench.environment)
    except Problem as problem:
        raise Problem(f"{problem}: {said(out)}") from problem
    told = json.loads(out.read_text())
    if told["result"] != result:
        raise Problem(f"gc run was to have {result}: {told}")
    return spent, told


def requests(bench):
    return sum(line.startswith(USER) for line in Path(bench.work / "access.log").read_text().splitlines())
