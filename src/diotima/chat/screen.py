"""The terminal of a chat: lines in, words out, as they come.

For people there are prompts, colours, lines broken between words and earlier inputs by the arrow keys; where standard
input or output is no terminal there is plain text and nothing else. What a model wrote is never sent to a terminal as
it is: control characters can move the cursor, change colours and turn text around.
"""

import io
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress

from diotima.chat.maths import readable, settled
from diotima.problems.list_command import visible
from diotima.runs.status import shown

_TOKEN = re.compile(r"\n|[^\S\n]+|\S+")
_BLANKS = re.compile(r"[^\S \n\t\r\x1c-\x1f\x0b\x0c\x85\u2028\u2029]")  # no-break and thin spaces
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))  # joiners, soft hyphens: no signs


def harmless(text: str) -> str:
    """A stranger's text as it may be sent to a terminal; line ends and blanks of any kind as the common ones."""
    lines = text.translate(_UNSEEN).replace("\r\n", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return visible(_BLANKS.sub(" ", lines)).replace("\t", "    ")


class Speech:
    """One turn, written word by word as its text comes.

    ``width``: of the lines in cells, None to break none. ``column``: where the first word stands. ``plain``: leave
    formulas as they are written.
    """

    def __init__(self, write: Callable[[str], None], width: int | None, column: int = 0, plain: bool = False) -> None:
        self._write = write
        self._width = width
        self._column = column
        self._plain = plain
        self._pending = self._blank = ""

    def hear(self, text: str) -> None:
        """Take more of the turn; what is whole of it is written."""
        self._pending += text
        ready = max(self._pending.rfind(" "), self._pending.rfind("\n")) + 1
        self._say(min(ready, settled(self._pending)) if not self._plain else ready)

    def end(self) -> None:
        """Write the rest."""
        self._say(len(self._pending))

    def _say(self, ready: int) -> None:
        text, self._pending = self._pending[:ready], self._pending[ready:]
        for token in _TOKEN.findall(harmless(text if self._plain else readable(text))):
            if token == "\n":
                self._write("\n")
                self._blank, self._column = "", 0
            elif token.isspace():
                self._blank += token
            else:
                self._word(token)

    def _word(self, word: str) -> None:
        cells = _cells(self._blank + word) if self._width else 0
        if self._width and self._column and self._column + cells > self._width:
            self._write("\n")
            self._blank, self._column, cells = "", 0, _cells(word)
        self._write(self._blank + word)
        self._column += cells
        self._blank = ""


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


class Screen:
    """Where a chat is held. ``alive``: whether a person sits there. ``plain``: show formulas as they are written."""

    def __init__(self, plain: bool = False) -> None:
        from rich.console import Console

        for stream in (sys.stdin, sys.stdout):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # one odd byte is no reason to lose a conversation
        self.alive = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
        self._plain = plain
        self._console: Console = Console(highlight=False, markup=False, emoji=False)
        self._begun = False  # whether something stands in the line
        if self.alive:
            with suppress(ImportError):
                import readline  # noqa: F401  (importing it is what makes `input` keep a history)

    def ask(self, prompt: str) -> str:
        """The next line of the person's, without its end. Raises EOFError where there is none."""
        self.new_line()
        if self.alive:
            try:
                return input(prompt)
            except (EOFError, KeyboardInterrupt):
                self._write("\n")
                raise
        sys.stdout.flush()
        line = sys.stdin.readline() if sys.stdin is not None else ""  # None: it was closed from outside
        if not line:
            raise EOFError
        return line.rstrip("\r\n")

    def remember(self, lines: Iterable[str]) -> None:
        """Let the arrow keys reach these lines, too."""
        if self.alive and "readline" in sys.modules:
            import readline

            for line in lines:
                readline.add_history(line)

    def speech(self, name: str, named: bool = False) -> Speech:
        """A turn that is about to be spoken; its speaker's name stands before it, for people or if it has to."""
        self.new_line()
        if self.alive or named:
            self._write(f"{name}: ", "bold cyan")
        width = self._console.width - 1 if self.alive else None
        return Speech(self._write, width, len(name) + 2, self._plain)

    def say(self, name: str, text: str) -> None:
        """A whole turn at once, with its speaker's name."""
        speech = self.speech(name, named=True)
        speech.hear(text)
        speech.end()

    def aside(self, text: str, style: str = "dim") -> None:
        """Something about the conversation, for people only."""
        if self.alive:
            self.tell(text, style)

    def tell(self, text: str, style: str = "") -> None:
        """What was asked for."""
        self.new_line()
        self._console.print(harmless(text if self._plain else readable(text)), style=style, soft_wrap=not self.alive)

    def complain(self, sentence: str) -> None:
        """One sentence about what went wrong, on standard error."""
        self.new_line()
        sys.stdout.flush()
        print(f"diotima: {shown(sentence)}", file=sys.stderr, flush=True)

    def new_line(self) -> None:
        """End the line if something stands in it."""
        if self._begun:
            self._write("\n")

    def _write(self, text: str, style: str | None = None) -> None:
        self._begun = not text.endswith("\n")
        self._console.out(text, style=style, end="", highlight=False)
