"""The run on disk: one folder with a manifest and one SQLite file of dialogues, scores and metrics.

A run that is killed loses at most its last moment and goes on where it was; two writers never share one.
"""
