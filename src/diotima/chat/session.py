"""A chat that is being held: lines of a person's go in, the tutor's replies come out, and a slash begins a command.

Whatever goes wrong with a model costs one reply and not the conversation: what the person said stays, and is asked
again by an empty line. Every turn is kept, if it is kept at all, before anything is asked because of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from diotima.chat.lines import leak_lines, verdict_lines
from diotima.chat.screen import Screen
from diotima.chat.talk import Hearing, interrupted, reply_to, said, undone, waits
from diotima.classroom.lesson import Participant
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import CallRefused, DiotimaError, ModelError, SettingsError, Terminated
from diotima.models.calls import Calls
from diotima.score import Judgement
from diotima.scoring.panel import combine
from diotima.scoring.rubric import Rubric
from diotima.settings import did_you_mean

YOU, THEY = "You", "Tutor"
Judging = Callable[[Dialogue, str], tuple[Rubric, list[Judgement]]]
"""From a conversation and a rubric's name to the verdicts on it."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where a conversation goes.

    ``folder``: in which every turn is kept by ``keep``, or None. ``copy``: writes the whole conversation to a folder.
    """

    folder: Path | None
    keep: Callable[[Dialogue], None]
    copy: Callable[[Dialogue, Path], None]


class Chat:
    """One conversation; ``dialogue``: as it stands.

    ``rubric``: what `/score` goes by if none is named. ``thoughts``: show what the tutor thinks.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        tutor: Participant,
        calls: Calls,
        screen: Screen,
        keeping: Keeping,
        judging: Judging,
        rubric: str = "euler",
        thoughts: bool = False,
    ) -> None:
        self.dialogue = dialogue
        self._tutor = tutor
        self._calls = calls
        self._screen = screen
        self._keeping = keeping
        self._judging = judging
        self._rubric = rubric
        self._thoughts = thoughts
        self._over = False

    def hold(self, tutor_opens: bool = False) -> None:
        """Talk until the person has had enough. Where no person sits there, what goes wrong is raised as it is.

        The first Ctrl-C stops a reply, and two of them without a line in between end the chat.
        """
        opening, warned = tutor_opens and not self.dialogue.turns, False
        if waits(self.dialogue):
            self._screen.aside(_UNANSWERED)
        while not self._over:
            try:
                if opening:
                    opening = False
                    self._reply()
                line = self._screen.ask(f"{YOU}: ")
                warned = False
                self._take(line)
            except EOFError:
                self._over = True
            except KeyboardInterrupt as stop:
                if isinstance(stop, Terminated) or not self._screen.alive:
                    raise
                self._over, warned = warned, True
                if not self._over:
                    self._screen.aside("(Ctrl-C once more, or Ctrl-D, ends the chat.)")
            except DiotimaError as error:
                if not self._screen.alive:
                    raise
                self._screen.complain(str(error))
                if waits(self.dialogue) and isinstance(error, ModelError):
                    self._screen.aside(_REFUSED if isinstance(error, CallRefused) else _UNANSWERED)

    def _take(self, line: str) -> None:
        line = line.strip()
        if line.startswith("/") and not line.startswith("//"):
            name, _, argument = line[1:].partition(" ")
            if name not in COMMANDS:
                known = [f"/{command}" for command in COMMANDS]
                raise SettingsError(f"there is no command /{name}; {did_you_mean(f'/{name}', known)}")
            COMMANDS[name].do(self, argument.strip())
        elif line or waits(self.dialogue):
            if line:
                self._go_on(said(self.dialogue, line.removeprefix("/") if line.startswith("//") else line))
            self._reply()

    def _reply(self) -> None:
        """Let the tutor speak. What was heard of a reply that is stopped counts as said."""
        hearing, speech = Hearing(), self._screen.speech(THEY)

        def hear(text: str, whole: bool = False) -> None:
            nonlocal speech
            new = hearing.whole(text) if whole else hearing.piece(text)
            if hearing.misheard:
                speech.end()
                self._screen.aside("(this was a thought, which the model had not marked as one)")
                speech = self._screen.speech(THEY)
            speech.hear(new)

        try:
            turn = self._calls.conduct(reply_to(self.dialogue, self._tutor, hear))
            hear(turn.text, whole=True)
            self._go_on(self.dialogue.then(turn))
        except KeyboardInterrupt:
            if (part := interrupted(hearing)) is not None:
                self._go_on(self.dialogue.then(part))
            raise
        finally:
            speech.end()
        self._remark(turn)

    def _remark(self, turn: Turn) -> None:
        if self._thoughts and turn.thought:
            self._screen.tell(f"(thought: {turn.thought})", "dim")
        if not turn.text:
            self._screen.aside("(The tutor said nothing that could be heard.)")
        if turn.cut:
            self._screen.aside("(The reply was cut off at its longest; --tutor-max-tokens allows more.)")
        if turn.ends:
            self._screen.aside("(The tutor has ended the conversation. You may go on, or /quit.)")

    def _go_on(self, dialogue: Dialogue) -> None:
        self._keeping.keep(dialogue)
        self.dialogue = dialogue

    def help(self, _: str) -> None:
        """Every command."""
        width = max(len(f"{name} {command.takes}") for name, command in COMMANDS.items())
        for name, command in COMMANDS.items():
            self._screen.tell(f"  /{f'{name} {command.takes}':{width}}  {command.about}")
        self._screen.tell("A line that begins with two slashes is said with one.")

    def undo(self, _: str) -> None:
        """Take the last exchange back."""
        before = undone(self.dialogue)
        if before == self.dialogue:
            raise SettingsError("there is nothing to take back: you have said nothing yet")
        last = self.dialogue.turns[len(before.turns)]
        self._go_on(before)
        self._screen.tell(f"Taken back: {last.text}")

    def history(self, _: str) -> None:
        """All that was said, also where nobody sits there: then with the speakers' names."""
        for turn in self.dialogue.turns:
            self._screen.say(THEY if turn.speaker == TUTOR else YOU, turn.text)
        if not self.dialogue.turns:
            self._screen.tell("Nothing has been said yet.")

    def save(self, folder: str) -> None:
        """Keep a copy in a folder; without one, where it is kept anyway or in a new folder."""
        kept = self._keeping.folder
        chosen = Path(folder).expanduser() if folder else kept or Path(f"runs/chat-{datetime.now():%Y%m%d-%H%M%S}")
        if kept is not None and chosen.resolve() == kept.resolve():
            self._screen.tell(f"Every turn is kept in {kept} already.")
        elif not self.dialogue.turns:
            raise SettingsError("there is nothing to save: nothing has been said yet")
        else:
            self._keeping.copy(self.dialogue, chosen)
            self._screen.tell(f"Saved in {chosen}.")

    def score(self, rubric: str) -> None:
        """What judges say about the tutor's last turn."""
        if not self.dialogue.by(TUTOR):
            raise SettingsError("there is nothing to judge: the tutor has said nothing yet")
        by, judgements = self._judging(self.dialogue, rubric or self._rubric)
        self._screen.tell(f"{by.name}, by {', '.join(dict.fromkeys(judgement.judge for judgement in judgements))}")
        for line in verdict_lines(judgements, combine(by, judgements)):
            self._screen.tell(line)

    def leak(self, _: str) -> None:
        """What the tutor has given away."""
        for line in leak_lines(self.dialogue):
            self._screen.tell(line)

    def quit(self, _: str) -> None:
        """End."""
        self._over = True


