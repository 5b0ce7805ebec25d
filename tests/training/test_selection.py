"""The hardest digits: which they are, how many, the same again from the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.training.selection import count_hardest, find_hardest, proxy_losses

Sets = tuple[DigitSet, DigitSet]


@pytest.fixture
def digits(small_sets: Sets) -> DigitSet:
    return small_sets[0].subset(np.arange(1_000))


class TestFindHardest:
    def test_are_those_of_the_highest_loss_the_hardest_first(self, digits: DigitSet) -> None:
        losses = proxy_losses(digits, seed=1)
        chosen = find_hardest(digits, 0.2, seed=1)
        assert chosen.shape == (200,)
        assert len(set(chosen.tolist())) == 200
        assert (np.diff(losses[chosen]) <= 0).all()
        rest = np.setdiff1d(np.arange(1_000), chosen)
        assert losses[rest].max() <= losses[chosen].min()

    def test_wrong_labels_are_among_the_hardest(self, digits: DigitSet) -> None:
        labels = digits.labels.copy()
        labels[::50] = (labels[::50] + 1) % 10
        wrong = replace(digits, labels=labels)
        losses = proxy_losses(wrong)
        assert losses[::50].mean() > 1.5 * losses.mean()
        assert np.isin(np.arange(0, 1_000, 50), find_hardest(wrong, 0.5)).mean() > 0.75

    def test_same_seed_same_digits_and_torchs_own_generator_untouched(
        self, digits: DigitSet
    ) -> None:
        before = torch.random.get_rng_state()
        one, same, other = (find_hardest(digits, 0.1, seed=seed) for seed in (3, 3, 4))
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)
        assert torch.equal(before, torch.random.get_rng_state())

    def test_all_of_them_is_an_order(self, digits: DigitSet) -> None:
        assert sorted(find_hardest(digits, 1.0)) == list(range(1_000))

    @pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
    def test_refuses_a_share_that_is_none(self, share: float, digits: DigitSet) -> None:
        with pytest.raises(ValueError, match=f"above 0 and at most 1, found {share}"):
            find_hardest(digits, share)


class TestCount:
    @pytest.mark.parametrize(
        ("count", "share", "expected"), [(55_000, 0.2, 11_000), (3, 0.1, 1), (7, 1.0, 7)]
    )
    def test_is_the_share_and_at_least_one(self, count: int, share: float, expected: int) -> None:
        assert count_hardest(count, share) == expected


class TestProxy:
    def test_learns_so_that_its_losses_tell_easy_from_hard(self, digits: DigitSet) -> None:
        losses = proxy_losses(digits)
        assert losses.dtype == np.float32
        assert np.median(losses) < 1.5 < np.log(10)

    def test_takes_other_sizes_and_numbers_of_classes(self) -> None:
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (30, 9, 12), dtype=np.uint8)
        names = ("a", "b", "c")
        digits = DigitSet(images, np.arange(30) % 3, names)
        assert proxy_losses(digits).shape == (30,)
