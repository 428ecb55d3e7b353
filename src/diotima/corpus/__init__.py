"""Make records: other people's conversations and ratings as dialogues, contexts, candidates and preference pairs.

A reader turns one form of file into plain values and does nothing else; nobody is trained here, and nothing is judged.
"""
