"""Write the table of the presets' recorded results into README.md.

    python -m tools.presets_table

GitHub shows README.md as it is, so the figures have to stand in it; a test holds them to the
record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mnist_lab.lessons import load_record
from tools.marks import write_marked

README = Path(__file__).parents[1] / "README.md"
RECORDS = ("presets", "ensemble")


def share(value: float) -> str:
    """Return a share in per cent, with a no-break space before the sign, as the book has it."""
    return f"{value:.2%}".replace("%", "\N{NO-BREAK SPACE}%")


def render(record: dict[str, Any]) -> str:
    """Return the table in Markdown, with a line on how it was measured."""
    lines = [
        "| preset | test accuracy (95 % interval of the mean) | seeds | parameters | seconds |",
        "|---|---|---|---|---|",
    ]
    for name, row in record["results"].items():
        accuracy = row["accuracy"]
        lines.append(
            f"| `{name}` | {share(accuracy['mean'])} ± {share(accuracy['std'])} "
            f"({share(accuracy['low'])} to {share(accuracy['high'])}) | {accuracy['n']} | "
            f"{row['parameters']:,} | {row['seconds']['mean']:.3g} |"
        )
    measured = f"Measured on {record['hardware']}, {record['precision']}, `{record['command']}`."
    return "\n".join([*lines, "", measured]) + "\n"


def render_ensemble(record: dict[str, Any]) -> str:
    """Return a sentence on the networks that decide together."""
    results = record["results"]
    one, count = results["member_accuracy"], results["members"]
    return (
        f"{count} networks of `{results['preset']}`, one a seed: {share(one['mean'])} ± "
        f"{share(one['std'])} each, {share(results['accuracy'])} by the mean of their "
        f"probabilities ({record['hardware']}, `{record['command']}`).\n"
    )


def main() -> None:
    """Replace what stands between the two marks."""
    presets, ensemble = (load_record(name) for name in RECORDS)
    write_marked(README, "presets", render(presets) + "\n" + render_ensemble(ensemble))


if __name__ == "__main__":
    main()
