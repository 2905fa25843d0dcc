"""Processes: timed, measured by wait4, and never left behind."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple


class Problem(Exception):
    """What was measured is not what should have been, or something is missing."""


class Spent(NamedTuple):
    """What a child and all its children took, in seconds: of the clock, and of processors."""

    wall: float
    cpu: float

    def __add__(self, other):
        return Spent(self.wall + other.wall, self.cpu + other.cpu)

    def times(self, factor):
        return Spent(self.wall * factor, self.cpu * factor)


def run(command, output, environment):
    """Runs a command to its end, standard output into a file. Any status but 0 is a problem."""
    with open(output, "wb") as out, open(f"{output}.err", "w+b") as err:
        start = time.monotonic()
        child = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=err, env=environment)
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            child.wait()
            raise
        wall = time.monotonic() - start
        # Told to its object, which would otherwise look for a child that was already waited for.
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            err.seek(0)
            last = (err.read().decode(errors="replace").strip() or "nothing was said").splitlines()
            raise Problem(f"{Path(command[0]).name} ended with {child.returncode}: {last[-1]}")
    return Spent(wall, usage.ru_utime + usage.ru_stime)


@contextlib.contextmanager
def server(command, log, environment):
    """A server in the background, ended with the block."""
    with open(log, "wb") as out:
        child = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=subprocess.STDOUT, env=environment)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def wait_for(what, condition, child, log, seconds=60):
    """Waits until the condition gives something true, which it returns."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        last = Path(log).read_text(errors="replace").strip().splitlines()[-1:] or ["nothing was said"]
        if child.poll() is not None:
            raise Problem(f"waiting for {what}: the process ended: {last[0]}")
        if time.monotonic() > end:
            raise Problem(f"{what}: not within {seconds} s: {last[0]}")
        time.sleep(0.05)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url):
    """Whether anything at all answers there."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def environment(work):
    """Nobody's own credentials or proxies take part."""
    (work / "docker").mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and not name.startswith("PULLPROOF_")}
    # Without the last distribution 3.1 tries to export traces to a port where nothing listens.
    return kept | {"DOCKER_CONFIG": str(work / "docker"), "LC_ALL": "C", "OTEL_TRACES_EXPORTER": "none"}
