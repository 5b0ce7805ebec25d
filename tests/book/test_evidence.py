"""What a number on a page says about where it comes from, and the page of results."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from docutils import nodes

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import measured  # noqa: E402
import results  # noqa: E402

from benchmarks.claims import PUBLISHED  # noqa: E402
from mnist_lab.lessons.records import summarise  # noqa: E402

RECORDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(PUBLISHED.glob("*.json"))
    if path.stem != "ledger"
}
every_record = pytest.mark.parametrize("name", RECORDS)


def summaries(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of everything in a record that was measured repeatedly."""
    if measured.is_summary(value):
        return [path]
    parts = value.items() if isinstance(value, dict) else ()
    return [found for key, part in parts for found in summaries(part, (*path, key))]


class TestCard:
    address = "articles:results.article_000.as_printed.accuracy"

    def test_each_number_of_a_summary_is_of_one_card(self) -> None:
        record = RECORDS["articles"]
        for key in ("mean", "std", "low", "high", "n"):
            assert measured.summed_up(f"{self.address}.{key}", record) == self.address
        assert measured.summed_up("articles:hardware", record) == "articles:hardware"

    def test_says_all_that_is_known(self) -> None:
        facts = dict(measured.facts_about(self.address, PUBLISHED))
        assert facts["mean"] == "92.55\N{NO-BREAK SPACE}% ± 0.51\N{NO-BREAK SPACE}% (n = 5)"
        assert (
            facts["95 % interval of the mean"]
            == "91.92\N{NO-BREAK SPACE}% to 93.18\N{NO-BREAK SPACE}%"
        )
        assert facts["each run"].split(", ")[:2] == [
            "92.60\N{NO-BREAK SPACE}%",
            "92.78\N{NO-BREAK SPACE}%",
        ]
        assert facts["on"] == "AMD EPYC, 2 cores, 1 thread, float32, torch 2.15.0+cu132"
        assert facts["date"] == RECORDS["articles"]["date"]
        assert facts["by"] == "python -m benchmarks.articles"
        assert facts["again"] == "python -m mnist_lab verify article_000_as_printed"

    def test_of_a_record_as_a_whole_there_is_where_and_when(self) -> None:
        assert [what for what, _ in measured.facts_about("speed:", PUBLISHED)] == [
            *("on", "date", "by"),
        ]

    def test_says_where_a_part_was_measured_that_has_its_own_origin(self) -> None:
        facts = dict(measured.facts_about("presets:results.fast.accuracy", PUBLISHED))
        assert facts["date"] == RECORDS["presets"]["results"]["fast"]["measured"]["date"]

    def test_one_run_has_no_spread(self, tmp_path: Path) -> None:
        record = {"results": {"loss": summarise([0.25])}, "command": "a < b"}
        (tmp_path / "trial.json").write_text(json.dumps(record), encoding="utf-8")
        facts = dict(measured.facts_about("trial:results.loss", tmp_path))
        assert facts == {"mean": "0.25 (n = 1)", "by": "a < b"}
        card = measured.card("trial:results.loss", "it", "results.html#it", tmp_path)
        assert "<code>a &lt; b</code>" in card

    @pytest.mark.parametrize(
        ("address", "value", "words"),
        [
            ("articles:results.a.accuracy", 0.98765, "98.77\N{NO-BREAK SPACE}%"),
            ("photos:raw.plain", 0.5, "50.00\N{NO-BREAK SPACE}%"),
            ("chapters:results.ch05 test accuracy", 0.98765, "0.9877"),
            ("trials:results.a.accuracy_difference", 12.5, "12.5"),
            ("articles:results.a.parameters", 1199882, "1,199,882"),
            ("batching:results.a.batches", 2756315.5, "2,756,316"),
            ("batching:hardware", "AMD", "AMD"),
            (
                "ensemble:results.accuracy_by_size",
                [0.99, 0.995],
                "99.00\N{NO-BREAK SPACE}%, 99.50\N{NO-BREAK SPACE}%",
            ),
        ],
    )
    def test_numbers_are_as_people_write_them(self, address: str, value: Any, words: str) -> None:
        assert measured.in_words(address, value) == words


