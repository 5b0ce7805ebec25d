"""Train on the home page in Chromium: seconds to 90 % and 94 %, and the frames that it costs.

    python -m benchmarks.page_training [--site _build/html] [--seeds 3]

About 3 minutes on two idle cores. It needs the built site (`make book`) and a Chromium.

The page is opened from disk and Start is pressed, as by a reader: the network learns in a worker
from 2,000 digits and is scored on 1,000 others, of which none is of the test set. The seconds are
from the press to the score that the page shows. A frame is what passes between two pictures of the
page while the network learns; a long task is what Chromium itself reports, a piece of work of more
than 50 ms that holds the page up. Only an idle machine with two cores says something of a reader's.
What the page's own thread had of the processor for its longest piece of work is measured in one
more run, under Chromium's tracing, which costs time itself: a busy machine does not count in that.
"""

from __future__ import annotations

import gzip
import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.chromium import find_chromium, started

from .recording import Record, make_parser, read_arguments

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOME = "book/index.html"
SCRIPT = "_static/train-here.js"
NETWORKS = {"CNN": "4 layers: CNN", "MLP": "2 layers: MLP", "linear": "1 layer: linear"}
MARKS = (0.9, 0.94)
SOON = 3  # seconds: what a network reads by then
MOST_SECONDS = 120  # of one training; a busy machine may take so long

# Note when each score is shown, how long the frames are, and what Chromium calls a long task.
LISTEN = """() => {
  const { panel } = document.querySelector("train-here");
  const found = (window.found = { start: 0, scores: [], frames: [], tasks: [], isOver: false });
  const { show, showScore } = panel;
  panel.show = (report) => {
    show.call(panel, report);
    if (report.isOver) found.isOver = true;
  };
  panel.showScore = (score) => {
    showScore.call(panel, score);
    found.scores.push([(performance.now() - found.start) / 1000, score.epoch, score.accuracy]);
  };
  new PerformanceObserver((list) => {
    for (const { duration, startTime } of list.getEntries()) {
      if (found.start && startTime >= found.start) found.tasks.push(duration);
    }
  }).observe({ type: "longtask" });
  let last = 0;
  const frame = (now) => {
    if (found.start && !found.isOver && last >= found.start) found.frames.push(now - last);
    last = now;
    if (!found.isOver) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  panel.startButton.addEventListener(
    "click", () => { found.start = performance.now(); }, { capture: true });
}"""


def open_home(browser: Browser, site: Path) -> Page:
    """Open the home page from disk, with nothing remembered, and wait for its panel's digits."""
    page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    page.set_default_timeout(1_000 * MOST_SECONDS)
    page.goto((site / HOME).resolve().as_uri())
    page.locator("train-here").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('train-here').panel.digits.then(() => null)")
    return page


def train_there(browser: Browser, site: Path, network: str, seed: int) -> dict[str, Any]:
    """Train one network on the page to its end; return what `tell` makes of it."""
    page = open_home(browser, site)
    page.get_by_label("Network", exact=True).select_option(label=NETWORKS[network])
    page.get_by_label("Seed", exact=True).fill(str(seed))
    page.get_by_label("Seed", exact=True).press("Tab")
    page.evaluate(LISTEN)
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_function("found.isOver")
    found = page.evaluate("found")
    page.context.close()
    return tell(found["scores"], found["frames"], found["tasks"])


def trace_there(browser: Browser, site: Path, network: str) -> dict[str, float]:
    """Train one network under tracing; return what `find_work` finds while it learns."""
    page = open_home(browser, site)
    page.get_by_label("Network", exact=True).select_option(label=NETWORKS[network])
    page.evaluate(LISTEN)
    browser.start_tracing(page=page, categories=["toplevel", "blink.user_timing"])
    page.evaluate("performance.mark('begins')")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_function("found.isOver")
    page.evaluate("performance.mark('ends')")
    events = json.loads(browser.stop_tracing())["traceEvents"]
    page.context.close()
    return find_work(events)


def find_work(events: list[dict[str, Any]]) -> dict[str, float]:
    """Return the longest pieces of work of a page's thread between two marks, by the processor.

    Parameters
    ----------
    events : list of dict
        Of a trace; `ts` and `dur` are microseconds by the clock, `tdur` those of the processor.
    """
    marks = {e["name"]: e for e in events if e["name"] in ("begins", "ends")}
    thread = [marks["begins"][key] for key in ("pid", "tid")]
    begin, end = marks["begins"]["ts"], marks["ends"]["ts"]
    work = sorted(
        event.get("tdur", 0) / 1000
        for event in events
        if event.get("ph") == "X" and event["name"].endswith("RunTask")
        if [event["pid"], event["tid"]] == thread and begin <= event["ts"] <= end
    )
    return {"longest work (ms of the processor)": round(work[-1], 1)}


def tell(
    scores: list[tuple[float, float, float]], frames: list[float], tasks: list[float]
) -> dict[str, Any]:
    """Return what a training came to.

    Parameters
    ----------
    scores : list of (seconds, epoch, accuracy)
    frames, tasks : list of float
        Milliseconds of every frame while it learnt, and of each long task.
    """

    def seconds_to(mark: float) -> float | None:
        return next((round(after, 2) for after, _, share in scores if share >= mark), None)

    long = sorted(frames)
    return {
        "accuracy": scores[-1][2],
        "seconds": round(scores[-1][0], 2),
        "epochs": scores[-1][1],
        **{f"seconds to {mark:.0%}": seconds_to(mark) for mark in MARKS},
        f"accuracy after {SOON} s": max((s for after, _, s in scores if after <= SOON), default=0),
        "longest frame (ms)": round(long[-1], 1),
        "99th of 100 frames (ms)": round(long[int(0.99 * (len(long) - 1))], 1),
        "frames": len(frames),
        "frames above 50 ms": sum(frame > 50 for frame in frames),
        "long tasks": len(tasks),
        "longest task (ms)": round(max(tasks, default=0.0), 1),
    }


def weigh(site: Path) -> dict[str, int]:
    """Return the bytes of the panel's script, digits included, and what a server sends of it."""
    script = (site / SCRIPT).read_bytes()
    return {"script": len(script), "script, packed": len(gzip.compress(script))}


def read_options() -> Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, seeds=3, only=NETWORKS, anew=True)
    parser.add_argument(
        "--site", type=Path, default=Path("_build/html"), metavar="FOLDER", help="the built site"
    )
    return read_arguments(parser)


def main() -> None:
    """Measure and write the record."""
    arguments = read_options()
    program = find_chromium()
    if program is None:
        raise SystemExit("There is no Chromium on this machine, so no page can be opened.")
    if not (arguments.site / SCRIPT).exists():
        raise SystemExit(f"There is no built site in {arguments.site}: `make book` builds it.")
    with started(program) as browser:
        setting = {
            "what": "networks trained on the home page, opened from disk: 2,000 digits to learn "
            "from, scored on 1,000 others of MNIST's training file",
            "browser": f"Chromium {browser.version}",
            "bytes": weigh(arguments.site),
        }
        record = Record("page_training", arguments, setting)
        record.seconds = (
            None  # it is the browser that works, whose seconds this process does not count
        )
        for network in arguments.only:
            runs = record.entry(network).setdefault("seeds", [])
            for seed in range(len(runs), arguments.seeds):
                runs.append(train_there(browser, arguments.site, network, seed))
                record.save(network, seed, runs[-1])
            if "traced" not in record.entry(network):
                record.entry(network)["traced"] = trace_there(browser, arguments.site, network)
                record.save(network, record.entry(network)["traced"])


if __name__ == "__main__":
    main()
