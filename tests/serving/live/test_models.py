"""Which version answers: the next one takes over, a canary ends itself, a registry may be away."""

import asyncio
import gc
import time
import weakref

import numpy as np
import pytest

from lepton_jax.data.sources.digits import digits
from lepton_jax.serving.batches.batcher import BatchRules
from lepton_jax.serving.errors import BundleError
from lepton_jax.serving.live.answer import answer_by, find_different
from lepton_jax.serving.live.canary import CanaryRules, least_rate
from lepton_jax.serving.live.models import (
    FoundVersion,
    LiveNotes,
    Models,
    ModelSource,
    UnknownModel,
)
from lepton_jax.serving.loader import load_bundle
from tests.graduation import verified_bundle

IMAGES = {"image": digits().splits["test"].columns["image"][:40]}
RULES = BatchRules()


class Notes(LiveNotes):
    """Remembers what it is told."""

    def __init__(self):
        self.told = []

    def loaded(self, served):
        self.told.append(("loaded", served.version))

    def unloaded(self, served):
        self.told.append(("unloaded", served.version))

    def not_loaded(self, name, version, why):
        self.told.append(("not loaded", version))

    def asked(self, name, fault):
        self.told.append(("asked", fault))

    def canary_ended(self, name, version, why):
        self.told.append(("canary ended", why))


