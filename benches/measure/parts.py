"""The programs that are measured, and the registry that they are measured against."""

import contextlib
import json
import re
import shutil
import urllib.request
from pathlib import Path

from .machine import Problem, answers, free_port, run, server, wait_for

CONNECTIONS = 32
ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


class Corpus:
    """A registry's storage tree, written by demo::corpus."""

    def __init__(self, bench, repositories, tags):
        self.root = bench.work / "corpus"
        self.tags = repositories * tags
        # From demo::corpus: a repository of t tags has 3t manifests and 2t + 11 blobs.
        self.manifests = repositories * 3 * tags
        self.blobs = repositories * (2 * tags + 11)
        self.objects = self.manifests + self.blobs
        self.requests = self.tags + self.objects
        self.title = (f"{self.tags:,} references ({repositories:,} repositories x {tags} tags, "
                      f"2 platforms, 6 layers)")
        listed = bench.work / "references"
        bench.run([bench.pullproof, "bench-corpus", "--root", self.root, "--repositories",
                   repositories, "--tags", tags, "--host", "HOST"], listed)
        self.names = [line.removeprefix("HOST/") for line in listed.read_text().split()]
        if len(self.names) != self.tags:
            raise Problem(f"the corpus has {len(self.names)} references instead of {self.tags}")
        repository, _, tag = self.names[0].rpartition(":")
        layers = self.root / "docker/registry/v2/repositories" / repository / "_layers/sha256"
        self.tag_path = f"/v2/{repository}/manifests/{tag}"
        self.blob_path = f"/v2/{repository}/blobs/sha256:{min(path.name for path in layers.iterdir())}"


class Bench:
    """Where the programs are and where they may write."""

    def __init__(self, work, testbed, pullproof, environment):
        self.work = work
        self.testbed = testbed
        self.pullproof = pullproof
        self.environment = environment
        for tool in ("registry-3.1", "crane", "hey", "toxiproxy-server"):
            if not (testbed / tool).is_file():
                raise Problem(f"{testbed / tool} is missing: run tests/testbed/install")

    def run(self, command, output):
        return run(command, output, self.environment)

    @contextlib.contextmanager
    def registry(self, corpus, access_log=False):
        """A fresh one for each contender: who comes second must not find the first one's
        descriptors in its cache. Yields its host, and the file that its access log goes to."""
        host = f"127.0.0.1:{free_port()}"
        config, log = self.work / "registry.yml", self.work / "registry.log"
        config.write_text(f"""
version: 0.1
log: {{level: error, accesslog: {{disabled: {str(not access_log).lower()}}}}}
storage:
  filesystem: {{rootdirectory: {corpus.root}}}
  cache: {{blobdescriptor: inmemory}}
http: {{addr: "{host}"}}
""")
        command = [self.testbed / "registry-3.1", "serve", config]
        with server(command, log, self.environment) as child:
            wait_for("the registry", lambda: answers(f"http://{host}/v2/"), child, log)
            yield host, log

    @contextlib.contextmanager
    def slowed(self, upstream, milliseconds):
        """toxiproxy before it, which keeps each answer for so long."""
        api, host = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        log = self.work / "toxiproxy.log"
        command = [self.testbed / "toxiproxy-server", "-port", api.split(":")[1]]

        def post(path, body):
            request = urllib.request.Request(f"http://{api}{path}", json.dumps(body).encode(),
                                             {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=5).close()

        with server(command, log, self.environment) as child:
            wait_for("toxiproxy", lambda: answers(f"http://{api}/version"), child, log)
            post("/proxies", {"name": "registry", "listen": host, "upstream": upstream, "enabled": True})
            post("/proxies/registry/toxics", {"type": "latency", "stream": "downstream",
                                              "attributes": {"latency": milliseconds, "jitter": 0}})
            yield host

    def hey(self, corpus, host):
        """As many HEADs as a round has requests: those of manifests by the tag, which costs one
        link more than by the digest, and those of blobs."""
        parts = ((corpus.tag_path, corpus.tags + corpus.manifests), (corpus.blob_path, corpus.blobs))
        spent = [self.heads(f"http://{host}{path}", count) for path, count in parts]
        return spent[0] + spent[1]

    def heads(self, url, count):
        out = self.work / "hey"
        # Each connection makes the same number of requests.
        made = max(1, round(count / CONNECTIONS)) * CONNECTIONS
        spent = self.run([self.testbed / "hey", "-m", "HEAD", "-c", CONNECTIONS, "-n", made,
                          "-H", f"Accept: {ACCEPT}", url], out)
        if not re.search(rf"^ *\[200\]\s+{made} responses", out.read_text(), re.MULTILINE):
            raise Problem(f"HEAD {url} was not answered with 200 each time")
        return spent.times(count / made)

    def crane(self, corpus, host):
        """The deep check that people run today."""
        references = self.references(corpus, host)
        return self.run(["xargs", "-a", references, "-P", 8, "-n", 1, self.testbed / "crane", "validate",
                         "--insecure", "--fast", "--remote"], self.work / "crane")

    def references(self, corpus, host):
        path = self.work / "references.txt"
        path.write_text("".join(f"{host}/{name}\n" for name in corpus.names))
        return path

    def forget(self):
        """Round one is the one before which no manifest was ever read."""
        shutil.rmtree(self.work / "cache", ignore_errors=True)

    def verify(self, corpus, host):
        """One round of `pullproof verify`: what it took, and how many requests of each kind."""
        out = self.work / "verify.json"
        environment = self.environment | {"XDG_CACHE_HOME": str(self.work / "cache")}
        command = [self.pullproof, "verify", "--references", self.references(corpus, host),
                   "--plain-http", host, "-o", "json"]
        spent = run(command, out, environment)
        result = json.loads(out.read_text())
        if result["summary"]["pullable"] != corpus.tags:
            raise Problem(f"pullproof found {result['summary']['pullable']} of {corpus.tags} pullable")
        return spent, result["requests"]


def build(root, work):
    """The binary as it is shipped."""
    run(["cargo", "build", "--profile", "dist", "--locked", "--manifest-path", root / "Cargo.toml"],
        work / "build", None)
    metadata = work / "metadata"
    run(["cargo", "metadata", "--no-deps", "--locked", "--format-version", "1", "--manifest-path",
         root / "Cargo.toml"], metadata, None)
    return Path(json.loads(metadata.read_text())["target_directory"]) / "dist/pullproof"
