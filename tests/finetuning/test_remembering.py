"""What keeps the old task: its digits among the new, or the answers of the network as it was."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.finetuning.remembering import ClassifyAndRemember, mix_evenly
from mnist_lab.models.registry import build_model
from mnist_lab.training.batches import Batches
from mnist_lab.training.loop import start_training, train_step
from mnist_lab.training.scoring import logits_of
from tests.finetuning.comparing import HARSH, changed, state_of, train


@pytest.fixture
def digits(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[0].subset(np.arange(96))


class TestMixEvenly:
    @pytest.mark.parametrize(("new", "old"), [(5, 90), (90, 5), (7, 7)])
    def test_there_are_as_many_of_each_and_none_is_missing(
        self, digits: DigitSet, new: int, old: int
    ) -> None:
        ours = replace(digits.subset(np.arange(new)), part="train")
        theirs = digits.subset(np.arange(96 - old, 96))
        mixed = mix_evenly(ours, theirs)
        most = max(new, old)
        assert len(mixed) == 2 * most
        for half, whole in ((slice(0, most), ours), (slice(most, None), theirs)):
            times = np.unique(mixed.images[half], axis=0, return_counts=True)[1]
            assert len(times) == len(np.unique(whole.images, axis=0))
            assert times.max() - times.min() <= 1
        assert np.array_equal(mixed.labels[:new], ours.labels)

    def test_a_test_part_is_refused(self, digits: DigitSet) -> None:
        with pytest.raises(ValueError, match="nothing is learnt from it"):
            mix_evenly(digits, replace(digits, part="test"))


class TestClassifyAndRemember:
    def test_the_loss_is_of_labels_and_of_the_old_answers(self, digits: DigitSet) -> None:
        """The old network has five classes, the new one ten; both are in eval mode here."""
        old, new = build_model("mlp", seed=1, classes=5), build_model("mlp", seed=2)
        state = start_training(new, digits, HARSH, objective=ClassifyAndRemember(old, 0.5, 3.0))
        now = logits_of(copy.deepcopy(new), Batches(digits, 96))
        before = logits_of(old, Batches(digits, 96))
        labels = torch.from_numpy(digits.labels).long()
        answers, soft = (before / 3).softmax(1), (now[:, :5] / 3).log_softmax(1)
        expected = F.cross_entropy(now, labels) - 0.5 * 9 * (answers * soft).sum(1).mean()
        loss, _ = train_step(state, next(iter(Batches(digits, 96))))
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)

    def test_the_old_network_is_a_copy_and_stays(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        start, objective = state_of(model), ClassifyAndRemember(model)
        train(model, digits, HARSH, 4, objective=objective)
        assert changed(start, model)
        assert not changed(start, objective.before)

    def test_answers_change_less_the_more_they_weigh(self, digits: DigitSet) -> None:
        """The labels here contradict the old answers."""
        wrong = replace(digits, labels=(digits.labels + 3) % 10)
        model = build_model("small_cnn", seed=4)
        before = logits_of(model, Batches(digits, 96)).softmax(1)
        moved = []
        for weight in (0.0, 1.0, 30.0):
            tuned = copy.deepcopy(model)
            train(tuned, wrong, HARSH, 20, objective=ClassifyAndRemember(model, weight))
            now = logits_of(tuned, Batches(digits, 96)).softmax(1)
            moved.append(float((now - before).abs().sum(1).mean()))
        assert moved[2] < moved[1] < moved[0]
        assert moved[2] < moved[0] / 2

    @pytest.mark.parametrize(("weight", "temperature"), [(-1, 2), (1, 0), (float("nan"), 2)])
    def test_settings_out_of_range(self, weight: float, temperature: float) -> None:
        with pytest.raises(ValueError, match="0 or more, temperature above 0"):
            ClassifyAndRemember(build_model("linear"), weight, temperature)
