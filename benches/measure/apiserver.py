"""An API server with as many objects as wanted: the recorded ones under other names."""

import http.server
import json
import re
import threading
import time
import urllib.parse

from .cluster import PATHS
from .machine import free_port

NAMESPACES = 500
DEPLOYMENTS, STATEFUL_SETS, CRON_JOBS = 15_000, 4_000, 1_000
# The one in force of each Deployment, and the one before.
REPLICA_SETS = 2 * DEPLOYMENTS
WORKLOADS = DEPLOYMENTS + STATEFUL_SETS + CRON_JOBS + REPLICA_SETS
PODS = 100_000
APPS = 5_000
COUNTS = {"deployments": DEPLOYMENTS, "replicasets": REPLICA_SETS, "statefulsets": STATEFUL_SETS,
          "cronjobs": CRON_JOBS, "pods": PODS}
# A server may end a watch before the time that was asked for.
WATCH_SECONDS = 60
FIRST_VERSION = 1_000_000


HOLES = ("@NAME@", "@OWNER@", "@SPACE@", "@IMAGE@", "@VERSION@")


def molds(recorded, host):
    """Texts of the recorded objects, cut where they differ: between the pieces stand the names of what
    belongs there."""
    made = {}
    for kind, items in recorded.items():
        made[kind] = []
        for at, item in enumerate(items):
            own = item["metadata"]
            names = [own["name"]] + [owner["name"] for owner in own.get("ownerReferences", [])]
            text = json.dumps(item, separators=(",", ":"))
            for old, new in ((f'"name":"{names[0]}"', '"name":"@NAME@"'),
                             *((f'"name":"{name}"', '"name":"@OWNER@"') for name in names[1:]),
                             ('"namespace":"default"', '"namespace":"@SPACE@"'),
                             (f'"resourceVersion":"{own["resourceVersion"]}"', '"resourceVersion":"@VERSION@"'),
                             ("IMAGE:v1", "@IMAGE@"), ("IMAGE:v2", "@IMAGE@"), ("PROXY", f"{host}/mesh/proxy:1")):
                text = text.replace(old, new)
            # Some have a container that only the pods know of: a webhook put it there.
            if kind != "pods" and at % 5 == 0:
                text = text.replace('"name":"proxy"', '"name":"helper"')
            made[kind].append(re.split("(" + "|".join(HOLES) + ")", text))
    return made


class Objects:
    """All objects by formula, and what has changed of them."""

    def __init__(self, recorded, host):
        self.host = host
        self.molds = molds(recorded, host)
        self.version = FIRST_VERSION
        # How often a Deployment's image was changed and a pod replaced.
        self.releases, self.lives, self.statuses = {}, {}, {}

    def image(self, app, version):
        return f"{self.host}/team-{app % 100}/app-{app % APPS}:v{version}"

    def text(self, kind, number):
        name, owner, image = getattr(self, f"_{kind}")(number)
        space = self.place(kind, number) % NAMESPACES
        pieces = list(self.molds[kind][number % len(self.molds[kind])])
        holes = dict(zip(HOLES, (name, owner, f"team-{space:04}", image, str(self.version))))
        pieces[1::2] = [holes[hole] for hole in pieces[1::2]]
        return "".join(pieces)

    @staticmethod
    def place(kind, number):
        """The Deployment that it belongs to, and so its namespace."""
        return number % DEPLOYMENTS if kind in ("pods", "replicasets") else number

    def _deployments(self, number):
        return f"web-{number}", "", self.image(number, 2 + self.releases.get(number, 0))

    def _replicasets(self, number):
        web, is_old = number % DEPLOYMENTS, number >= DEPLOYMENTS
        version = 1 if is_old else 2 + self.releases.get(web, 0)
        return f"web-{web}-{'5d4f' if is_old else '6f7c'}", f"web-{web}", self.image(web, version)

    def _statefulsets(self, number):
        return f"db-{number}", "", self.image(number, 2)

    def _cronjobs(self, number):
        return f"report-{number}", "", self.image(number, 2)

    def _pods(self, number):
        web = number % DEPLOYMENTS
        life = self.lives.get(number, 0)
        return (f"web-{web}-6f7c-{number}-{life}", f"web-{web}-6f7c",
                self.image(web, 2 + self.releases.get(web, 0)))


class Server:
    """Lists and watches over [Objects]."""

    def __init__(self, recorded, host):
        self.objects = Objects(recorded, host)
        self.lock = threading.Condition()
        self.log = {kind: [] for kind in PATHS}
        self.lists = self.watches = self.expired = 0
        self.port = free_port()
        kinds = {path: kind for kind, path in PATHS.items()}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                query = dict(urllib.parse.parse_qsl(url.query))
                kind = kinds.get(url.path)
                if kind is None:
                    self.send_error(404)
                elif query.get("watch") == "true":
                    outer.watch(self, kind, query)
                else:
                    outer.page(self, kind, query)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def page(self, request, kind, query):
        start, limit = int(query.get("continue", 0)), int(query["limit"])
        with self.lock:
            if not start and limit > 1:
                self.lists += 1
            count = COUNTS.get(kind, 0)
            end = min(start + limit, count)
            # Names are counted up, not in order; nobody may rely on it.
            items = ",".join(self.objects.text(kind, number) for number in range(start, end))
            metadata = {"resourceVersion": str(self.objects.version)}
        if end < count:
            metadata |= {"continue": str(end), "remainingItemCount": count - end}
        body = f'{{"kind":"List","apiVersion":"v1","metadata":{json.dumps(metadata)},"items":[{items}]}}'.encode()
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def watch(self, request, kind, query):
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.flush()
        since, log = int(query["resourceVersion"]), self.log[kind]
        ends = time.monotonic() + min(int(query["timeoutSeconds"]), WATCH_SECONDS)
        with self.lock:
            self.watches += 1
            at = next((at for at, (version, _) in enumerate(log) if version > since), len(log))
        try:
            while time.monotonic() < ends:
                with self.lock:
                    if at == len(log):
                        self.lock.wait(min(1, max(0, ends - time.monotonic())))
                    lines, at = [line for _, line in log[at:]], len(log)
                if lines:
                    self.chunk(request, b"".join(lines))
            with self.lock:
                mark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self.objects.version)}}}
                rest = [line for _, line in log[at:]]
                self.expired += 1
            self.chunk(request, b"".join(rest) + json.dumps(mark).encode() + b"\n")
            request.wfile.write(b"0\r\n\r\n")
        except OSError:
            request.close_connection = True

    @staticmethod
    def chunk(request, body):
        request.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        request.wfile.flush()

    def emit(self, event, kind, number, change=None):
        """`change` happens before the object is told."""
        with self.lock:
            self.objects.version += 1
            if change:
                change()
            line = f'{{"type":"{event}","object":{self.objects.text(kind, number)}}}\n'.encode()
            self.log[kind].append((self.objects.version, line))
            self.lock.notify_all()

    def replace_pod(self, number):
        self.emit("DELETED", "pods", number)
        lives = self.objects.lives
        self.emit("ADDED", "pods", number, lambda: lives.update({number: lives.get(number, 0) + 1}))

    def touch_pod(self, number):
        self.emit("MODIFIED", "pods", number)

    def release(self, number):
        releases = self.objects.releases
        self.emit("MODIFIED", "deployments", number,
                  lambda: releases.update({number: releases.get(number, 0) + 1}))
        self.emit("MODIFIED", "replicasets", number)
