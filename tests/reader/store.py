"""A repository in a folder, read as icecore-format(5) says: names, keys, frames, packs, index.

Written from the page alone. Everything that is read is checked; nothing is trusted for its place.
"""

import os
import re
import struct
from collections import namedtuple

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
import zstandard

import records
from records import Malformed, Unsupported, need

CONFIG, KEY_SLOT, BEAT, SNAPSHOT, TREE_PAGE, EXTENT_PAGE = 1, 2, 3, 4, 5, 6
PAYLOAD_MAX = {
    CONFIG: 64 << 10,
    KEY_SLOT: 64 << 10,
    BEAT: 64 << 10,
    SNAPSHOT: 16 << 20,
    TREE_PAGE: (32 << 20) - 32,
    EXTENT_PAGE: (32 << 20) - 32,
}
# Purposes of object keys, and the kinds of packs and segments, which are the first three of them.
DATA_PACK, META_PACK, SEGMENT, FOR_SNAPSHOT, FOR_BEAT = 1, 2, 3, 4, 5
PACKS = {"data": DATA_PACK, "meta": META_PACK}

Place = namedtuple("Place", "pack salt kind block_offset block_length chunk_offset chunk_length")


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
        self.master = self.chunk_key = None
        mac = bytes(32)
        if self.config["encrypted"]:
            self.master = self.open_master(passphrase, key_file)
            self.chunk_key = derive_key("icecore 1 chunk id", self.master)
            key = derive_key("icecore 1 config", self.master)
            mac = blake3(payload[:-32], key=key).digest()
        need(mac == self.config["mac"], "config: authentication code")
        self.chunks = None
        self.block = (None, None)

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
        block_count, chunk_count, zero = struct.unpack("<IIQ", footer[:16])
        need(zero == 0 and block_count <= 1 << 20 and chunk_count <= 1 << 22, "footer")
        need(len(footer) == 16 + 12 * block_count + 36 * chunk_count, "footer of another length")
        at = 16 + 12 * block_count
        offset = 64
        found = []
        for stored, plain, chunks in struct.iter_unpack("<III", footer[16:at]):
            need(plain <= 32 << 20 and stored <= (32 << 20) + 4096, "block too long")
            start = 0
            for _ in range(chunks):
                need(at + 36 <= len(footer), "footer lists too few chunks")
                chunk, length = struct.unpack("<32sI", footer[at : at + 36])
                need(length >= 1, "empty chunk")
                place = Place(pack, salt, kind, offset, stored, start, length)
                found.append((chunk, place))
                at += 36
                start += length
            need(start == plain, "chunks do not fill their block")
            offset += stored
        need(at == len(footer) and offset == end, "blocks do not fill the pack")
        return found

    def read_block(self, place):
        if self.block[0] == (place.pack, place.block_offset):
            return self.block[1]
        folder = {kind: folder for folder, kind in PACKS.items()}[place.kind]
        name = f"{folder}/{place.pack[:1].hex()}/{place.pack.hex()}"
        with open(os.path.join(self.root, name), "rb") as file:
            file.seek(place.block_offset)
            stored = file.read(place.block_length)
        need(len(stored) == place.block_length, f"{name}: cut short")
        payload = self.part(place.kind, place.salt, place.block_offset, b"", stored, name)
        plain = decode_block(payload)
        self.block = ((place.pack, place.block_offset), plain)
        return plain

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
        self.chunks = lambda id: places.get(id, [])

    def chunk(self, id):
        for place in self.chunks(id):
            plain = self.read_block(place)
            chunk = plain[place.chunk_offset : place.chunk_offset + place.chunk_length]
            need(self.chunk_id(chunk) == id, f"chunk {id.hex()}: other content")
            return chunk
        raise Malformed(f"chunk {id.hex()} is nowhere")

    def chunk_id(self, chunk):
        if self.chunk_key is None:
            return blake3(chunk).digest()
        return blake3(chunk, key=self.chunk_key).digest()

    # Snapshots

    def snapshots(self):
        found = []
        for name in self.names("snapshots", "snapshots/[0-9a-f]{32}"):
            commit = records.whole(records.commit, self.framed(name, SNAPSHOT, FOR_SNAPSHOT))
            need(commit["repository"] == self.id, f"{name}: another repository")
            if "snapshot" in commit:
                need(commit["snapshot"]["id"].hex() == name[10:], f"{name}: another id")
                found.append(commit["snapshot"])
        return sorted(found, key=lambda snapshot: (snapshot["time"], snapshot["id"]))


def decode_block(payload):
    need(len(payload) >= 8 and payload[2:4] == bytes(2), "block payload")
    codec, parameter, length = payload[0], payload[1], struct.unpack("<I", payload[4:8])[0]
    coded = payload[8:]
    need(length <= 32 << 20, "block too long")
    if codec == 0:
        need(parameter == 0 and length == len(coded), "stored block of another length")
        return coded
    if codec == 2:
        return merge_planes(coded, parameter, length)
    need(codec == 1 and parameter == 0, f"unknown codec {codec}")
    return decode_frame(coded, length)


def decode_frame(coded, length):
    need(length // 32768 <= len(coded), "block promises too much")
    need(zstandard.frame_content_size(coded) == length, "zstd frame of another length")
    decoder = zstandard.ZstdDecompressor().decompressobj()
    plain = decoder.decompress(coded)
    need(decoder.eof and not decoder.unused_data and len(plain) == length, "zstd frame")
    return plain


def merge_planes(coded, width, length):
    need(width in (2, 4, 8), f"planes of {width} bytes")
    plain, plane_len = bytearray(length), length // width
    for number in range(width):
        need(len(coded) >= 5 and coded[0] <= 1, "plane")
        end = 5 + struct.unpack("<I", coded[1:5])[0]
        need(len(coded) >= end, "plane is cut short")
        plane = decode_frame(coded[5:end], plane_len) if coded[0] else coded[5:end]
        need(len(plane) == plane_len, "plane of another length")
        plain[number : plane_len * width : width] = plane
        coded = coded[end:]
    need(len(coded) == length - plane_len * width, "bytes after the planes")
    plain[plane_len * width :] = coded
    return bytes(plain)


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
        return Place(id, salt, kind, *numbers)

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
        need(all(a <= b for a, b in zip(ids, ids[1:])), "ids out of order")
        need(self.fanout(0) == 0 and self.fanout(2**self.bits) == self.count, "fan-out table")
        return [(id, self.place(position)) for position, id in enumerate(ids)]
