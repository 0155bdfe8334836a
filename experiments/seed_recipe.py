"""Does the plain Keras recipe reach 0.8996 on CIFAR-10, and what does each usual change add?

The recipe (Conv 32, pool, Conv 64, pool, Dense 64, Adam, 10 epochs, no augmentation) comes from an
article that reports 0.8996. The variants make one change at a time: normalisation, augmentation, a
schedule, label smoothing.
"""

from lepton_jax.ablation import Experiment, Published, one_at_a_time


def get_experiment() -> Experiment:
    return Experiment(
        question="Does the plain CIFAR-10 recipe reach 0.8996, and what does each change add?",
        config="cifar10_cnn",
        variants=one_at_a_time(
            {
                "BatchNorm": {"model.normalize": True},
                "augmentation": {"data.augment": "pad_crop(4) | flip()"},
                "schedule": {"schedule.name": "cosine", "schedule.warmup": "1 epochs"},
                "label smoothing": {"task.label_smoothing": 0.1},
            },
            baseline="recipe",
        ),
        seeds=range(3),
        metric="accuracy",
        published={"recipe": Published(0.8996, 0.01, "the article that the recipe comes from")},
    )
