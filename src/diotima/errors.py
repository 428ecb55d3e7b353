"""Every error that diotima raises on purpose, by the boundary that was crossed.

    DiotimaError
    ├── SettingsError      a recipe, a flag or a file of settings is wrong: the user mends it
    ├── ProblemFileError   a file of problems cannot be read as such: names file, line and field
    ├── PromptError        a prompt file is missing, or a placeholder has no value
    ├── RunError           a run's folder cannot be written, opened or continued
    ├── ScoringError       answers cannot be compared on this machine
    ├── TrainingError      a training cannot go on; its last whole step is kept
    └── ModelError         a model cannot be loaded or did not answer
        └── CallFailed     one call of an endpoint failed: its lesson is lost, the others go on
            └── CallRefused    it would fail again: the lesson ends here, and that is data

The command line prints the message of any of these as one sentence and exits with 2; every other exception is a
defect of ours and keeps its traceback. A lesson that goes wrong is data (a stop reason, a missing score), not an error.
"""


class DiotimaError(Exception):
    """Something a person can mend; its message says what, where and how."""


class SettingsError(DiotimaError):
    """A recipe or a flag is not valid."""


class ProblemFileError(DiotimaError):
    """A file of problems cannot be read."""


class PromptError(DiotimaError):
    """A prompt cannot be found or filled."""


class RunError(DiotimaError):
    """A run's folder cannot be written, opened or continued."""


class ScoringError(DiotimaError):
    """Answers cannot be compared on this machine."""


class TrainingError(DiotimaError):
    """A training cannot go on to any good."""


class ModelError(DiotimaError):
    """A model cannot be loaded, or did not answer."""


class CallFailed(ModelError):  # noqa: N818  (that it failed is what it says)
    """One call of an endpoint did not succeed, although others may."""


class CallRefused(CallFailed):
    """The server refuses this very request, however often it is asked: a chat that is too long, for one."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM), and has put its books in order."""
