"""An S3 server that holds a tree in its head: a million blobs need no disk.

`python -m measure.objects PORT BUCKET NUMBER…`, the numbers being those of a trees.Shape. Answers
ListObjectsV2, GET and HEAD as S3 does, in order of the keys; `/counts` tells what was asked so far.
"""

import asyncio
import bisect
import collections
import concurrent.futures
import functools
import gc
import hashlib
import itertools
import json
import sys
import urllib.parse

from .trees import ROOT, Repository, Shape, links

PAGE = 1_000
WRITTEN = "2026-01-01T00:00:00.000Z"
ROW = ("<Contents><Key>{}</Key><LastModified>" + WRITTEN + "</LastModified><ETag>&quot;{}&quot;</ETag>"
       "<Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>")
LISTING = {"list-type", "prefix", "delimiter", "start-after", "continuation-token", "max-keys", "encoding-type"}


def contents(shape, number):
    """One repository: its name, digests and tags, as trees.links takes them, and all blobs."""
    it = Repository(shape, number)
    return (it.name, list(it.blobs), list(it.manifests), it.tags), it.blobs | it.manifests, it.garbage_bytes


class Bucket:
    """Objects in order of their keys, in segments that share a prefix and are written out when asked for."""

    def __init__(self, name, shape):
        self.name, self.blobs, self.repositories, self.garbage_bytes = name, {}, {}, 0
        with concurrent.futures.ProcessPoolExecutor() as pool:
            made = pool.map(functools.partial(contents, shape), range(shape.repositories), chunksize=10)
            for repository, blobs, garbage_bytes in made:
                self.repositories[f"{ROOT}/repositories/{repository[0]}/"] = repository
                self.blobs.update(blobs)
                self.garbage_bytes += garbage_bytes
        self.shards = collections.defaultdict(list)
        for digest in sorted(self.blobs):
            self.shards[f"{ROOT}/blobs/sha256/{digest[:2]}/"].append(digest)
        sizes = {prefix: len(digests) for prefix, digests in self.shards.items()}
        sizes |= {prefix: len(blobs) + len(manifests) + 2 * len(tags)
                  for prefix, (_, blobs, manifests, tags) in self.repositories.items()}
        self.prefixes = sorted(sizes)
        # Where each begins, and the end of all.
        self.starts = [0, *itertools.accumulate(sizes[prefix] for prefix in self.prefixes)]

    def get(self, key):
        """`None` if there is none."""
        path = key.removeprefix(f"{ROOT}/").split("/")
        if path[0] == "blobs":
            return self.blobs.get(path[3]) if path[4:] == ["data"] else None
        at = bisect.bisect_right(self.prefixes, key) - 1
        if at < 0 or self.prefixes[at] not in self.repositories or not key.startswith(self.prefixes[at]):
            return None
        return self.links(self.prefixes[at]).get(key)

    def links(self, prefix):
        return {f"{ROOT}/{path}": content for path, content in links(*self.repositories[prefix])}

    @functools.lru_cache(maxsize=256)
    def segment(self, at):
        """Keys, and each as it stands in a listing."""
        prefix = self.prefixes[at]
        if prefix in self.shards:
            objects = [(f"{prefix}{digest}/data", self.blobs[digest]) for digest in self.shards[prefix]]
        else:
            objects = sorted(self.links(prefix).items())
        rows = [ROW.format(key, hashlib.md5(content).hexdigest(), len(content)) for key, content in objects]
        return [key for key, _ in objects], rows

    def position(self, key, find=bisect.bisect_left):
        """How many objects come before it."""
        at = bisect.bisect_right(self.prefixes, key) - 1
        return 0 if at < 0 else self.starts[at] + find(self.segment(at)[0], key)

    def page(self, start, end, prefix, delimiter, most):
        """Keys' rows, common prefixes' rows, and where the next page begins."""
        rows, common, position = [], [], start
        while position < end and len(rows) + len(common) < most:
            at = bisect.bisect_right(self.starts, position) - 1
            keys, shown = self.segment(at)
            first = position - self.starts[at]
            cut = keys[first].find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                group = keys[first][:cut + len(delimiter)]
                common.append(f"<CommonPrefixes><Prefix>{group}</Prefix></CommonPrefixes>")
                position = self.position(group + "\x7f")
                continue
            left = most - len(rows) - len(common)
            taken = 1 if delimiter else min(left, end - position, len(keys) - first)
            rows += shown[first:first + taken]
            position += taken
        return rows, common, position

    def list(self, query):
        if set(query) - LISTING or query.get("list-type") != "2":
            return None
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after, token = query.get("start-after", ""), query.get("continuation-token", "")
        most = min(int(query.get("max-keys") or PAGE), PAGE)
        end = self.position(prefix + "\x7f")
        start = int(token) if token else max(self.position(prefix), self.position(after, bisect.bisect_right))
        rows, common, position = self.page(start, end, prefix, delimiter, most)
        more = position < end
        told = {"Name": self.name, "Prefix": prefix, "Delimiter": delimiter, "StartAfter": after,
                "ContinuationToken": token, "EncodingType": query.get("encoding-type", ""),
                "NextContinuationToken": str(position) if more else "", "MaxKeys": str(most),
                "KeyCount": str(len(rows) + len(common)), "IsTruncated": "true" if more else "false"}
        return "".join((
            '<?xml version="1.0" encoding="UTF-8"?>\n',
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
            *(f"<{name}>{value}</{name}>" for name, value in told.items() if value or name == "Prefix"),
            *rows, *common, "</ListBucketResult>")).encode()


class Connection(asyncio.Protocol):
    def __init__(self, bucket, counts):
        self.bucket, self.counts = bucket, counts
        self.read = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.read += data
        while b"\r\n\r\n" in self.read:
            # Nothing that is asked has a body.
            head, _, self.read = self.read.partition(b"\r\n\r\n")
            method, target, _ = head.partition(b"\r\n")[0].decode().split(" ")
            self.answer(method, urllib.parse.urlsplit(target))

    def answer(self, method, target):
        query = dict(urllib.parse.parse_qsl(target.query, keep_blank_values=True))
        bucket, _, key = urllib.parse.unquote(target.path).removeprefix("/").partition("/")
        if target.path == "/counts":
            return self.send(method, "200 OK", json.dumps(self.counts).encode(), "application/json")
        if bucket != self.bucket.name:
            return self.error(method, "404 Not Found", "NoSuchBucket")
        if key and method in ("GET", "HEAD"):
            self.counts[method] += 1
            content = self.bucket.get(key)
            if content is None:
                return self.error(method, "404 Not Found", "NoSuchKey")
            return self.send(method, "200 OK", content, "application/octet-stream")
        listed = self.bucket.list(query) if method == "GET" else None
        if listed is None:
            return self.error(method, "501 Not Implemented", "NotImplemented")
        self.counts["LIST"] += 1
        return self.send(method, "200 OK", listed, "application/xml")

    def error(self, method, status, code):
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{code}</Message></Error>'
        self.send(method, status, text.encode(), "application/xml")

    def send(self, method, status, content, kind):
        head = (f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
                f'ETag: "{hashlib.md5(content).hexdigest()}"\r\n'
                "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n")
        self.transport.write(head.encode() + (b"" if method == "HEAD" else content))


async def serve(port, name, shape):
    # Millions of objects, of which none will be garbage: looking through them takes longer than listing.
    gc.disable()
    bucket = Bucket(name, shape)
    counts = collections.Counter()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(bucket, counts), "127.0.0.1", port)
    print("ready", bucket.garbage_bytes, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], Shape(*map(int, sys.argv[3:]))))