class Alias:
    """A name that stands for one bundle after the other, as an alias in a registry does."""

    def __init__(self, bundles):
        self.bundles = bundles
        self.version = 1
        self.away = False
        self.opened = []

    def source(self, moves=True):
        return ModelSource("digits", self.find, moves)

    def find(self):
        if self.away:
            raise ConnectionError("nobody there")
        folder, version = self.bundles[self.version - 1], self.version
        if folder is None:
            return FoundVersion(str(version), "sha256:0", self.fail)
        return FoundVersion(str(version), load_bundle(folder).id, lambda: self.open(folder))

    def open(self, folder):
        bundle = load_bundle(folder, program="onnx")
        self.opened.append(weakref.ref(bundle))
        return bundle

    def fail(self):
        raise BundleError("damaged")

    def alive(self):
        gc.collect()
        return sum(ref() is not None for ref in self.opened)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Three versions, of which the first one has learned little."""
    good, poor = verified_bundle(tmp_path_factory), verified_bundle(tmp_path_factory, 2)
    return [poor, good, poor, None]


async def until(condition, seconds=20):
    start = time.monotonic()
    while not condition():
        assert time.monotonic() < start + seconds
        await asyncio.sleep(0.01)


def test_the_next_version_takes_over_and_no_request_is_lost(bundles):
    async def run():
        alias, notes = Alias(bundles), Notes()
        models = Models([alias.source()], RULES, notes=notes)
        await models.load()
        assert models.ready
        models.follow(0.02)
        expected = {v: load_bundle(b, program="onnx").predict(IMAGES)["probabilities"]
                    for v, b in (("1", bundles[0]), ("2", bundles[1]))}  # fmt: skip
        seen, stop, most = [], False, 0

        async def ask():
            nonlocal most
            while not stop:
                served, answered = await answer_by(models, "digits", IMAGES)
                got = answered.outputs["probabilities"]
                np.testing.assert_array_equal(got, expected[served.version])
                seen.append(served.version)
                most = max(most, len(models.versions("digits")))

        askers = [asyncio.create_task(ask()) for _ in range(8)]
        await until(lambda: len(seen) > 50)
        alias.version = 2
        await until(lambda: ("unloaded", "1") in notes.told)
        await until(lambda: seen[-1] == "2")
        count = len(seen)
        await until(lambda: len(seen) > count + 50)
        stop = True
        await asyncio.gather(*askers)  # raises what any request raised
        assert set(seen) == {"1", "2"}
        assert seen.index("2") > 50
        assert alias.alive() == 1  # the old one is out of memory
        await models.close()

    asyncio.run(run())


def test_what_is_loaded_goes_on_while_the_registry_is_away(bundles):
    async def run():
        alias, notes = Alias(bundles), Notes()
        models = Models([alias.source()], RULES, notes=notes)
        await models.load()
        models.follow(0.02)
        alias.away = True
        await until(lambda: any("nobody there" in fault for _, fault in notes.told))
        served, _ = await answer_by(models, "digits", IMAGES)
        assert served.version == "1"
        alias.away, alias.version = False, 2
        await until(lambda: models.find("digits").version == "2")
        assert notes.told.count(("loaded", "2")) == 1
        await models.close()

    asyncio.run(run())


def test_a_version_that_does_not_load_changes_nothing_and_is_not_tried_all_the_time(bundles):
    async def run():
        alias, notes = Alias(bundles), Notes()
        models = Models([alias.source()], RULES, notes=notes)
        await models.load()
        models.follow(0.01)
        alias.version = 4
        await until(lambda: ("not loaded", "4") in notes.told)
        await asyncio.sleep(0.2)
        assert notes.told.count(("not loaded", "4")) == 1
        assert (await answer_by(models, "digits", IMAGES))[0].version == "1"
        alias.version = 2
        await until(lambda: models.find("digits").version == "2")
        await models.close()

    asyncio.run(run())


def test_a_canary_gets_its_share_and_the_same_key_gets_the_same_version(bundles):
    async def run():
        alias, other = Alias(bundles), Alias(bundles)
        alias.version, other.version = 1, 3  # the same bundle: they agree
        canaries = {"digits": (other.source(), CanaryRules(0.2))}
        models = Models([alias.source()], RULES, canaries)
        await models.load()
        versions = [models.find("digits", f"user-{i}").version for i in range(2000)]
        assert versions == [models.find("digits", f"user-{i}").version for i in range(2000)]
        assert 320 < versions.count("3") < 480
        assert models.find("digits", version="3").version == "3"
        assert models.main("digits").version == "1"
        for i in range(40):
            await answer_by(models, "digits", IMAGES, key=f"user-{i}")
        canary = models.canary("digits")
        assert canary.asked == versions[:40].count("3")
        assert (canary.errors, canary.other) == (0, 0)
        await models.close()

    asyncio.run(run())


def test_a_canary_that_disagrees_ends_itself(bundles):
    async def run():
        alias, other, notes = Alias(bundles), Alias(bundles), Notes()
        alias.version, other.version = 2, 1  # the canary has learned little
        canaries = {"digits": (other.source(), CanaryRules(0.5, most_disagreement=0.1))}
        models = Models([alias.source()], RULES, canaries, notes)
        await models.load()
        seen = [(await answer_by(models, "digits", IMAGES, key=str(i)))[0] for i in range(30)]
        assert models.canary("digits") is None
        (why,) = (fault for event, fault in notes.told if event == "canary ended")
        assert "differ" in why
        assert {s.version for s in seen[-10:]} == {"2"}
        await models.close()

    asyncio.run(run())


def test_where_a_canary_fails_the_main_version_answers_and_the_canary_ends(bundles):
    async def run():
        alias, other, notes = Alias(bundles), Alias(bundles), Notes()
        canaries = {"digits": (other.source(), CanaryRules(1.0))}
        other.version = 2
        models = Models([alias.source()], RULES, canaries, notes)
        await models.load()
        canary = models.canary("digits").served

        def fail(inputs):
            raise BundleError("out of order")

        canary._batcher._compute = fail  # what a driver's fault would do
        for i in range(40):
            served, _ = await answer_by(models, "digits", IMAGES, key=str(i))
            assert served.version == "1"
        assert models.canary("digits") is None
        assert any("failed" in why for event, why in notes.told if event == "canary ended")
        await models.close()

    asyncio.run(run())


def test_names_and_versions_that_are_not_there_are_said(bundles):
    async def run():
        models = Models([Alias(bundles).source()], RULES)
        with pytest.raises(UnknownModel, match="is not loaded yet"):
            models.find("digits")
        await models.load()
        with pytest.raises(UnknownModel, match="'letters' is not served here; there are: digits"):
            models.find("letters")
        with pytest.raises(UnknownModel, match="has no version '7' here; it has 1"):
            models.find("digits", version="7")
        await models.close()

    asyncio.run(run())


def test_the_bound_of_a_rate_is_wilsons():
    scipy = pytest.importorskip("scipy.stats")
    level = 1 - 2 * scipy.norm.sf(3)
    for count, total in ((0, 10), (1, 10), (5, 50), (50, 50), (3, 1000)):
        low = scipy.binomtest(count, total).proportion_ci(level, "wilson").low
        assert least_rate(count, total) == pytest.approx(low, abs=1e-9)


def test_answers_differ_by_their_whole_numbers_or_else_by_their_floats():
    one = {"label": np.array([1, 2]), "p": np.array([0.1, 0.2])}
    near = {"label": np.array([1, 2]), "p": np.array([0.9, 0.2])}
    assert find_different(one, near).tolist() == [False, False]
    assert find_different(one, {**near, "label": np.array([1, 3])}).tolist() == [False, True]
    assert find_different({"p": one["p"]}, {"p": near["p"]}).tolist() == [True, False]
    assert find_different(one, {"p": one["p"]}).tolist() == [True, True]
