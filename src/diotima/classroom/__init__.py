"""Where lessons are held: who takes part, how a lesson runs, and the exam before and after.

Simulated learners and scripted tutors live here too, so that every command runs without any model.
"""
