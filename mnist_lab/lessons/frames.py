"""Pictures that change: frames to step through or play, and sliders where a kernel runs.

    Frames({f"step {k}": draw(k) for k in range(12)}, name="step", plays=True)
    explore(draw, still=picture, rate=ipywidgets.FloatLogSlider(0.1, min=-3, max=1))

`Frames` are drawn once and need no kernel: on the built page, from disk and in a notebook alike, a
slider steps through them. Nothing moves by itself; who asked their system for less motion gets the
slider without the button that plays. `explore` draws anew for every value as long as a kernel runs,
and leaves `still` on the page where none does.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from string import Template
from typing import Any

from mnist_lab.extras import needs_extra
from mnist_lab.lessons.palette import PAPER, RED_PEN
from mnist_lab.lessons.pictures import Picture

# A frame is coarser than a picture that stands alone, as there are a dozen of them.
_DOTS_AN_INCH = 120
_COLOURS_OF_FILE = 32

_STYLE = Template("""
.frames { margin: 0; max-width: 100%; }
.frames img { display: block; max-width: 100%; height: auto; background: $paper; }
.frames img[hidden] { display: none; }
.frames-controls { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem .9rem;
  padding: .35rem .2rem; font: inherit; }
.frames-controls label { display: flex; flex: 1 1 16rem; align-items: center; gap: .6rem; }
.frames-controls input { flex: 1 1 8rem; min-width: 6rem; min-height: 1.8rem;
  accent-color: $red_pen; }
.frames-controls output { min-width: 7.5em; font-variant-numeric: tabular-nums; }
.frames-controls button { font: inherit; color: inherit; background: transparent;
  border: 1px solid currentColor; border-radius: .4rem; padding: .15rem .9rem; cursor: pointer; }
@media (prefers-reduced-motion: reduce) { .frames-controls button { display: none; } }
""").substitute(paper=PAPER, red_pen=RED_PEN)

# Handlers stand in the elements themselves: a front end that inserts HTML may not run its scripts.
_SHOW = (
    "const f=this.closest('.frames');"
    "f.querySelectorAll('img').forEach((p,i)=>{p.hidden=i!=this.value;});"
    "const t=f.querySelectorAll('img')[this.value].dataset.label;"
    "f.querySelector('output').textContent=t;this.setAttribute('aria-valuetext',t);"
)
_PLAY = (
    "const b=this,f=b.closest('.frames'),r=f.querySelector('input');"
    "const show=n=>{r.value=n;r.dispatchEvent(new Event('input'));};"
    "const stop=()=>{clearInterval(b.timer);b.timer=0;b.textContent='Play';};"
    "if(b.timer){stop();return;}"
    "if(r.value==r.max)show(0);"
    "b.textContent='Pause';"
    "b.timer=setInterval(()=>{if(!b.isConnected||r.value==r.max)stop();else show(+r.value+1);},"
    "%d);"
)


@dataclass(frozen=True)
class Frames:
    """Pictures of which one is shown, chosen by a slider under it.

    Parameters
    ----------
    pictures : mapping of str to Picture
        From what the slider says to what it shows, all of one size. Each has its own alt text.
    name : str
        What the slider changes, with its unit if it has one: "learning rate".
    first : int
        Which is shown at the beginning; choose the one that says most.
    plays : bool
        Whether there is a button that plays them one after the other.
    pause : int
        Milliseconds between two frames when they play.
    """

    pictures: Mapping[str, Picture]
    name: str
    first: int = 0
    plays: bool = False
    pause: int = 600

    def __post_init__(self) -> None:
        if len(self.pictures) < 2:
            raise ValueError(f"Frames need two pictures or more, not {len(self.pictures)}.")
        sizes = {tuple(picture.figure.get_size_inches()) for picture in self.pictures.values()}
        if len(sizes) > 1:
            raise ValueError(f"Frames need pictures of one size, not of {sorted(sizes)}.")
        if not 0 <= self.first < len(self.pictures):
            raise ValueError(f"There is no frame {self.first} among {len(self.pictures)}.")

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Return HTML that stands alone, and words for where there is no HTML."""
        labels = list(self.pictures)
        return {
            "text/html": self.html,
            "text/plain": f"{len(labels)} pictures: {self.name} from {labels[0]} to {labels[-1]}",
        }

    @cached_property
    def html(self) -> str:
        """The element, with style and pictures inside it; drawn once, as layouts drift."""
        shown = escape(list(self.pictures)[self.first])
        images = "\n".join(
            _image(picture, label, hidden=number != self.first)
            for number, (label, picture) in enumerate(self.pictures.items())
        )
        name = escape(self.name)
        play = (
            f'<button type="button" onclick="{escape(_PLAY % self.pause)}">Play</button>'
            if self.plays
            else ""
        )
        identity = "frames-" + hashlib.sha256(images.encode()).hexdigest()[:10]
        return (
            f'<div class="frames" role="group" aria-label="{name}">\n<style>{_STYLE}</style>\n'
            f'{images}\n<div class="frames-controls">{play}'
            f'<label for="{identity}">{name} '
            f'<input id="{identity}" type="range" min="0" max="{len(self.pictures) - 1}" step="1" '
            f'value="{self.first}" aria-valuetext="{shown}" autocomplete="off" '
            f'oninput="{escape(_SHOW)}"></label>'
            f"<output>{shown}</output></div>\n</div>"
        )


def _image(picture: Picture, label: str, *, hidden: bool = False) -> str:
    width, height = picture.shown_size
    return (
        f'<img alt="{escape(picture.alt)}" data-label="{escape(label)}" '
        f'width="{width}" height="{height}"{" hidden" if hidden else ""} '
        f'src="data:image/png;base64,{picture.to_base64(_DOTS_AN_INCH, _COLOURS_OF_FILE)}">'
    )


@dataclass(frozen=True)
class Explorer:
    """A picture that is drawn anew when a control moves; made by `explore`.

    Attributes
    ----------
    widget : ipywidgets.Widget
        Controls above the picture.
    still : Picture or Frames
        What is shown where no kernel runs.
    """

    widget: Any
    still: Picture | Frames

    def _repr_mimebundle_(self, **_: Any) -> Any:
        """Return the still with the widget beside it; a front end takes what it can show."""
        bundle = self.still._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        # Written out, as ipywidgets 7, which Colab has, gives no bundle of its own.
        model = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        view = {"application/vnd.jupyter.widget-view+json": model}
        if "google.colab" in sys.modules:
            return {**view, "text/plain": data["text/plain"]}, {}  # it might prefer the still
        return {**view, **data}, metadata


def explore(
    draw: Callable[..., Picture],
    *,
    still: Picture | Frames,
    columns: int = 1,
    **controls: Any,
) -> Explorer:
    """Redraw a picture whenever one of its controls moves.

    Parameters
    ----------
    draw : function
        Takes the controls' values by name and returns a `Picture`.
    still : Picture or Frames
        Tells the same story where no kernel runs, as on the built page.
    columns : int
        In how many columns the controls stand.
    **controls : ipywidgets
        Each has a `value`: `FloatSlider`, `IntSlider`, `Dropdown`, `FloatText` ...
    """
    with needs_extra("chapters"):
        import ipywidgets

    view = ipywidgets.HTML()

    def redraw(_: Any = None) -> None:
        values = {name: control.value for name, control in controls.items()}
        view.value = _image(draw(**values), "")

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    width = f"repeat({columns}, max-content)"
    grid = ipywidgets.GridBox(
        list(controls.values()), layout=ipywidgets.Layout(grid_template_columns=width)
    )
    return Explorer(ipywidgets.VBox([grid, view]), still)
