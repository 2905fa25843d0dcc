"""Storage trees by a formula, in the layout of distribution, of which half of the manifests are garbage."""

import concurrent.futures
import functools
import hashlib
import json
import os
from typing import NamedTuple

ROOT = "docker/registry/v2"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Shape(NamedTuple):
    """The numbers but the first are of each repository."""

    repositories: int
    manifests: int
    tags: int
    # Of each manifest, and of no other.
    layers: int
    # Of all manifests of a repository.
    shared: int = 3
    # One manifest of so many is tagged, the last of them; the others are garbage.
    every: int = 2

    @property
    def tagged(self):
        return self.manifests // self.every

    @property
    def blobs(self):
        return self.repositories * (self.manifests * (2 + self.layers) + self.shared)

    @property
    def garbage(self):
        return self.repositories * (self.manifests - self.tagged) * (2 + self.layers)

    @property
    def files(self):
        """Besides the blobs: a link for each in its repository, and two of each tag."""
        return 2 * self.blobs + 2 * self.repositories * self.tags

    def __str__(self):
        def counted(count, what):
            return f"{count:,} {what}"
        repositories = "1 repository" if self.repositories == 1 else counted(self.repositories, "repositories")
        return ", ".join((repositories, counted(self.repositories * self.manifests, "manifests"),
                          counted(self.repositories * self.tags, "tags"), counted(self.blobs, "blobs")))


class Repository:
    """What is in one of them. Digests are hexadecimal, and without their algorithm."""

    def __init__(self, shape, number):
        self.name = f"team-{number // 100:03}/app-{number:05}"
        # By digest.
        self.blobs, self.manifests = {}, {}
        self.garbage_bytes = 0
        shared = [self.blob(f"{self.name}: layer {layer} of all\n") for layer in range(shape.shared)]
        for image in range(shape.manifests):
            config = self.blob(json.dumps({"architecture": "amd64", "os": "linux", "config": {
                "Labels": {"image": f"{self.name} {image}"}}}))
            own = [self.blob(f"{self.name}: layer {layer} of image {image}\n") for layer in range(shape.layers)]
            body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": self.named(CONFIG, config),
                               "layers": [self.named(LAYER, layer) for layer in shared + own]}).encode()
            self.manifests[hashlib.sha256(body).hexdigest()] = body
            if (image + 1) % shape.every != 0:
                self.garbage_bytes += len(body) + sum(len(self.blobs[digest]) for digest in (config, *own))
        tagged = list(self.manifests)[shape.every - 1::shape.every]
        self.tags = {f"v1.{tag}": tagged[tag % len(tagged)] for tag in range(shape.tags)}

    def blob(self, text):
        content = text.encode()
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return digest

    def named(self, media_type, digest):
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(self.blobs[digest])}

    def files(self):
        """Paths below ROOT, and contents."""
        for digest, content in (self.blobs | self.manifests).items():
            yield f"blobs/sha256/{digest[:2]}/{digest}/data", content
        yield from links(self.name, self.blobs, self.manifests, self.tags)


def links(name, blobs, manifests, tags):
    own = f"repositories/{name}"
    for digests, kind in ((blobs, "_layers"), (manifests, "_manifests/revisions")):
        for digest in digests:
            yield f"{own}/{kind}/sha256/{digest}/link", f"sha256:{digest}".encode()
    for tag, digest in tags.items():
        link = f"sha256:{digest}".encode()
        yield f"{own}/_manifests/tags/{tag}/current/link", link
        yield f"{own}/_manifests/tags/{tag}/index/sha256/{digest}/link", link


class Tree:
    """One that is on disk."""

    def __init__(self, root, shape, is_bucket=False):
        """A bucket is one of versitygw, which knows an object's ETag from an attribute."""
        self.root, self.shape = root, shape
        top = root / ROOT
        (top / "repositories").mkdir(parents=True)
        workers = min(os.cpu_count(), shape.repositories)
        with concurrent.futures.ProcessPoolExecutor(workers) as pool:
            written = pool.map(functools.partial(write, top, shape, is_bucket), range(shape.repositories),
                               chunksize=max(1, shape.repositories // workers // 4))
            self.garbage_bytes = sum(written)


def write(top, shape, is_bucket, number):
    """One repository; how many of its bytes are garbage."""
    repository = Repository(shape, number)
    made = set()
    for path, content in repository.files():
        make(top, path.rpartition("/")[0], made)
        file = os.open(f"{top}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(file, content)
        if is_bucket:
            os.setxattr(file, "user.etag", f'"{hashlib.md5(content).hexdigest()}"'.encode())
        os.close(file)
    return repository.garbage_bytes


def make(top, directory, made):
    """With those above it, each once."""
    if directory in made:
        return
    made.add(directory)
    above = directory.rpartition("/")[0]
    if above:
        make(top, above, made)
    # Others write beside this one.
    try:
        os.mkdir(f"{top}/{directory}")
    except FileExistsError:
        pass
