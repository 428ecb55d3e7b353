"""How fast a weight difference is made and undone, how large it is, and how much memory both take.

A synthetic checkpoint of 2 GB in shards of 200 MB: normal weights of deviation 0.02, each moved by normal noise of the
given deviation (fine-tuning moves a weight by about 1e-5 to 1e-4). MB/s are those of the tuned checkpoint, over the
command's whole time with start, hashing and fsync: by the clock, and by CPU-seconds of all threads together. It needs
about 8 GB of disk.

    python benchmarks/weights.py [--folder /tmp] [--megabytes 2000]
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy

from diotima.training.tensor_files import TensorWriter

SHARD = 200_000_000
TENSORS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--megabytes", type=int, default=2000)
    asked = parser.parse_args()
    print(f"{'':24} {'diff MB/s':>9} {'a CPU-s':>8} {'recover MB/s':>12} {'a CPU-s':>8} {'size':>5}")
    for dtype, moved, precision in (
        ("BF16", 1e-5, "exact"),
        ("BF16", 1e-4, "exact"),
        ("F32", 1e-5, "exact"),
        ("F32", 1e-5, "int8"),
    ):
        with tempfile.TemporaryDirectory(dir=asked.folder) as name:
            measure(Path(name), dtype, moved, precision, asked.megabytes * 10**6)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory of any of the commands: {peak:,.0f} MB")


def measure(folder: Path, dtype: str, moved: float, precision: str, size: int) -> None:
    """Make two checkpoints, their difference and the second again; print what that took."""
    noise = numpy.random.default_rng(0).standard_normal((2, SHARD // TENSORS // 4), dtype=numpy.float32)
    write(folder / "base", 0.02 * noise[0], dtype, size)
    write(folder / "tuned", 0.02 * noise[0] + moved * noise[1], dtype, size)
    os.sync()
    base, tuned, diff, out = ("--base", folder / "base"), ("--tuned", folder / "tuned"), folder / "diff", folder / "out"
    took = seconds("diff", *base, *tuned, "--out", diff, "--precision", precision)
    again = seconds("recover", *base, "--diff", diff, "--out", out)
    kept = sum(path.stat().st_size for path in diff.rglob("*.safetensors"))
    row = f"{dtype} moved {moved:g}, {precision}"
    done = [size / spent / 1e6 for spent in (*took, *again)]
    print("{:24} {:>9,.0f} {:>8,.0f} {:>12,.0f} {:>8,.0f} {:>5.0%}".format(row, *done, kept / size), flush=True)


def seconds(verb: str, *words: str | Path) -> tuple[float, float]:
    """The wall time of one command, and its CPU time."""
    start, before = time.perf_counter(), os.times()
    command = [sys.executable, "-m", "diotima", "weights", verb, *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu


def write(folder: Path, numbers: numpy.ndarray, dtype: str, size: int) -> None:
    """A checkpoint of that many bytes, the same numbers in every tensor."""
    folder.mkdir()
    bits = numbers.view(numpy.uint32)
    data = (bits >> 16).astype(numpy.uint16).tobytes() if dtype == "BF16" else bits.tobytes()
    count = max(1, round(size / SHARD))
    per_shard = size // count // len(data)
    for shard in range(count):
        names = [f"layers.{shard}.{number}.weight" for number in range(per_shard)]
        with (folder / f"model-{shard + 1:05}-of-{count:05}.safetensors").open("wb") as file:
            writer = TensorWriter(file, dict.fromkeys(names, numbers.shape))
            for name in names:
                writer.write(data)
                writer.name(name, dtype, numbers.shape)
            writer.close()


if __name__ == "__main__":
    main()
