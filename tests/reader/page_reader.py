#!/usr/bin/env python3
"""Independent reader of icecore repositories, written from icecore-format(5) alone.

    reader.py [--passphrase-file F | --key-file F] [--packs-only] REPOSITORY COMMAND

    snapshots            one line for each snapshot, oldest first
    list SNAP            every entry of a snapshot
    cat SNAP PATH        the content of one regular file
    compare SNAP DIR     every entry, attribute and byte against a folder

SNAP is an id, the beginning of one, or "latest".  Chunks are found through the
index segments, with --packs-only through the packs' footers (index/ is not
opened).  Either way each chunk is checked against its id.  One trailing newline
of the passphrase file is not part of the passphrase.  Damage ends the program.
Needs the packages blake3, zstandard and cryptography (44 or later).
"""
import argparse
import errno
import os
import stat
import struct
import sys
from collections import namedtuple
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace as Item

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CONFIG, SLOT, BEAT, SNAPSHOT, TREE, EXTENTS = range(1, 7)  # kinds of frames
DATA, META, SEGMENT, COMMIT = range(1, 5)                  # kinds of objects, purposes of keys
FRAME_LIMIT = {CONFIG: 64 * KIB, SLOT: 64 * KIB, SNAPSHOT: 16 * MIB, TREE: 32 * MIB, EXTENTS: 32 * MIB}
FOLDERS = {DATA: "data", META: "meta"}
RECORD = MIB + 16
HOLE = bytes(32)
KINDS = ("file", "directory", "link", "fifo", "socket", "chardev", "blockdev")

Place = namedtuple("Place", "pack start stored offset length base")  # base: an id, or None
Pack = namedtuple("Pack", "path key kind")


class Damage(Exception):
    """Something that the format does not allow."""


def need(condition, what):
    if not condition:
        raise Damage(what)


def short(data):
    return blake3(data).digest()[:16]


def derive(context, material):
    return blake3(material, derive_key_context=context).digest()


def unseal(key, number, sealed, associated=b""):
    try:
        return AESGCM(key).decrypt(struct.pack("<Q4x", number), bytes(sealed), associated)
    except InvalidTag:
        raise Damage(f"part {number} does not open") from None


class Record:
    """A cursor over one encoded record."""

    def __init__(self, data):
        self.data, self.pos = data, 0

    def take(self, n):
        need(n <= len(self.data) - self.pos, "record is cut off")
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def u8(self):
        return self.take(1)[0]

    def u32(self):
        return int.from_bytes(self.take(4), "little")

    def u64(self):
        return int.from_bytes(self.take(8), "little")

    def bool(self):
        return self.variant(2, self.u8)

    def variant(self, count, number=None):
        value = (number or self.u32)()
        need(value < count, "unknown variant")
        return value

    def id16(self):
        return self.take(16)

    def id32(self):
        return self.take(32)

    def bytes(self):
        return self.take(self.u64())

    def string(self):
        try:
            return self.bytes().decode()
        except UnicodeDecodeError:
            raise Damage("string is not UTF-8") from None

    def list(self, item, most=None):
        count = self.u64()
        return self.list_of(count, item, most)

    def list_of(self, count, item, most=None):
        need(count <= (len(self.data) - self.pos if most is None else most), "list is too long")
        return [item() for _ in range(count)]

    def option(self, item):
        return item() if self.bool() else None

    def time(self):
        """Nanoseconds since 1970."""
        secs, nanos = int.from_bytes(self.take(8), "little", signed=True), self.u32()
        need(nanos < 10**9, "nanoseconds out of range")
        return secs * 10**9 + nanos

    def end(self, value=None):
        need(self.pos == len(self.data), "bytes after the record")
        return value


# ---------------------------------------------------------------- records

def read_config(r):
    format_ = r.u32()
    need(format_ == 1, f"format {format_} is not supported")
    c = Item(id=r.id16(), created=r.time(), encrypted=r.bool(), min=r.u32(), average=r.u32(), max=r.u32())
    c.signed, c.mac = r.data[:r.pos], r.take(32)
    need(64 <= c.min <= c.average <= c.max <= 16 * MIB, "chunk sizes out of range")
    return r.end(c)


