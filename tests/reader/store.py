"""A repository in a folder, read as icecore-format(5) says: names, keys, frames, packs, index.

Written from the page alone. Everything that is read is checked; nothing is trusted for its place.
"""

import itertools
import os
import re
import struct
from collections import OrderedDict, namedtuple

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

import blocks
import records
from records import Malformed, Unsupported, need

CONFIG, KEY_SLOT, BEAT, SNAPSHOT, TREE_PAGE, EXTENT_PAGE = 1, 2, 3, 4, 5, 6
FORGOTTEN, TAGGING, PIN, CANDIDATES, DECISION = 7, 8, 9, 10, 11
LEDGER, SETTINGS = 12, 13
PAYLOAD_MAX = {
    CONFIG: 64 << 10,
    KEY_SLOT: 64 << 10,
    BEAT: 64 << 10,
    LEDGER: 16 << 20,
    SNAPSHOT: 16 << 20,
    TREE_PAGE: (32 << 20) - 32,
    EXTENT_PAGE: (32 << 20) - 32,
    FORGOTTEN: 1 << 20,
    TAGGING: 1 << 20,
    PIN: 1 << 20,
    CANDIDATES: 64 << 20,
    DECISION: 64 << 20,
    SETTINGS: 64 << 10,
}
# Purposes of object keys, and the kinds of packs and segments, which are the first three of them.
DATA_PACK, META_PACK, SEGMENT, FOR_SNAPSHOT, FOR_BEAT = 1, 2, 3, 4, 5
FOR_FORGOTTEN, FOR_TAGGING, FOR_PIN, FOR_CANDIDATES, FOR_DECISION = 6, 7, 8, 9, 10
FOR_LEDGER, FOR_SETTINGS = 11, 12
PACKS = {"data": DATA_PACK, "meta": META_PACK}

# Base is an id, or None where the chunk is stored whole.
Place = namedtuple(
    "Place", "pack salt kind block_offset block_length chunk_offset chunk_length base"
)
BLOCKS_KEPT = 16


def derive_key(context, material):
    return blake3(material, derive_key_context=context).digest()


def short(data):
    return blake3(data).digest()[:16]


def open_sealed(key, number, associated, sealed, what):
    nonce = struct.pack("<Q", number) + bytes(4)
    try:
        return AESGCM(key).decrypt(nonce, sealed, associated)
    except InvalidTag as err:
        raise Malformed(f"{what}: seal does not hold") from err


def check_version(found):
    if found > 1:
        raise Unsupported(f"version {found}")
    need(found == 1, "version 0")


def open_frame(kind, frame):
    """Seal and payload of a frame."""
    need(len(frame) >= 32, "frame is cut short")
    magic, found, version, seal, zero, length = struct.unpack("<4sBBBBQ", frame[:16])
    payload = frame[32:]
    need(magic == b"ICEF" and found == kind, "no frame of this kind")
    need(length == len(payload) <= PAYLOAD_MAX[kind], "frame of another length")
    need(frame[16:32] == short(frame[:16] + payload), "frame checksum")
    check_version(version)
    need(seal in (0, 1) and zero == 0, "frame header")
    return seal, payload


def plain_frame(kind, frame):
    seal, payload = open_frame(kind, frame)
    need(seal == 0, "a sealed frame where it must be plain")
    return payload


