"""Hugging Face's names of our models: config keys, names of arrays and their layouts.

Each file holds a family of models, as one table for both directions: `init_from` reads it from
theirs to ours, `export` from ours to theirs. `folder.py` reads and writes the folders.
"""

from lepton_jax.models.hugging_face.bert import BERT, BERT_MLM
from lepton_jax.models.hugging_face.family import Family, Keys, complete_keys
from lepton_jax.models.hugging_face.gpt2 import GPT2
from lepton_jax.models.hugging_face.llama import LLAMA
from lepton_jax.models.hugging_face.resnet import RESNET, TIMM_RESNET
from lepton_jax.models.hugging_face.vit import VIT

__all__ = ["FAMILIES", "Family", "Keys", "complete_keys"]

FAMILIES: tuple[Family, ...] = (RESNET, TIMM_RESNET, VIT, BERT, BERT_MLM, GPT2, LLAMA)
