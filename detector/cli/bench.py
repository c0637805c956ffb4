"""The command that tells how extractable a model is, with and without a defence."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detector.cli.redteam import bearer, progress_of_parts
from detector.cli.terminal import AsJson, BaselineDir, ConfigFile, errors, load_config, print_json
from detector.console import Console, say
from detector.errors import ConfigError, ModelError, OutputError

if TYPE_CHECKING:
    from detector.config import Config
    from detector.hardening.bench import Plan, Tally
    from detector.hardening.stops import Judge
    from detector.hardening.subject import Subject
    from detector.redteam.opened import OpenedModel, Opening

FAILED, INTERRUPTED = 1, 130
RESULTS = ("bench.json", "bench.md", "bench.png")


def bench(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="module:function, http(s)://, .onnx, digits, recipe:dp:digits, ...")
    ],
    against: Annotated[
        list[str] | None, typer.Option("--against", metavar="MODEL", help="a second model, hardened for instance; repeatable")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="X", help="natural inputs: a benign log, .npy, .npz, .csv, digits or loans")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="Y", help="their true labels: .npy, .txt, or the name of an array in the .npz"),
    ] = None,
    attacks: Annotated[
        str | None, typer.Option("--attacks", metavar="A,A", help="random, or ids of `detector redteam list`  [those that fit]")
    ] = None,
    budgets: Annotated[
        str, typer.Option("--budgets", metavar="N,N", help="after how many queries copies are told")
    ] = "100,400,1600",
    defences: Annotated[
        str,
        typer.Option("--defences", metavar="D,D", help="none, top1, label, mislead, rounding, art:NAME; art:NAME(parameter=1)"),
    ] = "none,top1,label",
    baseline: BaselineDir = None,
    config: ConfigFile = None,
    model_id: Annotated[
        str | None,
        typer.Option("--model-id", metavar="ID", help="the model's id in the log or the baseline, where there are several"),
    ] = None,
    price: Annotated[float | None, typer.Option("--price", min=0, metavar="X", help="of 1,000 queries")] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.001, metavar="N", help="queries a minute that one account may ask")
    ] = None,
    tabular: Annotated[bool, typer.Option("--tabular", help="inputs are records, not pictures")] = False,
    categorical: Annotated[str, typer.Option("--categorical", metavar="C,C", help="columns that hold codes, from 0")] = "",
    wire: Annotated[
        str | None,
        typer.Option("--wire", metavar="W", help="how queries arrive: uint8, grid, float16, float64, decimals-4, ..."),
    ] = None,
    classes: Annotated[int | None, typer.Option("--classes", min=2, help="how many, where a model tells labels")] = None,
    class_names: Annotated[str, typer.Option("--class-names", metavar="C,C", help="labels of the classes, in order")] = "",
    api_model: Annotated[
        str | None, typer.Option("--api-model", metavar="ID", help="the model's id for APIs in the style of OpenAI")
    ] = None,
    token_env: Annotated[
        str | None, typer.Option("--token-env", metavar="VAR", help="environment variable of a bearer token")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.01, metavar="S", help="seconds that a server has to answer")
    ] = 30.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="the same seed gives the same figures")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="folder for bench.json, bench.md and bench.png")
    ] = None,
    fail_above: Annotated[
        float | None,
        typer.Option("--fail-above", min=0, max=1, metavar="F", help="exit with 1 where a copy before the stop is better"),
    ] = None,
    *,
    detector: Annotated[bool, typer.Option("--detector/--no-detector", help="tell where the detector stops each thief")] = True,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="load pickles, which run code")] = False,
    own: Annotated[bool, typer.Option("--i-own-this", help="ask a server elsewhere, which is yours")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell how extractable a model is, with and without a defence.

    Each defence is robbed by each attack: how good the copy is after so many queries, how many queries, how much money and how
    many days a copy of 70, 80 and 90% takes, where the detector stops the thief, and what the defence costs everybody else. A
    fidelity that was not reached is told as such, never extrapolated. Second models (--against) are asked about the same
    inputs.

    The detector works with --baseline, or with one that is fitted here: on the log of --data, else on simulated innocents where
    the model runs in this process.

    With --fail-above the exit status is 1 if any row leaves its thief a better copy than that before he is stopped by a perturb
    or block, or after all his queries where he is not. Finished rows are kept when the work is interrupted.
    """
    from detector.hardening.bench import Plan, Tally
    from detector.hardening.defences import defence_of, split_names
    from detector.redteam.opened import Opening

    for option, number in (("--price", price), ("--rate", rate), ("--timeout", timeout), ("--fail-above", fail_above)):
        if number is not None and not math.isfinite(number):  # no comparison with it would fail
            raise ConfigError(f"{option} takes a number, not {number}")
    names = tuple(split_names(class_names))
    opening = Opening(
        own=own,
        trust_pickle=trust_pickle,
        classes=classes or len(names) or None,
        names=names,
        model=api_model,
        headers=bearer(token_env),
        timeout=timeout,
        seed=seed,
    )
    wanted = [defence_of(name) for name in dict.fromkeys(split_names(defences))]
    if not wanted:
        raise ConfigError("--defences names none; `none` is the model without one")
    moments = _numbers("--budgets", budgets)
    settings = _settings(config, baseline)
    if out is not None:
        _folder(out)
    with errors.status("opening") as status:
        subjects = _subjects(
            [model, *(against or [])],
            opening,
            settings,
            data,
            labels,
            model_id,
            tabular=tabular,
            categorical=_numbers("--categorical", categorical, least=0),
            wire=wire,
            told=status.update,
        )
    chosen = _attacks(attacks, subjects[0])
    plan = Plan(subjects, wanted, chosen, sorted(set(moments)), price, rate, seed)
    tally = Tally([], [], [])
    asks = [subject.name for subject in subjects if not subject.opened.local]
    if asks:
        thieves, others = (count // len(subjects) * len(asks) for count in (plan.queries, plan.compared))
        errors.print(
            f"thieves ask at most {thieves:,} queries of {', '.join(asks)}, and to compare at most {others:,} are asked",
            soft_wrap=True,
        )
    judges, judged = _judges(subjects, settings, seed, wanted=detector)
    ended: BaseException | None = None
    try:
        _measure(plan, judges, tally, judged, out, fail_above)
    except (KeyboardInterrupt, ModelError) as stopped:
        ended = stopped
    _tell(plan, tally, judged, out, fail_above, as_json=as_json, interrupted=ended is not None)
    if isinstance(ended, KeyboardInterrupt):
        raise typer.Exit(INTERRUPTED)
    if ended is not None:
        raise ended
    if _failed(tally, fail_above):
        raise typer.Exit(FAILED)


def _numbers(option: str, text: str, least: int = 1) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"{option} takes whole numbers like 100,400, not {text!r}") from None
    if (option == "--budgets" and not numbers) or any(number < least for number in numbers):
        raise ConfigError(f"{option} takes whole numbers of {least} or more, not {text!r}")
    return numbers


