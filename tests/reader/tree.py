"""Directories and files of a snapshot, as icecore-format(5) says. Written from the page alone."""

import records
from records import HOLE, need
from store import EXTENT_PAGE, TREE_PAGE, plain_frame

ZEROES = bytes(1 << 20)


def pages(repository, id, depth=0):
    """The pages of a directory, each before those below it, as (depth, page)."""
    need(depth <= 8, "pages nested too deep")
    page = records.whole(records.tree_page, plain_frame(TREE_PAGE, repository.chunk(id)))
    yield depth, page
    for ref in page.get("refs", []):
        below = 0
        first = None
        for level, inner in pages(repository, ref["page"], depth + 1):
            yield level, inner
            for node in inner.get("nodes", []):
                below += 1
                first = node["name"] if first is None else first
        need(below == ref["entries"] and first == ref["first"], "page above states another content")


def entries(repository, directory):
    """The nodes of a directory in the order of names."""
    if directory["page"] is None:
        return []
    nodes = [n for _, page in pages(repository, directory["page"]) for n in page.get("nodes", [])]
    need(len(nodes) == directory["entries"], "directory of another number of entries")
    records.check_ascending([node["name"] for node in nodes])
    return nodes


def walk(repository, node, path=b""):
    """Every node below a directory with its path, a directory before what it holds. Returns the
    sums that the directory must state."""
    totals = dict.fromkeys(("files", "directories", "others", "size", "data"), 0)
    for child in entries(repository, node):
        below = path + b"/" + child["name"] if path else child["name"]
        yield below, child
        if child["kind"] == "directory":
            sums = yield from walk(repository, child, below)
            totals["directories"] += 1
            for key, value in sums.items():
                totals[key] += value
        elif child["kind"] == "file":
            totals["files"] += 1
            totals["size"] += child["size"]
            totals["data"] += child["data"]
        else:
            totals["others"] += 1
    need(totals == node["totals"], "directory states other totals")
    return totals


def extents(repository, file):
    """All extents of a file that name chunks or are holes."""
    return flatten(repository, file["extents"], file["level"])


def flatten(repository, listed, level):
    for id, length in listed:
        if level == 0:
            yield id, length
            continue
        payload = plain_frame(EXTENT_PAGE, repository.chunk(id))
        cursor = records.Cursor(payload)
        below = records.extent_page(cursor, level - 1, length)
        cursor.end()
        yield from flatten(repository, below, level - 1)


def content(repository, file):
    """The content in pieces: (offset, bytes), or (offset, length) for a hole."""
    if "inline" in file:
        if file["inline"]:
            yield 0, file["inline"]
        return
    offset = 0
    for id, length in extents(repository, file):
        if id == HOLE:
            yield offset, length
        else:
            chunk = repository.chunk(id)
            need(len(chunk) == length, "chunk of another length")
            yield offset, chunk
        offset += length


def zeroes(length):
    while length > 0:
        count = min(length, len(ZEROES))
        yield ZEROES[:count]
        length -= count
