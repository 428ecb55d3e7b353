"""What a scripted server has seen. It stands in the server's process, so that it outlives a client that is killed."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Seen:
    """Every request that arrived. Digests are `completion.digest_of` of the request's body."""

    requests: Counter[str] = field(default_factory=Counter)  # digest -> times asked
    billed: Counter[str] = field(default_factory=Counter)  # digest -> times a reply was made, arrived or not
    order: list[str] = field(default_factory=list)  # digests in order of arrival
    in_flight: int = 0
    most_at_once: int = 0
    abandoned: int = 0  # the client left before the reply was made
    faults: Counter[str] = field(default_factory=Counter)  # kind -> times
    probes: Counter[str] = field(default_factory=Counter)  # path of a GET -> times
    keys: Counter[str] = field(default_factory=Counter)  # SHA-256 of an Authorization header -> times
    last: Mapping[str, Any] = field(default_factory=dict)  # the last request's body

    def arrives(self, digest: str, body: Mapping[str, Any], authorization: str | None) -> int:
        """Count a request; which attempt at the same request it is, from 1."""
        self.requests[digest] += 1
        self.order.append(digest)
        self.last = body
        if authorization is not None:
            self.keys[hashlib.sha256(authorization.encode()).hexdigest()] += 1
        self.in_flight += 1
        self.most_at_once = max(self.most_at_once, self.in_flight)
        return self.requests[digest]

    def numbers(self) -> dict[str, int]:
        """The counts alone, for those who ask often."""
        return {
            "requests": len(self.order),
            "distinct": len(self.requests),
            "billed": self.billed.total(),
            "in_flight": self.in_flight,
            "most_at_once": self.most_at_once,
            "abandoned": self.abandoned,
        }

    def as_dict(self) -> dict[str, Any]:
        # Not dataclasses.asdict: it rebuilds a Counter from its items and counts those.
        return {each.name: getattr(self, each.name) for each in fields(self)}
