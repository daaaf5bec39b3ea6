"""The circuit: when a supplier is left alone, for how long, and when it is tried again."""

from jobs.ingest.polling.circuit import Circuit, CircuitState
from jobs.ingest.polling.failure import PollFailedError

PASSING, LASTING = PollFailedError("no"), PollFailedError("never", lasting=True)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def fail(circuit: Circuit, clock: Clock, error: PollFailedError = PASSING) -> float:
    """One poll as soon as it is due, which fails; seconds until the next."""
    clock.now += circuit.wait
    circuit.begin()
    circuit.failed(error)
    return circuit.wait


def test_a_first_poll_is_due_at_once_and_then_after_each_interval() -> None:
    clock = Clock()
    circuit = Circuit(60, clock)
    assert circuit.wait == 0
    circuit.begin()
    circuit.succeeded(is_end=True)
    assert (circuit.state, circuit.wait) == (CircuitState.CLOSED, 60)
    circuit.succeeded(is_end=False)
    assert circuit.wait == 0


def test_it_opens_at_the_third_failure_and_for_longer_each_time() -> None:
    clock = Clock()
    circuit = Circuit(10, clock)
    assert [fail(circuit, clock) for _ in range(2)] == [10, 10]
    assert circuit.state.value == "CLOSED"
    assert [fail(circuit, clock) for _ in range(8)] == [30, 60, 120, 240, 480, 900, 900, 900]
    states = [circuit.state]
    clock.now += circuit.wait
    circuit.begin()
    states.append(circuit.state)
    circuit.succeeded(is_end=True)
    assert [*states, circuit.state] == ["OPEN", "HALF_OPEN", "CLOSED"]
    assert circuit.wait == 10
    assert fail(circuit, clock) == 10


def test_what_lasts_opens_it_at_once() -> None:
    clock = Clock()
    circuit = Circuit(10, clock)
    assert fail(circuit, clock, LASTING) == 30
    assert circuit.state is CircuitState.OPEN


def test_no_supplier_is_asked_sooner_than_agreed() -> None:
    clock = Clock()
    circuit = Circuit(3_600, clock)
    assert [fail(circuit, clock, LASTING) for _ in range(3)] == [3_600] * 3


def test_it_is_left_alone_as_long_as_it_says() -> None:
    clock = Clock()
    circuit = Circuit(10, clock)
    assert fail(circuit, clock, PollFailedError("later", retry_after=700)) == 700
    assert circuit.state is CircuitState.OPEN
    assert fail(circuit, clock, PollFailedError("soon", retry_after=3)) == 30