class Repository:
    def __init__(self, root, passphrase=None, key_file=None):
        self.root = root
        payload = plain_frame(CONFIG, self.read("config"))
        self.config = records.whole(records.config, payload)
        self.id = self.config["repository"]
        self.master = None
        self.id_keys = {}
        mac = bytes(32)
        if self.config["encrypted"]:
            self.master = self.open_master(passphrase, key_file)
            self.id_keys[DATA_PACK] = derive_key("icecore 1 chunk id", self.master)
            self.id_keys[META_PACK] = derive_key("icecore 1 page id", self.master)
            key = derive_key("icecore 1 config", self.master)
            mac = blake3(payload[:-32], key=key).digest()
        need(mac == self.config["mac"], "config: authentication code")
        self.chunks = None
        self.blocks = OrderedDict()

    # Objects

    def read(self, name):
        with open(os.path.join(self.root, name), "rb") as file:
            return file.read()

    def names(self, folder, pattern):
        """Names below a folder that fit the pattern; all others are ignored."""
        found = []
        for path, _, files in os.walk(os.path.join(self.root, folder)):
            found += [os.path.relpath(os.path.join(path, file), self.root) for file in files]
        return sorted(name for name in found if re.fullmatch(pattern, name))

    # Keys

    def open_master(self, passphrase, key_file):
        for name in self.names("keys", "keys/[0-9a-f]{32}"):
            payload = plain_frame(KEY_SLOT, self.read(name))
            slot = records.whole(records.key_slot, payload)
            need(name == "keys/" + slot["id"].hex(), f"{name}: another id")
            need(slot["repository"] == self.id, f"{name}: another repository")
            cost = slot["passphrase"]
            if cost and passphrase is not None:
                key = Argon2id(
                    salt=slot["salt"],
                    length=32,
                    iterations=cost["passes"],
                    lanes=cost["lanes"],
                    memory_cost=cost["memory_kib"],
                ).derive(passphrase)
            elif not cost and key_file is not None:
                key = derive_key("icecore 1 key file", slot["salt"] + key_file)
            else:
                continue
            try:
                return open_sealed(key, 0, payload[:-56], slot["wrapped"], name)
            except Malformed:
                continue
        raise Malformed("no key slot opens")

    def object_key(self, purpose, salt):
        return derive_key("icecore 1 object", self.master + bytes([purpose]) + salt)

    def framed(self, name, kind, purpose):
        """The record of a beat or snapshot."""
        seal, payload = open_frame(kind, self.read(name))
        need(seal == (self.master is not None), f"{name}: not sealed as it must be")
        if not seal:
            return payload
        need(len(payload) >= 48, f"{name}: cut short")
        key = self.object_key(purpose, payload[:32])
        return open_sealed(key, 0, self.id + name.encode(), payload[32:], name)

    # Packs

    def header(self, name, kind, data):
        """Checks an object header; the salt."""
        need(len(data) >= 64 and data[48:64] == short(data[:48]), f"{name}: header checksum")
        magic = b"iceindex" if kind == SEGMENT else b"icepack\0"
        need(data[:8] == magic, f"{name}: magic")
        check_version(data[8])
        sealed = self.master is not None
        need(data[9] == kind and data[10] == sealed and data[11:16] == bytes(5), f"{name}: header")
        need(data[32:48] == self.id, f"{name}: another repository")
        return data[16:32]

    def part(self, kind, salt, number, associated, stored, what):
        """Opens a part of a pack or segment."""
        if self.master is None:
            return stored
        key = self.object_key(kind, salt + self.id)
        return open_sealed(key, number, associated, stored, what)

    def pack_names(self):
        for folder, kind in PACKS.items():
            for name in self.names(folder, folder + "/([0-9a-f]{2})/\\1[0-9a-f]{62}"):
                yield name, kind

    def pack_chunks(self, name, kind):
        """Every chunk of a pack with its place, from header, trailer and footer alone."""
        with open(os.path.join(self.root, name), "rb") as file:
            length = os.fstat(file.fileno()).st_size
            need(128 <= length <= 256 << 20, f"{name}: length")
            salt = self.header(name, kind, file.read(64))
            file.seek(length - 64)
            trailer = file.read(64)
            need(trailer[48:] == short(trailer[:48]), f"{name}: trailer checksum")
            magic, offset, count, zero = struct.unpack("<8sQQ24s", trailer[:48])
            need(magic == b"icefoot\0" and zero == bytes(24), f"{name}: trailer")
            need(offset >= 64 and offset + count + 64 == length, f"{name}: trailer")
            file.seek(offset)
            footer = self.part(kind, salt, offset, b"", file.read(count), name)
        pack = bytes.fromhex(os.path.basename(name))
        return self.footer_chunks(pack, salt, kind, offset, footer)

    def footer_chunks(self, pack, salt, kind, end, footer):
        need(len(footer) >= 16, "footer is cut short")
        block_count, chunk_count, base_count, zero = struct.unpack("<IIII", footer[:16])
        need(zero == 0 and block_count <= 1 << 20 and chunk_count <= 1 << 22, "footer")
        bases_at = 16 + 16 * block_count + 36 * chunk_count
        need(len(footer) == bases_at + 32 * base_count, "footer of another length")
        bases = iter([footer[n : n + 32] for n in range(bases_at, len(footer), 32)])
        at = 16 + 16 * block_count
        offset = 64
        found = []
        for stored, plain, chunks, block_kind in struct.iter_unpack("<IIII", footer[16:at]):
            need(plain <= 32 << 20 and stored <= (32 << 20) + 4096, "block too long")
            need(block_kind <= 1, "block of an unknown kind")
            start = 0
            for _ in range(chunks):
                need(at + 36 <= bases_at, "footer lists too few chunks")
                chunk, length = struct.unpack("<32sI", footer[at : at + 36])
                need(length >= 1, "empty chunk")
                base = next(bases, chunk) if block_kind else None
                need(base != chunk, "too few bases, or a chunk that is its own")
                place = Place(pack, salt, kind, offset, stored, start, length, base)
                found.append((chunk, place))
                at += 36
                start += length
            need(start == plain, "chunks do not fill their block")
            offset += stored
        need(at == bases_at and offset == end, "blocks do not fill the pack")
        need(next(bases, None) is None, "footer lists too many bases")
        return found

    def payload(self, place):
        folder = {kind: folder for folder, kind in PACKS.items()}[place.kind]
        name = f"{folder}/{place.pack[:1].hex()}/{place.pack.hex()}"
        with open(os.path.join(self.root, name), "rb") as file:
            file.seek(place.block_offset)
            stored = file.read(place.block_length)
        need(len(stored) == place.block_length, f"{name}: cut short")
        return self.part(place.kind, place.salt, place.block_offset, b"", stored, name)

    def read_block(self, place):
        """Plain bytes; a block that is told from others only where the place says so."""
        at = place.pack, place.block_offset
        key = at, place.base is None
        if key not in self.blocks:
            base = None if place.base is None else lambda id: self.base(id, at)
            plain = blocks.decode(self.payload(place), base)
            self.blocks[key] = plain
            if len(self.blocks) > BLOCKS_KEPT:
                self.blocks.popitem(last=False)
        return self.blocks[key]

    def check_block(self, block):
        """Its chunks are (id, place) as the footer lists them: all must be there, and their bases
        be those of the payload. How the block is coded."""
        payload = self.payload(block[0][1])
        listed = [(place.base, place.chunk_length) for _, place in block if place.base]
        need(blocks.bases(payload) == listed, "the payload has other bases than the footer")
        for id, place in block:
            self.at(id, place)
        return blocks.codec(payload)

    # Index

    def segments(self):
        """Those in force."""
        found = {}
        for name in self.names("index", "index/[0-9a-f]{64}"):
            found[bytes.fromhex(name[6:])] = Segment(self, name)
        replaced = {id for segment in found.values() for id in segment.replaces}
        return [segment for id, segment in found.items() if id not in replaced]

    # Chunks

    def use_index(self):
        """Finds chunks through the index, by its fan-out tables."""
        segments = self.segments()
        self.chunks = lambda id: [p for segment in segments for p in segment.find(id)]

    def use_packs(self):
        """Finds chunks through the packs' footers alone."""
        places = {}
        for name, kind in self.pack_names():
            for id, place in self.pack_chunks(name, kind):
                places.setdefault(id, []).append(place)
        for found in places.values():
            found.sort(key=lambda place: place.base is not None)
        self.chunks = lambda id: places.get(id, [])

    def chunk(self, id):
        for place in self.chunks(id):
            return self.at(id, place)
        raise Malformed(f"chunk {id.hex()} is nowhere")

    def base(self, id, needed_by):
        """A chunk that others are told from: stored whole, and in another block."""
        for place in self.chunks(id):
            if place.base is None and (place.pack, place.block_offset) != needed_by:
                return self.at(id, place)
        raise Malformed(f"base {id.hex()} is nowhere as a whole")

    def at(self, id, place):
        """The chunk at a place."""
        plain = self.read_block(place)
        chunk = plain[place.chunk_offset : place.chunk_offset + place.chunk_length]
        need(len(chunk) == place.chunk_length, "chunk lies outside of its block")
        need(self.chunk_id(chunk, place.kind) == id, f"chunk {id.hex()}: other content")
        return chunk

    def chunk_id(self, chunk, kind):
        if self.id_keys:
            return blake3(chunk, key=self.id_keys[kind]).digest()
        if kind == META_PACK:
            return derive_key("icecore 1 page id of a plain repository", chunk)
        return blake3(chunk).digest()

    # Snapshots

    def record(self, name, kind, purpose, decode):
        value = records.whole(decode, self.framed(name, kind, purpose))
        need(value["repository"] == self.id, f"{name}: another repository")
        return value

    def forgotten(self):
        """Ids of snapshots that are marked."""
        found = set()
        for name in self.names("forgotten", "forgotten/[0-9a-f]{32}"):
            mark = self.record(name, FORGOTTEN, FOR_FORGOTTEN, records.forgotten)
            need(mark["snapshot"].hex() == name[10:], f"{name}: another snapshot")
            found.add(mark["snapshot"])
        return found

    def taggings(self):
        """The record that holds, by id of its snapshot."""
        found = {}
        for name in self.names("tags", "tags/[0-9a-f]{32}/(0|[1-9][0-9]*)"):
            record = self.record(name, TAGGING, FOR_TAGGING, records.tagging)
            _, snapshot, number = name.split("/")
            need(record["snapshot"].hex() == snapshot, f"{name}: another snapshot")
            need(record["number"] == int(number), f"{name}: another number")
            held = found.setdefault(record["snapshot"], record)
            if record["number"] > held["number"]:
                found[record["snapshot"]] = record
        return found

    def pins(self):
        names = self.names("pins", "pins/[0-9a-f]{32}/(0|[1-9][0-9]*)")
        found = [self.record(name, PIN, FOR_PIN, records.pin) for name in names]
        for name, pin in zip(names, found):
            need(name == f"pins/{pin['id'].hex()}/{pin['beat']}", f"{name}: another pin")
        return found

    def generations(self):
        found = []
        for word, kind, purpose in [
            ("candidates", CANDIDATES, FOR_CANDIDATES),
            ("decision", DECISION, FOR_DECISION),
        ]:
            for name in self.names("gc", r"gc/[0-9]{12,}\." + word):
                record = self.record(name, kind, purpose, records.generation)
                need(name == f"gc/{record['number']:012}.{word}", f"{name}: another number")
                found.append(record)
        return found

    def snapshots(self):
        """Those that are not forgotten, or protected, with the tags that they have now."""
        taggings, forgotten = self.taggings(), self.forgotten()
        found = []
        for snapshot in self.stored_snapshots():
            tagging = taggings.get(snapshot["id"])
            protected = tagging is not None and tagging["protected"]
            if snapshot["id"] not in forgotten or protected:
                snapshot["tags"] = tagging["tags"] if tagging else snapshot["tags"]
                found.append(snapshot)
        return found

    def stored_snapshots(self):
        found = []
        for name in self.names("snapshots", "snapshots/[0-9a-f]{32}"):
            commit = records.whole(records.commit, self.framed(name, SNAPSHOT, FOR_SNAPSHOT))
            need(commit["repository"] == self.id, f"{name}: another repository")
            if "snapshot" in commit:
                need(commit["snapshot"]["id"].hex() == name[10:], f"{name}: another id")
                found.append(commit["snapshot"])
        return sorted(found, key=lambda snapshot: (snapshot["time"], snapshot["id"]))


