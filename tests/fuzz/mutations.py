"""Damage of the kinds that files come with: flipped bits, cuts, splices, mixed encodings, depth, huge numbers, NULs."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from collections.abc import Callable, Sequence

from tests.fuzz.samples import as_zip, as_zstd

Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]

TOKENS = (
    b"\x00",
    b"\x00" * 50,
    b'"',
    b'"""',
    b'\\"',
    b"\\",
    b"\\u0000",
    b"\\ud83d",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b"\x1a",
    b"\xe2\x80\xa8",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"},{",
    b"]\n[",
    b"null",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 5000,
    b"-" + b"1" * 400 + b"." + b"3" * 400,
    b"[" * 2000,
    b'{"a":' * 2000,
    b"{}" * 200,
    b"PK\x03\x04",
    b"PAR1",
    b"\x1f\x8b\x08",
    b"sep=;\n",
    b";" * 300,
    b"\t" * 300,
    b"<![CDATA[",
    b'<!DOCTYPE x [<!ENTITY a "b">]>',
)
ENCODINGS = (
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "gb18030",
    "cp1252",
    "shift_jis",
    "big5",
    "euc_kr",
    "utf-7",
)


def flip_bits(data: bytes, random: random.Random, others: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 3, 20))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def truncate(data: bytes, random: random.Random, others: Sequence[bytes]) -> bytes:
    return data[: random.randrange(len(data))]


def cut_out(data: bytes, random: random.Random, others: Sequence[bytes]) -> bytes:
    start = random.randrange(len(data))
    return data[:start] + data[start + random.choice((1, 7, 200)) :]


def repeat(data: bytes, random: random.Random, others: Sequence[bytes]) -> bytes:
    start = random.randrange(len(data))
    piece = data[start : start + random.choice((1, 9, 300))]
    return data[:start] + piece * random.choice((2, 3, 40)) + data[start:]


def splice(data: bytes, random: random.Random, others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    start, place = random.randrange(len(other)), random.randrange(len(data))
    return data[:place] + other[start : start + random.choice((10, 500, 10**9))] + data[place:]


def insert(data: bytes, random: random.Random, others: Sequence[bytes]) -> bytes:
    for _ in range(random.choice((1, 1, 4))):
        place = random.randrange(len(data))
        data = data[:place] + random.choice(TOKENS) + data[place:]
    return data


def overwrite(data: bytes, random: random.Random, others: Sequence[bytes]) -> bytes:
    start = random.randrange(len(data))
    noise = random.randbytes(random.choice((1, 4, 64)))
    return data[:start] + noise + data[start + len(noise) :]


def mix_encodings(data: bytes, random: random.Random, others: Sequence[bytes]) -> bytes:
    lines = data.decode("utf-8", "replace").splitlines(keepends=True)
    encoding = random.choice(ENCODINGS)
    share = random.choice((0.1, 0.5, 1.0))
    return b"".join(
        line.encode(encoding if random.random() < share else "utf-8", "replace") for line in lines
    )


def swap_lines(data: bytes, random: random.Random, others: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    random.shuffle(lines)
    return b"\n".join(lines)


def change_line_ends(data: bytes, random: random.Random, others: Sequence[bytes]) -> bytes:
    return data.replace(b"\n", random.choice((b"\r", b"\r\n", b"\n\n", b"")))


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    truncate,
    cut_out,
    repeat,
    splice,
    insert,
    insert,
    overwrite,
    mix_encodings,
    swap_lines,
    change_line_ends,
)
PACKINGS: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    (".gz", lambda data: gzip.compress(data, 1, mtime=0)),
    (".zst", as_zstd),
)


def damage_inside(data: bytes, random: random.Random, others: Sequence[bytes]) -> bytes:
    """Damage a file of an archive or a part of a workbook, and pack it again, so that its checksum is right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    name = random.choice(list(members))
    members[name] = random.choice(MUTATIONS)(members[name] or b"\n", random, others)
    return as_zip(members)


def mutated(files: dict[str, bytes], random: random.Random) -> tuple[str, bytes]:
    """A damaged file and its name: now and then with a wrong extension, or packed after it was damaged."""
    name = random.choice(list(files))
    data = files[name]
    if name.endswith((".zip", ".xlsx")) and random.random() < 0.7:
        return name, damage_inside(data, random, list(files.values()))
    for _ in range(random.choice((1, 1, 2, 5))):
        data = random.choice(MUTATIONS)(data or b"\n", random, list(files.values()))
    chance = random.random()
    if chance < 0.08:
        name = "renamed" + random.choice(
            (".csv", ".json", ".jsonl", ".txt", ".parquet", ".xlsx", ".arrow", ".zip", "")
        )
    elif chance < 0.14:
        suffix, pack = random.choice(PACKINGS)
        name, data = name + suffix, pack(data)
    elif chance < 0.18:
        name, data = "packed.zip", as_zip({name: data, f"../{name}": data})
    return name, data
