"""The limits of requests in flight and of requests started a second, for threads and for processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cdr_assets.alotech import AlotechClient, ConfigurationError, Window
from cdr_assets.alotech.limits import Limits
from cdr_assets.domain.errors import OperatorError
from cdr_assets_tests.alotech.server import Action, Answer, ScriptedServer, page, record

Connect = Callable[..., AlotechClient]


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("cdr_assets.alotech.limits.time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def starts(clock: Clock, *limits: Limits, requests: int) -> list[float]:
    """The seconds after 1000 at which the requests start; they go through the given limits in turn."""
    found = []
    for number in range(requests):
        with limits[number % len(limits)].request():
            found.append(round(clock.now - 1000, 6))
    return found


@pytest.mark.parametrize("name", ["requests", "request-0.lock"])
def test_a_planted_link_is_refused_and_nothing_is_written_where_it_leads(tmp_path: Path, name: str) -> None:
    limits = Limits(1, 10, tmp_path / "limits", time.sleep)
    with limits.request():
        pass
    planted, victim = tmp_path / "limits" / name, tmp_path / "victim"
    victim.write_text("kept")
    planted.unlink(missing_ok=True)
    planted.symlink_to(victim)
    with pytest.raises(OperatorError, match=f"^{planted} is a link"):
        Limits(1, 10, tmp_path / "limits", time.sleep)
    # Also if it is planted later.
    with pytest.raises(OperatorError), limits.request():
        pass
    assert victim.read_text() == "kept"


class TestRate:
    @pytest.mark.parametrize("shared", [False, True])
    @pytest.mark.parametrize(("rate", "expected"), [(4, [0, 0.25, 0.5, 0.75, 1.0]), (0.5, [0, 2, 4, 6, 8])])
    def test_starts_are_spread(
        self, clock: Clock, tmp_path: Path, shared: bool, rate: float, expected: list[float]
    ) -> None:
        limits = Limits(4, rate, tmp_path if shared else None, clock.sleep)
        assert starts(clock, limits, requests=5) == expected

    def test_an_idle_time_saves_up_nothing(self, clock: Clock, tmp_path: Path) -> None:
        limits = Limits(4, 10, tmp_path, clock.sleep)
        starts(clock, limits, requests=3)
        clock.now = 1060
        assert starts(clock, limits, requests=3) == [60, 60.1, 60.2]

    def test_processes_lose_no_start_of_each_other(self, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from cdr_assets.alotech.limits import Limits\n"
            "limits = Limits(4, 1, Path(sys.argv[1]), lambda seconds: None)\n"
            "for _ in range(30):\n"
            "    with limits.request(): pass\n"
        )
        began = time.monotonic()
        runs = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(3)]
        assert [run.wait(60) for run in runs] == [0] * 3
        # 90 requests at one a second, booked by processes that did not wait for their turns.
        assert float((tmp_path / "requests").read_text()) >= began + 90

    def test_a_folder_is_shared(self, clock: Clock, tmp_path: Path) -> None:
        both = [Limits(4, 4, tmp_path, clock.sleep) for _ in range(2)]
        assert starts(clock, *both, requests=6) == [0, 0.25, 0.5, 0.75, 1.0, 1.25]

    def test_no_folder_is_not(self, clock: Clock) -> None:
        both = [Limits(4, 4, None, clock.sleep) for _ in range(2)]
        assert starts(clock, *both, requests=4) == [0, 0, 0.25, 0.25]

    def test_no_limit(self, clock: Clock, tmp_path: Path) -> None:
        assert starts(clock, Limits(4, 0, tmp_path, clock.sleep), requests=5) == [0] * 5

    @pytest.mark.parametrize("left", ["", "half a numb", "9e99", "nan"])
    def test_what_a_killed_process_or_another_boot_left(self, clock: Clock, tmp_path: Path, left: str) -> None:
        (tmp_path / "requests").write_text(left)
        assert starts(clock, Limits(4, 4, tmp_path, clock.sleep), requests=3) == [0, 0.25, 0.5]

    @pytest.mark.usefixtures("clock")
    def test_retries_count_too(
        self, server: ScriptedServer, connect: Connect, hour: Window, pauses: list[float]
    ) -> None:
        server.answers(Answer(b"", 503, {}), page([]))
        connect(server.url, requests_per_second=4).fetch_window(hour)
        # The retry's own pause, which no time passes in here, and then its turn.
        assert len(pauses) == 2
        assert pauses[1] == 0.25


class AtOnce:
    """A script that holds the requests until `most` of them are in flight together, and counts the most at once."""

    def __init__(self, most: int) -> None:
        self.most_seen = 0
        self._in_flight = 0
        self._lock = threading.Lock()
        self._full = threading.Event()
        self._most = most

    def __call__(self, _: dict[str, str]) -> Action:
        with self._lock:
            self._in_flight += 1
            self.most_seen = max(self.most_seen, self._in_flight)
            if self._in_flight >= self._most:
                self._full.set()
        # The first requests wait for each other; once `most` are in flight, all go through.
        assert self._full.wait(20)
        with self._lock:
            self._in_flight -= 1
        return page([record("a")])


class TestConcurrency:
    @pytest.mark.parametrize("shared", [False, True])
    def test_threads(
        self, server: ScriptedServer, connect: Connect, hour: Window, tmp_path: Path, shared: bool
    ) -> None:
        server.script = script = AtOnce(3)
        client = connect(server.url, max_concurrency=3, limits_dir=tmp_path / "deep" / "er" if shared else None)
        with ThreadPoolExecutor(12) as pool:
            assert len([*pool.map(lambda _: client.fetch_window(hour), range(30))]) == 30
        assert script.most_seen == 3

    def test_processes(self, server: ScriptedServer, tmp_path: Path) -> None:
        server.script = script = AtOnce(2)
        program = (
            "import sys; from datetime import datetime; from pathlib import Path\n"
            "from concurrent.futures import ThreadPoolExecutor\n"
            "from cdr_assets.alotech import AlotechClient, Window\n"
            "hour = Window(datetime(2026, 3, 2, 5), datetime(2026, 3, 2, 6))\n"
            "with AlotechClient(sys.argv[1], 'a-token', max_concurrency=2, requests_per_second=0,\n"
            "                   limits_dir=Path(sys.argv[2])) as client, ThreadPoolExecutor(4) as pool:\n"
            "    print(len([*pool.map(lambda _: client.fetch_window(hour), range(10))]))\n"
        )
        command = [sys.executable, "-c", program, server.url, str(tmp_path)]
        runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        assert [run.communicate(timeout=60)[0].strip() for run in runs] == ["10"] * 3
        assert script.most_seen == 2

    def test_a_place_goes_from_hand_to_hand(self, tmp_path: Path) -> None:
        looked: list[float] = []
        one, other = (Limits(1, 0, tmp_path, looked.append) for _ in range(2))
        for limits in (one, other, one, one, other):
            with limits.request():
                pass
        assert not looked

    def test_a_killed_process_frees_its_place(self, tmp_path: Path) -> None:
        program = (
            "import sys, time; from pathlib import Path; from cdr_assets.alotech.limits import Limits\n"
            "with Limits(1, 0, Path(sys.argv[1]), time.sleep).request():\n"
            "    print('held', flush=True); sys.stdin.read()\n"
        )
        command = [sys.executable, "-c", program, str(tmp_path)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        looked = []

        def sleep(seconds: float) -> None:
            # Called only while the place is taken by the other process.
            looked.append(seconds)
            holder.kill()
            holder.wait()

        with Limits(1, 0, tmp_path, sleep).request():
            assert looked
        holder.communicate()

    def test_deleted_files_are_made_and_shared_again(self, tmp_path: Path) -> None:
        looked: list[float] = []

        def sleep(seconds: float) -> None:
            looked.append(seconds)
            raise TimeoutError

        one = Limits(1, 0, tmp_path, sleep)
        (tmp_path / "request-0.lock").unlink(missing_ok=True)
        with one.request(), pytest.raises(TimeoutError), Limits(1, 0, tmp_path, sleep).request():
            pass
        assert len(looked) == 1

    def test_a_failed_request_frees_its_place(
        self, server: ScriptedServer, connect: Connect, hour: Window, tmp_path: Path
    ) -> None:
        client = connect(server.url, max_concurrency=1, limits_dir=tmp_path)
        server.answers(Answer(b"", 503, {}), Answer(b"<html>"), page([]))
        assert client.fetch_window(hour)[0].attempts == 3


def test_a_folder_that_cannot_be_written(connect: Connect, server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"folder of request limits .*file/limits cannot be written"):
        connect(server.url, limits_dir=tmp_path / "file" / "limits")


def test_a_folder_that_goes_away(connect: Connect, server: ScriptedServer, hour: Window, tmp_path: Path) -> None:
    client = connect(server.url, limits_dir=tmp_path / "limits", requests_per_second=10, max_concurrency=1)
    shutil.rmtree(tmp_path / "limits")
    (tmp_path / "limits").touch()
    # Each time: the first failure must not use the only slot up, so that the second request waits for ever.
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"^calls from .*limits cannot be written"):
            client.fetch_window(hour)
    assert not server.asked


@pytest.mark.parametrize("options", [{"max_concurrency": 0}, {"requests_per_second": -0.1}])
def test_limits_below_zero(connect: Connect, server: ScriptedServer, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least one request"):
        connect(server.url, **options)