class Segment:
    """One index segment, opened whole and searched in place."""

    def __init__(self, repository, name):
        stored = repository.read(name)
        need(blake3(stored).hexdigest() == name[6:], f"{name}: bytes are not what the name says")
        salt = repository.header(name, SEGMENT, stored)
        self.body = body = self.open(repository, name, salt, stored[64:])
        need(len(body) >= 64 and body[48:64] == short(body[:48]), f"{name}: body checksum")
        need(body[:8] == b"icesegm\0", f"{name}: body magic")
        version, self.bits, self.count, packs, replaces, bases = struct.unpack("<IIQIII", body[8:36])
        check_version(version)
        need(self.bits <= 24 and body[36:48] == bytes(12), f"{name}: body header")
        need(self.count < 1 << 32 and bases <= self.count, f"{name}: body header")
        need(packs <= 1 << 24 and replaces <= 1 << 20, f"{name}: body header")
        at = 64
        self.packs = [self.pack(body[at + 64 * n : at + 64 * (n + 1)]) for n in range(packs)]
        at += 64 * packs
        self.replaces = [body[at + 32 * n : at + 32 * (n + 1)] for n in range(replaces)]
        at += 32 * replaces
        self.bases = [body[at + 32 * n : at + 32 * (n + 1)] for n in range(bases)]
        need(all(a < b for a, b in zip(self.bases, self.bases[1:])), f"{name}: bases")
        self.fanout_at = at = at + 32 * bases
        table = 4 * (2**self.bits + 1)
        self.ids_at = at = at + (table + 7) // 8 * 8
        need(not any(body[self.fanout_at + table : at]), f"{name}: padding")
        self.places_at = at = at + 32 * self.count
        need(at + 24 * self.count == len(body), f"{name}: body of another length")

    @staticmethod
    def open(repository, name, salt, sealed):
        if repository.master is None:
            return sealed
        record = (1 << 20) + 16
        pieces = [sealed[at : at + record] for at in range(0, len(sealed), record)]
        length = struct.pack("<Q", len(sealed) - 16 * len(pieces))
        opened = [
            repository.part(SEGMENT, salt, number, length, piece, name)
            for number, piece in enumerate(pieces)
        ]
        return b"".join(opened)

    @staticmethod
    def pack(data):
        id, salt, length, kind, zero = struct.unpack("<32s16sQB7s", data)
        need(kind in (DATA_PACK, META_PACK) and zero == bytes(7), "pack of a segment")
        need(length <= 256 << 20, "pack of a segment")
        return id, salt, kind, length

    def fanout(self, number):
        at = self.fanout_at + 4 * number
        return struct.unpack("<I", self.body[at : at + 4])[0]

    def id(self, position):
        at = self.ids_at + 32 * position
        return self.body[at : at + 32]

    def place(self, position):
        at = self.places_at + 24 * position
        number, *numbers, base = struct.unpack("<6I", self.body[at : at + 24])
        need(number < len(self.packs) and base <= len(self.bases) and numbers[3] >= 1, "place")
        id, salt, kind, length = self.packs[number]
        need(numbers[0] + numbers[1] <= length, "place outside of its pack")
        base = self.bases[base - 1] if base else None
        need(base != self.id(position), "a chunk that is its own base")
        return Place(id, salt, kind, *numbers, base)

    def order(self, position):
        """What ids and places ascend by."""
        at = self.places_at + 24 * position
        *numbers, base = struct.unpack("<6I", self.body[at : at + 24])
        return self.id(position), base, *numbers

    def find(self, id):
        prefix = int.from_bytes(id, "big") >> (256 - self.bits)
        low, high = self.fanout(prefix), self.fanout(prefix + 1)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.id(middle) < id else (low, middle)
        found = []
        while low < self.count and self.id(low) == id:
            found.append(self.place(low))
            low += 1
        return found

    def items(self):
        ids = [self.id(position) for position in range(self.count)]
        order = [self.order(position) for position in range(self.count)]
        need(all(a < b for a, b in zip(order, order[1:])), "ids or places out of order")
        below = [0] * (2**self.bits + 1)
        for id in ids:
            below[(int.from_bytes(id, "big") >> (256 - self.bits)) + 1] += 1
        need(
            all(self.fanout(n) == count for n, count in enumerate(itertools.accumulate(below))),
            "fan-out table",
        )
        return [(id, self.place(position)) for position, id in enumerate(ids)]
