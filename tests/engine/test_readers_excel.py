"""Excel workbooks become records as they look in the program; errors in cells and odd files are told."""

from __future__ import annotations

import datetime
import io
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from studio.domain.errors import StudioError
from studio.engine.readers import read_source


def book(path: Path, **sheets: list[list[Any]]) -> Path:
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)  # type: ignore[arg-type]
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(row)
    workbook.save(path)
    return path


def changed(path: Path, name: str, *changes: tuple[str, str]) -> Path:
    """The workbook with changes in the text of one part."""
    data = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == name:
                # openpyxl writes `<a/>` where lxml is installed, else `<a />`.
                content = content.replace(b" />", b"/>").replace(b"/>", b" />")
                for before, after in changes:
                    assert before.encode() in content
                    content = content.replace(before.encode(), after.encode())
            new.writestr(entry.filename, content)
    path.write_bytes(data.getvalue())
    return path


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(StudioError) as caught:
        read_source(path, **options)
    assert caught.value.remedy
    return caught.value.message


def test_cells_are_read_as_they_look(tmp_path: Path) -> None:
    path = book(
        tmp_path / "a.xlsx",
        Data=[
            [],
            ["prompt", " response ", "n", "day", "at", "yes"],
            [
                "say “hi”",
                "line 1\nline 2",
                4,
                datetime.date(2024, 2, 29),
                datetime.datetime(2024, 1, 2, 3, 4, 5),
                True,
            ],
            [],
            ["<b>&amp;", "  spaced ", 4.5, datetime.time(6, 7, 8), datetime.date(1900, 1, 1), False],
            ["007", None, 12345678901],
        ],
    )
    records = read_source(path)
    assert (records.kind, records.header) == ("excel", ("prompt", "response", "n", "day", "at", "yes"))
    assert [list(row.values()) for row in records.rows] == [
        ["say “hi”", "line 1\nline 2", 4, "2024-02-29", "2024-01-02 03:04:05", True],
        ["<b>&amp;", "  spaced ", 4.5, "06:07:08", "1900-01-01", False],
        ["007", "", 12345678901, "", "", ""],
    ]
    assert [type(row["n"]) for row in records.rows] == [int, float, int]
    assert (records.lines, records.row_numbers, records.quarantined) == ([3, 5, 6], [1, 2, 3], [])


