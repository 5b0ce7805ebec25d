"""Pictures that change: whole without a kernel, drawn anew with one."""

from __future__ import annotations

import re
import sys
import types
from typing import Any

import ipywidgets
import pytest

from mnist_lab.lessons.frames import Explorer, Frames, explore
from mnist_lab.lessons.pictures import Picture, new_axes


def picture(value: float, height: float = 1.0) -> Picture:
    figure, axes = new_axes(height=height, width=2)
    axes.plot([0, value])
    return Picture(figure, f'A line that ends at "{value}".')


@pytest.fixture
def frames() -> Frames:
    return Frames({f"{k} < 9": picture(k) for k in range(3)}, name="end & all", first=1, plays=True)


class TestFrames:
    def test_show_one_picture_and_hide_the_others(self, frames: Frames) -> None:
        images = re.findall(r"<img [^>]*>", frames.html)
        assert [" hidden " in image for image in images] == [True, False, True]
        assert all("data:image/png;base64," in image for image in images)

    def test_each_picture_keeps_its_own_words(self, frames: Frames) -> None:
        alts = re.findall(r'alt="([^"]*)"', frames.html)
        assert alts == [f"A line that ends at &quot;{k}&quot;." for k in range(3)]

    def test_the_slider_has_a_name_a_range_and_a_value(self, frames: Frames) -> None:
        text = frames.html
        assert 'min="0" max="2" step="1" value="1" aria-valuetext="1 &lt; 9"' in text
        assert "end &amp; all <input" in text
        assert "<output>1 &lt; 9</output>" in text

    def test_only_animations_have_a_button(self, frames: Frames) -> None:
        assert ">Play</button>" in frames.html
        assert "button type" not in Frames(frames.pictures, name="end").html

    def test_reduced_motion_takes_the_button_away(self, frames: Frames) -> None:
        assert re.search(
            r"prefers-reduced-motion: reduce\) \{ [^}]*button \{ display: none", frames.html
        )

    def test_nothing_in_them_asks_another_host(self, frames: Frames) -> None:
        assert "//" not in re.sub(r"base64,[^\"]*", "", frames.html)

    def test_the_same_frames_give_the_same_text(self, frames: Frames) -> None:
        assert frames.html == frames.html

    def test_words_stand_where_html_cannot(self, frames: Frames) -> None:
        words = frames._repr_mimebundle_()["text/plain"]
        assert words == "3 pictures: end & all from 0 < 9 to 2 < 9"

    @pytest.mark.parametrize(
        ("pictures", "first", "words"),
        [
            ({"one": picture(1)}, 0, "two pictures or more"),
            ({"one": picture(1), "two": picture(2, height=3)}, 0, "of one size"),
            ({"one": picture(1), "two": picture(2)}, 2, "no frame 2 among 2"),
        ],
    )
    def test_bad_frames_are_refused(
        self, pictures: dict[str, Picture], first: int, words: str
    ) -> None:
        with pytest.raises(ValueError, match=words):
            Frames(pictures, name="end", first=first)


class TestExplore:
    @pytest.fixture
    def slider(self) -> ipywidgets.FloatSlider:
        return ipywidgets.FloatSlider(1.0, min=0, max=3)

    @pytest.fixture
    def explorer(self, slider: ipywidgets.FloatSlider) -> Explorer:
        return explore(lambda end: picture(end), still=picture(7), end=slider)

    def test_moving_the_slider_draws_anew(
        self, explorer: Explorer, slider: ipywidgets.FloatSlider
    ) -> None:
        view = explorer.widget.children[1]
        assert "ends at &quot;1.0&quot;" in view.value
        before = view.value
        slider.value = 2.5
        assert "ends at &quot;2.5&quot;" in view.value
        assert view.value != before

    def test_carries_both_the_widget_and_the_still(self, explorer: Explorer) -> None:
        data, metadata = explorer._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in data
        assert "image/png" in data
        assert metadata["image/png"]["alt"] == 'A line that ends at "7".'
        assert data["text/plain"].startswith(metadata["image/png"]["alt"])

    def test_needs_nothing_that_ipywidgets_7_lacks(
        self, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Colab has 7.7.1, whose widgets give no bundle."""
        monkeypatch.delattr(ipywidgets.Widget, "_repr_mimebundle_", raising=False)
        data: dict[str, Any] = explorer._repr_mimebundle_()[0]
        view = data["application/vnd.jupyter.widget-view+json"]
        model_id = explorer.widget.model_id
        assert view == {"version_major": 2, "version_minor": 0, "model_id": model_id}

    @pytest.mark.parametrize("frames", [False, True])
    def test_colab_gets_the_live_view_alone(
        self, frames: bool, slider: ipywidgets.FloatSlider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would have to choose."""
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
        both = Frames({"1": picture(1), "2": picture(2)}, name="end")
        explorer = explore(picture, still=both if frames else picture(1), value=slider)
        data, metadata = explorer._repr_mimebundle_()
        assert data.keys() == {"application/vnd.jupyter.widget-view+json", "text/plain"}
        assert metadata == {}

    def test_frames_may_be_the_still(self, slider: ipywidgets.FloatSlider) -> None:
        frames = Frames({"1": picture(1), "2": picture(2)}, name="end")
        data, _ = explore(picture, still=frames, value=slider)._repr_mimebundle_()
        assert data["text/html"] == frames.html
        assert data["text/plain"].startswith("2 pictures")

    def test_controls_may_stand_in_columns(self) -> None:
        boxes = {f"w{k}": ipywidgets.FloatText(0.0) for k in range(4)}
        explorer = explore(
            lambda **w: picture(sum(w.values())), still=picture(0), columns=2, **boxes
        )
        grid = explorer.widget.children[0]
        assert len(grid.children) == 4
        assert grid.layout.grid_template_columns == "repeat(2, max-content)"
        boxes["w3"].value = 4.0
        assert "ends at &quot;4.0&quot;" in explorer.widget.children[1].value
