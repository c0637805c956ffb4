"""Testing a suspect: one p-value for each key under which clients were told answers, corrected for how many there are.

The labels of the suspect decide; where it tells probabilities, their row is information. Nobody is named above 1 in 10,000: one
unlucky key fits several innocents alike.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.errors import OwnershipError
from detector.ownership.answers import Answer, Read, Subject
from detector.ownership.dawn import Dawn, dawn_test
from detector.ownership.ranking import Asked, counterfeit_keys, rank_p, scores
from detector.ownership.stamp import too_late
from detector.perturb.committed import Committed
from detector.perturb.keys import dawn_label, name_of, subject_key
from detector.perturb.tilt import draw

__all__ = ["NAMED", "Plan", "Row", "Settings", "Verified", "plan", "verify"]

NAMED: Final = 1e-4
LEAST_ANSWERS: Final = 50
LEAST_UNCERTAIN: Final = 30
REACH: Final = 5.7  # strengths: the pulls on two classes differ by more for 1 key and input in 200
OWN: Final = 5 / 7  # of the queries go to what the client itself was told: tests on other inputs find little
MISLED: Final = 100  # inputs that were told a wrong label, at most
CONTROLS: Final = 200  # other inputs that the test of wrong labels asks about
SAME: Final = 1e-4  # probability, by which answers may differ that are the model's own

_Array = npt.NDArray[np.float64]


class Settings(NamedTuple):
    """How a suspect is tested. `tried` are the suspects that were tested with these keys so far, this one included."""

    most_queries: int = 700
    counterfeits: int = 20_000
    labels_only: bool = False
    tried: int = 1


class Part(NamedTuple):
    """What is asked because of one key: places in the plan's answers, for the tilt and for the wrong labels.

    The first `own` of the tilt's are what its clients asked.
    """

    subject: Subject
    key: bytes
    tilt: list[int]
    wrong: list[int]
    own: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The inputs that a suspect is asked about, each once, and what each key makes of them; `left_out` are the other keys."""

    committed: Committed
    answers: list[Answer]
    parts: list[Part]
    left_out: list[str]

    def inputs(self) -> npt.NDArray[np.float32]:
        """Return the inputs (n, d)."""
        return np.array([answer.vector for answer in self.answers])


@dataclass(frozen=True, slots=True)
class Row:
    """What came out for one key. `p` is uncorrected, `corrected` what counts; `probabilities` is information.

    `clients` were told answers under it, those with most of them first, each with how many.
    """

    subject: str
    clients: tuple[tuple[str, int], ...]
    answers: int
    inputs: int
    p: float
    corrected: float
    probabilities: float | None
    dawn: Dawn | None
    first_ms: int
    value: float
    counterfeits: _Array = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verified:
    """What a test found. `tests` is what p was multiplied by; `unprovable` is why it is no proof, None where it may be one."""

    suspect: str
    model: str
    classes: int
    queries: int
    keys: int
    counterfeits: int
    tests: int
    agreement: float
    rows: list[Row]
    left_out: list[str]
    commitment: str
    stamped: dt.datetime | None
    unprovable: str | None

    @property
    def named(self) -> list[Row]:
        """Keys whose clients may be named."""
        return [] if self.unprovable else [row for row in self.rows if row.corrected <= NAMED]


def plan(read: Read, committed: Committed, master: bytes, client: str | None, settings: Settings) -> Plan:
    """Choose what a suspect is asked about, for the keys of one client or of all.

    Raises `OwnershipError` where nothing was marked for the client, or not enough for a test.
    """
    who = "this client" if client is not None else "any client"
    wanted = [one for _, one in sorted(read.subjects.items()) if client is None or client in one.clients]
    left_out: list[str] = []
    if read.misnamed:
        left_out.append(
            f"{read.misnamed} records bear the mark of another client than the one they name: the log was changed since, or "
            "callers could choose the header that names the client"
        )
    if not wanted:
        raise OwnershipError(
            f"nothing was marked for {who}: the log has no answer with a mark, so there is nothing to test"
            + "".join(f"\n{one}" for one in left_out)
        )
    parts: list[tuple[Subject, bytes]] = []
    for subject in wanted:
        key = subject_key(master, committed.model, subject.name.subject, subject.name.epoch)
        why = _unusable(subject, key, committed)
        if why is None:
            parts.append((subject, key))
        else:
            left_out.append(f"{subject.name.subject} (epoch {subject.name.epoch}): {why}")
    if not parts:
        raise OwnershipError("no key can be tested:\n" + "\n".join(left_out))
    return _chosen(read, committed, parts, left_out, settings)


