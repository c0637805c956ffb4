"""One and the same log of queries, as each format of a server writes it: what the formats' speed is measured with."""

import base64
import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeAlias

from detector.config.ingest import IngestSection
from detector.ingest.formats.decoder import Decoder, Record, Surroundings
from detector.ingest.formats.registry import format_named
from tests.bench.bench_log import make_log

__all__ = ["SUBJECTS", "Subject"]

Event: TypeAlias = Mapping[str, Any]
_Write: TypeAlias = Callable[[Sequence[Event]], list[Record]]


@dataclass(frozen=True, slots=True)
class Subject:
    """A format, what a record of it holds, how to write it, and the ``[ingest]`` section that reads it."""

    format: str
    shape: str
    write: _Write
    ingest: Mapping[str, Any] = field(default_factory=dict)
    queries: int = 1
    """In a call."""

    @property
    def name(self) -> str:
        """What the subject is called in a table."""
        return f"{self.format}, {self.shape}"

    def decoder(self) -> Decoder:
        """Return a new decoder."""
        return format_named(self.format).build(Surroundings(dt.UTC, IngestSection(**self.ingest)))

    def records(self, queries: int, dimension: int) -> list[Record]:
        """Return records with so many queries of so many numbers each, the answers with ten probabilities."""
        events = map(json.loads, make_log(queries, 50, dimension=dimension))
        return list(chain.from_iterable(self.write(group) for group in _groups(list(events), self.queries)))


def _groups(events: Sequence[Event], size: int) -> list[Sequence[Event]]:
    return [events[at : at + size] for at in range(0, len(events), size)]


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _text(value: Any) -> str:
    return _dumped(value).decode()


def _vectors(events: Sequence[Event]) -> list[list[float]]:
    return [event["input"]["vector"] for event in events]


def _chances(events: Sequence[Event]) -> list[list[float]]:
    return [event["output"]["probabilities"] for event in events]


def _v1(events: Sequence[Event]) -> tuple[Any, Any]:
    return {"instances": _vectors(events)}, {"predictions": _chances(events)}


def _tensor(name: str, rows: list[list[float]]) -> dict[str, Any]:
    return {"name": name, "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": list(chain.from_iterable(rows))}


def _v2(events: Sequence[Event]) -> tuple[Any, Any]:
    request = {"id": events[0]["event_id"], "inputs": [_tensor("x", _vectors(events))]}
    answer = {"model_name": "bench", "id": events[0]["event_id"], "outputs": [_tensor("predict_proba", _chances(events))]}
    return request, answer


def _csv(rows: list[list[float]]) -> str:
    return "\n".join(",".join(map(repr, row)) for row in rows)


