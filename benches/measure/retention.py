"""`pullproof retention plan` of 100,000 tags beside `gc plan` of the same storage, which lists as much."""

import json

from .collect import registry
from .machine import Problem, run
from .plan import filesystem, plan_best, planted, said
from .table import Limit, Table
from .trees import Shape

WHOLE = Shape(repositories=1_000, manifests=20, tags=100, layers=1, shared=1)
HALF = WHOLE._replace(repositories=500)


def measure(bench, repetitions, say, directory):
    with planted(bench, directory) as (tree, where):
        say(f"retention plan, {where}, with the registry asked for each list of tags;\n{WHOLE}",
            compared(bench, tree(HALF), tree(WHOLE), repetitions))


def compared(bench, half, whole, repetitions):
    table = Table("", "tags", "seconds", "more than gc plan")
    more = []
    for tree in (half, whole):
        tags = tree.shape.repositories * tree.shape.tags
        listed = plan_best(bench, filesystem(tree), tree, repetitions, "--summary")
        with registry(bench, {"filesystem": {"rootdirectory": str(tree.root)}}) as name:
            planned = min(retention(bench, name, tree) for _ in range(repetitions))
        table.row("gc plan --summary", f"{tags:,}", f"{listed.wall:.2f}", "")
        more.append(planned - listed.wall)
        table.row("retention plan", f"{tags:,}", f"{planned:.2f}", f"{more[-1]:.2f}")
    return table, [
        Limit.at_most("100,000 tags: retention plan, more than gc plan", more[1], 5, " s"),
        Limit.at_most("50,000 to 100,000 tags: how much more, to before", more[1] / more[0], 3)]


def retention(bench, name, tree):
    """One plan, which must decide about every tag. Each repository has as many images with tags as half of its
    manifests, and the newest one stays."""
    config, out = bench.work / "retention.yaml", bench.work / "retention.json"
    (bench.work / "keep.txt").write_text("# Nothing is in use.\n")
    config.write_text(json.dumps({
        "inventory": {"references": [{"name": "keep", "file": "keep.txt"}]},
        "registries": [{"host": name, "plainHttp": True, "kind": "distribution", "storage": filesystem(tree)}],
        "retention": {"policies": [{"repositories": ["**"], "releases": [], "keep": [{"newest": 1}]}]},
        "state": {"directory": str(bench.work / "retained")}}))
    command = [bench.pullproof, "--config", config, "retention", "plan", "-o", "json"]
    try:
        spent = run(command, out, bench.environment)
    except Problem as problem:
        raise Problem(f"{problem}: {said(out)}") from problem
    counts, shape = json.loads(out.read_text())["counts"], tree.shape
    if counts["tags"] != shape.repositories * shape.tags or counts["left_alone"] or not counts["delete"]:
        raise Problem(f"retention plan counted {counts} of {shape}")
    return spent.wall
