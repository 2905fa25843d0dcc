"""A whole collection over S3 with a latency: what nobody needs is quarantined, and purged by the next run."""

import contextlib
import datetime
import json
import os
from pathlib import Path

from .machine import Problem, answers, free_port, run, server, wait_for
from .plan import BUCKET, SECRET, USER, bucket, gateway, planted, said
from .table import Limit, Table
from .trees import Repository, Shape

# What is garbage are 5,000 objects and more: ten batches.
SHAPE, MILLISECONDS = Shape(repositories=10, manifests=100, tags=50, layers=3), 10


def measure(bench, say, directory):
    with planted(bench, directory) as (tree, _):
        say(f"gc run over S3 with versions (versitygw behind toxiproxy), {MILLISECONDS} ms a request, half of it "
            f"garbage;\n{SHAPE}", twice(bench, tree(SHAPE, True)))


def twice(bench, tree):
    table = Table("", "seconds", "CPU s", "objects", "requests")
    versions = bench.work / "versions"
    versions.mkdir()
    # As PutBucketVersioning does it.
    os.setxattr(tree.root, "user.versioning", b"\1")
    # Of each blob its bytes, and a link to it.
    wanted = 2 * SHAPE.garbage
    spent, before = [], 0
    with gateway(bench, tree, MILLISECONDS, versions) as (host, _), registry(bench, host) as name:
        for which, result in (("the first", "quarantined"), ("the second", "purged")):
            one, told = collect(bench, name, host, result)
            asked, items = requests(bench), told[result]["items"]
            if items != wanted:
                raise Problem(f"{items} objects were {result}, and {wanted} are garbage")
            table.row(f"{which}: {result}", f"{one.wall:.1f}", f"{one.cpu:.1f}", f"{items:,}", f"{asked - before:,}")
            before = asked
            spent.append(one.wall)
    return table, [
        Limit.at_most(f"S3, {MILLISECONDS} ms: the first gc run", spent[0], 120, " s"),
        Limit.at_most(f"S3, {MILLISECONDS} ms: the second gc run", spent[1], 120, " s")]


@contextlib.contextmanager
def registry(bench, host):
    """distribution 3.1 over the same bucket, as slow."""
    name = f"127.0.0.1:{free_port()}"
    config, log = bench.work / "serve.yml", bench.work / "serve.log"
    config.write_text(json.dumps({
        "version": "0.1", "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"s3": {
            "accesskey": USER, "secretkey": SECRET, "region": "us-east-1", "regionendpoint": f"http://{host}",
            "forcepathstyle": True, "secure": False, "bucket": BUCKET}},
        "http": {"addr": name}}))
    environment = bench.environment | {"OTEL_TRACES_EXPORTER": "none"}
    with server([bench.testbed / "registry-3.1", "serve", config], log, environment) as child:
        wait_for("the registry", lambda: answers(f"http://{name}/v2/"), child, log)
        yield name


def collect(bench, name, host, result):
    """One run, which must end so."""
    config, out = bench.work / "collect.yaml", bench.work / "collect.json"
    images = (Repository(SHAPE, number) for number in range(SHAPE.repositories))
    lines = (f"{name}/{one.name}:{tag}\n" for one in images for tag in one.tags)
    (bench.work / "keep.txt").write_text("".join(lines))
    now = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=10)
    config.write_text(json.dumps({
        "inventory": {"references": [{"name": "keep", "file": "keep.txt"}]},
        "registries": [
            {"host": name, "plainHttp": True, "kind": "distribution", "storage": bucket(bench, host)},
            # Whoever asks for a blob is sent there.
            {"host": host, "plainHttp": True}],
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