def _unusable(subject: Subject, key: bytes, committed: Committed) -> str | None:
    if subject.name.epoch != committed.epoch:
        return f"another epoch than that of the commitment ({committed.epoch})"
    if name_of(key, subject.name.subject, subject.name.epoch) != subject.name:
        return "marked with another master key"
    if len(subject.uncertain) < LEAST_ANSWERS:
        return f"marked answers to {len(subject.uncertain)} different inputs, and {LEAST_ANSWERS} are needed"
    return None


def _chosen(
    read: Read, committed: Committed, parts: list[tuple[Subject, bytes]], left_out: list[str], settings: Settings
) -> Plan:
    places: dict[bytes, int] = {}
    answers: list[Answer] = []

    def place(answer: Answer) -> int:
        if answer.digest not in places:
            places[answer.digest] = len(answers)
            answers.append(answer)
        return places[answer.digest]

    spent = (MISLED + CONTROLS) * len(parts) if committed.dawn_rate else 0
    rest = settings.most_queries - spent
    share = int(rest * OWN) // len(parts)
    if share < LEAST_UNCERTAIN:
        least = spent + int(LEAST_ANSWERS * len(parts) / OWN) + 1
        raise OwnershipError(
            f"{len(parts)} keys need more than {settings.most_queries} queries: set --max-queries {least} or more"
        )
    own = {subject.name: [place(one) for one in subject.uncertain.answers()[:share]] for subject, _ in parts}
    common = []
    for one in read.others.answers():
        if len(answers) >= rest:
            break
        common.append(place(one))
    chosen = []
    for subject, key in parts:
        tilt = list(dict.fromkeys([*own[subject.name], *common]))
        strength = float(committed.strengths.of(draw([key], committed.dimension, committed.classes))[0])
        near = sum(answers[at].gap <= REACH * strength for at in tilt)
        if near < LEAST_UNCERTAIN:
            left_out.append(
                f"{subject.name.subject}: {near} inputs that the model is uncertain about, and {LEAST_UNCERTAIN} are needed: "
                "a mark shows nowhere else"
            )
            continue
        wrong = [place(one) for one in _wrong(subject, key, committed)]
        chosen.append(Part(subject, key, tilt, wrong, len(own[subject.name])))
    if not chosen:
        raise OwnershipError("no key can be tested:\n" + "\n".join(left_out))
    return Plan(committed, answers, chosen, left_out)


def _wrong(subject: Subject, key: bytes, committed: Committed) -> list[Answer]:
    """Return the inputs that were told a wrong label on purpose, and a fair sample of the others."""
    if not committed.dawn_rate:
        return []
    misled = [one for one in subject.misled.answers() if _wrong_label(one, key, committed) != int(one.said.argmax())]
    others = [one for one in subject.sampled.answers() if _wrong_label(one, key, committed) == int(one.said.argmax())]
    return [*misled[:MISLED], *others[:CONTROLS]]


def _wrong_label(one: Answer, key: bytes, committed: Committed) -> int:
    return dawn_label(key, one.vector, int(one.said.argmax()), committed.classes, committed.dawn_rate)


