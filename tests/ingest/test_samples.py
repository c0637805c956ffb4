"""Samples of texts and answers: a few of each client, whoever is loud."""

from detector.ingest.samples import ANSWERS_OF_CLIENT, BINS, MOST_TEXTS, TEXTS_OF_CLIENT, AnswerSample, TextSample


def test_a_loud_client_is_a_small_part_of_the_texts() -> None:
    sample = TextSample()
    for n in range(10_000):
        sample.note(0, f"loud {n}")
    for client in range(1, 400):
        for n in range(40):
            sample.note(client, f"quiet {client} {n}")
    assert len(sample.kept) == MOST_TEXTS
    assert sum(text.startswith("loud") for text in sample.kept) <= TEXTS_OF_CLIENT


def test_predicted_numbers_are_parted_into_equally_full_bins() -> None:
    sample = AnswerSample()
    for client in range(20):
        for n in range(ANSWERS_OF_CLIENT):
            sample.note(client, 100.5 + client + n * 20)
    for _ in range(100_000):
        sample.note(99, 1e9 + 0.5)
    edges = sample.edges()
    assert len(edges) == BINS - 1
    assert edges[-1] < 1500


def test_classes_and_probabilities_are_not_parted() -> None:
    """One client with numbers of its own does not make a regression of them."""
    classes, chances = AnswerSample(), AnswerSample()
    for client in range(20):
        for n in range(20):
            classes.note(client, float(n % 10))
            chances.note(client, n / 19)
    for n in range(1000):
        classes.note(99, n * 1.5)
    assert classes.edges() == chances.edges() == ()


def test_few_or_equal_numbers_are_not_parted() -> None:
    few, equal = AnswerSample(), AnswerSample()
    for n in range(50):
        few.note(n, n + 0.5)
    for n in range(500):
        equal.note(n, 2.5)
    assert few.edges() == equal.edges() == ()
