"""Signals are remembered, and the handlers before come back."""

from __future__ import annotations

import os
import signal

import pytest

from tf_perceiver.training.preemption import SignalFlag


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered_and_the_process_goes_on(number):
    before = signal.getsignal(number)
    with SignalFlag() as flag:
        assert flag.received is None
        os.kill(os.getpid(), number)
        assert flag.received is number
        assert signal.getsignal(number) is signal.SIG_DFL  # A second one ends the process.
    assert signal.getsignal(number) is before
