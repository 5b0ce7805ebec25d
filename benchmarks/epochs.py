"""Four epochs against ten: the same network, each run with a schedule that ends where it ends.

    python -m benchmarks.epochs [--seeds 3]

About 5 minutes on two idle cores.

Chapter 5's network and configuration on 55,000 digits; nothing but the number of epochs differs.
The peak of the schedule is the same and was searched for neither. The 5,000 validation digits are
scored after every epoch, the test set never; what counts is the last epoch, and not the best.
"""

from __future__ import annotations

from mnist_lab import TrainConfig, build_model, fit, load_mnist, split

from .recording import Record, add, make_parser, measured, read_arguments

EPOCHS = (4, 10)
LEARNING_RATE = 0.02
BATCH_SIZE = 128


def main() -> None:
    """Measure what the record lacks; write it after every run."""
    arguments = read_arguments(make_parser(__doc__, seeds=3))
    setting = {"model": "small_cnn", "learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZE}
    record = Record("epochs", arguments, setting)
    mnist = load_mnist()
    for seed in range(arguments.seeds):
        train, validation = split(mnist.train, seed=seed)
        for epochs in EPOCHS:
            entry = record.entry(f"{epochs} epochs")
            if measured(entry, "accuracy") > seed:
                continue
            config = TrainConfig(
                epochs=epochs, batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE, seed=seed
            )
            model = build_model("small_cnn", seed=seed)
            run = fit(model, train, validation, config, device="cpu", progress=False)
            reports = run.reports
            last = reports[-1]
            add(entry, "accuracy", last.validation.accuracy)
            add(entry, "loss", last.validation.loss)
            add(entry, "training_accuracy", last.train.accuracy)
            add(entry, "accuracy_after_four", reports[3].validation.accuracy)
            record.save(f"{epochs} epochs", f"seed {seed}", f"{last.validation.accuracy:.2%}")


if __name__ == "__main__":
    main()