def _settings(config: Path | None, baseline: Path | None) -> "Config":
    """Return the settings; the bench names its clients itself, so they are trusted where the settings do not say."""
    settings = load_config(config, baseline)
    if settings.policy.trust_clients is None:
        settings = settings.model_copy(update={"policy": settings.policy.model_copy(update={"trust_clients": True})})
    return settings


def _folder(out: Path) -> None:
    from detector import private

    try:
        private.make_folder(out)
        private.write(out / RESULTS[0], b"{}\n")  # measuring takes minutes: a folder that cannot be written is told first
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error


def _subjects(
    names: list[str],
    opening: "Opening",
    settings: "Config",
    data: str | None,
    labels: str | None,
    model_id: str | None,
    *,
    tabular: bool,
    categorical: tuple[int, ...],
    wire: str | None,
    told: Any,
) -> "list[Subject]":
    from detector.hardening.examples import examples_of, labels_of
    from detector.hardening.subject import subject_of

    given = truth = None
    if data is not None:
        told(f"reading {data}")
        given = examples_of(data, settings, model_id)
        for note in given.notes:
            errors.print(note, soft_wrap=True)
        truth = None if labels is None else labels_of(data, labels, len(given.X), tuple(opening.names))
    elif labels is not None:
        raise ConfigError("--labels are those of --data, which is not given")
    told(f"opening {names[0]}")
    sample = None if given is None else given.X
    if sample is not None and truth is None and names[0].startswith(("http://", "https://")):
        errors.print(f"{names[0]} is asked about each of {len(sample):,} examples: --labels would save that", soft_wrap=True)
    first = _opened(names[0], sample, opening)
    subject = subject_of(names[0], first, given, truth, tabular=tabular, categorical=categorical, wire=wire, seed=opening.seed)
    subjects = [subject]
    for name in names[1:]:
        told(f"opening {name}")
        subjects.append(subject.beside(name, _opened(name, subject.target.test, opening)))
    return subjects


def _opened(name: str, sample: Any, opening: "Opening") -> "OpenedModel":
    from detector.hardening.recipes import PREFIX, open_recipe
    from detector.redteam.opened import open_model

    if not name.startswith(PREFIX):
        return open_model(name, sample, opening)
    opened, said = open_recipe(name, opening.seed)
    if said:
        errors.print(f"{name}: {said}", soft_wrap=True)
    return opened


