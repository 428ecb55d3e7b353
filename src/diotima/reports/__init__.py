"""Show what was measured: tables with intervals, charts, and one self-contained page.

Nothing is measured here; every figure is computed from the scores and metrics that runs hold on disk.
"""
