import signal
import threading
import time

import pytest

import main
from even_odd import EvenOdd
from support import start


def test_threads_print_1_to_200_in_order() -> None:
    written: list[str] = []
    EvenOdd(0.0001, write=written.append).run()
    assert [int(line.split()[1]) for line in written] == list(range(1, 201))


def test_one_thread_prints_the_odd_and_the_other_the_even_numbers() -> None:
    threads: dict[int, str] = {}
    EvenOdd(0.0001, write=lambda line: threads.update({int(line.split()[1]): threading.current_thread().name})).run()
    assert {name for number, name in threads.items() if number % 2} == {"odd"}
    assert {name for number, name in threads.items() if number % 2 == 0} == {"even"}


def test_order_holds_when_one_thread_is_slow() -> None:
    written: list[int] = []

    def write(line: str) -> None:
        kind, number = line.split()
        if kind == "odd":
            busy_until = time.perf_counter() + 0.0003
            while time.perf_counter() < busy_until:
                pass
        written.append(int(number))

    EvenOdd(0.00001, write=write).run()
    assert written == list(range(1, 201))


class FakeTime(threading.Condition):
    """A condition with a simulated clock: a wait with a timeout returns at once and advances the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is None:
            return super().wait(10)
        self.now += timeout
        return False


def test_delays_never_accumulate() -> None:
    fake = FakeTime()
    moments: list[float] = []

    def write(_line: str) -> None:
        moments.append(fake.now)
        if len(moments) == 1:
            fake.now += 10.2  # 20 ticks late

    clock = EvenOdd(0.5, write=write, clock=lambda: fake.now)
    clock._turn = fake
    clock.run()
    due = [100 + tick * 0.5 for tick in range(100) for _thread in range(2)]
    assert moments[0] == 100
    assert moments[1:] == pytest.approx([max(110.2, moment) for moment in due[1:]])


def test_output_error_ends_both_threads_and_is_raised() -> None:
    written: list[str] = []

    def write(line: str) -> None:
        if len(written) == 3:
            raise BrokenPipeError
        written.append(line)

    with pytest.raises(BrokenPipeError):
        EvenOdd(0.0001, write=write).run()
    assert len(written) == 3
    assert not [thread for thread in threading.enumerate() if thread.name in ("odd", "even")]


def test_ctrl_c_ends_both_threads_at_once() -> None:
    with start("numbers", "--interval", 30) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"odd  1\n"
        assert process.stdout.readline() == b"even 2\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
        assert process.stderr.read() == b""


def test_closed_pipe_ends_both_threads_quietly() -> None:
    with start("numbers", "--interval", 0.001) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=10) == 0


@pytest.mark.parametrize(
    ("interval", "message"),
    [
        *((word, "must be more than 0 and at most 3600 seconds") for word in ("0", "-1", "nan", "1e9")),
        ("x", "invalid seconds value: 'x'"),
    ],
)
def test_invalid_interval_is_a_usage_error(interval: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main.main(["numbers", "--interval", interval])
    assert left.value.code == 2
    assert message in capsys.readouterr().err
