"""Innocent clients with texts, and their permanent ids: what a support desk's classifier is asked all day.

Some hold a pool of texts as vectors, as clients with pictures do; others write, and every sentence of theirs is new: the same
thing said in other words, a conversation of which the server sees all that was said so far, a form letter with other
particulars. The conventions are those of `detector.redteam.benign`, except that no profile leaves the unit sphere.
"""

from collections.abc import Iterator

import numpy as np

from detector.redteam import benign, habits
from detector.redteam.conversation import Array, Conversation, Labels, Query, ValueRange, draws
from detector.redteam.profiles import Profile
from detector.redteam.texts import TOPICS, embedded, plan, worded


def text_paraphrase(pool: Array, labels: Labels, rng: np.random.Generator, value_range: ValueRange) -> Conversation:
    """People who are not understood say it again: each matter in 2 to 8 wordings."""
    del value_range
    for topic in _topics(pool, labels, rng):
        meant = plan(topic, rng)
        for _ in range(int(rng.integers(2, 9))):
            yield Query(embedded(worded(meant, rng)))


def text_conversation(pool: Array, labels: Labels, rng: np.random.Generator, value_range: ValueRange) -> Conversation:
    """Conversations of 4 to 20 turns: every query holds the last 2 to 8 turns, and the topic drifts.

    So each query shares most of its words with the one before.
    """
    del value_range
    memory, drift = int(rng.integers(2, 9)), rng.uniform(0.0, 0.3)
    for first in _topics(pool, labels, rng):
        topic, said = first, []
        for _ in range(int(rng.integers(4, 21))):
            if rng.random() < drift:
                topic = int(rng.integers(len(TOPICS)))
            said.append(worded(plan(topic, rng), rng))
            yield Query(embedded(" ".join(said[-memory:])))


def text_form_letters(pool: Array, labels: Labels, rng: np.random.Generator, value_range: ValueRange) -> Conversation:
    """A program that sends form letters: one to four fixed sentences of its own, each with a sentence from a person."""
    del value_range
    topics = _topics(pool, labels, rng)
    letters = [worded(plan(next(topics), rng), rng) for _ in range(int(rng.integers(1, 5)))]
    for topic in topics:
        yield Query(embedded(f"{letters[int(rng.integers(len(letters)))]} {worded(plan(topic, rng), rng)}"))


def text_typing(pool: Array, labels: Labels, rng: np.random.Generator, value_range: ValueRange) -> Conversation:
    """Suggestions while somebody types: a query after every word, each one word longer than the one before."""
    del value_range
    for topic in _topics(pool, labels, rng):
        words = worded(plan(topic, rng), rng).split()
        for count in range(2, len(words) + 1):
            yield Query(embedded(" ".join(words[:count])))


def text_misspelt(pool: Array, labels: Labels, rng: np.random.Generator, value_range: ValueRange) -> Conversation:
    """People who mistype: 5 to 40% of the words lose or double a letter, and are words that the encoder never saw."""
    del value_range
    share = rng.uniform(0.05, 0.4)
    for topic in _topics(pool, labels, rng):
        words = worded(plan(topic, rng), rng).split()
        for place, word in enumerate(words):
            if rng.random() < share:
                at = int(rng.integers(len(word)))
                lost = len(word) > 2 and rng.random() < 0.5
                words[place] = word[:at] + ("" if lost else 2 * word[at]) + word[at + 1 :]
        yield Query(embedded(" ".join(words)))


def _topics(pool: Array, labels: Labels, rng: np.random.Generator) -> Iterator[int]:
    """Topics as often as the pool has them, without end."""
    for index in draws(len(pool), rng):
        yield int(labels[index])


OWN = "own observation"
TEXT = (
    Profile(
        "text_steady",
        "Independent texts",
        "selection",
        "Juuti et al., EuroS&P 2019: the innocent of that evaluation",
        benign.steady,
        data="text",
    ),
    Profile(
        "text_skewed",
        "Few topics: Dirichlet(0.25) weights",
        "selection",
        "Hsu et al., arXiv 1909.06335",
        benign.skewed,
        data="text",
    ),
    Profile(
        "text_retries",
        "Exact repeats of 10 to 50% of the texts",
        "repetition",
        f"{OWN}: time-outs, reloads and lost caches",
        benign.retries,
        arrival="bursty",
        data="text",
    ),
    Profile(
        "text_load_test",
        "A small set of texts replayed without end",
        "repetition",
        f"{OWN}: load generators replay a file",
        habits.load_test,
        arrival="clockwork",
        data="text",
    ),
    Profile(
        "text_paraphrase",
        "The same matter in other words",
        "exploration",
        f"{OWN}: people rephrase",
        text_paraphrase,
        arrival="bursty",
        data="text",
    ),
    Profile(
        "text_conversation",
        "Conversations of many turns that drift",
        "repetition",
        f"{OWN}: assistants send the whole conversation",
        text_conversation,
        arrival="bursty",
        data="text",
    ),
    Profile(
        "text_form_letters",
        "Form letters with other particulars",
        "repetition",
        f"{OWN}: mail merge",
        text_form_letters,
        data="text",
    ),
    Profile(
        "text_typing",
        "A query after every word",
        "editor",
        f"{OWN}: suggestions while typing",
        text_typing,
        arrival="bursty",
        tier="later",
        data="text",
    ),
    Profile(
        "text_misspelt",
        "Mistyped words",
        "device",
        f"{OWN}: small keyboards",
        text_misspelt,
        tier="later",
        data="text",
    ),
)
"""Profiles with texts, those that may serve for calibration first."""
