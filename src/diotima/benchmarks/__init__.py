"""Measure tutors: lessons with an exam before and after, on problems that nobody was trained on.

Every figure comes with its number of lessons and an interval, and comparisons are paired by problem.
"""
