"""Lists what can be done where the data of a config are not on this machine."""

from collections.abc import Iterator

from lepton_jax.config.config import Config
from lepton_jax.data.sources.tfds_download import (
    format_download,
    has_files_by_hand,
    knows_set,
    manual_folder,
    needs_packages,
)
from lepton_jax.data.sources.tfds_prepared import AbsentSet
from lepton_jax.data.text.encodings import CarvesTexts, Encoding
from lepton_jax.errors import Way
from lepton_jax.installation import format_install

_SIZE = 32
"""Pixels to which images of one's own are resized where the recipe does not resize any."""


def list_ways(config: Config, absent: AbsentSet) -> list[Way]:
    """Returns the ways to train all the same: a download, a prepared copy, files of one's own, and
    the recipe's small form on generated data.
    """
    name = absent.dataset.partition(":")[0]
    prepared = f"with a copy that TFDS has prepared, in DIR/{name}"
    return [
        *_downloads(absent),
        Way(prepared, {"config.data.source.data_dir": "DIR"}),
        Way(prepared, before="TFDS_DATA_DIR=DIR "),
        *_own_files(config),
        Way("on a little generated data, to see it run", form="tiny"),
    ]


def _downloads(absent: AbsentSet) -> Iterator[Way]:
    if not knows_set(absent.dataset):
        return
    purpose = "to download it"
    if has_files_by_hand(absent.dataset):
        purpose = f"once the files that its owners hand out are in {manual_folder(absent.root)}"
    install = f"{format_install('download')} && " if needs_packages() else ""
    yield Way(purpose, {"config.data.source.download": "true"}, before=install)
    alone = format_download(absent.dataset, absent.root)
    yield Way(purpose, before=f"{install}{alone} && ")


def _own_files(config: Config) -> Iterator[Way]:
    """Yields the flags for files of the user's own, of the kind that the config's task reads."""
    section = config.data
    if section.encode is not None:
        encoding: Encoding = section.encode.build()
        columns = list(encoding.reads)
        label = "label" if "classification" in config.task.name else None
        form = "jsonl" if isinstance(encoding, CarvesTexts) else "csv"
        listed = ", ".join([*columns, *([label] if label else [])])
        yield Way(
            f"with texts of your own, in DIR/train.{form} and DIR/test.{form} with the "
            f"column{'s' if ',' in listed else ''} {listed}",
            {
                "config.data.source.name": form,
                "config.data.source.path": "DIR",
                **({} if label else {"config.data.source.label": "None"}),
            },
        )
    elif config.task.name.startswith("image_"):
        resize = {} if section.decode.transforms else {"config.data.decode": f"resize({_SIZE})"}
        yield Way(
            "with images of your own, in DIR/train/CLASS and DIR/test/CLASS",
            {"config.data.source.name": "folder", "config.data.source.path": "DIR", **resize},
        )
