"""What only librdkafka needs: its form of a member, its errors, and a client that may be missing."""

import threading
from typing import Any

import pytest

from detector.config import KafkaSection, OAuthSection
from detector.errors import (
    BrokerError,
    CommitRefusedError,
    ConfigError,
    DeniedError,
    MemberFencedError,
    NoAnswerError,
    ServiceError,
)
from detector.service.kafka.clients import confluent_settings
from detector.service.kafka.clients.confluent_faults import Waiting, fault, fault_of_reader
from detector.service.kafka.clients.confluent_reader import member_of
from detector.service.kafka.connection import Connection

KafkaError = pytest.importorskip("confluent_kafka").KafkaError


def test_members_in_another_form_are_refused() -> None:
    """Should librdkafka change how it writes a member, no commit is made in a wrong one's name."""
    for packed in (b"", b"CGMDv3:\0\0\0\0g\0m\0\1", b"CGMDv2:\0\0", b"CGMDv2:\0\0\0\0group"):
        with pytest.raises(ServiceError, match="unknown form"):
            member_of(packed)


def test_the_client_that_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is librdkafka where that is installed; either may be named, and one that is missing is a mistake.

    What others write to is read with librdkafka only where that is named.
    """
    section = KafkaSection(bootstrap_servers=("localhost:9092",))
    for installed in (True, False):
        if not installed:
            monkeypatch.setattr(confluent_settings, "confluent_kafka", None)
        assert Connection(section).native is installed
        assert not Connection(section).bounded.native
        assert not Connection(section.model_copy(update={"client": "kafka-python"})).native
    forced = Connection(section.model_copy(update={"client": "confluent"}))
    assert forced.bounded.native
    with pytest.raises(ConfigError, match=r"not installed: pip install '.*\[fast\]'"):
        forced.writer(linger_ms=0)


def test_tokens_are_handed_on(tmp_path: Any) -> None:
    """Librdkafka asks for a token when it needs one, with the time at which it ends; ours come from where they always come."""
    (tmp_path / "token").write_text("opaque")
    section = KafkaSection(
        bootstrap_servers=("localhost:9092",),
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        oauth=OAuthSection(token_file=tmp_path / "token", extensions={"logicalCluster": "lkc-1"}),
    )
    options = confluent_settings.of_writer(section, Connection(section)._tokens, "me", linger_ms=1, batch_bytes=1000)
    token, until_s, _, extensions = options["oauth_cb"]("")
    assert (token, extensions, options["sasl.mechanism"]) == ("opaque", {"logicalCluster": "lkc-1"}, "OAUTHBEARER")
    assert until_s > 0
    assert "sasl.username" not in options


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._TIMED_OUT, NoAnswerError),
        (KafkaError._MSG_TIMED_OUT, NoAnswerError),
        (KafkaError._FENCED, MemberFencedError),
        (KafkaError.FENCED_INSTANCE_ID, MemberFencedError),
        (KafkaError.ILLEGAL_GENERATION, CommitRefusedError),
        (KafkaError.UNKNOWN_MEMBER_ID, CommitRefusedError),
        (KafkaError.REBALANCE_IN_PROGRESS, CommitRefusedError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, DeniedError),
        (KafkaError._BAD_COMPRESSION, BrokerError),
    ],
)
def test_errors_are_ours(code: int, kind: type[BrokerError]) -> None:
    """What decides whether a worker ends, waits or starts again does not depend on the client."""
    assert type(fault_of_reader(KafkaError(code))) is kind


def test_a_fenced_writer_is_no_fenced_member() -> None:
    """Librdkafka has one code for both. A writer is opened anew, a member that is fenced ends its worker."""
    assert type(fault(KafkaError(KafkaError._FENCED))) is BrokerError


def test_a_missing_permission_names_its_topic() -> None:
    """As far as it is known."""
    denied = fault(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), "log")
    assert "the topic 'log'" in str(Connection(KafkaSection()).failure(denied, "it fails"))


def test_a_call_without_a_limit_is_waited_for_in_slices() -> None:
    """It goes on, and its error comes out where it is waited for."""
    free = threading.Event()

    def ask() -> None:
        free.wait(30)
        raise ValueError("told")

    asked = Waiting(ask)
    assert not asked.over(0.01)
    free.set()
    assert asked.over(30)
    with pytest.raises(ValueError, match="told"):
        asked.result()