class TestCells:
    @pytest.mark.parametrize(
        ("cells", "used"),
        [
            (["a = load_record('speed')\nprint(a)"], [["speed"]]),
            (["a = load_record('speed')", "print(a['hardware'])"], [["speed"], ["speed"]]),
            (["a = load_record('speed')['results']", "b = a['fast']", "b"], [["speed"]] * 3),
            (["a = load_record('speed')", "a = fit()", "print(a)"], [["speed"], [], []]),
            (
                ["a = load_record('speed')", "a = load_record('step')", "a"],
                [["speed"], *[["step"]] * 2],
            ),
            (["for a in load_records('step'):\n    print(a)"], [["step"]]),
            (["a = load_record('step')", "for a in range(3):\n    print(a)"], [["step"], []]),
            (["a = load_record('step')", "%timeit a", "b"], [["step"], [], []]),
            (["print('load_record(\"step\")')"], [[]]),
            (["a = load_record('step')", "[a for a in range(3)]", "a"], [["step"], [], ["step"]]),
            (["a = load_record('step')", "[b for c, b in a.items()]"], [["step"]] * 2),
            (
                ["b = load_record('speed')", "a = load_record('step')\n[b for b, c in a.items()]"],
                [["speed"], ["step"]],
            ),
        ],
    )
    def test_a_record_is_used_where_a_name_of_it_is_read(
        self, cells: list[str], used: list[list[str]]
    ) -> None:
        assert measured.records_used(cells) == used


class TestTables:
    @every_record
    def test_every_repeated_measurement_has_a_cell_of_its_own(self, name: str) -> None:
        tables = results.tables_of(name, RECORDS[name])
        cells = [
            table.path(row, column)
            for table in tables
            for row, found in table.rows.items()
            for column in found
        ]
        # What a search tried on its way is no result.
        wanted = [
            path for path in summaries(RECORDS[name]) if not any("search" in key for key in path)
        ]
        assert set(wanted) <= set(cells)
        anchors = [measured.anchor(f"{name}:{'.'.join(path)}") for path in cells]
        assert len(set(anchors)) == len(anchors)

    @every_record
    def test_every_record_has_a_plot_with_words_for_what_it_shows(self, name: str) -> None:
        picture = results.draw(name, results.tables_of(name, RECORDS[name]))
        assert picture.shown_size[0] == round(100 * results.WIDTH)
        assert picture.alt.endswith(".")
        assert any(mark.isdigit() for mark in picture.alt)
        for axes in picture.figure.axes:
            assert axes.get_xlabel()
            sizes = [label.get_fontsize() for label in axes.get_xticklabels()]
            assert min(sizes) >= 9

    def test_rows_that_share_a_column_share_a_table(self) -> None:
        record = {
            "setting": {"ignored": 1},
            "results": {
                "a": {"loss": summarise([1.0, 2.0]), "epochs": 3},
                "b": {"time": 4.5, "search": {"ignored": 1}},
                "c": {"loss": summarise([1.0]), "time": 4.0},
                "d": {"other": "word"},
            },
        }
        first, second = results.tables_of("trial", record)
        assert [row[-1] for row in first.rows] == ["a", "b", "c"]
        assert first.columns == ["loss", "epochs", "time"]
        assert second.rows == {("results", "d"): {"other": "word"}}

    def test_what_is_wider_than_long_is_turned(self) -> None:
        record = {"results": {"net": {f"row {n}": 0.5 + n for n in range(12)}}}
        (table,) = results.tables_of("trial", record)
        assert (len(table.rows), table.columns) == (12, ["results.net"])
        assert table.path(("row 3",), "results.net") == ("results", "net", "row 3")

    def test_a_record_of_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="nothing to draw in the record trial"):
            results.draw("trial", results.tables_of("trial", {"results": {"a": {"word": "x"}}}))

    def test_a_table_has_heads_and_a_first_column_of_heads(self) -> None:
        box = results.make_table(
            "What", ["", "loss"], [[("a", ""), (summarise([1.0, 2.0]), "t:a")]]
        )
        (title,) = box.findall(nodes.title)
        assert title.astext() == "What"
        stubs = [spec.get("stub", 0) for spec in box.findall(nodes.colspec)]
        assert stubs == [1, 0]
        assert len(list(box.findall(nodes.thead))) == 1
        cell = list(box.findall(nodes.entry))[-1]
        assert cell["ids"] == ["record-t-a"]
        assert cell.astext() == "1.5 ± 0.7071, -4.853 to 7.853, n = 2"