def read_slot(r):
    s = Item(id=r.id16(), repository=r.id16(), created=r.time(), label=r.string())
    s.keyfile = r.variant(2) == 1
    if not s.keyfile:
        s.memory, s.passes, s.lanes = r.u32(), r.u32(), r.u32()
        need(1 <= s.lanes <= 16 and 1 <= s.passes <= 16 and 8 * s.lanes <= s.memory <= MIB, "Argon2 costs")
    s.salt = r.take(32)
    s.associated, s.wrapped = r.data[:r.pos], r.bytes()
    need(len(s.wrapped) == 48, "wrapped key is not 48 bytes")
    return r.end(s)


def read_commit(r, repository, name):
    """A Snapshot, or None for a tombstone."""
    need(r.id16() == repository, "snapshot of another repository")
    kind = r.variant(3)
    if kind == 1:
        r.time(), r.string()
        return r.end()
    s = Item(id=r.id16(), time=r.time(), duration=r.u64(), host=r.string(), user=r.string(),
             program=r.string(), tags=r.list(r.string), sources=r.list(r.bytes), parent=r.option(r.id16))
    nodes = read_leaf(r, root=True)
    need(s.id == name and len(nodes) == 1 and nodes[0].kind == "directory", "snapshot's id or root")
    s.root = nodes[0]
    s.troubles = r.list(lambda: (r.bytes(), r.string()), 1000)
    s.trouble_count, s.added = r.u64(), [r.u64() for _ in range(3)]
    need(len(s.troubles) <= s.trouble_count, "more troubles than counted")
    s.captures = []
    if kind == 2:
        s.origin = r.option(lambda: (r.id16(), r.id16()))
        s.captures = r.list(lambda: read_capture(r), 1000)
    return r.end(s)


def read_capture(r):
    c = Item(source=r.string(), method=r.string(), path=r.bytes(), started=r.time(), ended=r.time())
    c.facts = r.list(lambda: (r.string(), r.string()), 1000)
    return c


def read_leaf(r, root=False):
    owners = r.list(lambda: Item(uid=r.u32(), gid=r.u32(), user=r.string(), group=r.string()))
    return r.list(lambda: read_node(r, owners, root), 1024)


def read_node(r, owners, root):
    n = Item(name=r.bytes(), mode=r.u32(), owner=r.u32(), mtime=r.time(), ctime=r.time(),
             atime=r.option(r.time), btime=r.option(r.time), inode=r.u64(),
             link=r.option(lambda: (r.u64(), r.u32())), xattrs=r.list(lambda: (r.bytes(), r.bytes())),
             unstable=r.bool(), kind=KINDS[r.variant(7)])
    need(n.name == b"" if root else good_name(n.name), f"bad name {n.name!r}")
    need(n.mode <= 0o7777 and n.owner < len(owners), "mode or owner out of range")
    n.owner = owners[n.owner]
    names = [name for name, _ in n.xattrs]
    need(all(a < b for a, b in zip(names, names[1:])), "extended attributes out of order")
    need(all(1 <= len(a) <= 255 and 0 not in a and len(v) <= 64 * KIB for a, v in n.xattrs), "bad attribute")
    need(sum(len(a) + len(v) for a, v in n.xattrs) <= 8 * MIB, "too many attributes")
    if n.kind == "file":
        read_file(r, n)
    elif n.kind == "directory":
        n.page, n.entries, n.totals = r.option(r.id32), r.u64(), tuple(r.u64() for _ in range(5))
        need((n.page is None) == (n.entries == 0), "empty directory with a page, or the reverse")
    elif n.kind == "link":
        n.target = r.bytes()
        need(1 <= len(n.target) <= 4095 and 0 not in n.target, "bad link target")
    elif n.kind in ("chardev", "blockdev"):
        n.device = r.u32(), r.u32()
    return n


def read_file(r, n):
    n.size, n.data, n.hash, n.cls = r.u64(), r.u64(), r.option(r.id32), r.variant(4)
    need(n.data <= n.size < 1 << 63, "file's sizes")
    n.inline = n.extents = None
    if r.variant(2) == 0:
        n.inline = r.bytes()
        need(len(n.inline) == n.size <= 512, "inline content's length")
    else:
        n.level, n.extents = r.u8(), read_extents(r)
        need(n.level <= 8, "too many levels of extents")
        need(sum(length for _, length in n.extents) == n.size, "extents do not add up")


