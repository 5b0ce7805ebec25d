"""Masked pretraining: what is hidden stays hidden, what counts is hidden, and a kill loses nothing.

Processes are started as a user starts them, with torchrun; as one of them this file runs `main`.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.own_files import load_npz, save_npz
from mnist_lab.finetuning import masked
from mnist_lab.finetuning.masked import (
    PRETRAIN,
    GuessHiddenPatches,
    MaskedAutoencoder,
    draw_kept,
    find_hidden,
    make_autoencoder,
    masked_loss,
    normalise_patches,
    reconstruct,
)
from mnist_lab.models.registry import build_model
from mnist_lab.models.vit import VisionTransformer, patchify
from mnist_lab.training import loop, runs
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.batches import Batches
from mnist_lab.training.checkpoints import load_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.draws import Draws
from mnist_lab.training.loop import EpochReport, start_training, train_step
from mnist_lab.training.processes import join
from mnist_lab.training.runs import FitResult, fit
from mnist_lab.training.tensor_folders import CheckpointError, save_tensors

Sets = tuple[DigitSet, DigitSet]

SMALL: dict[str, Any] = {"patch": 7, "width": 16, "depth": 1, "heads": 2}
# 302 digits in batches of 43: every batch is cut unevenly by two processes, and of the last, with
# one digit, the second gets nothing.
CONFIG = replace(
    PRETRAIN,
    epochs=3,
    batch_size=43,
    augmentation=Augmentation(rotate=10, shift=2, elastic_strength=20),
    seed=3,
)
OBJECTIVE = GuessHiddenPatches(mask_share=0.6, normalised_targets=False)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def sets(small_sets: Sets) -> Sets:
    return small_sets[0].subset(np.arange(302)), small_sets[1].subset(np.arange(130))


@pytest.fixture
def model() -> MaskedAutoencoder:
    return make()


@pytest.fixture
def patches(sets: Sets) -> Tensor:
    """Return the patches of 20 digits: (20, 16, 49)."""
    images, _ = next(iter(Batches(sets[0], 20)))
    return patchify(images, 7)


def make(seed: int = 3, **arguments: Any) -> MaskedAutoencoder:
    """Return an autoencoder of a small encoder, all of its weights drawn from the seed."""
    encoder = build_model("vit", seed=seed, **{**SMALL, **arguments})
    return make_autoencoder(encoder, seed, width=16)


def run(
    sets: Sets,
    config: TrainConfig = CONFIG,
    objective: GuessHiddenPatches = OBJECTIVE,
    arguments: dict[str, Any] | None = None,
    **options: Any,
) -> FitResult:
    model = make(config.seed, **(arguments or {}))
    given = {"objective": objective, "device": "cpu", "progress": False, **options}
    return fit(model, *sets, config, **given)


def encoder_of(result: FitResult) -> VisionTransformer:
    assert isinstance(result.model, MaskedAutoencoder)
    return result.model.encoder


@pytest.fixture(scope="module")
def whole(sets: Sets) -> FitResult:
    """Return what a run that nothing interrupted ends with."""
    return run(sets)


def same(ours: nn.Module, theirs: nn.Module) -> bool:
    one, other = ours.state_dict(), theirs.state_dict()
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


class TestMasks:
    @pytest.mark.parametrize(("share", "hidden"), [(0.5, 8), (0.6, 10), (0.75, 12), (0.06, 1)])
    def test_every_image_loses_as_many_patches(self, share: float, hidden: int) -> None:
        kept = draw_kept(16, share, Draws.of(generator(), 500))
        assert kept.shape == (500, 16 - hidden)
        masks = find_hidden(kept, 16)
        assert (masks.sum(1) == hidden).all()
        # Each patch is hidden as often as every other, and no two images need be alike.
        often = masks.float().mean(0)
        assert (often - hidden / 16).abs().max() < 4 * (0.25 / 500) ** 0.5
        assert len(masks.unique(dim=0)) > 10

    def test_come_from_the_generator_alone(self) -> None:
        before = torch.random.get_rng_state()
        one, same, other = (draw_kept(16, 0.6, Draws.of(generator(s), 9)) for s in (1, 1, 2))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
        assert torch.equal(before, torch.random.get_rng_state())

    @pytest.mark.parametrize("share", [0.01, 0.99])
    def test_something_is_hidden_and_something_seen(self, share: float) -> None:
        with pytest.raises(ValueError, match=r"^A mask_share of .* would hide .*some seen\.$"):
            draw_kept(16, share, Draws.of(generator(), 3))

    def test_a_process_draws_its_piece_of_the_masks_of_the_whole_batch(self) -> None:
        whole = draw_kept(16, 0.6, Draws.of(generator(), 9))
        pieces = [draw_kept(16, 0.6, Draws(generator(), 9, p)) for p in (slice(0, 5), slice(5, 9))]
        assert torch.equal(torch.cat(pieces), whole)

    def test_hidden_are_those_that_are_not_kept(self) -> None:
        assert find_hidden(torch.tensor([[3, 0]]), 4).tolist() == [[False, True, True, False]]


class TestLoss:
    def test_is_the_mean_over_hidden_pixels(self) -> None:
        patches, guesses = torch.rand(2, 4, 9), torch.rand(2, 4, 9)
        kept = torch.tensor([[0, 2], [3, 1]])
        hidden = [(0, 1), (0, 3), (1, 0), (1, 2)]
        expected = sum(float(((guesses[i] - patches[i]) ** 2).mean()) for i in hidden) / 4
        assert float(masked_loss(guesses, patches, kept)) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("normalised", [False, True])
    def test_what_is_guessed_of_seen_patches_does_not_count(
        self, patches: Tensor, normalised: bool
    ) -> None:
        kept = draw_kept(16, 0.6, Draws.of(generator(), 20))
        hidden = find_hidden(kept, 16)
        guesses = torch.rand(patches.shape, generator=generator())
        loss = masked_loss(guesses, patches, kept, normalised)
        elsewhere = guesses + 7 * (~hidden).unsqueeze(2)
        assert torch.equal(masked_loss(elsewhere, patches, kept, normalised), loss)
        for image, patch in hidden.nonzero()[:30].tolist():
            other = guesses.clone()
            other[image, patch] += 1
            assert not torch.equal(masked_loss(other, patches, kept, normalised), loss)

    def test_normalised_patches_have_mean_0_and_deviation_1_unless_they_are_blank(self) -> None:
        patches = torch.rand(2, 4, 49, generator=generator()) * 5 + 3
        patches[0, 0] = -0.4242
        found = normalise_patches(patches)
        assert float(found.mean(2).abs().max()) < 1e-5
        assert float(found[0, 0].abs().max()) < 1e-5  # nothing is made of rounding
        assert float((found.std(2).flatten()[1:] - 1).abs().max()) < 0.01
        guesses, kept = torch.zeros(2, 4, 49), torch.tensor([[1, 2, 3], [0, 1, 2]])
        assert float(masked_loss(guesses, patches, kept, True)) == pytest.approx(0.49, abs=0.01)


class TestModel:
    def test_no_hidden_pixel_reaches_a_guess(
        self, model: MaskedAutoencoder, patches: Tensor
    ) -> None:
        kept = draw_kept(16, 0.6, Draws.of(generator(), 20))
        hidden = find_hidden(kept, 16).unsqueeze(2)
        guesses = model(patches, kept)
        assert guesses.shape == patches.shape
        assert torch.equal(model(torch.where(hidden, 99.0, patches), kept), guesses)
        assert not torch.allclose(model(torch.where(hidden, patches, 99.0), kept), guesses)

    def test_knows_where_each_patch_lies_whatever_the_order(
        self, model: MaskedAutoencoder, patches: Tensor
    ) -> None:
        kept = draw_kept(16, 0.6, Draws.of(generator(), 20))
        turned = model(patches, kept.flip(1))
        assert torch.allclose(turned, model(patches, kept), atol=1e-5)
        # Hidden patches have one token in common: only their positions tell them apart.
        guesses = model(patches[:1], torch.tensor([[0, 1, 2]])).detach()[0, 3:]
        assert float(torch.cdist(guesses, guesses).fill_diagonal_(9).min()) > 1e-3

    def test_comes_from_the_seed_alone(self) -> None:
        before = torch.random.get_rng_state()
        one, other = make(), make()
        assert same(one, other)
        assert same(one.encoder, build_model("vit", seed=3, **SMALL))
        assert not torch.equal(one.positions, make(seed=4).positions)
        assert torch.equal(before, torch.random.get_rng_state())

    def test_another_network_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"takes a VisionTransformer.*SmallCNN cannot\.$"):
            make_autoencoder(build_model("small_cnn"), seed=0)

    def test_the_encoder_is_the_very_one_that_was_given(self) -> None:
        encoder = build_model("vit", **SMALL)
        assert make_autoencoder(encoder, seed=0).encoder is encoder

    def test_reconstruct_keeps_what_is_seen(
        self, model: MaskedAutoencoder, patches: Tensor, sets: Sets
    ) -> None:
        images, _ = next(iter(Batches(sets[0], 20)))
        kept = draw_kept(16, 0.6, Draws.of(generator(), 20))
        found = patchify(reconstruct(model, images, kept), 7)
        hidden = find_hidden(kept, 16)
        assert torch.equal(found[~hidden], patches[~hidden])
        assert torch.equal(found[hidden], model(patches, kept)[hidden])

    def test_the_held_out_loss_is_the_mean_over_images_under_the_same_masks(
        self, model: MaskedAutoencoder, sets: Sets
    ) -> None:
        found = OBJECTIVE.score(model, Batches(sets[1], 60))  # 60, 60 and 10
        assert OBJECTIVE.score(model, Batches(sets[1], 60)).loss == found.loss
        at_once = OBJECTIVE.score(model, Batches(sets[1], 130))
        assert at_once.loss == pytest.approx(found.loss, rel=1e-5)
        assert found.count == at_once.count == 130
        assert math.isnan(found.accuracy), "there is nothing to be right about"


class TestPretrain:
    def test_learns_to_guess_and_leaves_the_head_alone(self, whole: FitResult, sets: Sets) -> None:
        losses = [report.validation.loss for report in whole.reports]
        assert losses == sorted(losses, reverse=True)
        assert losses[-1] < 0.95 * losses[0]
        assert [report.epoch for report in whole.reports] == [1, 2, 3]
        untouched = build_model("vit", seed=CONFIG.seed, **SMALL)
        assert isinstance(untouched, VisionTransformer)
        assert same(encoder_of(whole).output, untouched.output)
        assert not same(encoder_of(whole).blocks, untouched.blocks)
        assert all(p.requires_grad for p in whole.model.parameters())
        assert not whole.model.training

    def test_overfits_a_batch(self, model: MaskedAutoencoder, sets: Sets) -> None:
        config = replace(CONFIG, learning_rate=0.01)
        state = start_training(model, sets[0], config, objective=OBJECTIVE)
        batch = next(iter(Batches(sets[0], 20)))
        # From the same generator every time: so the same patches are hidden.
        losses = [float(train_step(state, batch, Draws.of(generator(), 20))[0]) for _ in range(150)]
        assert losses[-1] < 0.15 * losses[0]

    def test_reads_no_label(self, whole: FitResult, sets: Sets) -> None:
        blind = [replace(part, labels=np.zeros_like(part.labels)) for part in sets]
        assert same(run((blind[0], blind[1])).model, whole.model)

    @pytest.mark.parametrize("change", [{"mask_share": 0.7}, {"normalised_targets": True}])
    def test_every_setting_of_the_objective_counts(
        self, change: dict[str, Any], whole: FitResult, sets: Sets
    ) -> None:
        assert {"mask_share", "normalised_targets"} == {f.name for f in fields(GuessHiddenPatches)}
        assert not same(run(sets, objective=replace(OBJECTIVE, **change)).model, whole.model)

    def test_where_nothing_is_held_out_the_last_epoch_is_kept(
        self, whole: FitResult, sets: Sets, tmp_path: Path
    ) -> None:
        given: dict[str, Any] = {"objective": OBJECTIVE, "device": "cpu", "progress": False}
        result = fit(make(), sets[0], None, CONFIG, folder=tmp_path, **given)
        assert result.best.epoch == 3
        assert same(result.model, whole.model)  # of which the last epoch was the best
        _, card = load_checkpoint(tmp_path)
        assert "masked_loss" not in card.training

    def test_same_seed_same_weights_and_nothing_else_is_drawn_from(
        self, whole: FitResult, sets: Sets
    ) -> None:
        torch.manual_seed(99)
        before = torch.random.get_rng_state()
        assert same(run(sets).model, whole.model)
        assert torch.equal(before, torch.random.get_rng_state())
        assert not same(run(sets, replace(CONFIG, seed=4)).model, whole.model)

    def test_hides_other_patches_in_every_batch_and_epoch(
        self, sets: Sets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        met: list[Tensor] = []

        def draw(*given: Any) -> Tensor:
            met.append(draw_kept(*given))
            return met[-1]

        monkeypatch.setattr(masked, "draw_kept", draw)
        run(sets)
        masks = torch.stack([find_hidden(kept, 16) for kept in met if len(kept) == 43])
        assert len(masks) == 21
        assert len(masks.unique(dim=0)) == 21

    def test_its_checkpoint_is_a_vit_that_says_its_head_is_untrained(
        self, sets: Sets, tmp_path: Path
    ) -> None:
        result = run(sets, replace(CONFIG, epochs=1), folder=tmp_path)
        loaded, card = load_checkpoint(tmp_path)
        assert same(loaded, encoder_of(result))
        assert card.model == "vit"
        assert card.arguments == {**SMALL, "expansion": 2, "classes": 10}, "defaults too"
        assert (card.training["method"], card.training["head"]) == (
            *("masked pretraining", "untrained"),
        )
        assert card.training["masked_loss"] == result.reports[-1].validation.loss
        assert card.training["objective"] == {"mask_share": 0.6, "normalised_targets": False}
        assert not list(tmp_path.glob("resume*"))

    @pytest.mark.parametrize("epochs_done", [0, 1, 2])
    def test_an_interrupted_run_goes_on_exactly(
        self,
        epochs_done: int,
        whole: FitResult,
        sets: Sets,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.kill_after(epochs_done, sets, tmp_path, monkeypatch)
        # Before the first epoch is done there is a checkpoint too, if nothing to go on from.
        assert load_checkpoint(tmp_path)[1].training.get("epoch", 0) == epochs_done
        result = run(sets, folder=tmp_path, resume=True)
        assert same(result.model, whole.model)
        assert [report.epoch for report in result.reports] == [1, 2, 3]
        for ours, theirs in zip(result.reports, whole.reports, strict=True):
            assert told(ours) == told(theirs)
        assert not list(tmp_path.glob("resume*"))

    def kill_after(
        self, epochs: int, sets: Sets, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = [0]

        def step(*given: Any) -> tuple[Tensor, Tensor]:
            steps[0] += 1
            if steps[0] == 8 * epochs + 3:
                raise KeyboardInterrupt
            return train_step(*given)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "train_step", step)
            with pytest.raises(KeyboardInterrupt):
                run(sets, folder=folder)

    def test_another_run_is_not_resumed(
        self, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.kill_after(1, sets, tmp_path, monkeypatch)
        for change, word in (
            ({"mask_share": 0.5}, "'mask_share': 0.6.* now .*'mask_share': 0.5"),
            ({"normalised_targets": True}, "_targets': False.* now .*_targets': True"),
        ):
            objective = replace(OBJECTIVE, **change)
            says = rf"was started with another objective: .*{word}.*\. .*\.$"
            with pytest.raises(CheckpointError, match=says):
                run(sets, objective=objective, folder=tmp_path, resume=True)
        with pytest.raises(CheckpointError, match=r"with another seed: 3, now 4\. .*\.$"):
            run(sets, replace(CONFIG, seed=4), folder=tmp_path, resume=True)
        with pytest.raises(CheckpointError, match=r"another arguments: .*\.$"):
            run(sets, folder=tmp_path, resume=True, arguments={"depth": 2})
        others = (sets[0].subset(np.arange(1, 302)), sets[1])
        with pytest.raises(CheckpointError, match=r"was started on other data\.$"):
            run(others, folder=tmp_path, resume=True)
        record = json.loads((tmp_path / "resume.json").read_text())
        del record["reports"]
        (tmp_path / "resume.json").write_text(json.dumps(record))
        with pytest.raises(CheckpointError, match=r"resume\.json is no record of this run: .*\.$"):
            run(sets, folder=tmp_path, resume=True)

    def test_a_run_of_fit_is_not_resumed(
        self, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def keep_and_stop(*given: Any) -> None:
            save_tensors(*given)
            raise KeyboardInterrupt

        config = replace(CONFIG, epochs=2)
        monkeypatch.setattr(runs, "save_tensors", keep_and_stop)
        with pytest.raises(KeyboardInterrupt):
            fit("vit", *sets, config, arguments=SMALL, device="cpu", folder=tmp_path)
        with pytest.raises(CheckpointError, match=r"was started with another .*\.$"):
            run(sets, folder=tmp_path, resume=True)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"mask_share": 0.0}, r"^mask_share cannot be 0\.0\.$"),
            ({"mask_share": 1.0}, r"^mask_share cannot be 1\.0\.$"),
            ({"mask_share": 0.02}, r"^A mask_share of 0\.02 would hide 0 of 16 patches: .*\.$"),
        ],
    )
    def test_bad_shares_are_one_sentence(
        self, change: dict[str, Any], sentence: str, sets: Sets
    ) -> None:
        with pytest.raises(ValueError, match=sentence):
            run(sets, objective=replace(OBJECTIVE, **change))

    @pytest.mark.parametrize(
        ("sizes", "sentence"),
        [
            ({"width": 0}, r"^The decoder's width cannot be 0\.$"),
            ({"width": 10}, r"^A width of 10 cannot be shared by 4 heads\.$"),
            ({"depth": -1}, r"^The decoder's depth cannot be -1\.$"),
        ],
    )
    def test_bad_decoders_are_one_sentence(self, sizes: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            make_autoencoder(build_model("vit", **SMALL), 0, **sizes)

    @pytest.mark.parametrize("change", [{"epochs": 0}, {"learning_rate": -1.0}])
    def test_bad_settings_are_one_sentence(self, change: dict[str, Any]) -> None:
        ((name, value),) = change.items()
        with pytest.raises(ValueError, match=rf"^{name} cannot be {value}\.$"):
            replace(CONFIG, **change)

    def test_another_model_is_one_sentence(self, sets: Sets) -> None:
        with pytest.raises(ValueError, match=r"^Hidden patches are guessed by .* a SmallCNN\.$"):
            fit("small_cnn", *sets, CONFIG, objective=OBJECTIVE, device="cpu", progress=False)

    def test_bad_input_is_one_sentence(self, sets: Sets, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"Patches of 5 pixels do not divide 28 x 28\."):
            run(sets, arguments={"patch": 5})
        with pytest.raises(ValueError, match=r"are a test part: .*\.$"):
            run((replace(sets[0], part="test"), sets[1]))
        small = [replace(part, images=part.images[:, :21, :21].copy()) for part in sets]
        with pytest.raises(ValueError, match=r"^The images must be 28 x 28, found 21 x 21\.$"):
            run((small[0], small[1]))
        (tmp_path / "file").write_text("")
        with pytest.raises(ValueError, match=r"is a file; a folder for the checkpoint"):
            run(sets, folder=tmp_path / "file")

    def test_stops_at_a_loss_that_is_not_finite(self, sets: Sets, tmp_path: Path) -> None:
        with pytest.raises(
            FloatingPointError, match=r"^The loss is .* try a tenth of it, or .*\.$"
        ):
            run(sets, replace(CONFIG, learning_rate=1e30), folder=tmp_path)

    def test_stops_where_the_last_step_of_all_spoils_the_weights(
        self, sets: Sets, tmp_path: Path
    ) -> None:
        """Its own loss is from before it: only the score on held-out digits can tell."""
        config = replace(CONFIG, epochs=1, batch_size=302, learning_rate=1e30)
        with pytest.raises(FloatingPointError, match=r"^The validation loss is .* after epoch 1"):
            run(sets, config, folder=tmp_path)
        assert not list(tmp_path.iterdir()), "nothing that is no checkpoint lies about"


def told(report: EpochReport) -> str:
    """Return what a report says, but for the seconds; as text, in which NaN equals itself."""
    return repr(replace(report, seconds=0))


# --- Two processes -------------------------------------------------------------------------------


def main() -> None:
    """Pretrain as one of several processes and leave what came of it in the folder."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    train, validation = (load_npz(folder / f"{part}.npz") for part in ("train", "validation"))
    with join(torch.device("cpu")) as ranks:
        result = run((train, validation), folder=folder / "run", ranks=ranks)
        (folder / f"reports-{ranks.rank}.json").write_text(
            json.dumps([[r.train.loss, r.validation.loss] for r in result.reports]),
            encoding="utf-8",
        )


@pytest.mark.processes
def test_two_processes_take_the_steps_that_one_takes(
    whole: FitResult, sets: Sets, tmp_path: Path
) -> None:
    for part, digits in zip(("train", "validation"), sets, strict=True):
        save_npz(tmp_path / f"{part}.npz", digits)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    # No time is set here: a process that waits in vain for the other gives up by itself.
    ended = subprocess.run([*launcher, __file__, str(tmp_path)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    for rank in range(2):
        reports = json.loads((tmp_path / f"reports-{rank}.json").read_text(encoding="utf-8"))
        for found, expected in zip(reports, whole.reports, strict=True):
            losses = [expected.train.loss, expected.validation.loss]
            assert found == pytest.approx(losses, rel=2e-4)
    loaded, _ = load_checkpoint(tmp_path / "run")
    ours = encoder_of(whole).state_dict()
    for name, tensor in loaded.state_dict().items():
        assert torch.allclose(tensor, ours[name], atol=2e-3), name


if __name__ == "__main__":
    main()
