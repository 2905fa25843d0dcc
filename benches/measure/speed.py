"""One round against the floor and against crane, in time and in processor time."""

from .machine import Problem
from .table import Limit, Table

LATENCY_MS = 20


def best(spents):
    """The least of several repetitions; the same for each side."""
    return type(spents[0])(min(spent.wall for spent in spents), min(spent.cpu for spent in spents))


def compare(bench, corpus, repetitions):
    """Sides take turns, so that a neighbour's load hits them alike."""
    hey, one, two, crane = [], [], [], []
    kinds = {}
    for _ in range(repetitions):
        with bench.registry(corpus) as (host, _):
            hey.append(bench.hey(corpus, host))
        with bench.registry(corpus) as (host, _):
            bench.forget()
            spent, kinds["one"] = bench.verify(corpus, host)
            one.append(spent)
            spent, kinds["two"] = bench.verify(corpus, host)
            two.append(spent)
        with bench.registry(corpus) as (host, _):
            crane.append(bench.crane(corpus, host))
    hey, one, two, crane = map(best, (hey, one, two, crane))
    asked = sum(kinds["two"].values())
    table = Table("", "seconds", "CPU s", "CPU ms / 1,000")
    for name, spent, count in (
        (f"hey, {corpus.requests:,} HEADs, 32 connections", hey, corpus.requests),
        ("pullproof verify, round one", one, sum(kinds["one"].values())),
        ("pullproof verify, round two", two, asked),
        ("xargs -P 8 crane validate --fast", crane, None),
    ):
        each = f"{spent.cpu / count * 1e6:.0f}" if count else ""
        table.row(name, f"{spent.wall:.2f}", f"{spent.cpu:.2f}", each)
    gets = kinds["two"]["manifest_get"]
    return table, [
        Limit.at_most("round one / hey", one.wall / hey.wall, 1.3),
        Limit.at_most("round two / hey", two.wall / hey.wall, 1.3),
        Limit.at_least("crane / round one", crane.wall / one.wall, 8),
        Limit.at_least("crane / round two", crane.wall / two.wall, 8),
        Limit.at_most("CPU per check in round two / per HEAD of hey",
                      (two.cpu / asked) / (hey.cpu / corpus.requests), 1),
        Limit.exactly("manifests fetched in round two", gets, 0),
    ]


def delayed(bench, corpus, repetitions):
    """The same through a proxy that adds the latency of a registry that is not next door."""
    hey, two = [], []
    with bench.registry(corpus) as (upstream, _), bench.slowed(upstream, LATENCY_MS) as host:
        bench.forget()
        one, _ = bench.verify(corpus, host)
        for _ in range(repetitions):
            hey.append(bench.hey(corpus, host))
            two.append(bench.verify(corpus, host)[0])
    hey, two = best(hey), best(two)
    if hey.wall < corpus.requests / 32 * LATENCY_MS / 1000:
        raise Problem("hey was faster than the latency allows: the proxy did not add it")
    table = Table("", "seconds")
    table.row(f"hey, with {LATENCY_MS} ms of latency", f"{hey.wall:.2f}")
    table.row("pullproof verify, round one", f"{one.wall:.2f}")
    table.row("pullproof verify, round two", f"{two.wall:.2f}")
    return table, [
        Limit.at_most(f"with {LATENCY_MS} ms: round one / hey", one.wall / hey.wall, 1.5),
        Limit.at_most(f"with {LATENCY_MS} ms: round two / hey", two.wall / hey.wall, 1.5),
    ]