def _iso(event: Event) -> str:
    return dt.datetime.fromtimestamp(event["time"] / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def _native(events: Sequence[Event]) -> list[Record]:
    return [Record(_dumped(event)) for event in events]


def _kserve(bodies: Callable[[Sequence[Event]], tuple[Any, Any]]) -> _Write:
    def write(events: Sequence[Event]) -> list[Record]:
        first = events[0]
        metadata = {"X-Consumer-Id": [first["client"]["id"]], "X-Forwarded-For": ["203.0.113.7"]}
        records = []
        for half, body in zip(("request", "response"), bodies(events), strict=True):
            attributes = {
                "ce_specversion": "1.0",
                "ce_type": f"org.kubeflow.serving.inference.{half}",
                "ce_id": first["event_id"],
                "ce_source": "http://localhost:9081/",
                "ce_time": _iso(first) + "000Z",
                "ce_recordedtime": _iso(first) + "000Z",
                "ce_inferenceservicename": "bench",
                "ce_namespace": "prod",
                "ce_component": "predictor",
                "ce_endpoint": "default",
                "ce_metadata": _text(metadata),
                "content-type": "application/json",
            }
            headers = [(name, value.encode()) for name, value in attributes.items()]
            records.append(Record(_dumped(body), None, headers, "logs", first["time"]))
        return records

    return write


def _sagemaker(events: Sequence[Event]) -> list[Record]:
    first = events[0]
    asked = {"observedContentType": "text/csv", "mode": "INPUT", "data": _csv(_vectors(events)), "encoding": "CSV"}
    told = {"observedContentType": "application/json", "mode": "OUTPUT", "data": _text(_v1(events)[1]), "encoding": "JSON"}
    about = {
        "eventId": first["event_id"],
        "customAttributes": [f"client={first['client']['id']}"],
        "inferenceTime": _iso(first)[:19] + "Z",
    }
    document = {"captureData": {"endpointInput": asked, "endpointOutput": told}, "eventMetadata": about, "eventVersion": "0"}
    return [Record(_dumped(document), topic="s3/bench/AllTraffic/2026/05/04/10/31-00.jsonl")]


def _apisix(events: Sequence[Event]) -> list[Record]:
    first = events[0]
    asked, told = map(_text, _v1(events))
    headers = {"host": "gw", "x-request-id": first["event_id"], "user-agent": "python-requests/2.32"}
    headers |= {"content-type": "application/json", "accept": "*/*"}
    document = {
        "request": {"method": "POST", "uri": "/v1/models/bench:predict", "headers": headers, "querystring": {}, "body": asked},
        "response": {"status": 200, "headers": {"content-type": "application/json"}, "body": told, "size": len(told)},
        "server": {"hostname": "gw-0", "version": "3.9.0"},
        "service_id": "bench",
        "route_id": "1",
        "client_ip": "203.0.113.0",
        "start_time": first["time"],
        "latency": 14.2,
        "consumer": {"username": first["client"]["id"]},
    }
    return [Record(_dumped(document))]


def _databricks(events: Sequence[Event]) -> list[Record]:
    asked, told = map(_text, _v1(events))
    first = events[0]
    document = {"databricks_request_id": first["event_id"], "request_time": _iso(first) + "Z", "status_code": 200}
    document |= {"sampling_fraction": 1.0, "execution_duration_ms": 12, "request": asked, "response": told}
    return [Record(_dumped({**document, "served_entity_id": "bench", "requester": first["client"]["id"]}))]


def _mlflow(events: Sequence[Event]) -> list[Record]:
    asked, told = _v1(events)
    first = events[0]
    document = {"request_id": first["event_id"], "timestamp": first["time"], "model": "bench", "client": first["client"]["id"]}
    return [Record(_dumped({**document, "request": asked, "response": told}))]


def _vertex(events: Sequence[Event]) -> list[Record]:
    first = events[0]
    document = {"endpoint": "1", "deployed_model_id": "2", "logging_time": _iso(first) + "Z", "request_id": first["event_id"]}
    asked, told = [list(map(_text, rows)) for rows in (_vectors(events), _chances(events))]
    return [Record(_dumped({**document, "request_payload": asked, "response_payload": told}))]


def _azureml(events: Sequence[Event]) -> list[Record]:
    first = events[0]
    source = "/subscriptions/x/onlineEndpoints/ep/deployments/blue"
    rows: list[list[dict[str, Any]]] = [
        [{f"x{at}": number for at, number in enumerate(row)} for row in _vectors(events)],
        [{"label": event["output"]["label"]} for event in events],
    ]
    records = []
    for half, data in zip(("inputs", "outputs"), rows, strict=True):
        document = {"specversion": "1.0", "id": first["event_id"] + half, "source": source, "time": _iso(first) + "Z"}
        document |= {"type": f"azureml.inference.{half}", "correlationid": first["event_id"]}
        records.append(Record(_dumped({**document, "data": data})))
    return records


def _bentoml(events: Sequence[Event]) -> list[Record]:
    return [
        Record(
            _dumped(
                {f"x{at}": number for at, number in enumerate(event["input"]["vector"])}
                | {"pred": event["output"]["label"], "timestamp": _iso(event), "request_id": event["event_id"], "trace_id": "1"}
            )
        )
        for event in events
    ]


def _seldon(events: Sequence[Event]) -> list[Record]:
    first = events[0]
    asked = {"meta": {"tags": {"client": first["client"]["id"]}}, "data": {"ndarray": _vectors(events)}}
    records = []
    for half, body in (("request", asked), ("response", {"data": {"ndarray": _chances(events)}})):
        headers = {"type": f"io.seldon.serving.inference.{half}", "content-type": "application/json", "modelid": "clf"}
        headers |= {"requestid": first["event_id"], "inferenceservicename": "bench", "namespace": "prod", "endpoint": "default"}
        records.append(
            Record(_dumped(body), None, [(name, text.encode()) for name, text in headers.items()], "", first["time"])
        )
    return records


def _mlserver(events: Sequence[Event]) -> list[Record]:
    first = events[0]
    asked, told = map(_dumped, _v2(events))
    key = first["event_id"].encode()
    client = ("x-consumer-id", first["client"]["id"].encode())
    answer = [("Ce-Type", b"io.seldon.serving.inference.response"), ("Ce-Modelid", b"bench")]
    return [
        Record(asked, key, [("mlserver-model", b"bench"), client], "mlserver-input", first["time"]),
        Record(told, key, answer, "mlserver-output", first["time"]),
    ]


def _tfserving(events: Sequence[Event]) -> list[Record]:
    first = events[0]

    def tensor(rows: list[list[float]]) -> dict[str, Any]:
        shape = {"dim": [{"size": str(len(rows))}, {"size": str(len(rows[0]))}]}
        return {"dtype": "DT_FLOAT", "tensorShape": shape, "floatVal": list(chain.from_iterable(rows))}

    client = base64.b64encode(first["client"]["id"].encode()).decode()
    log = {
        "request": {"clientId": client, "inputs": {"x": tensor(_vectors(events))}},
        "response": {"outputs": {"p": tensor(_chances(events))}},
    }
    about = {"modelSpec": {"name": "bench", "version": "7"}, "timestampSecs": str(first["time"] // 1000)}
    return [Record(_dumped({"logMetadata": about, "predictLog": log}))]


def _triton(events: Sequence[Event]) -> list[Record]:
    entries: list[dict[str, Any]] = [{"id": 1, "model_name": "bench", "model_version": 1}]
    for activity, rows in (("TENSOR_QUEUE_INPUT", _vectors(events)), ("TENSOR_BACKEND_OUTPUT", _chances(events))):
        flat = ",".join(map(repr, chain.from_iterable(rows)))
        tensor = {"name": "x", "data": flat, "shape": f"{len(rows)},{len(rows[0])}", "dtype": "FP32"}
        entries.append({"id": 1, "activity": activity, "tensor": tensor})
    entries.append({"id": 1, "timestamps": [{"name": "REQUEST_END", "ns": 9}]})
    return [Record(_dumped(entries), time_ms=events[0]["time"])]


def _mapped(events: Sequence[Event]) -> list[Record]:
    return [
        Record(
            _dumped(
                {
                    "id": event["event_id"],
                    "ts": _iso(event) + "Z",
                    "who": event["client"]["id"],
                    "x": event["input"]["vector"],
                    "p": event["output"]["probabilities"],
                }
            )
        )
        for event in events
    ]


_CONSTANT = {"clients": [{"constant": "acme"}]}
_ATTRIBUTES = {"clients": [{"path": "eventMetadata.customAttributes", "pattern": "client=(.+)"}]}
_MAPPING = {"model": "bench", "mapping": {"id": "id", "time": "ts", "client": "who", "input": "x", "probabilities": "p"}}

SUBJECTS = (
    Subject("native", "1 query", _native),
    Subject("kserve", "V2, 1 query", _kserve(_v2)),
    Subject("kserve", "V2, 32 queries", _kserve(_v2), queries=32),
    Subject("kserve", "V1, 1 query", _kserve(_v1)),
    Subject("kserve", "V1, 32 queries", _kserve(_v1), queries=32),
    Subject("sagemaker", "1 query", _sagemaker, _ATTRIBUTES),
    Subject("sagemaker", "32 queries", _sagemaker, _ATTRIBUTES, 32),
    Subject("apisix", "1 query", _apisix),
    Subject("apisix", "32 queries", _apisix, queries=32),
    Subject("databricks", "1 query", _databricks),
    Subject("mlflow", "1 query", _mlflow),
    Subject("vertex", "1 query", _vertex, _CONSTANT),
    Subject("azureml", "1 query", _azureml, _CONSTANT),
    Subject("bentoml", "1 query", _bentoml, {**_CONSTANT, "model": "bench"}),
    Subject("seldon", "1 query", _seldon, {"clients": [{"body": "meta.tags.client"}]}),
    Subject("mlserver", "1 query", _mlserver),
    Subject("tfserving", "1 query", _tfserving),
    Subject("triton", "1 query", _triton, _CONSTANT),
    Subject("mapping", "1 query", _mapped, _MAPPING),
    Subject("auto", "native, 1 query", _native),
    Subject("auto", "apisix, 1 query", _apisix),
    Subject("auto", "kserve V2, 1 query", _kserve(_v2)),
)
