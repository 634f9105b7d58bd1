#!/usr/bin/env python3
"""Reads icecore repositories, written from icecore-format(5) alone.

It shares no code with icecore: what it reads proves that the page is enough.

    icecore_reader.py [--passphrase-file F | --key-file F] [--packs-only] REPOSITORY COMMAND
      snapshots             one JSON line for each snapshot, oldest first
      list SNAPSHOT         one JSON line for each entry; content is read and checked
      cat SNAPSHOT PATH     a file's content
      check                 all packs and segments; the index against the packs
      cuts SNAPSHOT         pages, extents and chunks are cut where the page says

Paths and all that is raw bytes is written in hexadecimal digits. With --packs-only index/ is not
looked at.
"""

import argparse
import itertools
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blake3 import blake3

import cuts
import parity
import records
import tree
from records import need
from store import BEAT, FOR_BEAT, FOR_LEDGER, FOR_SETTINGS, LEDGER, SETTINGS, Repository

# Content with more zeroes in holes than this is hashed without them only.
HASHED_HOLES_MAX = 64 << 20


def out(value):
    json.dump(value, sys.stdout, default=bytes.hex)
    sys.stdout.write("\n")


def snapshot(repository, prefix):
    fitting = [s for s in repository.snapshots() if s["id"].hex().startswith(prefix)]
    need(len(fitting) == 1, f"{len(fitting)} snapshots fit")
    return fitting[0]["root"]["nodes"][0]


def summary(repository, file):
    """Where the data is, and the hashes of it and of the whole content."""
    runs, data, full = [], blake3(), blake3()
    full_wanted = file["size"] - file["data"] <= HASHED_HOLES_MAX
    for offset, piece in tree.content(repository, file):
        if isinstance(piece, int):
            for part in tree.zeroes(piece) if full_wanted else []:
                full.update(part)
            continue
        if runs and sum(runs[-1]) == offset:
            runs[-1][1] += len(piece)
        else:
            runs.append([offset, len(piece)])
        data.update(piece)
        full.update(piece)
    need(sum(length for _, length in runs) == file["data"], "file states other data")
    if full_wanted:
        need(file["hash"] in (None, full.digest()), "content is not what the hash says")
    hashed = full.hexdigest() if full_wanted else None
    return {"runs": runs, "data_blake3": data.hexdigest(), "blake3": hashed}


def list_snapshot(repository, root):
    entries = [(b"", root)]
    entries += tree.walk(repository, root)
    for path, node in entries:
        entry = {key: value for key, value in node.items() if key not in ("extents", "inline")}
        entry["path"] = path
        if node["kind"] == "file":
            entry.update(summary(repository, node))
        out(entry)


def cat(repository, root, path):
    for found, node in tree.walk(repository, root):
        if found == path:
            need(node["kind"] == "file", "no regular file")
            for _, piece in tree.content(repository, node):
                pieces = tree.zeroes(piece) if isinstance(piece, int) else [piece]
                sys.stdout.buffer.writelines(pieces)
            return
    sys.exit("no such path")


def ledger_records(repository):
    """Reads all records, holds each against those that follow it; how many there are."""
    hashes, links = {}, []
    for name in repository.names("ledger", "ledger/[0-9]{12,}-[0-9a-f]{32}"):
        payload = repository.framed(name, LEDGER, FOR_LEDGER)
        record = records.whole(records.ledger, payload)
        need(record["repository"] == repository.id, f"{name}: another repository")
        stated = f"ledger/{max(record['at'][0], 0):012}-{record['id'].hex()}"
        need(name == stated, f"{name}: another name")
        hashes[name] = blake3(name.encode() + payload).digest()
        links += record["previous"]
    for secs, record, digest in links:
        name = f"ledger/{secs:012}-{record.hex()}"
        need(hashes.get(name) == digest, f"{name}: changed or missing")
    return len(hashes)


def check(repository):
    """Every stored byte: packs by their names, blocks, chunks; then the index against them."""
    in_packs, codecs = {}, {}
    for name, kind in repository.pack_names():
        need(blake3(repository.read(name)).hexdigest() == os.path.basename(name), f"{name}: name")
        chunks = repository.pack_chunks(name, kind)
        for id, place in chunks:
            in_packs.setdefault(id, set()).add(place)
        for _, block in itertools.groupby(chunks, key=lambda found: found[1].block_offset):
            codec = repository.check_block(list(block))
            codecs[codec] = codecs.get(codec, 0) + 1
    in_index = {}
    segments = repository.segments()
    for segment in segments:
        for id, place in segment.items():
            need(place in segment.find(id), "fan-out table hides a chunk")
            in_index.setdefault(id, set()).add(place)
    need(in_index == in_packs, "the index and the packs disagree")
    beats = repository.names("sessions", "sessions/[0-9a-f]{32}/(0|[1-9][0-9]*)")
    for name in beats:
        records.whole(records.beat, repository.framed(name, BEAT, FOR_BEAT))
    parities = 0
    for name, kind in repository.pack_names():
        for found in repository.names("parity", "parity/" + name.split("/", 1)[1]):
            parity.check(repository, found, name, kind)
            parities += 1
    shares = [0]
    for name in repository.names("settings", "settings/[0-9]{12}"):
        settings = records.whole(records.settings, repository.framed(name, SETTINGS, FOR_SETTINGS))
        need(settings["number"] == int(name.split("/")[1]), f"{name}: another number")
        need(settings["repository"] == repository.id, f"{name}: another repository")
        shares.append(settings["parity"])
    ledger = ledger_records(repository)
    out(
        {
            "ledger": ledger,
            "parities": parities,
            "share": shares[-1],
            "chunks": sum(map(len, in_packs.values())),
            "places_most": max(map(len, in_packs.values()), default=0),
            "codecs": codecs,
            "segments": len(segments),
            "beats": len(beats),
            "forgotten": len(repository.forgotten()),
            "tagged": len(repository.taggings()),
            "pins": len(repository.pins()),
            "generations": len(repository.generations()),
        }
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--passphrase-file")
    parser.add_argument("--key-file")
    parser.add_argument("--packs-only", action="store_true")
    parser.add_argument("--content-max", type=int, default=1 << 20, help="for cuts: bytes of a file")
    parser.add_argument("repository")
    parser.add_argument("command", choices=["snapshots", "list", "cat", "check", "cuts"])
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    contents = lambda path: open(path, "rb").read() if path else None
    repository = Repository(
        options.repository, contents(options.passphrase_file), contents(options.key_file)
    )
    repository.use_packs() if options.packs_only else repository.use_index()
    if options.command == "snapshots":
        for found in repository.snapshots():
            out(found)
    elif options.command == "check":
        check(repository)
    else:
        root = snapshot(repository, options.arguments[0])
        if options.command == "list":
            list_snapshot(repository, root)
        elif options.command == "cat":
            cat(repository, root, bytes.fromhex(options.arguments[1]))
        else:
            out({"chunks": cuts.check(repository, root, options.content_max)})


if __name__ == "__main__":
    main()
