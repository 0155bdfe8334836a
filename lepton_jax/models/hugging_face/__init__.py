"""Our models in the words of Hugging Face: config keys, names of arrays and their layouts.

A file is a family: one table for both directions, `init_from` reading it from theirs to ours and
`export` from ours to theirs. Data and numpy; `folder.py` reads and writes the folders.
"""

from lepton_jax.models.hugging_face.bert import BERT, BERT_MLM
from lepton_jax.models.hugging_face.family import Family, Keys, complete_keys
from lepton_jax.models.hugging_face.gpt2 import GPT2
from lepton_jax.models.hugging_face.llama import LLAMA
from lepton_jax.models.hugging_face.resnet import RESNET, TIMM_RESNET
from lepton_jax.models.hugging_face.vit import VIT

__all__ = ["FAMILIES", "Family", "Keys", "complete_keys"]

FAMILIES: tuple[Family, ...] = (RESNET, TIMM_RESNET, VIT, BERT, BERT_MLM, GPT2, LLAMA)
