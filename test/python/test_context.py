"""Contexts, threads, fork, and Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
import time

import dotk
import numpy as np
import pytest


def test_threads():
    before = dotk.get_threads()
    dotk.set_threads(3)
    assert dotk.get_threads() == 3
    dotk.set_threads(0)
    assert dotk.get_threads() == before
    assert dotk.Context(2).threads == 2
    assert dotk.Context(isa="portable").isa == "portable"


@pytest.mark.parametrize("threads", [-1, 1 << 20, 1 << 80])
def test_threads_refused(threads):
    with pytest.raises(ValueError, match="threads is"):
        dotk.Context(threads)


def test_isa_refused():
    with pytest.raises(ValueError, match='"abacus".*choose from portable'):
        dotk.Context(isa="abacus")


def test_environment():
    asked = subprocess.run(
        [sys.executable, "-c", "import dotk; print(dotk.get_threads())"],
        env=os.environ | {"DOTK_THREADS": "3"},
        capture_output=True,
        text=True,
    )
    assert asked.stdout == "3\n"


def test_fork():
    rows = np.ones((20000, 64), np.float32)
    assert dotk.inspect(rows)["rows"] == 20000
    child = os.fork()
    if child == 0:
        os._exit(0 if dotk.inspect(rows)["rows"] == 20000 else 1)
    assert os.waitpid(child, 0)[1] == 0


def interrupted(call):
    """Seconds from Ctrl-C to the KeyboardInterrupt of a call that is repeated until then."""
    sent = []

    def send():
        time.sleep(0.2)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    began = time.monotonic()
    try:
        while time.monotonic() < began + 20:
            call()
    except KeyboardInterrupt:
        return time.monotonic() - sent[0]
    finally:
        thread.join()
    pytest.fail("no KeyboardInterrupt")


def test_interrupt():
    rows = np.random.default_rng(1).standard_normal((200000, 256), dtype=np.float32)
    out = np.empty_like(rows)
    index = dotk.Index(256)
    index.add(rows)
    for call in (
        lambda: dotk.inspect(rows),
        lambda: dotk.softmax(rows, out=out),
        lambda: index.search(rows[:5000], 10),
        lambda: index.search(rows[:2], 10),
        lambda: index.range(rows[:500], 100.0),
    ):
        assert min(interrupted(call) for _ in range(3)) < 0.1


def test_handler_may_call_dotk_and_return():
    """A signal that raises nothing leaves the interrupted call to its end."""
    rows = np.ones((200000, 256), np.float32)
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(dotk.inspect(rows[:5000])["rows"]))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
        began = time.monotonic()
        while len(seen) < 3 and time.monotonic() < began + 20:
            assert dotk.inspect(rows)["rows"] == 200000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen[:3] == [5000] * 3


def test_other_threads_are_not_interrupted():
    rows = np.ones((200000, 256), np.float32)
    found = []
    thread = threading.Thread(target=lambda: found.append(dotk.inspect(rows)["rows"]))

    def handler(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handler)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert found == [200000]
