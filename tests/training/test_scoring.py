"""Scores: means over examples, in eval mode, which is restored."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.models.registry import build_model
from mnist_lab.training.batches import Batch, Batches
from mnist_lab.training.scoring import evaluate, logits_of, score_as_is
from tests.training.small_runs import (
    Sets,
    batch,
    make_tiny,
)


class TestEvaluate:
    def uneven(self) -> list[Batch]:
        """Seven examples in batches of 4, 2 and 1; the last is the hardest."""
        images, labels = batch(7)
        images[6] *= 30
        return [(images[a:b], labels[a:b]) for a, b in ((0, 4), (4, 6), (6, 7))]

    def test_means_are_over_examples_not_over_batches(self) -> None:
        model = build_model("linear")
        batches = self.uneven()
        images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        with torch.no_grad():
            losses = F.cross_entropy(model(images), labels, reduction="none")
            right = (model(images).argmax(1) == labels).double()
            means = [F.cross_entropy(model(i), label) for i, label in batches]
        score = evaluate(model, batches)
        assert score.loss == pytest.approx(float(losses.mean()), rel=1e-5)
        assert score.accuracy == pytest.approx(float(right.mean()))
        assert score.count == 7
        mean_of_means = float(torch.stack(means).mean())
        assert abs(mean_of_means - score.loss) > 0.3  # the defect would show

    @pytest.mark.parametrize("size", [1, 7, 64, 200, 1_000])
    def test_does_not_depend_on_the_batch_size(self, size: int, sets: Sets) -> None:
        model = build_model("small_cnn", width=2)
        reference = evaluate(model, Batches(sets[1], 200))
        score = evaluate(model, Batches(sets[1], size))
        assert score.loss == pytest.approx(reference.loss, rel=1e-5)
        assert (score.accuracy, score.count) == (reference.accuracy, 200)

    def test_accuracy_is_the_share_of_right_answers_among_all(self) -> None:
        class Oracle(nn.Module):
            """Right about every digit but 7, whatever the batch."""

            def forward(self, images: Tensor) -> Tensor:
                labels = images[:, 0, 0, 0].long()
                return F.one_hot(torch.where(labels == 7, 1, labels), 10).float()

        labels = torch.tensor([7, 1, 2, 7, 4, 5, 6, 7, 8, 9, 0])
        images = labels.float()[:, None, None, None].expand(-1, 1, 28, 28)
        batches = [(images[a : a + 4], labels[a : a + 4]) for a in (0, 4, 8)]
        assert evaluate(Oracle(), batches).accuracy == pytest.approx(8 / 11)

    def test_scores_in_eval_mode(self) -> None:
        model = make_tiny().train()
        model(batch(50)[0] + 3)  # running statistics unlike those of a batch
        frozen = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        images, labels = batch(20)
        scores = {evaluate(model, [(images, labels)]) for _ in range(3)}
        assert len(scores) == 1  # no dropout
        assert all(torch.equal(frozen[k], v) for k, v in model.state_dict().items())
        one_by_one = evaluate(model, [(images[i : i + 1], labels[i : i + 1]) for i in range(20)])
        assert one_by_one.loss == pytest.approx(scores.pop().loss, rel=1e-4)  # no batch statistics

    def test_without_eval_the_score_would_be_another(self) -> None:
        model = make_tiny().train()
        images, labels = batch(40)
        right = evaluate(model, [(images, labels)])
        with torch.random.fork_rng():
            torch.manual_seed(0)
            as_is = {score_as_is(model, [(images, labels)]).loss for _ in range(3)}
        assert len(as_is) == 3  # dropout draws anew each time
        assert all(abs(loss - right.loss) > 1e-3 for loss in as_is)

    @pytest.mark.parametrize("mode", [True, False])
    def test_restores_the_mode_even_after_an_error(self, mode: bool) -> None:
        model = make_tiny().train(mode)
        evaluate(model, [batch()])
        assert model.training is mode
        assert model.dropout.training is mode
        with pytest.raises(RuntimeError):
            evaluate(model, [(torch.zeros(1, 3, 5, 5), torch.zeros(1).long())])
        assert model.training is mode

    def test_restores_the_mode_of_each_part(self) -> None:
        model = make_tiny().train()
        model.norm.eval()  # as fine-tuning freezes the statistics of batch norm
        evaluate(model, [batch()])
        assert not model.norm.training
        assert model.dropout.training

    def test_computes_no_gradient(self) -> None:
        class Spy(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                assert not torch.is_grad_enabled()
                return torch.zeros(len(images), 10)

        assert evaluate(Spy(), [batch()]).loss == pytest.approx(math.log(10))
        assert torch.is_grad_enabled()

    def test_nothing_to_score_is_a_sentence(self) -> None:
        with pytest.raises(ValueError, match=r"^There is nothing to score.*\.$"):
            evaluate(make_tiny(), [])


class TestLogits:
    def test_gives_the_output_for_every_example_in_order_and_in_eval_mode(self) -> None:
        model = make_tiny().train()
        batches = [batch(4, seed=1), batch(3, seed=2)]
        model.eval()
        with torch.no_grad():
            expected = torch.cat([model(images) for images, _ in batches])
        model.train()
        found = logits_of(model, batches)
        assert torch.equal(found, expected)
        assert not found.requires_grad
        assert model.training
