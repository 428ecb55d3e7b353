"""How many calls one endpoint gets at a time: a gate that is first come first served and learns its own width.

Nobody knows beforehand how much a server bears, and it changes. So the limit starts small, grows while all goes well
and shrinks when the server says 429: additive increase, multiplicative decrease (Chiu and Jain 1989) after a slow
start, as in TCP (RFC 5681). First come first served, for serving the lesson that is furthest along was measured to be
slower. It departs from TCP in four things:

- it shrinks to 0.8 and not to a half, once per episode: the 429s within 15 seconds of one, and those of calls sent
  before a pause, tell the same news;
- it grows only on answers that came while the gate was full: nothing is learned about width that is not used;
- errors of the server (5xx, a broken connection) say nothing about width: they only hold up growth;
- a breaker (Nygard, "Release It!"): when more than half of the last 50 calls went wrong, nothing is sent for a while,
  and then one call alone tries whether the server is back. A 429 is no failure to it: who refuses is alive.

Nothing polls, and there is no task: one timer while the gate is shut and somebody waits, else only a queue.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

# How a call went: answered; refused with 429; broken by the server or the line; or none of the gate's business, such
# as a cancelled call or a request that the server calls wrong.
Ending = Literal["good", "throttled", "broken", "neutral"]

_SHRINK = (4, 5)  # as a fraction, for 0.8 * 5 must not depend on rounding
_EPISODE = 15.0  # seconds
_WINDOW = 50  # finished calls
_FIRST_REST, _LONGEST_REST = 30.0, 300.0  # seconds
_WORTH_TELLING = 0.9  # seconds: many calls at once are told to wait, each until a little later than the one before


class Gate:
    """Lets calls through to one model at one address; every `enter` that returned is followed by one `leave`.

    ``most``: the limit never grows beyond it. ``start``: the limit it starts with. ``clock``: seconds, monotonic.
    ``tell``: gets one sentence whenever the limit shrinks, the gate shuts, or the server is back after it did.
    ``running``: calls now inside. ``limit``: how many may be; when it shrinks, who is inside stays.
    """

    def __init__(
        self,
        name: str,
        most: int = 64,
        start: int = 8,
        *,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[str], None],
    ) -> None:
        self.name = name
        self.running = 0
        self.limit = min(start, most)
        self._most = most
        self._clock = clock
        self._tell = tell
        self._queue: deque[asyncio.Future[bool]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._shut_until = self._next_episode = -math.inf
        self._slow_start = True
        self._clean = most  # good answers of a full gate since the last trouble: as if there had always been enough
        self._ended_badly: deque[bool] = deque(maxlen=_WINDOW)
        self._complaint = ""  # why the last of them did
        self._rest = 0.0  # how long the breaker last shut the gate for; 0 while it trusts the server
        self._trying = False

    @property
    def waiting(self) -> int:
        """How many calls wait to be let in."""
        return len(self._queue)

    @property
    def shut(self) -> bool:
        """Whether nobody is let in for now, however few are inside."""
        return bool(self._rest and self._trying) or self._clock() < self._shut_until

    async def enter(self) -> bool:
        """Return True when this call may be sent, and False when it was sent away and is to go elsewhere.

        Whoever is cancelled here has no place in the queue and need not leave.
        """
        if not self._queue and self._is_open():
            self._take()
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # let in, or sent away, and cancelled at the same moment
                if turn.result():
                    self.leave("neutral")
            else:
                with suppress(ValueError):  # its turn came after it was cancelled
                    self._queue.remove(turn)
                self._set_alarm()
            raise

    def leave(self, ending: Ending, retry_after: float | None = None, reason: str = "") -> None:
        """Say how a call went that had been let in.

        ``retry_after``: how many seconds the server asks to wait; after a 429 nobody is let in until then. ``reason``:
        why the call went wrong, in a few words.
        """
        if ending == "neutral":
            self._trying = False
        elif self._rest:
            self._judge_trial(ending, retry_after, reason)
        else:
            self._learn(ending, retry_after)
            if ending != "throttled":
                self._watch(ending, reason)
        self.running -= 1
        self._admit()

    def send_away(self) -> None:
        """Let nobody wait here any longer: there is another address that takes calls."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(False)
        self._set_alarm()

    def _is_open(self) -> bool:
        return self.running < self.limit and not self.shut

    def _take(self) -> None:
        self.running += 1
        self._trying = self._rest > 0

    def _admit(self) -> None:
        while self._queue and self._is_open():
            turn = self._queue.popleft()
            if not turn.done():
                self._take()
                turn.set_result(True)
        self._set_alarm()

    def _set_alarm(self) -> None:
        if not self._queue:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
        elif self._alarm is None and (left := self._shut_until - self._clock()) > 0:
            self._alarm = asyncio.get_running_loop().call_later(left, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._admit()

    def _learn(self, ending: Ending, retry_after: float | None) -> None:
        """Change the limit, and shut the gate where the server asks for it."""
        if ending == "throttled":
            self._slow_start, self._clean = False, 0
            self._throttle(retry_after)
        elif ending == "broken":
            self._clean = 0
        elif self.running >= self.limit:
            self._clean += 1
            if self._clean >= self.limit and self.limit < self._most:
                self.limit += 1
                if not self._slow_start:
                    self._clean = 0

    def _throttle(self, retry_after: float | None) -> None:
        now, news = self._clock(), []
        if now >= max(self._next_episode, self._shut_until):
            self._next_episode = now + _EPISODE
            before, self.limit = self.limit, max(1, self.limit * _SHRINK[0] // _SHRINK[1])
            if self.limit < before:
                news.append(f"at most {self.limit} calls at once from now on instead of {before}")
        if retry_after is not None and self._shut(now + retry_after) > _WORTH_TELLING:
            news.append(f"nothing is sent for the {retry_after:.3g} s it asks for")
        if news:
            self._tell(f"{self.name} gets too many requests (429): {', and '.join(news)}")

    def _shut(self, until: float) -> float:
        """Let nobody in before ``until``, and return by how many seconds that is longer than without."""
        longer = until - max(self._shut_until, self._clock())
        self._shut_until = max(self._shut_until, until)
        return longer

    def _watch(self, ending: Ending, reason: str) -> None:
        """The breaker: count, and shut the gate when more than half of a full window ended badly."""
        window = self._ended_badly
        window.append(ending != "good")
        self._complaint = reason or self._complaint
        bad = sum(window)
        if len(window) == _WINDOW and 2 * bad > _WINDOW:
            window.clear()
            self._break(_FIRST_REST, f"{bad} of the last {_WINDOW} calls to {self.name} failed", self._complaint)

    def _judge_trial(self, ending: Ending, retry_after: float | None, reason: str) -> None:
        """Open again or rest longer, by the first call that ends while one is on trial.

        It may be one from before the rest that ends only now; what it says about the server is as new. While none is
        on trial, the calls that still come back are those the breaker has already judged.
        """
        if ending == "throttled" and retry_after is not None:
            self._shut(self._clock() + retry_after)
        if not self._trying:
            return
        self._trying = False
        if ending == "broken":
            self._break(min(2 * self._rest, _LONGEST_REST), f"{self.name} failed again when one call tried", reason)
            return
        self._rest, self._slow_start, self._clean = 0.0, False, 0
        self._tell(f"{self.name} answers again: up to {self.limit} calls at once go on")

    def _break(self, rest: float, what: str, reason: str) -> None:
        self._rest = rest
        now = self._clock()
        self._shut(now + rest)
        why = f" ({reason})" if reason else ""
        self._tell(f"{what}{why}: nothing is sent for {self._shut_until - now:.3g} s, then one call tries again")