@dataclass(frozen=True, slots=True)
class Command:
    """``takes``: what may stand behind it, ``about``: what it is for."""

    do: Callable[[Chat, str], None]
    takes: str
    about: str


COMMANDS: Mapping[str, Command] = {
    "help": Command(Chat.help, "", "this list"),
    "undo": Command(Chat.undo, "", "take back what you said last, and the reply to it"),
    "history": Command(Chat.history, "", "all that was said"),
    "save": Command(Chat.save, "[FOLDER]", "keep a copy of the conversation as a run"),
    "score": Command(Chat.score, "[RUBRIC]", "what a judge says about the tutor's last turn"),
    "leak": Command(Chat.leak, "", "what each of the tutor's turns gives away"),
    "quit": Command(Chat.quit, "", "end the chat, as Ctrl-D does; Ctrl-C stops a reply"),
}

_UNANSWERED = "(What you said has no reply yet: Enter asks again, /undo takes it back.)"
_REFUSED = "(This conversation gets no reply, however often it is asked: /undo takes back what you said last.)"


def ended(dialogue: Dialogue) -> Dialogue:
    """The conversation with the reason why it is over."""
    last = dialogue.turns[-1] if dialogue.turns else None
    return replace(dialogue, stop=f"{TUTOR if last and last.ends else STUDENT} ended")