def read_extents(r):
    extents = r.list(lambda: (r.id32(), r.u64()), 4096)
    need(all(length for _, length in extents), "empty extent")
    return extents


def good_name(name):
    return 1 <= len(name) <= 255 and b"/" not in name and b"\0" not in name and name not in (b".", b"..")


# ---------------------------------------------------------------- containers

def open_frame(data, kind):
    """The payload of a frame and whether it is sealed."""
    need(len(data) >= 32 and data[:4] == b"ICEF" and data[4] == kind, "not a frame of this kind")
    length, = struct.unpack_from("<Q", data, 8)
    need(length == len(data) - 32 and length <= FRAME_LIMIT[kind], "frame's length")
    need(short(data[:16] + data[32:]) == data[16:32], "frame's checksum")
    need(data[5] == 1, f"frame version {data[5]} is not supported")
    need(data[6] <= 1 and data[7] == 0, "frame's header")
    return data[32:], data[6] == 1


def plain_page(data, kind):
    payload, sealed = open_frame(data, kind)
    need(not sealed, "sealed page")
    return Record(payload)


def open_block(data, base=None):
    """The plain bytes of a payload; base(id) gives the chunks that a difference needs."""
    need(len(data) >= 8 and data[2:4] == bytes(2), "block's header")
    codec, parameter, length, coded = data[0], data[1], int.from_bytes(data[4:8], "little"), data[8:]
    need(length <= 32 * MIB, "block is too long")
    if codec in (0, 1):
        need(parameter == 0, "codec's parameter")
        plain = zstd_frame(coded, length) if codec else coded
    elif codec == 2:
        plain = join_planes(Record(coded), parameter, length)
    else:
        need(codec == 3 and base, f"codec {codec} is not known, or may not be here")
        plain = from_bases(Record(coded), parameter, length, base)
    need(len(plain) == length, "block's plain length")
    return plain


