"""Records of icecore-format(5): bytes in, dictionaries out.

Written from the page alone, section RECORDS, field by field in its order. What the page does not
allow raises Malformed.
"""

import struct


class Malformed(Exception):
    """Bytes that are not what the page says."""


class Unsupported(Exception):
    """Whole bytes of a later version."""


def need(condition, what):
    if not condition:
        raise Malformed(what)


class Cursor:
    """Takes one field after the other."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, count):
        need(count <= len(self.data) - self.at, "record is cut short")
        field = self.data[self.at : self.at + count]
        self.at += count
        return field

    def _number(self, layout):
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def u8(self):
        return self._number("<B")

    def u16(self):
        return self._number("<H")

    def u32(self):
        return self._number("<I")

    def u64(self):
        return self._number("<Q")

    def i64(self):
        return self._number("<q")

    def bool(self):
        value = self.u8()
        need(value < 2, "bool is neither 0 nor 1")
        return value == 1

    def id16(self):
        return self.take(16)

    def id32(self):
        return self.take(32)

    def bytes(self):
        return self.take(self.u64())

    def string(self):
        try:
            return self.bytes().decode("utf-8")
        except UnicodeDecodeError as err:
            raise Malformed("string is not UTF-8") from err

    def list(self, item):
        return [item() for _ in range(self.u64())]

    def option(self, item):
        return item() if self.bool() else None

    def variant(self, count):
        number = self.u32()
        need(number < count, f"unknown variant {number}")
        return number

    def end(self):
        need(self.at == len(self.data), "bytes after the record's end")


def whole(record, payload):
    """The one record that fills the payload."""
    cursor = Cursor(payload)
    value = record(cursor)
    cursor.end()
    return value


def time(c):
    secs, nanos = c.i64(), c.u32()
    need(nanos <= 999_999_999, "too many nanoseconds")
    return [secs, nanos]


def config(c):
    version = c.u32()
    if version > 1:
        raise Unsupported(f"format {version}")
    value = {
        "format": version,
        "repository": c.id16(),
        "created": time(c),
        "encrypted": c.bool(),
        "min": c.u32(),
        "average": c.u32(),
        "max": c.u32(),
        "mac": c.take(32),
    }
    need(version == 1, "format 0")
    need(64 <= value["min"] <= value["average"] <= value["max"] <= 16 << 20, "chunk sizes")
    return value


def key_slot(c):
    value = {"id": c.id16(), "repository": c.id16(), "created": time(c), "label": c.string()}
    if c.variant(2) == 0:
        memory, passes, lanes = c.u32(), c.u32(), c.u32()
        need(1 <= lanes <= 16 and 1 <= passes <= 16, "derivation out of range")
        need(8 * lanes <= memory <= 1 << 20, "derivation out of range")
        value["passphrase"] = {"memory_kib": memory, "passes": passes, "lanes": lanes}
    else:
        value["passphrase"] = None
    value["salt"] = c.take(32)
    value["wrapped"] = c.bytes()
    need(len(value["wrapped"]) == 48, "wrapped key has another length")
    return value


def beat(c):
    return {
        "repository": c.id16(),
        "session": c.id16(),
        "beat": c.u64(),
        "at": time(c),
        "host": c.string(),
        "pid": c.u32(),
    }


def forgotten(c):
    return {"repository": c.id16(), "snapshot": c.id16(), "at": time(c), "host": c.string()}


def tagging(c):
    value = {
        "repository": c.id16(),
        "snapshot": c.id16(),
        "number": c.u64(),
        "at": time(c),
        "host": c.string(),
        "tags": c.list(c.string),
        "protected": c.bool(),
    }
    need(len(value["tags"]) <= 1000, "too many tags")
    return value


def pin(c):
    return {
        "repository": c.id16(),
        "id": c.id16(),
        "beat": c.u64(),
        "snapshots": c.list(c.id16),
        "at": time(c),
        "host": c.string(),
        "pid": c.u32(),
    }


def generation(c):
    value = {
        "repository": c.id16(),
        "number": c.u64(),
        "at": time(c),
        "host": c.string(),
        "packs": c.list(lambda: (c.variant(2), c.id32())),
        "snapshots": c.list(c.id16),
    }
    for named in (value["packs"], value["snapshots"]):
        need(len(named) <= 1 << 20, "too many objects")
        need(all(a < b for a, b in zip(named, named[1:])), "objects out of order")
    return value


def settings(c):
    value = {
        "repository": c.id16(),
        "number": c.u64(),
        "at": time(c),
        "host": c.string(),
        "parity": c.u16(),
    }
    need(value["parity"] <= 1000, "parity above 1000")
    return value


def ledger(c):
    value = {
        "repository": c.id16(),
        "id": c.id16(),
        "at": time(c),
        "host": c.string(),
        "program": c.string(),
        "previous": c.list(lambda: (c.u64(), c.id16(), c.take(32))),
    }
    event, read = EVENTS.get(c.u32()) or need(False, "unknown event")
    value[event] = read(c)
    need(len(value["previous"]) <= 64, "follows too many records")
    check_ascending(value["previous"])
    return value


def verified(c):
    value = {
        "duration": c.u64(),
        "complete": c.bool(),
        "snapshots": c.u64(),
        "packs_stored": c.u64(),
        "bytes_stored": c.u64(),
        "bytes_read": c.u64(),
        "packs": c.list(c.u64),
        "damaged_count": c.u64(),
        "damaged": c.list(c.string),
    }
    need(len(value["packs"]) <= 1 << 20, "too many packs")
    need(len(value["damaged"]) <= min(1000, value["damaged_count"]), "too many damaged")
    check_ascending(value["packs"])
    return value


def replicated(c):
    value = {
        "duration": c.u64(),
        "from": c.id16(),
        "snapshots": c.list(lambda: {"origin": c.id16(), "copy": c.id16()}),
        "bytes_stored": c.u64(),
        "error": c.string(),
    }
    need(len(value["snapshots"]) <= 10_000, "too many snapshots")
    return value


def drilled(c):
    check = lambda: {
        "name": c.string(),
        "kind": c.string(),
        "passed": c.bool(),
        "duration": c.u64(),
        "told": c.string(),
    }
    value = {
        "name": c.string(),
        "mode": c.string(),
        "started": time(c),
        "duration": c.u64(),
        "components": c.list(
            lambda: {"name": c.string(), "source": c.string(), "snapshot": c.id16(), "time": time(c)}
        ),
        "phases": c.list(lambda: {"name": c.string(), "start": c.u64(), "duration": c.u64()}),
        "checks": c.list(check),
        "control": c.list(check),
        "rto": c.u64(),
        "rto_target": c.option(c.u64),
        "rpo": c.u64(),
        "rpo_target": c.option(c.u64),
        "result": c.variant(3),
        "cause": c.string(),
    }
    for name in ["components", "phases", "checks", "control"]:
        need(len(value[name]) <= 10_000, f"too many {name}")
    return value


def ran(c):
    return {
        "part": c.string(),
        "name": c.string(),
        "started": time(c),
        "duration": c.u64(),
        "snapshot": c.option(c.id16),
        "error": c.string(),
    }


EVENTS = {
    0: ("verified", verified),
    1: ("replicated", replicated),
    2: ("drilled", drilled),
    3: ("ran", ran),
}


def commit(c):
    value = {"repository": c.id16()}
    kind = c.variant(3)
    if kind == 1:
        value["tombstone"] = {"at": time(c), "host": c.string()}
        return value
    value["snapshot"] = snapshot(c)
    if kind == 2:
        value["origin"] = c.option(lambda: {"repository": c.id16(), "snapshot": c.id16()})
        value["captures"] = c.list(lambda: capture(c))
        need(len(value["captures"]) <= 1000, "too many captures")
    return value


def capture(c):
    value = {
        "source": c.string(),
        "method": c.string(),
        "path": c.bytes(),
        "started": time(c),
        "ended": time(c),
        "facts": c.list(lambda: {"name": c.string(), "value": c.string()}),
    }
    need(len(value["facts"]) <= 1000, "too many facts")
    return value


def snapshot(c):
    value = {
        "id": c.id16(),
        "time": time(c),
        "duration": c.u64(),
        "host": c.string(),
        "user": c.string(),
        "program": c.string(),
        "tags": c.list(c.string),
        "sources": c.list(c.bytes),
        "parent": c.option(c.id16),
        "root": leaf(c),
        "troubles": c.list(lambda: {"path": c.bytes(), "what": c.string()}),
        "troubles_count": c.u64(),
        "added": {"chunks": c.u64(), "plain": c.u64(), "stored": c.u64()},
    }
    need(len(value["troubles"]) <= min(1000, value["troubles_count"]), "too many troubles")
    nodes = value["root"]["nodes"]
    need(len(nodes) == 1 and nodes[0]["name"] == b"", "root is not one node without a name")
    need(nodes[0]["kind"] == "directory", "root is no directory")
    return value


def tree_page(c):
    if c.variant(2) == 0:
        value = leaf(c)
        need(len(value["nodes"]) <= 1024, "too many nodes")
        names = [node["name"] for node in value["nodes"]]
    else:
        value = {"refs": c.list(lambda: page_ref(c))}
        need(1 <= len(value["refs"]) <= 1024, "too many or no pages")
        names = [ref["first"] for ref in value["refs"]]
    for name in names:
        check_name(name)
    check_ascending(names)
    return value


def check_name(name):
    need(1 <= len(name) <= 255 and name not in (b".", b".."), "impossible name")
    need(b"/" not in name and b"\0" not in name, "impossible name")


def check_ascending(names):
    need(all(a < b for a, b in zip(names, names[1:])), "names out of order")


def page_ref(c):
    return {"first": c.bytes(), "page": c.id32(), "entries": c.u64()}


def leaf(c):
    owners = c.list(lambda: owner(c))
    nodes = c.list(lambda: node(c))
    for entry in nodes:
        need(entry["owner"] < len(owners), "node without an owner")
        entry["owner"] = owners[entry["owner"]]
    return {"owners": owners, "nodes": nodes}


def owner(c):
    return {"uid": c.u32(), "gid": c.u32(), "user": c.string(), "group": c.string()}


def node(c):
    value = {
        "name": c.bytes(),
        "mode": c.u32(),
        "owner": c.u32(),
        "mtime": time(c),
        "ctime": time(c),
        "atime": c.option(lambda: time(c)),
        "btime": c.option(lambda: time(c)),
        "inode": c.u64(),
        "link": c.option(lambda: [c.u64(), c.u32()]),
        "xattrs": c.list(lambda: [c.bytes(), c.bytes()]),
        "unstable": c.bool(),
    }
    need(value["mode"] <= 0o7777, "impossible mode")
    check_xattrs(value["xattrs"])
    kinds = [file, directory, symlink, fifo, socket, char_device, block_device]
    kind = kinds[c.variant(len(kinds))]
    value["kind"] = kind.__name__
    value.update(kind(c))
    return value


def check_xattrs(xattrs):
    check_ascending([name for name, _ in xattrs])
    for name, value in xattrs:
        need(1 <= len(name) <= 255 and b"\0" not in name, "impossible attribute name")
        need(len(value) <= 64 << 10, "attribute too long")
    need(sum(len(name) + len(value) for name, value in xattrs) <= 8 << 20, "attributes too long")


def file(c):
    value = {
        "size": c.u64(),
        "data": c.u64(),
        "hash": c.option(lambda: c.take(32)),
        "class": ["default", "large", "database", "tensor"][c.variant(4)],
    }
    need(value["data"] <= value["size"] < 1 << 63, "impossible size")
    if c.variant(2) == 0:
        value["inline"] = c.bytes()
        need(len(value["inline"]) == value["size"] <= 512, "inline content of another length")
    else:
        value["level"] = c.u8()
        value["extents"] = extents(c, value["level"], value["size"])
    return value


HOLE = bytes(32)


def extents(c, level, length):
    value = c.list(lambda: (c.id32(), c.u64()))
    need(level <= 8 and len(value) <= 4096, "too many levels or extents")
    for chunk, count in value:
        need(count >= 1, "empty extent")
        need(level == 0 or chunk != HOLE, "hole among pages")
        need(level > 0 or chunk == HOLE or count <= 16 << 20, "chunk too long")
    need(sum(count for _, count in value) == length, "extents of another length")
    return value


def extent_page(c, level, length):
    need(c.u8() == level, "extent page of another level")
    return extents(c, level, length)


def directory(c):
    value = {
        "page": c.option(c.id32),
        "entries": c.u64(),
        "totals": {key: c.u64() for key in ("files", "directories", "others", "size", "data")},
    }
    need((value["page"] is None) == (value["entries"] == 0), "entries without a page")
    return value


def symlink(c):
    target = c.bytes()
    need(1 <= len(target) <= 4095 and b"\0" not in target, "impossible target")
    return {"target": target}


def fifo(_):
    return {}


def socket(_):
    return {}


def char_device(c):
    return {"device": [c.u32(), c.u32()]}


def block_device(c):
    return {"device": [c.u32(), c.u32()]}
