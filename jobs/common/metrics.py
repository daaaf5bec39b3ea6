"""The registry of the values of all metrics, and the endpoint for Prometheus."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from jobs.common.errors import UserError
from jobs.common.metric_table import METRICS, Kind, Metric
from jobs.common.settings import Metrics

_Key = tuple[str, tuple[str, ...]]


class Registry(Collector):
    """The values of all metrics, safe to change and to read from any thread."""

    def __init__(self) -> None:
        self._known = {metric.name: metric for metric in METRICS}
        self._lock = Lock()
        self._values: dict[_Key, float] = {}
        self._counts: dict[_Key, list[int]] = {}

    def add(self, name: str, amount: float = 0, **labels: str) -> None:
        """Raise a counter; by 0, so that Prometheus sees it before it first rises."""
        key = self._key(name, Kind.COUNTER, labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0) + amount

    def put(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        key = self._key(name, Kind.GAUGE, labels)
        with self._lock:
            self._values[key] = value

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Count one value into its bucket of a histogram."""
        self.observe_many(name, {bisect_left(self._known[name].buckets, value): 1}, value, **labels)

    def observe_many(self, name: str, counts: Mapping[int, int], total: float, **labels: str) -> None:
        """Count values into a histogram: how many by index of the bucket (the last has no bound), and their sum."""
        key = self._key(name, Kind.HISTOGRAM, labels)
        with self._lock:
            held = self._counts.setdefault(key, [0] * (len(self._known[name].buckets) + 1))
            for index, count in counts.items():
                held[index] += count
            self._values[key] = self._values.get(key, 0) + total

    def value(self, name: str, **labels: str) -> float | None:
        """A counter, a gauge, or the sum of a histogram; None where it was never set."""
        key = self._key(name, self._known[name].kind, labels)
        with self._lock:
            return self._values.get(key)

    def collect(self) -> Iterator[Family]:
        """What Prometheus is told, in the order of METRICS; a metric without a value is left out."""
        with self._lock:
            values, counts = dict(self._values), {key: list(held) for key, held in self._counts.items()}
        for metric in METRICS:
            mine = sorted((labels, value) for (name, labels), value in values.items() if name == metric.name)
            if mine:
                yield _family(metric, mine, counts)

    def _key(self, name: str, kind: Kind, labels: Mapping[str, str]) -> _Key:
        metric = self._known[name]
        if metric.kind is not kind or set(metric.labels) != set(labels):
            raise ValueError(f"{name} is a {metric.kind} with the labels {metric.labels}")
        return name, tuple(str(labels[label]) for label in metric.labels)


#: The one of this process.
REGISTRY = Registry()


@contextmanager
def endpoint(settings: Metrics, registry: Registry = REGISTRY, *, key: str = "metrics.port") -> Iterator[None]:
    """Answer Prometheus at `/metrics` of `settings.port` while in the context; nothing where no port is set.

    `key`: which setting the port comes from. Raises UserError where the port cannot be had.
    """
    if settings.port is None:
        yield
        return
    shown = CollectorRegistry()
    shown.register(registry)
    try:
        server, thread = start_http_server(settings.port, settings.host, shown)
    except OSError as error:
        raise UserError(
            f"Port {settings.port} of {settings.host} cannot be had for the metrics ({error.strerror}): set "
            f"{key} to a free one, or to null for none, and metrics.host to an address of this machine."
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _family(metric: Metric, values: list[tuple[tuple[str, ...], float]], counts: dict[_Key, list[int]]) -> Family:
    if metric.kind is not Kind.HISTOGRAM:
        kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
        plain = kind(metric.name, metric.help, labels=metric.labels)
        for labels, value in values:
            plain.add_metric(labels, value)
        return plain
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*[str(float(bound)) for bound in metric.buckets], "+Inf"]
    for labels, total in values:
        held = counts[metric.name, labels]
        family.add_metric(labels, [(bound, sum(held[: i + 1])) for i, bound in enumerate(bounds)], total)
    return family
