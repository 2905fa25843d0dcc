"""What a round asks, counted from the registry's own access log."""

import collections
import re

from .machine import Problem
from .table import Limit, Table

# Combined log format; the path, the status and the user agent.
LINE = re.compile(r'"(\w+) (\S+) HTTP/[\d.]+" (\d+) \S+ "[^"]*" "(pullproof/[^"]*)"')
OBJECT = re.compile(r"/v2/(?P<repository>.+)/(?:manifests|blobs)/(?P<name>[^/]+)")


def count(bench, corpus):
    """Two rounds against a registry that logs, each counted apart."""
    table = Table("requests", "all", "tags", "objects", "others")
    limits = []
    with bench.registry(corpus, access_log=True) as (host, log):
        bench.forget()
        for number in ("one", "two"):
            before = log.stat().st_size
            bench.verify(corpus, host)
            with log.open("rb") as file:
                file.seek(before)
                seen = LINE.findall(file.read().decode())
            counted, beside = sort(seen)
            table.row(f"round {number}", f"{len(seen):,}", f"{counted['tag']:,}", f"{counted['object']:,}",
                      ", ".join(f"{times} {what}" for what, times in beside.items()) or "none")
            wanted = {"tag": corpus.tags, "object": corpus.objects}
            if counted != wanted:
                raise Problem(f"round {number} asked for {dict(counted)} distinct ones instead of {wanted}")
            again = len(seen) - sum(counted.values()) - sum(beside.values())
            limits.append(Limit.exactly(f"round {number}: requests for what was asked already", again, 0))
    return table, limits


def sort(seen):
    """Distinct tags and (repository, digest), and whatever asks for neither, with its number."""
    distinct = {"tag": set(), "object": set()}
    beside = collections.Counter()
    for method, path, status, _agent in seen:
        found = OBJECT.fullmatch(path)
        if not found:
            beside[f"{method} {path}"] += 1
        elif status == "404":
            # The one question whose answer must be no: is there what cannot exist?
            beside[f"canary ({method}, 404)"] += 1
        elif status in ("200", "304"):
            kind = "object" if found["name"].startswith("sha256:") else "tag"
            distinct[kind].add((found["repository"], found["name"]))
        else:
            raise Problem(f"{method} {path} was answered with {status}")
    return {kind: len(names) for kind, names in distinct.items()}, beside
