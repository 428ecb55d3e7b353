import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from diotima.errors import ScoringError
from diotima.scoring import symbolic
from diotima.scoring.symbolic import Workers
from diotima.scoring.verdict import Verdict

SCRIPT = Path(symbolic.__file__).with_name("symbolic_worker.py")
FAKE = """
import json, os, sys, time
print("ready", flush=True)
for line in sys.stdin:
    given = json.loads(line)["given"]
    if given == "sleep":
        time.sleep(60)
    if given == "die":
        os.kill(os.getpid(), 9)
    if given == "cpu":
        os.kill(os.getpid(), __import__("signal").SIGXCPU)
    print(given, flush=True)
    if given == "crashed":
        break
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Workers]:
    """Workers that do as they are told, without the algebra."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    monkeypatch.setattr(symbolic, "_SCRIPT", script)
    return lambda seconds=0.5, count=2: Workers(count, seconds)


def check(workers: Workers, *given: str) -> list[Verdict]:
    async def check_all() -> list[Verdict]:
        return await asyncio.gather(*(workers.check(one, "x") for one in given))

    return asyncio.run(check_all())


def ended(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_death_costs_only_the_check_that_died(fake: Callable[..., Workers]) -> None:
    workers = fake()
    given = ["correct", "die", "incorrect", "sleep", "unparsed", "cpu", "crashed", "correct", "incorrect"]
    assert check(workers, *given) == [
        "correct", "crashed", "incorrect", "timeout", "unparsed", "timeout", "crashed", "correct", "incorrect",
    ]  # fmt: skip
    assert len(workers.processes) <= 2
    workers.close()


def test_a_worker_killed_while_it_waits_is_replaced(fake: Callable[..., Workers]) -> None:
    workers = fake(count=1)
    check(workers, "correct")
    [process] = workers.processes
    process.kill()
    process.wait()
    assert check(workers, "incorrect") == ["incorrect"]
    workers.close()


def test_workers_end_with_their_owner(fake: Callable[..., Workers]) -> None:
    workers = fake()
    check(workers, "correct", "correct")
    pids = [process.pid for process in workers.processes]
    del workers
    gc.collect()
    assert pids
    assert all(map(ended, pids))


def test_a_worker_that_cannot_start_is_an_error_not_a_verdict(
    fake: Callable[..., Workers], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(3)")
    monkeypatch.setattr(symbolic, "_SCRIPT", broken)
    with pytest.raises(ScoringError, match="ended with 3; is math-verify installed"):
        check(fake(), "correct")


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX systems")
def test_workers_end_when_their_parent_is_killed() -> None:
    program = (
        "import asyncio, os, signal\n"
        "from diotima.scoring.symbolic import Workers\n"
        "workers = Workers(1)\n"
        "asyncio.run(workers.check('x', 'x'))\n"
        "print(next(iter(workers.processes)).pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join([str(SCRIPT.parents[2]), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert parent.returncode == -signal.SIGKILL
    assert ended(int(parent.stdout))


def test_time_is_limited() -> None:
    workers = Workers(1, seconds=0.5)
    assert check(workers, "9^{9^{9^{9}}}", r"\sqrt{2}\sqrt{2}-2+x") == ["timeout", "correct"]
    workers.close()


@pytest.mark.skipif(os.name == "nt", reason="memory is limited by the module resource, which is of POSIX systems")
def test_memory_is_limited() -> None:
    workers = Workers(1, seconds=20, memory=256 << 20)
    assert check(workers, r"\gcd(10^{10^{10}},2)", "x") == ["crashed", "correct"]
    workers.close()


PROBES = [
    "{code}",
    "${code}$",
    r"\boxed{{{code}}}",
    r"\text{{{code}}}",
    r"\operatorname{{{code}}}(x)",
    r"\frac{{{code}}}{{2}}",
    "1+{code}",
    "x_{{{code}}}",
    "{code}^2",
    r"\text{{a}}_{{{code}}}",
    r"\left({code}, 2\right)",
    r"\{{{code}, 1\}}",
    "x={code}",
]


def test_nothing_is_evaluated(tmp_path: Path) -> None:
    """The worker's own functions, watched from within: what is compiled or looked up while it reads hostile text."""
    flag = tmp_path / "executed"
    codes = [f"__import__('os').system('touch {flag}')", f"open('{flag}','w')", "x.zzq_lookup", "zzq_name(1)"]
    texts = [probe.format(code=code) for probe in PROBES for code in codes]
    watcher = f"""
import json, sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import symbolic_worker as worker
import sympy
worker.confine()
for latex in worker.WARM_UP:
    worker.compare(latex, latex)
looked_up, compiled = [], []
def watch(event, arguments):
    if event == "compile" and arguments[0] is not None:
        compiled.append(str(arguments[0]))
    if event in ("os.system", "import", "open"):
        looked_up.append(str(arguments))
sys.addaudithook(watch)
sympy.Basic.__getattr__ = lambda self, name: looked_up.append(name) or object.__getattribute__(self, name)
for text in json.load(sys.stdin):
    for expected in ("57", "x+1", r"\\sqrt{{2}}"):
        for pair in ((text, expected), (expected, text)):
            try:
                worker.compare(*pair)
            except Exception:
                pass
json.dump([looked_up, compiled], sys.stdout)
"""
    run = subprocess.run(
        [sys.executable, "-I", "-c", watcher], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    looked_up, compiled = json.loads(run.stdout)
    hostile = [trace for trace in looked_up + compiled if "zzq" in trace or "__import__" in trace or "system" in trace]
    assert hostile == []
    assert all("monomial_" in source for source in compiled)  # SymPy writes these itself, from a number of variables
    assert not flag.exists()


def test_the_worker_refuses_what_no_comparison_needs(tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import symbolic_worker as worker
worker.confine()
import os, socket, subprocess, sympy
refused = 0
for act in (
    lambda: os.system("true"),
    lambda: subprocess.run(["true"]),
    lambda: open({str(tmp_path / "new")!r}, "w"),
    lambda: os.fork(),
    lambda: socket.socket(),
    lambda: sympy.sympify("1+1"),
    lambda: sympy.Number("1+1"),
):
    try:
        act()
    except (PermissionError, ValueError):
        refused += 1
print(refused, sympy.Number("0.1") == sympy.Rational(1, 10))
"""
    run = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["7", "True"]
    assert not list(tmp_path.iterdir())
