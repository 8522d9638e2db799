"""The fork server must run a command as an interpreter of its own would."""

from __future__ import annotations

import signal
import time

import psutil
import pytest


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def write(tmp_path):
    """Writes a module `probe.py` into the working directory of the test."""

    def _write(text: str) -> None:
        (tmp_path / "probe.py").write_text(text)

    return _write


def test_arguments_directory_environment_and_streams_are_the_commands_own(command, write, tmp_path):
    write(
        "import os, sys\n"
        "print(__name__, sys.argv[1:], os.getcwd(), os.environ['COLOUR'], 'HOME' in os.environ)\n"
        "print('to stderr', file=sys.stderr)\n"
    )
    result = command("probe", "a", "--b=c d", cwd=tmp_path, env={"COLOUR": "green", "HOME": None})
    result.check()
    assert result.stdout == f"__main__ ['a', '--b=c d'] {tmp_path} green False\n"
    assert result.stderr == "to stderr\n"


@pytest.mark.parametrize(
    ("ending", "returncode", "words"),
    [
        ("sys.exit(2)", 2, ""),
        ("sys.exit('error: no such folder')", 1, "error: no such folder\n"),
        ("raise ValueError('boom')", 1, "ValueError: boom\n"),
        ("os.kill(os.getpid(), 9)", -9, ""),
    ],
)
def test_every_ending_is_an_interpreters(command, write, tmp_path, ending, returncode, words):
    write(f"import os, sys\n{ending}\n")
    result = command("probe", cwd=tmp_path)
    assert result.returncode == returncode
    assert result.stderr.endswith(words)
    with pytest.raises(AssertionError, match=f"probe ended with {returncode}"):
        result.check()


def test_exit_handlers_run_and_nothing_is_kept_from_one_command_to_the_next(
    command, write, tmp_path
):
    write(
        "import atexit\n"
        "from absl import app, flags\n"
        "number = flags.DEFINE_integer('number', 0, 'A number.')\n"
        "atexit.register(print, 'handler ran')\n"
        "app.run(lambda argv: print(number.value, argv[1:]))\n"
    )
    first = command("probe", "--number=4", "rest", cwd=tmp_path).check()
    second = command("probe", cwd=tmp_path).check()
    assert first.stdout == "4 ['rest']\nhandler ran\n"
    assert second.stdout == "0 []\nhandler ran\n"
    assert second.seconds < 10


def test_tensorflow_beam_and_a_strategy_work_in_the_child(command, write, tmp_path):
    write(
        "import apache_beam as beam\n"
        "import tensorflow as tf\n"
        "if __name__ == '__main__':\n"
        "    tf.config.set_logical_device_configuration(\n"
        "        tf.config.list_physical_devices('CPU')[0],\n"
        "        [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        "    strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])\n"
        "    step = tf.function(lambda: tf.distribute.get_replica_context().all_reduce(\n"
        "        'sum', tf.constant(3.0)))\n"
        "    print([float(v) for v in strategy.run(step).values])\n"
        "    with beam.Pipeline(runner='FnApiRunner') as pipeline:\n"
        "        squares = pipeline | beam.Create([1, 2, 3]) | beam.Map(lambda x: x * x)\n"
        "        squares | beam.CombineGlobally(sum) | beam.Map(print)\n"
        "    data = tf.data.Dataset.range(100).map(lambda x: x * x, num_parallel_calls=4)\n"
        "    print(int(data.reduce(tf.constant(0, tf.int64), lambda a, b: a + b)))\n"
    )
    result = command("probe", cwd=tmp_path).check()
    assert result.stdout == "[6.0, 6.0]\n14\n328350\n"


def test_a_command_takes_signals_and_a_slow_one_is_killed_with_its_children(
    command, write, tmp_path
):
    write(
        "import pathlib, signal, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path('child').write_text(str(child.pid))\n"
        "def leave(*_):\n"
        "    child.kill()\n"
        "    print('told to leave', flush=True)\n"
        "    sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    running = command.start("probe", cwd=tmp_path)
    until = time.monotonic() + 30
    while "ready" not in running.stdout_path.read_text() and time.monotonic() < until:
        time.sleep(0.02)
    assert running.poll() is None
    running.send_signal(signal.SIGTERM)
    result = running.wait(timeout=30)
    assert (result.returncode, result.stdout) == (7, "ready\ntold to leave\n")

    (tmp_path / "child").unlink()
    with pytest.raises(AssertionError, match=r"(?s)still running after 2 s.*ready"):
        command("probe", cwd=tmp_path, timeout=2)
    grandchild = int((tmp_path / "child").read_text())
    until = time.monotonic() + 10
    while _lives(grandchild):
        assert time.monotonic() < until, "a process started by the killed command still runs"
        time.sleep(0.02)


def test_two_commands_run_at_the_same_time(command, write, tmp_path):
    write(
        "import pathlib, sys, time\n"
        "mine, other = sys.argv[1:]\n"
        "pathlib.Path(mine).touch()\n"
        "while not pathlib.Path(other).exists():\n"
        "    time.sleep(0.01)\n"
    )
    first = command.start("probe", "one", "two", cwd=tmp_path)
    second = command.start("probe", "two", "one", cwd=tmp_path)
    assert [first.wait(30).returncode, second.wait(30).returncode] == [0, 0]


def test_a_real_interpreter_gives_the_same_result(real_command, write, tmp_path):
    write("import sys\nprint(sys.argv[1:])\nsys.exit(3)\n")
    result = real_command("probe", "a", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (3, "['a']\n", "")