def _attacks(attacks: str | None, subject: "Subject") -> list[str]:
    from detector.hardening.defences import split_names
    from detector.hardening.theft import RANDOM, usual_attacks
    from detector.redteam.registry import ATTACKS

    if attacks is None:
        return usual_attacks(subject.target)
    chosen = list(dict.fromkeys(split_names(attacks)))
    for name in chosen:
        if name != RANDOM and name not in ATTACKS:
            raise ConfigError(f"there is no attack {name!r}; there are {RANDOM} and those of `detector redteam list`")
        if name != RANDOM and subject.target.data not in ATTACKS[name].data:
            raise ConfigError(f"{name} takes {' or '.join(ATTACKS[name].data)} data, not {subject.target.data}")
    if not chosen:
        raise ConfigError("--attacks names none")
    return chosen


def _judges(subjects: "list[Subject]", settings: "Config", seed: int, *, wanted: bool) -> "tuple[list[Judge | None], str]":
    """Return what tells where the detector stops thieves, for each model, and in words what that is."""
    from detector.hardening.stops import given_judge, learned_judge
    from detector.offline.replay import load_baseline

    nobody: list[Judge | None] = [None] * len(subjects)
    if not wanted:
        return nobody, "the detector was not asked"
    known = load_baseline(settings)
    if known is not None and settings.baseline.path is not None:
        judges: list[Judge | None] = [given_judge(settings, known, one, settings.baseline.path) for one in subjects]
        return judges, f"baseline {settings.baseline.path}"
    if subjects[0].log is None and not all(one.opened.local for one in subjects):
        reason = "no baseline, and a model that is not in this process is not asked for one: name one with --baseline"
        errors.print(f"the detector is not asked: {reason}", soft_wrap=True)
        return nobody, reason
    learned: list[Judge | None] = []
    with errors.status("fitting") as status:
        for subject in subjects:
            status.update(f"fitting a baseline: {subject.name}")
            if subject.log is not None and learned:
                learned.append(learned[0])
            else:
                learned.append(learned_judge(settings, subject, seed))
    return learned, learned[0].origin if learned[0] is not None else ""


def _measure(
    plan: "Plan", judges: "list[Judge | None]", tally: "Tally", judged: str, out: Path | None, fail_above: float | None
) -> None:
    from detector.hardening.bench import Row
    from detector.hardening.bench import bench as rows

    with progress_of_parts(plan.queries) as (told, asked):
        for found in rows(plan, judges, told, asked):
            if isinstance(found, Row):
                tally.rows.append(found)
                if found.ended:
                    note = (
                        f"{found.attack} had nothing left to ask after {found.asked:,} queries: larger budgets are not reached"
                    )
                    if note not in tally.warnings:
                        tally.warnings.append(note)
                if found.stop is not None and found.stop.ignored:
                    tally.warnings.append(f"{found.attack}: the detector could not use {found.stop.ignored:,} of its queries")
            else:
                tally.honest.append(found)
                tally.warnings.extend(found.warnings)
            if out is not None:
                _write_json(plan, tally, judged, out, fail_above, interrupted=True)


def _write_json(plan: "Plan", tally: "Tally", judged: str, out: Path, fail_above: float | None, *, interrupted: bool) -> None:
    from detector import private
    from detector.hardening.report import document

    content = document(plan, tally, judged, fail_above, interrupted=interrupted)
    try:
        private.write(out / RESULTS[0], (json.dumps(content, indent=2) + "\n").encode())
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error


def _failed(tally: "Tally", fail_above: float | None) -> bool:
    from detector.hardening.report import failing

    rows = failing(tally.rows, fail_above)
    for row in rows:
        errors.print(
            f"{row.model}, {row.defence}, {row.attack}: a copy of {row.exposed:.1%} before any stop, above {fail_above:.1%}",
            soft_wrap=True,
        )
    return bool(rows)


def _tell(
    plan: "Plan", tally: "Tally", judged: str, out: Path | None, fail_above: float | None, *, as_json: bool, interrupted: bool
) -> None:
    from detector import private
    from detector.hardening.picture import bench_picture
    from detector.hardening.report import CAPTION, document, honest_table, markdown, thefts_tables

    if out is not None:
        _write_json(plan, tally, judged, out, fail_above, interrupted=interrupted)
        try:
            private.write(out / RESULTS[1], markdown(plan, tally, judged, interrupted=interrupted).encode())
        except OSError as error:
            raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error
        if tally.rows:
            bench_picture(plan, tally, out / RESULTS[2])
    for warning in dict.fromkeys(tally.warnings):
        errors.print(f"warning: {warning}", soft_wrap=True)
    if as_json:
        print_json(document(plan, tally, judged, fail_above, interrupted=interrupted))
        return
    console = Console()
    for table in thefts_tables(plan, tally):
        console.print(table)
        console.print()
    console.print(f"{CAPTION} The detector: {judged}.")
    console.print()
    console.print(honest_table(tally))
    if out is not None:
        say(f"{', '.join(RESULTS)} in {out}")