def verify(
    chosen: Plan,
    said: _Array,
    identity: str,
    settings: Settings,
    *,
    labels_only: bool,
    stamped: dt.datetime | None = None,
    note: Callable[[int], None] | None = None,
) -> Verified:
    """Test what a suspect said to the inputs of a plan, (n, classes). `stamped` is when the commitment was there for sure.

    Raises `OwnershipError` where the suspect is the model itself, or has other classes.
    """
    committed = chosen.committed
    if not np.isfinite(said).all():
        raise OwnershipError(f"{identity} answers with what is no number: nothing can be tested by it")
    own = np.array([answer.said for answer in chosen.answers])
    if said.shape[1] != committed.classes:
        raise OwnershipError(
            f"{identity} tells {said.shape[1]} classes, the model has {committed.classes}: they cannot be compared"
        )
    if not labels_only and (np.abs(said - own).max(axis=1) <= SAME).mean() >= 0.99:
        raise OwnershipError(
            f"{identity} gives the model's own answers: it is the model itself, or its file. A mark tells nothing about that"
        )
    labels = said.argmax(axis=1)
    certain = np.eye(committed.classes)[labels]
    suspects = [certain] if labels_only or settings.labels_only else [certain, said]
    tests = len(chosen.parts) * settings.tried * (2 if committed.dawn_rate else 1)
    keys = counterfeit_keys(bytes.fromhex(committed.digest), settings.counterfeits)
    trial = _Trial(chosen, chosen.inputs(), own, suspects, keys, tests)
    rows = [_row(part, trial, note) for part in chosen.parts]
    first = min(row.first_ms for row in rows)
    return Verified(
        suspect=identity,
        model=committed.model,
        classes=committed.classes,
        queries=len(chosen.answers),
        keys=len(rows),
        counterfeits=settings.counterfeits,
        tests=tests,
        agreement=float((labels == own.argmax(axis=1)).mean()),
        rows=sorted(rows, key=lambda row: (row.corrected, row.subject)),
        left_out=chosen.left_out,
        commitment=committed.digest,
        stamped=stamped,
        unprovable=_unprovable(committed, stamped, first),
    )


class _Trial(NamedTuple):
    """What all keys are tested with: what was asked, the model's own answers and the suspect's, and the counterfeits."""

    chosen: Plan
    inputs: npt.NDArray[np.float32]
    own: _Array
    suspects: Sequence[_Array]
    counterfeits: list[bytes]
    tests: int


def _row(part: Part, trial: _Trial, note: Callable[[int], None] | None) -> Row:
    chosen, suspects, committed = trial.chosen, trial.suspects, trial.chosen.committed
    asked = Asked(trial.inputs[part.tilt], trial.own[part.tilt], committed.strengths, part.own)
    found = scores(asked, [part.key, *trial.counterfeits], np.stack([suspect[part.tilt] for suspect in suspects]), note)
    ps = [rank_p(float(column[0]), column[1:]) for column in found.T]
    dawn = None
    if part.wrong:
        wrong = [chosen.answers[at] for at in part.wrong]
        told = np.array([_wrong_label(one, part.key, committed) for one in wrong])
        mine = np.array([int(one.said.argmax()) for one in wrong])
        dawn = dawn_test(mine, told, suspects[0][part.wrong].argmax(axis=1), committed.classes)
    best = ps[0] if dawn is None else min(ps[0], dawn.p)
    subject = part.subject
    return Row(
        subject=subject.name.subject,
        clients=tuple(sorted(subject.clients.items(), key=lambda one: (-one[1], one[0]))),
        answers=subject.answers,
        inputs=len(part.tilt),
        p=ps[0],
        corrected=min(1.0, best * trial.tests),
        probabilities=ps[1] if len(ps) > 1 else None,
        dawn=dawn,
        first_ms=subject.first_ms,
        value=float(found[0, 0]),
        counterfeits=found[1:, 0],
    )


def _unprovable(committed: Committed, stamped: dt.datetime | None, first_ms: int) -> str | None:
    if stamped is None:
        return f"the commitment has no time stamp: that it was made on {committed.created} is its writer's word alone"
    return too_late(stamped, first_ms)
