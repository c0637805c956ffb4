"""Innocent clients with texts: what a support desk's classifier is asked all day.

Some hold a pool of texts as vectors, as clients with pictures do; others write, and every sentence of theirs is new: the same
thing said in other words, a conversation of which the server sees all that was said so far, a form letter with other
particulars. The conventions are those of `profiles.benign`, except that no profile leaves the unit sphere.

Those who write need the encoder of `detector.redteam.texts`. Where the pool has vectors of another length it comes from another
encoder, and they put texts together from those of the pool: the vector of a longer text is nearly the scaled sum of its parts,
and another wording lies on the way to a neighbour.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from detector.redteam.conversation import Array, AskedQuery, Conversation, draws
from detector.redteam.entries import profile
from detector.redteam.profiles import benign, habits
from detector.redteam.setting import Setting
from detector.redteam.texts import DIMENSION, TOPICS, embedded, parts_of, plan, scaled, worded

habit = partial(profile, data="text")

habit(
    id="text_steady",
    title="Independent texts",
    family="selection",
    source="Juuti et al., EuroS&P 2019: the innocent of that evaluation",
    wave="known",
)(benign.steady)
habit(
    id="text_skewed",
    title="Few topics: Dirichlet(0.25) weights",
    family="selection",
    source="Hsu et al., arXiv 1909.06335",
    wave="known",
)(benign.skewed)
habit(
    id="text_retries",
    title="Exact repeats of 10 to 50% of the texts",
    family="repetition",
    source="own observation: time-outs, reloads and lost caches",
    wave="known",
    arrival="bursty",
)(benign.retries)
habit(
    id="text_load_test",
    title="A small set of texts replayed without end",
    family="repetition",
    source="own observation: load generators replay a file",
    wave="known",
    arrival="clockwork",
)(habits.load_test)


@habit(
    id="text_paraphrase",
    title="The same matter in other words",
    family="exploration",
    source="own observation: people rephrase",
    wave="known",
    arrival="bursty",
)
def text_paraphrase(setting: Setting) -> Conversation:
    """People who are not understood say it again: each matter in 2 to 8 wordings."""
    rng = setting.rng
    if _foreign(setting):
        for index in draws(len(setting.pool), rng):
            for _ in range(int(rng.integers(2, 9))):
                yield AskedQuery(_reworded(setting, index))
    for topic in _topics(setting):
        meant = plan(topic, rng)
        for _ in range(int(rng.integers(2, 9))):
            yield AskedQuery(embedded(worded(meant, rng)))


@habit(
    id="text_conversation",
    title="Conversations of many turns that drift",
    family="repetition",
    source="own observation: assistants send the whole conversation",
    wave="known",
    arrival="bursty",
)
def text_conversation(setting: Setting) -> Conversation:
    """Conversations of 4 to 20 turns: every query holds the last 2 to 8 turns, and the topic drifts.

    So each query shares most of its words with the one before.
    """
    rng = setting.rng
    memory, drift = int(rng.integers(2, 9)), rng.uniform(0.0, 0.3)
    if _foreign(setting):
        for index in draws(len(setting.pool), rng):
            at, turns = index, []
            for _ in range(int(rng.integers(4, 21))):
                if rng.random() < drift:
                    at = int(rng.integers(len(setting.pool)))
                turns.append(_reworded(setting, at))
                yield AskedQuery(scaled(np.sum(turns[-memory:], axis=0)))
    for first in _topics(setting):
        topic, said = first, []
        for _ in range(int(rng.integers(4, 21))):
            if rng.random() < drift:
                topic = int(rng.integers(len(TOPICS)))
            said.append(worded(plan(topic, rng), rng))
            yield AskedQuery(embedded(" ".join(said[-memory:])))


@habit(
    id="text_form_letters",
    title="Form letters with other particulars",
    family="repetition",
    source="own observation: mail merge",
    wave="known",
)
def text_form_letters(setting: Setting) -> Conversation:
    """A program that sends form letters: one to four fixed sentences of its own, each with a sentence from a person."""
    rng = setting.rng
    if _foreign(setting):
        order = draws(len(setting.pool), rng)
        fixed = [setting.pool[next(order)] for _ in range(int(rng.integers(1, 5)))]
        for index in order:
            yield AskedQuery(scaled(fixed[int(rng.integers(len(fixed)))] + setting.pool[index]))
    topics = _topics(setting)
    letters = [worded(plan(next(topics), rng), rng) for _ in range(int(rng.integers(1, 5)))]
    for topic in topics:
        yield AskedQuery(embedded(f"{letters[int(rng.integers(len(letters)))]} {worded(plan(topic, rng), rng)}"))


@habit(
    id="text_typing",
    title="A query after every word",
    family="editor",
    source="own observation: suggestions while typing",
    wave="later",
    arrival="bursty",
)
def text_typing(setting: Setting) -> Conversation:
    """Suggestions while somebody types: a query after every word, each one word longer than the one before."""
    rng = setting.rng
    if _foreign(setting):
        for index in draws(len(setting.pool), rng):
            parts = parts_of(setting.pool[index], int(rng.integers(4, 16)), rng)
            for count in range(2, len(parts) + 1):
                yield AskedQuery(scaled(parts[:count].sum(axis=0)))
    for topic in _topics(setting):
        words = worded(plan(topic, rng), rng).split()
        for count in range(2, len(words) + 1):
            yield AskedQuery(embedded(" ".join(words[:count])))


@habit(id="text_misspelt", title="Mistyped words", family="device", source="own observation: small keyboards", wave="later")
def text_misspelt(setting: Setting) -> Conversation:
    """People who mistype: 5 to 40% of the words lose or double a letter, and are words that the encoder never saw."""
    rng = setting.rng
    share = rng.uniform(0.05, 0.4)
    if _foreign(setting):
        for index in draws(len(setting.pool), rng):
            parts = parts_of(setting.pool[index], int(rng.integers(4, 16)), rng)
            kept = rng.random(len(parts)) >= share
            yield AskedQuery(scaled(parts[kept].sum(axis=0)) if kept.any() else setting.pool[index])
    for topic in _topics(setting):
        words = worded(plan(topic, rng), rng).split()
        for place, word in enumerate(words):
            if rng.random() < share:
                at = int(rng.integers(len(word)))
                lost = len(word) > 2 and rng.random() < 0.5
                words[place] = word[:at] + ("" if lost else 2 * word[at]) + word[at + 1 :]
        yield AskedQuery(embedded(" ".join(words)))


def _topics(setting: Setting) -> Iterator[int]:
    """Topics as often as the pool has them, without end."""
    for index in draws(len(setting.pool), setting.rng):
        yield int(setting.labels[index])


def _foreign(setting: Setting) -> bool:
    """Whether the pool was made by another encoder, so that nothing can be written."""
    return bool(setting.pool.shape[1] != DIMENSION)


def _reworded(setting: Setting, index: int) -> Array:
    """A text of the pool in other words: up to a third of the way to another of the same label."""
    same = np.flatnonzero(setting.labels == setting.labels[index])
    other = setting.pool[int(setting.rng.choice(same))]
    share = setting.rng.uniform(0.0, 1.0 / 3.0)
    return scaled((1.0 - share) * setting.pool[index] + share * other)
