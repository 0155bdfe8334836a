"""Every command of the command line as a function that a notebook can call; `load`, `build_loop`.

Parameters are the command's flags. Each returns a record of what it did: `str()` of it is what the
command line prints, `as_json()` what `--json` prints. Importing this module is light: a command
imports what it needs when it is called.
"""

from lepton_jax.commands.ablate import ablate as ablate
from lepton_jax.commands.augment import augment as augment
from lepton_jax.commands.compare import compare as compare
from lepton_jax.commands.completion import completion as completion
from lepton_jax.commands.debug import debug as debug
from lepton_jax.commands.deploy import deploy as deploy
from lepton_jax.commands.describe import describe as describe
from lepton_jax.commands.env import env as env
from lepton_jax.commands.evaluate import evaluate as evaluate
from lepton_jax.commands.explain import explain as explain
from lepton_jax.commands.export import export as export
from lepton_jax.commands.generate import generate as generate
from lepton_jax.commands.improve import improve as improve
from lepton_jax.commands.list import list as list
from lepton_jax.commands.lr_find import lr_find as lr_find
from lepton_jax.commands.monitor import monitor as monitor
from lepton_jax.commands.pack import pack as pack
from lepton_jax.commands.plan import plan as plan
from lepton_jax.commands.predict import predict as predict
from lepton_jax.commands.promote import promote as promote
from lepton_jax.commands.re_export import re_export as re_export
from lepton_jax.commands.register import register as register
from lepton_jax.commands.registry import registry as registry
from lepton_jax.commands.replay import replay as replay
from lepton_jax.commands.replay_log import replay_log as replay_log
from lepton_jax.commands.reproduce import reproduce as reproduce
from lepton_jax.commands.requests import requests as requests
from lepton_jax.commands.runs import runs as runs
from lepton_jax.commands.serve import serve as serve
from lepton_jax.commands.sign import sign as sign
from lepton_jax.commands.submit import submit as submit
from lepton_jax.commands.trace import trace as trace
from lepton_jax.commands.train import train as train
from lepton_jax.commands.trust import trust as trust
from lepton_jax.commands.verify import verify as verify
from lepton_jax.commands.watch import watch as watch
from lepton_jax.errors import UserError as UserError
from lepton_jax.errors import WorkError as WorkError
from lepton_jax.notebook.build_loop import build_loop as build_loop
from lepton_jax.notebook.load import load as load