def test_the_first_sheet_or_the_named_one(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", Eins=[["prompt"], ["one"]], Zwei=[["prompt"], ["two"]], Leer=[])
    records = read_source(path)
    assert records.rows == [{"prompt": "one"}]
    assert [found.message for found in records.findings] == [
        "Of a.xlsx, the sheet Eins was read. Others hold cells too: Zwei."
    ]
    assert read_source(path, sheet="Zwei").rows == [{"prompt": "two"}]
    assert refused(path, sheet="Drei") == "a.xlsx has no sheet Drei."
    assert refused(path, sheet="Leer") == "a.xlsx holds no rows."
    changed(
        path,
        "xl/workbook.xml",
        ('name="Eins" sheetId="1" state="visible"', 'name="Eins" sheetId="1" state="hidden"'),
    )
    assert read_source(path).rows == [{"prompt": "two"}]


def test_the_sheet_that_holds_the_rows_is_found_behind_a_cover(tmp_path: Path) -> None:
    rows = [["prompt", "response"], ["q", "a"]]
    for cover in ([], [["Our data, 2026"]], [["Our data"], ["by", "us"]]):
        records = read_source(book(tmp_path / "a.xlsx", Cover=cover, Rows=rows, More=rows))
        assert records.rows == [{"prompt": "q", "response": "a"}]
        assert "the sheet Rows was read" in records.findings[0].message
    # Where no sheet says what its columns are, it is the first with rows.
    records = read_source(book(tmp_path / "b.xlsx", Cover=[["Our data"]], Rows=[["x", "y"], ["q", "a"]]))
    assert records.rows == [{"x": "q", "y": "a"}]


def test_a_sheet_without_names_of_columns(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", Rows=[["q1", "a1"], ["q2", "a2"]])
    assert read_source(path, header=False).rows == [
        {"prompt": "q1", "response": "a1"},
        {"prompt": "q2", "response": "a2"},
    ]
    path = book(tmp_path / "b.xlsx", Rows=[["q1"], ["q2", "a2"]])
    assert [[*row.values()] for row in read_source(path, header=False).rows] == [["q1", ""], ["q2", "a2"]]


def test_a_cell_with_an_error_costs_its_row(tmp_path: Path) -> None:
    rows = [["prompt", "response"], ["q1", "a1"], ["q2", "#N/A"], ["q3", "a3", "more"], ["q4", "a4"]]
    records = read_source(book(tmp_path / "a.xlsx", Data=rows))
    assert [row["prompt"] for row in records.rows] == ["q1", "q4"]
    assert [(item.line, item.column, str(item.reason), item.text) for item in records.quarantined] == [
        (3, 2, "Row 2 (line 3, column 2): the cell holds #N/A instead of a value.", "q2\t#N/A"),
        (4, 3, "Row 3 (line 4) has 3 cells where the header has 2.", "q3\ta3\tmore"),
    ]


def as_excel_writes(path: Path, strings: str, cells: str) -> Path:
    """A workbook with its texts in a part of their own and in another namespace, as Excel itself writes it."""
    main = "http://purl.oclc.org/ooxml/spreadsheetml/main"
    kinds = "http://purl.oclc.org/ooxml/officeDocument/relationships"
    parts = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": f'<Relationships><Relationship Id="a" Type="{kinds}/officeDocument" Target="/xl/wb.xml"/>'
        "</Relationships>",
        "xl/wb.xml": f'<x:workbook xmlns:x="{main}" xmlns:r="{kinds}"><x:sheets><x:sheet name="S" r:id="b"/></x:sheets>'
        "</x:workbook>",
        "xl/_rels/wb.xml.rels": f'<Relationships><Relationship Id="b" Type="{kinds}/worksheet" Target="sheets/s.xml"/>'
        f'<Relationship Id="c" Type="{kinds}/sharedStrings" Target="texts.xml"/></Relationships>',
        "xl/texts.xml": strings,
        "xl/sheets/s.xml": f'<x:worksheet xmlns:x="{main}"><x:sheetData>{cells}</x:sheetData></x:worksheet>',
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return path


CELLS = (
    '<x:row><x:c t="s"><x:v>0</x:v></x:c></x:row><x:row><x:c t="s"><x:v>1</x:v></x:c></x:row>'
    '<x:row><x:c t="str"><x:f>A1</x:f><x:v>made</x:v></x:c></x:row><x:row><x:c t="s"><x:v>9</x:v></x:c></x:row>'
)
STRINGS = (
    "<sst><si><t>prompt</t></si><si><r><t>東</t></r><r><t>京_x000D_!_x005F_x000D_</t></r>"
    "<rPh sb='0' eb='1'><t>トウ</t></rPh></si></sst>"
)


def test_shared_texts_with_hints_and_escapes(tmp_path: Path) -> None:
    records = read_source(as_excel_writes(tmp_path / "a.xlsx", STRINGS, CELLS))
    assert records.rows == [{"prompt": "東京\r!_x000D_"}, {"prompt": "made"}]
    assert [str(item.reason) for item in records.quarantined] == [
        "Row 3 (line 4, column 1): the cell holds a text that is missing instead of a value."
    ]
    doctype = '<!DOCTYPE x [<!ENTITY a "b">]>'
    path = as_excel_writes(tmp_path / "b.xlsx", doctype + STRINGS, CELLS)
    assert refused(path) == "b.xlsx is a damaged Excel file: it declares entities, which no workbook does."


def test_days_counted_from_1904(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", Data=[["day"], [datetime.date(2024, 2, 29)]])
    changed(path, "xl/workbook.xml", ("<workbookPr ", '<workbookPr date1904="1" '))
    assert read_source(path).rows == [{"day": "2028-03-01"}]


def test_a_cell_at_the_far_end_costs_neither_memory_nor_time(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", Data=[["prompt"], ["q"]])
    changed(
        path,
        "xl/worksheets/sheet1.xml",
        ("</sheetData>", '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'),
    )
    records = read_source(path)
    assert records.rows == [{"prompt": "q"}]
    assert (
        str(records.quarantined[0].reason) == "Row 2 (line 1048576) has 16384 cells where the header has 1."
    )


@pytest.mark.parametrize(
    ("part", "before", "after", "problem"),
    [
        ("xl/worksheets/sheet1.xml", "</sheetData>", "", "mismatched tag"),
        ("xl/worksheets/sheet1.xml", '<c r="A2"', '<c r="XFE2"', "a cell of row 2 is not in its place"),
        ("xl/workbook.xml", "<sheet ", "<sheep ", "it has no sheet with cells"),
    ],
)
def test_a_damaged_workbook_is_refused(
    tmp_path: Path, part: str, before: str, after: str, problem: str
) -> None:
    path = changed(book(tmp_path / "a.xlsx", Data=[["prompt"], ["q"]]), part, (before, after))
    message = refused(path)
    assert message.startswith("a.xlsx is a damaged Excel file: ")
    assert problem in message


def test_a_workbook_that_unpacks_to_gigabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.engine.excel._FREE", 10_000)
    monkeypatch.setattr("studio.engine.excel._RATIO", 20)
    path = book(tmp_path / "a.xlsx", Data=[["prompt"], ["q" * 30_000]])
    assert "it unpacks to more than a workbook of its size does" in refused(path)


def test_rows_equal_those_that_openpyxl_reads(tmp_path: Path) -> None:
    rows = [[f"question {n}", f"answer\n{n} – ü 答", n, n / 7, None if n % 3 else n] for n in range(200)]
    path = book(tmp_path / "a.xlsx", Data=[["a", "b", "c", "d", "e"], *rows])
    with closing(openpyxl.load_workbook(path, read_only=True, data_only=True)) as opened:
        read = opened.worksheets[0].iter_rows(min_row=2, values_only=True)
        theirs = [["" if cell is None else cell for cell in row] for row in read]
    assert [list(row.values()) for row in read_source(path).rows] == theirs
