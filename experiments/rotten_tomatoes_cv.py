"""Sentences of film reviews: what does Kim's network reach over ten folds?

Kim (2014), Convolutional neural networks for sentence classification (EMNLP), table 2, on MR (Pang
& Lee 2005): CNN-rand 76.1 %, the mean over ten folds of all 10,662 sentences. (CNN-non-static
reaches 81.5 % with the vectors of word2vec, which are not here.)

    TFDS_DATA_DIR=... lepton reproduce --experiment=rotten_tomatoes_cv \\
        --workdir=runs/rotten_tomatoes_cv
"""

from lepton_jax.ablation import Experiment, Published, Variant


def get_experiment() -> Experiment:
    return Experiment(
        question="Does the recipe reach the accuracy of CNN-rand over ten folds of MR?",
        config="rotten_tomatoes_cnn",
        changes={"data.folds_of": "all"},
        variants=[Variant("CNN-rand")],
        seeds=(0,),
        folds=10,
        metric="accuracy",
        published={"CNN-rand": Published(0.761, 0.015, "Kim (2014), table 2, CNN-rand on MR")},
    )
