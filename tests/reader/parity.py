"""Parity objects as icecore-format(5) lays them out. Shards are compared with their hashes; the code
itself is not computed."""

import struct

from records import need
from store import check_version, short

HEAD = struct.Struct("<8sBB6sIII4sQ16s32s8s")


def head_and_list(data, at):
    """The head at an offset, and the list that fits it."""
    head = data[at : at + 112]
    magic, version, kind, zero, size, k, r, zero2, length, repository, pack, zero3 = HEAD.unpack(
        head[:96]
    )
    need(magic == b"icepari\0" and kind in (1, 2), "parity: magic or kind")
    need(zero + zero2 + zero3 == bytes(18), "parity: zeroes")
    need(size and size % 64 == 0 and size <= 1 << 20, "parity: length of a shard")
    need(k == -(-length // size) and 1 <= r <= k <= 32768, "parity: counts")
    count = 16 * (k + r)
    need(len(data) == 2 * (112 + count) + r * size, "parity: length")
    first, last = data[112 : 112 + count], data[-112 - count : -112]
    need(first == last and head[96:] == short(head[:96] + first), "parity: checksum")
    check_version(version)
    return (kind, size, k, r, length, repository, pack), first


def check(repository, name, pack_name, kind):
    """A pack's parity against the pack."""
    data, pack = repository.read(name), repository.read(pack_name)
    head, sums = head_and_list(data, 0)
    need(head_and_list(data, len(data) - 112)[0] == head, f"{name}: heads differ")
    found, size, k, r, length, of, id = head
    need((found, length, of) == (kind, len(pack), repository.id), f"{name}: another pack")
    need(id.hex() == name.split("/")[-1], f"{name}: another id")
    padded = pack.ljust(k * size, b"\0")
    start = 112 + len(sums)
    shards = padded + data[start : start + r * size]
    for number in range(k + r):
        shard = shards[number * size : (number + 1) * size]
        need(short(shard) == sums[16 * number : 16 * number + 16], f"{name}: shard {number}")
    return r
