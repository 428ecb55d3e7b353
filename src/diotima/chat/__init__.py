"""Talk to a tutor: a person in the student's place, in a terminal or over a pipe.

The tutor is cast as in lessons, and the conversation is a run like any other; screen and commands are the chat's own.
"""
