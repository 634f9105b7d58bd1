"""The payloads of blocks, as icecore-format(5) says in its section Blocks. Written from the page alone.

What is told from other chunks is decoded with a function that gives a chunk's bytes by its id.
"""

import struct

import zstandard

from records import need

STORED, ZSTD, PLANES, DELTA = 0, 1, 2, 3
XOR, SUB16, SUB32, PREFIX = 0, 1, 2, 3
PLAIN_MAX = 32 << 20


def header(payload):
    """Codec, parameter, plain length and coded bytes."""
    need(len(payload) >= 8, "payload is cut short")
    number, parameter, zero, length = struct.unpack("<BBHI", payload[:8])
    need(zero == 0 and length <= PLAIN_MAX, "payload's header")
    known = {STORED: (0,), ZSTD: (0,), PLANES: (2, 4, 8), DELTA: (XOR, SUB16, SUB32, PREFIX)}
    need(parameter in known.get(number, ()), f"unknown codec {number}.{parameter}")
    return number, parameter, length, payload[8:]


def codec(payload):
    """Its name: of a difference with that of the payload inside."""
    number, parameter, length, coded = header(payload)
    name = f"{number}.{parameter}"
    if number == DELTA and parameter != PREFIX:
        name += "/" + codec(delta(coded, length)[1])
    return name


def decode(payload, base=None):
    number, parameter, length, coded = header(payload)
    if number == STORED:
        need(length == len(coded), "stored block of another length")
        return coded
    if number == ZSTD:
        return frame(coded, length)
    if number == PLANES:
        return merge(coded, parameter, length)
    need(base is not None, "a block is told from others where none may be")
    return undo(coded, parameter, length, base)


def frame(coded, length, prefix=None):
    need(length // 32768 <= len(coded), "block promises too much")
    stated = zstandard.get_frame_parameters(coded)
    need(stated.content_size == length and stated.dict_id == 0, "zstd frame of another length")
    if prefix is not None:
        prefix = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    decoder = zstandard.ZstdDecompressor(dict_data=prefix).decompressobj()
    plain = decoder.decompress(coded)
    need(decoder.eof and not decoder.unused_data and len(plain) == length, "zstd frame")
    return plain


def merge(coded, width, length):
    """Planes into plain bytes."""
    plain, plane_len = bytearray(length), length // width
    for number in range(width):
        need(len(coded) >= 5 and coded[0] <= 1, "plane")
        end = 5 + struct.unpack("<I", coded[1:5])[0]
        need(len(coded) >= end, "plane is cut short")
        plane = frame(coded[5:end], plane_len) if coded[0] else coded[5:end]
        need(len(plane) == plane_len, "plane of another length")
        plain[number : plane_len * width : width] = plane
        coded = coded[end:]
    need(len(coded) == length - plane_len * width, "bytes after the planes")
    plain[plane_len * width :] = coded
    return bytes(plain)


def bases(payload):
    """(id, length of the chunk that needs it) for each chunk; none where there are no bases."""
    number, _, length, coded = header(payload)
    return delta(coded, length)[0] if number == DELTA else []


def delta(coded, length):
    """Bases, and what follows them."""
    need(len(coded) >= 4, "delta is cut short")
    end = 4 + 36 * struct.unpack("<I", coded[:4])[0]
    need(4 < end <= len(coded), "delta is cut short")
    found = list(struct.iter_unpack("<32sI", coded[4:end]))
    need(all(chunk_len for _, chunk_len in found), "delta of an empty chunk")
    need(sum(chunk_len for _, chunk_len in found) == length, "delta's chunks do not add up")
    return found, coded[end:]


def undo(coded, operation, length, base):
    chunks, inner = delta(coded, length)
    buffer = bytearray()
    for id, chunk_len in chunks:
        found = base(id)
        buffer += found if operation == PREFIX else found[:chunk_len].ljust(chunk_len, b"\0")
        need(len(buffer) <= PLAIN_MAX, "bases hold too much")
    if operation == PREFIX:
        return frame(inner, length, bytes(buffer))
    difference = decode(inner)
    need(len(difference) == length, "difference of another length")
    width = {XOR: 1, SUB16: 2, SUB32: 4}[operation]
    whole = length // width * width if width > 1 else 0
    return add(difference[:whole], buffer[:whole], width) + xor(difference[whole:], buffer[whole:])


def xor(a, b):
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(len(a), "little")


def add(difference, base, width):
    """Steps added to the floats of a base, in the order of the floats' values."""
    if not difference:
        return b""
    numbers = f"<{len(base) // width}" + {2: "H", 4: "I"}[width]
    top, ones = 1 << (8 * width - 1), (1 << 8 * width) - 1
    plain = []
    for folded, old in zip(struct.unpack(numbers, difference), struct.unpack(numbers, base)):
        step = -(folded + 1) // 2 if folded & 1 else folded // 2
        order = old ^ ones if old & top else old | top
        order = (order + step) % (ones + 1)
        plain.append(order & ~top if order & top else order ^ ones)
    return struct.pack(numbers, *plain)
