"""Where icecore-format(5) says that pages, extent lists and chunks are cut: does a repository agree?

Written from the page alone, section WHERE PAGES AND CHUNKS ARE CUT.
"""

import hashlib
import math

from blake3 import blake3

import records
import tree
from records import HOLE, need
from store import derive_key, plain_frame, EXTENT_PAGE

MASKS = dict(
    enumerate(
        [
            0x0000000001804110, 0x0000000001803110, 0x0000000018035100,
            0x0000001800035300, 0x0000019000353000, 0x0000590003530000,
            0x0000D90003530000, 0x0000D90103530000, 0x0000D90303530000,
            0x0000D90313530000, 0x0000D90F03530000, 0x0000D90303537000,
            0x0000D90703537000, 0x0000D90707537000, 0x0000D91707537000,
            0x0000D91747537000, 0x0000D91767537000, 0x0000D93767537000,
            0x0000D93777537000, 0x0000D93777577000, 0x0000DB3777577000,
        ],
        start=5,
    )
)
U64 = (1 << 64) - 1


class Chunker:
    def __init__(self, repository):
        config = repository.config
        even = {key: config[key] & ~1 for key in ("min", "average", "max")}
        self.min = min(max(even["min"], 64), 1 << 20)
        self.average = min(max(even["average"], 256, self.min), 4 << 20)
        self.max = min(max(even["max"], 1024, self.average), 16 << 20)
        bits = round(math.log2(self.average))
        self.masks = MASKS[bits + 1], MASKS[bits - 1]
        seed = 0
        if repository.master is not None:
            key = derive_key("icecore 1 chunker seed", repository.master)
            seed = int.from_bytes(key[:8], "little")
        digests = [hashlib.md5(bytes([i]) * 64).digest() for i in range(256)]
        self.gear = [int.from_bytes(digest[:8], "big") ^ seed for digest in digests]

    def cut(self, source):
        if len(source) <= self.min:
            return len(source)
        end = min(len(source), self.max)
        center = min(self.average, end)
        gear, hash, a = self.gear, 0, self.min
        while a // 2 < end // 2:
            mask = self.masks[0] if a // 2 < center // 2 else self.masks[1]
            hash = ((hash << 2) + (gear[source[a]] << 1)) & U64
            if hash & (mask << 1) == 0:
                return a
            hash = (hash + gear[source[a + 1]]) & U64
            if hash & mask == 0:
                return a + 1
            a += 2
        return end

    def check(self, run):
        """The lengths of a run's chunks: listed [length, ...] and content."""
        lengths, content = run
        at = 0
        for length in lengths:
            need(self.cut(content[at : at + self.max]) == length, "chunk is cut elsewhere")
            at += length


def runs(repository, file):
    """Runs of data between holes, as chunk lengths and content."""
    lengths, content = [], b""
    for _, piece in tree.content(repository, file):
        if isinstance(piece, int):
            yield lengths, content
            lengths, content = [], b""
        else:
            lengths.append(len(piece))
            content += piece
    yield lengths, content


def weight(node):
    weight = 120 + len(node["name"])
    weight += sum(16 + len(name) + len(value) for name, value in node["xattrs"])
    if "inline" in node:
        return weight + 80 + len(node["inline"])
    if "extents" in node:
        return weight + 80 + 40 * len(node["extents"])
    return weight + (8 + len(node["target"]) if "target" in node else 100)


def check_directory(repository, directory):
    """How many nodes each leaf and how many pages each inner page must have."""
    if directory["page"] is None:
        return
    found = list(tree.pages(repository, directory["page"]))
    depth = max(level for level, _ in found)
    nodes = tree.entries(repository, directory)
    expected, lasts = cut_leaves(nodes)
    sizes = [len(page["nodes"]) for level, page in found if level == depth]
    need(sizes == expected, "leaves are cut elsewhere")
    for level in range(1, depth + 1):
        expected, lasts = cut_inner(lasts, level)
        sizes = [len(page["refs"]) for at, page in found if at == depth - level]
        need(sizes == expected, "inner pages are cut elsewhere")


def cut_leaves(nodes):
    sizes, lasts, count, sum = [], [], 0, 0
    for node in nodes:
        count += 1
        sum += weight(node)
        zero = blake3(node["name"]).digest()[0] == 0
        if count >= 32 and zero or count >= 1024 or sum >= 1 << 20:
            sizes.append(count)
            lasts.append(node["name"])
            count = sum = 0
    if count:
        sizes.append(count)
        lasts.append(nodes[-1]["name"])
    return sizes, lasts


def cut_inner(names, level):
    sizes, lasts, count = [], [], 0
    for name in names:
        count += 1
        if count >= 4 and blake3(name).digest()[level] == 0 or count >= 1024:
            sizes.append(count)
            lasts.append(name)
            count = 0
    if count:
        sizes.append(count)
        lasts.append(names[-1])
    return sizes, lasts


def check_extents(repository, file):
    if "extents" not in file:
        return
    level, listed = file["level"], file["extents"]
    need(len(listed) <= 64, "too many extents in a node")
    while level > 0:
        level -= 1
        below = []
        for number, (id, length) in enumerate(listed):
            cursor = records.Cursor(plain_frame(EXTENT_PAGE, repository.chunk(id)))
            page = records.extent_page(cursor, level, length)
            last = number == len(listed) - 1
            need(ends_page(page) or last, "extent page ends elsewhere")
            for end in range(1, len(page)):
                need(not ends_page(page[:end]), "extent page goes on where it must end")
            below += page
        listed = below
    holes = [id == HOLE for id, _ in listed]
    need(not any(a and b for a, b in zip(holes, holes[1:])), "two holes side by side")


def ends_page(extents):
    id, _ = extents[-1]
    cut = len(extents) >= 64 and id != HOLE and id[30] == 0 and id[31] & 3 == 0
    return cut or len(extents) >= 4096


def check(repository, root, content_max):
    """Checks a snapshot; files up to so many bytes of data by their content too. Returns how many
    chunks were cut as the page says."""
    chunker = Chunker(repository)
    cut = 0
    check_directory(repository, root)
    for _, node in tree.walk(repository, root):
        if node["kind"] == "directory":
            check_directory(repository, node)
        elif node["kind"] == "file":
            check_extents(repository, node)
            if node["data"] <= content_max and "extents" in node and node["class"] == "default":
                for run in runs(repository, node):
                    chunker.check(run)
                    cut += len(run[0])
    return cut
