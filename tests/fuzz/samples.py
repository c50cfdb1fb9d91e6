"""Real files of every format that is read, made of the shipped samples: what the fuzzer damages."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from typing import Any

from studio.engine.assets import ASSETS

Rows = list[dict[str, Any]]


def rows(name: str, count: int = 25) -> Rows:
    """The first rows of a shipped sample."""
    text = (ASSETS / "samples" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()[:count]]


def table(of: Rows) -> list[tuple[str, str]]:
    """Prompts and responses of rows with messages."""
    return [
        (row["messages"][-2]["content"], row["messages"][-1]["content"]) for row in of if "messages" in row
    ]


def as_csv(pairs: list[tuple[str, str]], delimiter: str = ",") -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(("prompt", "response"))
    writer.writerows(pairs)
    return file.getvalue()


def as_parquet(of: Rows) -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(of), file)
    return file.getvalue()


def as_arrow(of: Rows, stream: bool) -> bytes:
    import pyarrow

    file, data = io.BytesIO(), pyarrow.Table.from_pylist(of)
    new = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
    with new(file, data.schema) as writer:
        writer.write_table(data)
    return file.getvalue()


def as_excel(pairs: list[tuple[Any, ...]], header: tuple[str, ...] = ("prompt", "response")) -> bytes:
    import openpyxl

    book, file = openpyxl.Workbook(), io.BytesIO()
    sheet = book.active
    assert sheet is not None
    for row in (header, *pairs):
        sheet.append(row)
    book.save(file)
    return file.getvalue()


def as_zip(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def as_zstd(data: bytes) -> bytes:
    import pyarrow

    return pyarrow.Codec("zstd").compress(data, asbytes=True)


FOREIGN = {
    "gb18030": [
        ("如何取消我的订单？", "请打开订单页面，然后按“取消”。"),
        ("谢谢你的帮助", "不客气，祝你愉快。"),
    ],
    "big5": [("請問我的訂單在哪裡？", "您可以在訂單頁面查看。"), ("謝謝你的幫助", "不客氣，祝您愉快。")],
    "shift_jis": [
        ("注文はどこですか。", "注文のページで確認できます。"),
        ("ありがとうございます", "どういたしまして。"),
    ],
    "euc_kr": [
        ("주문은 어디에 있습니까", "주문 페이지에서 확인할 수 있습니다."),
        ("감사합니다", "천만에요."),
    ],
    "cp1252": [
        ("Où est ma commande ?", "Elle est en chemin, à bientôt."),
        ("Grüße aus Köln", "Schöne Grüße zurück!"),
    ],
    "utf-16": [("Wo ist es?", "Dort drüben."), ("问题", "回答")],
}


def samples() -> dict[str, bytes]:
    """Every kind of file, by a name that fits it."""
    chat = rows("support-train.jsonl")
    pairs = table(chat)
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in chat)
    alpaca = [{"instruction": prompt, "input": "", "output": response} for prompt, response in pairs]
    prose = "\n\n".join(response for _, response in table(rows("general.jsonl", 15)))
    files = {
        "lines.jsonl": lines.encode(),
        "dirty.jsonl": (ASSETS / "samples" / "dirty.jsonl").read_bytes()[:20_000],
        "list.json": json.dumps(alpaca).encode(),
        "pretty.json": json.dumps(alpaca, indent=2, ensure_ascii=False).encode(),
        "wrapped.json": json.dumps({"version": 1, "data": alpaca}, indent=1).encode(),
        "concatenated.json": "\n".join(json.dumps(row, indent=2) for row in alpaca).encode(),
        "comma.csv": as_csv(pairs).encode(),
        "marked.csv": as_csv(pairs).encode("utf-8-sig"),
        "semicolon.csv": as_csv(pairs, ";").encode(),
        "tabs.tsv": as_csv(pairs, "\t").encode(),
        "book.xlsx": as_excel(pairs),
        "chat.parquet": as_parquet(chat),
        "data-00000-of-00001.arrow": as_arrow(chat, stream=True),
        "file.arrow": as_arrow(chat, stream=False),
        "prose.txt": prose.encode(),
        "notes.md": f"# Notes\n\n{prose}\n\n```\ncode\n\nmore\n```\n".encode(),
        "lines.jsonl.gz": gzip.compress(lines.encode(), mtime=0),
        "comma.csv.zst": as_zstd(as_csv(pairs).encode()),
        "several.zip": as_zip(
            {"a.jsonl": lines.encode(), "b/b.csv": as_csv(pairs).encode(), "README.md": b"# R"}
        ),
    }
    for encoding, foreign in FOREIGN.items():
        files[f"{encoding}.csv"] = as_csv(foreign).encode(encoding)
        objects = [{"prompt": prompt, "response": response} for prompt, response in foreign]
        text = "\n".join(json.dumps(item, ensure_ascii=False) for item in objects)
        files[f"{encoding}.jsonl"] = text.encode(encoding)
    return files
