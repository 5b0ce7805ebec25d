"""What is left after attacks: the record, the published figures beside it, and the script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import attacks
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist_c import MNIST_C
from mnist_lab.inspection.pixels import PixelNetwork, as_pixels
from mnist_lab.lessons.records import load_record
from mnist_lab.models.registry import build_model

STRENGTHS = [f"{100 * epsilon:.0f}" for epsilon in attacks.EPSILONS]


class TestTheRecord:
    @pytest.fixture
    def results(self) -> dict[str, dict[str, Any]]:
        results: dict[str, dict[str, Any]] = load_record("attacks")["results"]
        return results

    def test_is_of_the_networks_and_attacks_that_are_there(self, results: dict[str, Any]) -> None:
        assert list(results) == list(attacks.NETWORKS)
        for found in results.values():
            assert set(found["mnist_c"]) == {*MNIST_C, "as they are"}
            for strength in STRENGTHS:
                assert set(found[strength]) == {*attacks.ATTACKS, "worst"}

    @pytest.mark.parametrize("name", list(attacks.NETWORKS))
    def test_no_attack_leaves_less_than_all_of_them(
        self, name: str, results: dict[str, Any]
    ) -> None:
        for strength in STRENGTHS:
            found = results[name][strength]
            for attack in attacks.ATTACKS:
                pairs = zip(found["worst"]["values"], found[attack]["values"], strict=True)
                assert all(worst <= left + 1e-6 for worst, left in pairs)
            fewer = zip(found["PGD, restarts"]["values"], found["PGD"]["values"], strict=True)
            assert all(more <= once + 1e-6 for more, once in fewer)

    def test_a_larger_ball_leaves_less(self, results: dict[str, Any]) -> None:
        for found in results.values():
            left = [found["untouched"], *(found[strength]["worst"] for strength in STRENGTHS)]
            means = [summary["mean"] for summary in left]
            assert means == sorted(means, reverse=True)

    def test_adversarial_training_withstands_what_the_others_do_not(
        self, results: dict[str, Any]
    ) -> None:
        worst = {name: found["20"]["worst"]["values"] for name, found in results.items()}
        assert max(worst["plain"] + worst["augmented"]) < 0.1
        assert min(worst["attacked strongly"]) > 0.5
        little = results["attacked lightly"]["30"]  # which FGSM alone would have missed
        assert min(little["FGSM"]["values"]) > 0.4
        assert max(little["PGD"]["values"]) < 0.05

    def test_what_withstands_aimed_changes_need_not_withstand_those_that_happen(
        self, results: dict[str, Any]
    ) -> None:
        """As chapter 16 says of the rows: in every seed above the plain network, or below."""

        def compare(name: str) -> tuple[set[str], set[str]]:
            more, fewer = set(), set()
            for row, found in results[name]["mnist_c"].items():
                plain = results["plain"]["mnist_c"][row]["values"]
                gains = np.subtract(found["values"], plain)
                if gains.min() > 0:
                    more.add(row)
                if gains.max() < 0:
                    fewer.add(row)
            return more, fewer

        more, fewer = compare("attacked strongly")
        assert more == {"fog", "canny_edges"}
        assert len(fewer) == 11
        assert fewer >= {"impulse_noise", "dotted_line", "zigzag", "spatter", "shear", "rotate",
                         "scale", "translate", "as they are"}  # fmt: skip
        more, fewer = compare("attacked lightly")
        assert fewer == {"stripe"}
        assert more >= {"shot_noise", "impulse_noise", "glass_blur", "motion_blur", "dotted_line",
                        "fog"}  # fmt: skip
        more, fewer = compare("augmented")
        assert fewer == {"stripe", "dotted_line", "zigzag"}
        assert more >= {"translate", "scale", "rotate", "glass_blur", "motion_blur", "fog"}

    def test_the_published_figures_fall_with_the_attacks(self) -> None:
        published = load_record("attacks")["published"]
        assert published == attacks.PUBLISHED
        madrys = [
            entry["accuracy"]
            for entry in published
            if entry["network"] == "Madry et al. 2018" and entry["source"] == attacks.MADRY
        ]
        assert max(madrys) == madrys[0]
        assert min(madrys) == madrys[-1]
        assert all(0 <= entry["accuracy"] <= 1 for entry in published)


class TestTheScript:
    def test_the_worst_counts_a_digit_only_if_every_attack_has_failed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        network = PixelNetwork(build_model("linear", seed=0))
        pixels = torch.full((4, 1, 28, 28), 0.5)
        labels = network(pixels).argmax(1)  # all are read rightly

        def spoil(*places: int) -> attacks.Attack:
            def attack(*given: Any, seed: int) -> Tensor:
                changed = pixels.clone()
                changed[list(places)] = -network.model.output.weight[labels[0]].reshape(28, 28)
                return changed

            return attack

        monkeypatch.setattr(attacks, "ATTACKS", {"one": spoil(0), "other": spoil(0, 2)})
        found = attacks.attack_all(network, pixels, labels, 0.1, seed=0)
        assert found == {"one": 0.75, "other": 0.5, "worst": 0.5}

    def test_every_attack_is_of_its_seed(
        self, network_of_few: PixelNetwork, few: tuple[Tensor, Tensor]
    ) -> None:
        one, same, other = (
            {
                name: attack(network_of_few, *few, 0.1, seed=seed)
                for name, attack in attacks.ATTACKS.items()
            }
            for seed in (0, 0, 1)
        )
        for name in attacks.ATTACKS:
            assert torch.equal(one[name], same[name])
            assert torch.equal(one[name], other[name]) == (name == "FGSM")

    def test_trains_once(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        small_sets: tuple[DigitSet, DigitSet],
    ) -> None:
        monkeypatch.setattr(attacks, "FOLDER", tmp_path)
        monkeypatch.setattr(attacks, "MODEL", "linear")
        digits = small_sets[0].subset(slice(0, 100))
        first = attacks.trained("attacked lightly", 0, digits)
        assert (tmp_path / "attacked_lightly_0" / "model.json").is_file()
        monkeypatch.setattr("mnist_lab.training.runs.iter_epochs", None)
        again = attacks.trained("attacked lightly", 0, digits)
        assert torch.equal(first.model.output.weight, again.model.output.weight)

    @pytest.fixture
    def network_of_few(self) -> PixelNetwork:
        return PixelNetwork(build_model("linear", seed=0))

    @pytest.fixture
    def few(
        self, network_of_few: PixelNetwork, small_sets: tuple[DigitSet, DigitSet]
    ) -> tuple[Tensor, Tensor]:
        pixels = as_pixels(small_sets[1].images[:5])
        return pixels, network_of_few(pixels).argmax(1)  # all count as read rightly