def zstd_frame(coded, length, prefix=None):
    need(length // 32768 <= len(coded), "block's ratio")
    parameters = zstandard.get_frame_parameters(coded)
    need(parameters.content_size == length and parameters.dict_id == 0, "zstd frame's header")
    if prefix is not None:
        prefix = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    stream = zstandard.ZstdDecompressor(dict_data=prefix).decompressobj()
    plain = stream.decompress(coded)
    need(stream.eof and not stream.unused_data and len(plain) == length, "not exactly one zstd frame")
    return plain


def join_planes(r, width, length):
    need(width in (2, 4, 8), "width of planes")
    count, plain = length // width, bytearray(length)
    for number in range(width):
        framed, coded = r.variant(2, r.u8), r.take(r.u32())
        plane = zstd_frame(coded, count) if framed else coded
        need(len(plane) == count, "plane's length")
        plain[number:count * width:width] = plane
    plain[count * width:] = r.take(length - count * width)
    return r.end(bytes(plain))


def read_bases(r, length):
    bases = r.list_of(r.u32(), lambda: (r.id32(), r.u32()))
    need(bases and all(n for _, n in bases) and sum(n for _, n in bases) == length, "bases' chunks")
    return bases


def from_bases(r, operation, length, base):
    need(operation <= 3, "operation is not known")
    buffer = b""
    for id_, n in read_bases(r, length):
        whole = base(id_)
        buffer += whole if operation == 3 else whole[:n] + bytes(n - len(whole[:n]))
        need(len(buffer) <= 32 * MIB, "bases are too long")
    rest = r.take(len(r.data) - r.pos)
    if operation == 3:
        return zstd_frame(rest, length, buffer)
    difference = open_block(rest)
    need(len(difference) == length, "difference's length")
    if operation == 0:
        return bytes(map(int.__xor__, difference, buffer))
    size, letter = {1: (2, "H"), 2: (4, "I")}[operation]
    end = length - length % size
    old, folded = (struct.unpack(f"<{end // size}{letter}", data[:end]) for data in (buffer, difference))
    new = [unordered(ordered(a, size) + unfolded(b), size) for a, b in zip(old, folded)]
    tail = bytes(map(int.__xor__, difference[end:], buffer[end:]))
    return struct.pack(f"<{end // size}{letter}", *new) + tail


def ordered(x, size):
    half = 1 << 8 * size - 1
    return 2 * half - 1 - x if x >= half else x + half


def unordered(x, size):
    half = 1 << 8 * size - 1
    x %= 2 * half
    return x - half if x >= half else 2 * half - 1 - x


def unfolded(x):
    return -(x + 1) // 2 if x % 2 else x // 2


class Repository:
    def __init__(self, path, passphrase=None, keyfile=None, packs_only=False):
        self.path = Path(path)
        payload, sealed = open_frame(self.path.joinpath("config").read_bytes(), CONFIG)
        need(not sealed, "sealed config")
        self.config = read_config(Record(payload))
        self.id = self.config.id
        self.master = self.open_master(passphrase, keyfile) if self.config.encrypted else None
        self.id_keys = self.master and {DATA: derive("icecore 1 chunk id", self.master),
                                        META: derive("icecore 1 page id", self.master)}
        self.check_mac()
        self.places, self.verified = {}, set()
        self.read_packs() if packs_only else self.read_index()
        self.block = lru_cache(64)(self.read_block)

    def open_master(self, passphrase, keyfile):
        need(passphrase is not None or keyfile is not None, "the repository is encrypted: a key is needed")
        for path in self.objects("keys"):
            payload, sealed = open_frame(path.read_bytes(), SLOT)
            slot = read_slot(Record(payload))
            need(not sealed and slot.id.hex() == path.name and slot.repository == self.id, "key slot")
            if slot.keyfile != (keyfile is not None):
                continue
            if slot.keyfile:
                wrapping = derive("icecore 1 key file", slot.salt + keyfile)
            else:
                wrapping = Argon2id(salt=slot.salt, length=32, iterations=slot.passes,
                                    lanes=slot.lanes, memory_cost=slot.memory).derive(passphrase)
            try:
                return unseal(wrapping, 0, slot.wrapped, slot.associated)
            except Damage:
                continue
        raise Damage("no key slot opens with this secret")

    def check_mac(self):
        mac = bytes(32)
        if self.master:
            mac = blake3(self.config.signed, key=derive("icecore 1 config", self.master)).digest()
        need(mac == self.config.mac, "config's authentication code")

    def objects(self, folder):
        return sorted(p for p in self.path.glob(folder + "/*") if all(c in "0123456789abcdef" for c in p.name))

    def object_key(self, purpose, salt):
        return self.master and derive("icecore 1 object", self.master + bytes([purpose]) + salt)

    def open_header(self, header, magic, kinds):
        """The kind, key and salt of a pack or segment."""
        need(len(header) == 64 and header[:8] == magic, "object's magic")
        need(short(header[:48]) == header[48:], "object header's checksum")
        need(header[8] == 1, f"object version {header[8]} is not supported")
        need(header[9] in kinds and header[11:16] == bytes(5), "object header")
        need(header[10] == (self.master is not None), "object's seal")
        need(header[32:48] == self.id, "object of another repository")
        salt = header[16:32]
        return header[9], self.object_key(header[9], salt + self.id), salt

    # ------------------------------------------------------------ the index

    def read_index(self):
        segments = {}
        for path in self.objects("index"):
            need(len(path.name) == 64, "segment's name")
            data = path.read_bytes()
            need(blake3(data).hexdigest() == path.name, f"segment {path.name} is damaged")
            segments[bytes.fromhex(path.name)] = self.open_segment(data)
        replaced = {id_ for ids, _ in segments.values() for id_ in ids}
        for id_, (_, chunks) in segments.items():
            if id_ not in replaced:
                for chunk, place in chunks:
                    self.places.setdefault(chunk, []).append(place)

    def open_segment(self, data):
        """The ids that a segment replaces, and its chunks with their places."""
        _, key, _ = self.open_header(data[:64], b"iceindex", [SEGMENT])
        body = data[64:]
        if key:
            records = [body[i:i + RECORD] for i in range(0, len(body), RECORD)]
            length = struct.pack("<Q", len(body) - 16 * len(records))
            body = b"".join(unseal(key, i, record, length) for i, record in enumerate(records))
        need(len(body) >= 64 and body[:8] == b"icesegm\0", "segment's magic")
        need(short(body[:48]) == body[48:64], "segment's checksum")
        version, bits, count, packs, ids, bases = struct.unpack_from("<IIQIII", body, 8)
        need(version == 1, f"segment version {version} is not supported")
        need(bits <= 24 and count < 1 << 32 and packs <= 1 << 24 and ids <= 1 << 20, "segment's counts")
        need(bases <= count and body[36:48] == bytes(12), "segment's header")
        table = 4 * (2**bits + 1)
        sizes = [64, 64 * packs, 32 * ids, 32 * bases, table + -table % 8, 32 * count, 24 * count]
        need(sum(sizes) == len(body), "segment's length")
        r = Record(body)
        _, packs, replaced, bases, fanout, names, places = [r.take(size) for size in sizes]
        packs = [self.segment_pack(packs[i:i + 64]) for i in range(0, len(packs), 64)]
        names = [names[i:i + 32] for i in range(0, len(names), 32)]
        bases = [bases[i:i + 32] for i in range(0, len(bases), 32)]
        need(all(a < b for a, b in zip(bases, bases[1:])), "bases out of order")
        check_fanout(fanout, bits, names)
        chunks, last = [], None
        for name, (pack, *place, base) in zip(names, struct.iter_unpack("<6I", places)):
            need(pack < len(packs) and place[3] and base <= len(bases), "place")
            need(last is None or last < (name, base, pack, *place), "places out of order")
            last = (name, base, pack, *place)
            base = bases[base - 1] if base else None
            need(base != name, "chunk that is its own base")
            chunks.append((name, Place(packs[pack], *place, base)))
        return [replaced[i:i + 32] for i in range(0, len(replaced), 32)], chunks

    def segment_pack(self, entry):
        id_, salt, length, kind, zero = struct.unpack("<32s16sQB7s", entry)
        need(kind in FOLDERS and 128 <= length <= 256 * MIB and zero == bytes(7), "segment's pack")
        path = self.path / FOLDERS[kind] / id_.hex()[:2] / id_.hex()
        return Pack(path, self.object_key(kind, salt + self.id), kind)

    # ------------------------------------------------------------ packs

    def read_packs(self):
        for kind, folder in FOLDERS.items():
            for path in self.objects(folder + "/*"):
                need(len(path.name) == 64 and path.parent.name == path.name[:2], "pack's name")
                self.read_pack(path, kind)

    def read_pack(self, path, kind):
        need(128 <= path.stat().st_size <= 256 * MIB, "pack's length")
        data = path.read_bytes()
        need(blake3(data).hexdigest() == path.name, f"pack {path.name} is damaged")
        _, key, _ = self.open_header(data[:64], b"icepack\0", [kind])
        trailer = data[-64:]
        magic, start, length, zero = struct.unpack_from("<8sQQ24s", trailer)
        need(magic == b"icefoot\0" and short(trailer[:48]) == trailer[48:], "pack's trailer")
        need(start >= 64 and start + length + 64 == len(data) and zero == bytes(24), "pack's trailer")
        footer = data[start:start + length]
        r = Record(unseal(key, start, footer) if key else footer)
        self.read_footer(r, Pack(path, key, kind), start)

    def read_footer(self, r, pack, end):
        block_count, chunk_count, base_count, zero = r.u32(), r.u32(), r.u32(), r.u32()
        need(zero == 0 and block_count <= 1 << 20 and chunk_count <= 1 << 22, "footer's header")
        need(len(r.data) == 16 + 16 * block_count + 36 * chunk_count + 32 * base_count, "footer's length")
        blocks = [(r.u32(), r.u32(), r.u32(), r.variant(2)) for _ in range(block_count)]
        need(sum(chunks for _, _, chunks, _ in blocks) == chunk_count, "footer's chunks")
        need(sum(chunks * delta for _, _, chunks, delta in blocks) == base_count, "footer's bases")
        chunks = [(r.id32(), r.u32()) for _ in range(chunk_count)]
        bases = [r.id32() for _ in range(base_count)]
        r.end()
        start = 64
        for stored, plain, count, delta in blocks:
            need(stored <= 32 * MIB + 4 * KIB and plain <= 32 * MIB, "block's lengths")
            mine, chunks = chunks[:count], chunks[count:]
            theirs, bases = (bases[:count], bases[count:]) if delta else ([None] * count, bases)
            offset = 0
            for (chunk, length), base in zip(mine, theirs):
                need(length >= 1 and chunk != base, "empty chunk, or its own base")
                self.places.setdefault(chunk, []).append(Place(pack, start, stored, offset, length, base))
                offset += length
            need(offset == plain, "chunks do not fill the block")
            start += stored
            if delta:
                # What the payload says must be what the footer says.
                data = self.payload(pack, start - stored, stored)
                found = read_bases(Record(data[8:]), plain) if data[0] == 3 else None
                need(found == [(base, n) for base, (_, n) in zip(theirs, mine)], "bases of a block")
        need(start == end, "blocks do not fill the pack")

    # ------------------------------------------------------------ chunks

    def payload(self, pack, start, stored):
        need(stored <= 32 * MIB + 4 * KIB, "stored block is too long")
        with open(pack.path, "rb") as file:
            file.seek(start)
            data = file.read(stored)
        need(len(data) == stored, "block lies outside of the pack")
        return unseal(pack.key, start, data) if pack.key else data

    def read_block(self, pack, start, stored, delta):
        """A block's plain bytes; only where its places say so may it need other chunks."""
        base = lambda id_: self.chunk(id_, base_for=(pack, start))
        return open_block(self.payload(pack, start, stored), base if delta else None)

    def chunk_id(self, data, kind):
        if self.id_keys:
            return blake3(data, key=self.id_keys[kind]).digest()
        return blake3(data).digest() if kind == DATA else derive("icecore 1 page id of a plain repository", data)

    def chunk(self, id_, base_for=None):
        """The bytes of a chunk, from the first copy that is right; of a base from one that is whole
        and in another block."""
        problem = "no place is known, or none that a base may have"
        for place in self.places.get(id_, []):
            if base_for and (place.base or (place.pack, place.start) == base_for):
                continue
            try:
                block = self.block(place.pack, place.start, place.stored, place.base is not None)
            except (Damage, OSError, zstandard.ZstdError) as error:
                problem = error
                continue
            data = block[place.offset:place.offset + place.length]
            if len(data) == place.length and self.chunk_id(data, place.pack.kind) == id_:
                self.verified.add(id_)
                return data
            problem = "its bytes do not match its id"
        raise Damage(f"chunk {id_.hex()}: {problem}")

    # ------------------------------------------------------------ snapshots

    def snapshots(self):
        found = []
        for path in self.objects("snapshots"):
            need(len(path.name) == 32, "snapshot's name")
            record, sealed = open_frame(path.read_bytes(), SNAPSHOT)
            need(sealed == (self.master is not None), "snapshot's seal")
            if sealed:
                need(len(record) >= 48, "sealed snapshot is too short")
                key = self.object_key(COMMIT, record[:32])
                record = unseal(key, 0, record[32:], self.id + b"snapshots/" + path.name.encode())
            found.append(read_commit(Record(record), self.id, bytes.fromhex(path.name)))
        return sorted((s for s in found if s), key=lambda s: (s.time, s.id))

    def snapshot(self, name):
        every = self.snapshots()
        matches = every[-1:] if name == "latest" else [s for s in every if s.id.hex().startswith(name)]
        need(len(matches) == 1, f"{len(matches)} snapshots match {name}")
        return matches[0]

    def entries(self, directory):
        """The nodes of one directory, in order."""
        nodes = [] if directory.page is None else self.tree_page(directory.page)
        need(len(nodes) == directory.entries, "directory's number of entries")
        need(all(a.name < b.name for a, b in zip(nodes, nodes[1:])), "names out of order")
        return nodes

    def tree_page(self, id_, depth=0):
        need(depth <= 8, "too many levels of pages")
        r = plain_page(self.chunk(id_), TREE)
        if r.variant(2) == 0:
            return r.end(read_leaf(r))
        references = r.list(lambda: (r.bytes(), r.id32(), r.u64()), 1024)
        need(references, "empty inner page")
        r.end()
        nodes = []
        for first, page, count in references:
            below = self.tree_page(page, depth + 1)
            need(len(below) == count and below and below[0].name == first, "page reference")
            nodes += below
        return nodes

    def walk(self, node, path=b""):
        """(path, node) of all that is below a directory; checks its totals."""
        totals = [0] * 5
        for child in self.entries(node):
            below = os.path.join(path, child.name)
            yield below, child
            add = (0, 0, 1, 0, 0)
            if child.kind == "file":
                add = (1, 0, 0, child.size, child.data)
            elif child.kind == "directory":
                yield from self.walk(child, below)
                add = (child.totals[0], child.totals[1] + 1, *child.totals[2:])
            totals = [a + b for a, b in zip(totals, add)]
        need(tuple(totals) == node.totals, f"totals of {path!r}")

    def leaves(self, level, extents):
        """The extents of level 0 below a list of extents."""
        for id_, length in extents:
            if level == 0:
                need(id_ == HOLE or length <= 16 * MIB, "chunk is too long")
                yield id_, length
                continue
            need(id_ != HOLE, "hole above level 0")
            r = plain_page(self.chunk(id_), EXTENTS)
            need(r.u8() == level - 1, "extent page's level")
            below = r.end(read_extents(r))
            need(sum(n for _, n in below) == length, "extent page's length")
            yield from self.leaves(level - 1, below)

    def content(self, file):
        """(offset, length, bytes or None for a hole) of a file's pieces; checks its hash."""
        if file.inline is not None:
            need(file.hash in (None, blake3(file.inline).digest()), "hash of the content")
            yield 0, file.size, file.inline
            return
        hasher, offset, held = blake3(), 0, 0
        for id_, length in self.leaves(file.level, file.extents):
            data = None if id_ == HOLE else self.chunk(id_)
            need(data is None or len(data) == length, "extent's length")
            held += length if data else 0
            if file.hash:
                for piece in [data] if data else zeroes(length):
                    hasher.update(piece)
            yield offset, length, data
            offset += length
        need(held == file.data, "bytes outside of holes")
        need(not file.hash or hasher.digest() == file.hash, "hash of the content")


def check_fanout(table, bits, names):
    need(all(a <= b for a, b in zip(names, names[1:])), "ids out of order")
    numbers = struct.unpack_from(f"<{2**bits + 1}I", table)
    need(not any(table[4 * len(numbers):]), "fan-out table's padding")
    counts = [0] * 2**bits
    for name in names:
        counts[int.from_bytes(name[:4], "big") >> 32 - bits] += 1
    total = 0
    for number, count in zip(numbers, counts + [0]):
        need(number == total, "fan-out table")
        total += count


def zeroes(length, piece=bytes(MIB)):
    for _ in range(length // MIB):
        yield piece
    yield piece[:length % MIB]


# ---------------------------------------------------------------- comparing

def source_kind(mode):
    tests = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK, stat.S_ISFIFO, stat.S_ISSOCK, stat.S_ISCHR, stat.S_ISBLK)
    return next(kind for kind, test in zip(KINDS, tests) if test(mode))


def source_holes(fd, size):
    """[start, end] of each hole of an open file."""
    holes, position = [], 0
    while position < size:
        try:
            data = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = size
        if data > position:
            holes.append([position, data])
        position = os.lseek(fd, data, os.SEEK_HOLE) if data < size else size
    return holes


def compare_file(repository, node, path):
    """The names of what differs in a file's content."""
    wrong, holes = set(), []
    with open(path, "rb") as file:
        hasher = blake3(max_threads=blake3.AUTO).update_mmap(os.fsdecode(path))
        if node.hash and hasher.digest() != node.hash:
            wrong.add("hash")
        for offset, length, data in repository.content(node):
            if data is None:
                if holes and holes[-1][1] == offset:
                    holes[-1][1] += length
                else:
                    holes.append([offset, offset + length])
            elif os.pread(file.fileno(), length, offset) != data:
                wrong.add("content")
        if node.inline is None and holes != source_holes(file.fileno(), node.size):
            wrong.add("holes")
    return wrong


def compare_node(repository, node, path):
    st = os.lstat(path)
    wrong = {name for name, stored, found in (
        ("kind", node.kind, source_kind(st.st_mode)),
        ("mode", node.mode, stat.S_IMODE(st.st_mode)),
        ("uid", node.owner.uid, st.st_uid),
        ("gid", node.owner.gid, st.st_gid),
        ("mtime", node.mtime, st.st_mtime_ns),
        ("xattrs", dict(node.xattrs), {os.fsencode(name): os.getxattr(path, name, follow_symlinks=False)
                                       for name in os.listxattr(path, follow_symlinks=False)}),
        ("link count", node.link[1] if node.link else 1, 1 if node.kind == "directory" else st.st_nlink),
    ) if stored != found}
    if "kind" in wrong:
        return wrong
    if node.kind == "file":
        wrong |= {"size"} if node.size != st.st_size else compare_file(repository, node, path)
    elif node.kind == "link" and os.readlink(path) != node.target:
        wrong.add("target")
    elif node.kind in ("chardev", "blockdev") and node.device != (os.major(st.st_rdev), os.minor(st.st_rdev)):
        wrong.add("device")
    return wrong


def source_paths(root):
    for folder, directories, files in os.walk(root):
        for name in directories + files:
            yield os.path.relpath(os.path.join(folder, name), root)


def compare(repository, snapshot, root):
    """Prints each difference; the exit status."""
    count, differences, groups, inodes = 0, 0, {}, {}
    missing = set(source_paths(root))
    for path, node in [(b"", snapshot.root), *repository.walk(snapshot.root)]:
        count += 1
        full = os.path.join(root, path) if path else root
        wrong = {"not in the folder"}
        if os.path.lexists(full):
            missing.discard(path)
            wrong = compare_node(repository, node, full)
            if node.link:
                st = os.lstat(full)
                inode = st.st_dev, st.st_ino
                if groups.setdefault(node.link[0], inode) != inode or inodes.setdefault(inode, node.link[0]) != node.link[0]:
                    wrong.add("hard-link group")
        if wrong:
            differences += 1
            print(f"{os.fsdecode(path)}: {', '.join(sorted(wrong))}" + (" (unstable)" if node.unstable else ""))
    for path in sorted(missing):
        print(f"{os.fsdecode(path)}: not in the snapshot")
    print(f"{count} entries, {len(repository.verified)} of {len(repository.places)} known chunks read and verified, "
          f"{differences + len(missing)} differences")
    return 1 if differences or missing else 0


# ---------------------------------------------------------------- commands

def print_snapshots(repository):
    for s in repository.snapshots():
        files, directories, others, size, _ = s.root.totals
        print(s.id.hex(), f"{s.time / 1e9:.3f}", f"{s.user}@{s.host}", b" ".join(s.sources).decode("utf-8", "replace"),
              f"files={files} directories={directories} others={others} size={size} troubles={s.trouble_count}")


def print_list(repository, snapshot):
    for path, n in repository.walk(snapshot.root):
        size = n.size if n.kind == "file" else 0
        target = " -> " + os.fsdecode(n.target) if n.kind == "link" else ""
        print(f"{n.kind:9} {n.mode:04o} {n.owner.uid}:{n.owner.gid} {size:>12} {n.mtime} {os.fsdecode(path)}{target}")


def cat(repository, snapshot, path):
    wanted = os.fsencode(path.strip("/"))
    node = next((n for p, n in repository.walk(snapshot.root) if p == wanted and n.kind == "file"), None)
    need(node, f"no regular file {path}")
    for _, length, data in repository.content(node):
        for piece in zeroes(length) if data is None else [data]:
            sys.stdout.buffer.write(piece)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument("--passphrase-file", type=Path)
    secret.add_argument("--key-file", type=Path)
    parser.add_argument("--packs-only", action="store_true")
    parser.add_argument("repository")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, names in (("snapshots", ()), ("list", ("snap",)), ("cat", ("snap", "path")), ("compare", ("snap", "dir"))):
        command = commands.add_parser(name)
        for argument in names:
            command.add_argument(argument)
    return parser.parse_args()


def main():
    args = arguments()
    passphrase = args.passphrase_file and args.passphrase_file.read_bytes().removesuffix(b"\n")
    keyfile = args.key_file and args.key_file.read_bytes()
    try:
        repository = Repository(args.repository, passphrase, keyfile, args.packs_only)
        if args.command == "snapshots":
            return print_snapshots(repository)
        snapshot = repository.snapshot(args.snap)
        if args.command == "list":
            return print_list(repository, snapshot)
        if args.command == "cat":
            return cat(repository, snapshot, args.path)
        return compare(repository, snapshot, os.fsencode(args.dir.rstrip("/")))
    except (Damage, zstandard.ZstdError, OSError) as error:
        return f"reader.py: {error}"


if __name__ == "__main__":
    sys.exit(main())
