"""A log of prompts: what people ask a support assistant, as the LiteLLM proxy logs it.

The innocents write as the red team's support desk does. One thief sweeps other domains with a script, to get the assistant's
skills that the desk does not need. Another takes a few prompts of the desk and changes one word at a time; nobody sees him,
since he learns less than the desk's clients do, and people who polish a prompt ask the same.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import numpy as np

from detector.redteam.play import START_MS
from detector.redteam.texts import TOPICS, plan, worded

SYSTEM = "You are the assistant of the support desk. Answer in two sentences and be polite."
DAY_MS = 86_400_000

Writer: TypeAlias = Callable[[np.random.Generator], Iterator[str]]


def independent(rng: np.random.Generator) -> Iterator[str]:
    """One matter after the other."""
    while True:
        yield worded(plan(int(rng.integers(len(TOPICS))), rng), rng)


def rephrasing(rng: np.random.Generator) -> Iterator[str]:
    """Whoever is not understood says it again."""
    while True:
        meant = plan(int(rng.integers(len(TOPICS))), rng)
        for _ in range(int(rng.integers(2, 5))):
            yield worded(meant, rng)


def retrying(rng: np.random.Generator) -> Iterator[str]:
    """A client that times out and sends a third of its prompts again."""
    for text in independent(rng):
        yield text
        if rng.random() < 0.3:
            yield text


def form_letters(rng: np.random.Generator) -> Iterator[str]:
    """A program that puts what people write into one of three letters."""
    letters = [worded(plan(int(rng.integers(len(TOPICS))), rng), rng) for _ in range(3)]
    for text in independent(rng):
        yield f"{letters[int(rng.integers(3))]} {text}"


_TASKS = (
    "Write a {language} function that {action} and explain its complexity step by step",
    "Translate the following sentence about {subject} into {tongue}: the {thing} {verb} the {other}",
    "Prove or refute: every {thing} that is {quality} has a {other} with {number} {subject} properties",
    "List {number} facts about {subject} with dates, and rate the confidence of each between 0 and 1",
    "Summarise the arguments for and against {subject} as a {role} would, in exactly {number} bullet points",
)
_WORDS = {
    "language": ["Python", "Rust", "Haskell", "Fortran", "Prolog", "Kotlin", "Julia", "Scheme"],
    "action": ["sorts a linked list", "inverts a matrix", "parses a date", "finds primes", "balances a tree", "hashes a file"],
    "subject": [
        "astronomy",
        "topology",
        "medicine",
        "opera",
        "geology",
        "taxation",
        "poetry",
        "genetics",
        "rhetoric",
        "logistics",
    ],
    "tongue": ["Finnish", "Latin", "Korean", "Swahili", "Welsh", "Turkish", "Basque"],
    "thing": ["graph", "planet", "violin", "enzyme", "sonnet", "glacier", "group", "treaty"],
    "verb": ["dissolves", "precedes", "contradicts", "encloses", "outlives", "transforms"],
    "other": ["manifold", "comet", "cello", "protein", "stanza", "moraine", "ring", "ratification"],
    "quality": ["finite", "periodic", "tuned", "inert", "metrical", "frozen", "abelian", "binding"],
    "role": ["lawyer", "surgeon", "pilot", "novelist", "chemist", "auditor"],
    "number": ["3", "5", "7", "9", "12", "15"],
}


def other_domains(rng: np.random.Generator) -> Iterator[str]:
    """A script that sweeps tasks from elsewhere."""
    while True:
        task = _TASKS[int(rng.integers(len(_TASKS)))]
        yield task.format(**{name: words[int(rng.integers(len(words)))] for name, words in _WORDS.items()})


def one_word_at_a_time(rng: np.random.Generator) -> Iterator[str]:
    """A script that replaces single words of a few prompts, to see which of them move the answer."""
    lexicon = sorted({word for _, text in zip(range(200), independent(rng), strict=False) for word in text.split()})
    for text in independent(rng):
        words = text.split()
        for place in range(len(words)):
            for _ in range(4):
                yield " ".join([*words[:place], lexicon[int(rng.integers(len(lexicon)))], *words[place + 1 :]])


INNOCENTS: dict[str, Writer] = {
    "independent": independent,
    "rephrasing": rephrasing,
    "retrying": retrying,
    "form_letters": form_letters,
}
THIEVES: dict[str, Writer] = {"other_domains": other_domains}
UNSEEN: dict[str, Writer] = {"one_word_at_a_time": one_word_at_a_time}  # answers without classes show no boundary


@dataclass(frozen=True, slots=True, order=True)
class Prompt:
    """One prompt of a client."""

    time_ms: int
    client: str
    text: str


def written(history: Path, live: Path) -> None:
    """Write the log of a benign fortnight, and that of a day with thieves, whose clients are called ``thief-...``."""
    before = [
        prompt
        for role in INNOCENTS
        for n in range(12)
        for prompt in _asked(f"{role}-{n}", INNOCENTS[role], START_MS - 14 * DAY_MS + n % 10 * DAY_MS, 80)
    ]
    today = [
        prompt for role in INNOCENTS for n in range(3) for prompt in _asked(f"{role}-1{n}", INNOCENTS[role], START_MS, 160)
    ]
    thieves = THIEVES | UNSEEN
    today += [prompt for role in thieves for prompt in _asked(f"thief-{role}", thieves[role], START_MS, 400)]
    for path, prompts in ((history, before), (live, today)):
        path.write_bytes(b"".join(_line(prompt) + b"\n" for prompt in sorted(prompts)))


def _asked(client: str, writer: Writer, start_ms: int, budget: int) -> Iterator[Prompt]:
    rng = np.random.default_rng(list(client.encode()))
    time_ms = start_ms + int(rng.integers(600_000))
    for text, _ in zip(writer(rng), range(budget), strict=False):
        yield Prompt(time_ms, client, text)
        time_ms += 1000 + int(rng.exponential(20_000))


def _line(prompt: Prompt) -> bytes:
    """A record of the proxy; the answer stands for what an assistant would write, one text a prompt."""
    number = sha256(prompt.text.encode()).hexdigest()
    entry = {
        "id": f"chatcmpl-{prompt.client}-{prompt.time_ms}",
        "trace_id": number[:12],
        "call_type": "acompletion",
        "status": "success",
        "startTime": prompt.time_ms / 1000,
        "endTime": prompt.time_ms / 1000 + 1.5,
        "response_time": 1.5,
        "model": "openai/support-8b",
        "model_group": "support",
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt.text}],
        "response": {
            "id": f"chatcmpl-{number[:8]}",
            "object": "chat.completion",
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": f"Answer {number[:6]}."}}
            ],
        },
        "metadata": {"user_api_key_hash": prompt.client, "user_api_key_team_id": "desk"},
    }
    return json.dumps(entry).encode()
