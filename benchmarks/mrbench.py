"""Count MRBench V2's human labels per tutor and dimension, as Markdown: the tables of docs/benchmarks.md.

python benchmarks/mrbench.py [MRBench_V2.json]
"""

import argparse
from pathlib import Path

from diotima.corpus.mrbench import damr, dimensions, mrbench_counts, read_conversations, read_mrbench


def main() -> None:
    """Print what there is, the share of desired labels, and how often each label was given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", default=Path("../shared/data/mrbench/MRBench_V2.json"))
    path = parser.parse_args().file
    if not path.is_file():
        print(f"skipped: there is no {path}; MRBench V2 is at github.com/kaushal0494/UnifyingAITutorEvaluation")
        return
    rated, names = read_mrbench(path), list(dimensions())
    counts = mrbench_counts(rated)
    labels = sum(len(one.labels) for one in rated)
    print(f"{len(read_conversations(path))} conversations, {len(rated):,} replies, {labels:,} labels\n")
    print_table(
        ["tutor", "replies", *names],
        [
            [tutor, str(one[names[0]].total()), *(f"{damr(one[name], name):.1%}" for name in names)]
            for tutor, one in counts.items()
        ],
    )
    print()
    for name in names:
        kinds = list(dimensions()[name].labels)
        rows = [[tutor, *(str(one[name][label]) for label in kinds)] for tutor, one in counts.items()]
        totals = [str(sum(one[name][label] for one in counts.values())) for label in kinds]
        print_table([name, *kinds], [*rows, ["all", *totals]])
        print()


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    for row in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
