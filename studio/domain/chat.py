"""What is learnt from: messages in conversations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `content` is kept exactly as it stands in the file.

    An assistant's turn with `trained` false is read by the model but not learnt: OpenAI's `weight: 0`.
    """

    role: Role
    content: str
    trained: bool = True

    def to_json(self) -> dict[str, Any]:
        """
        >>> Message("assistant", "a", trained=False).to_json()
        {'role': 'assistant', 'content': 'a', 'weight': 0}
        """
        said = {"role": self.role, "content": self.content}
        return said if self.trained else {**said, "weight": 0}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Message:
        return cls(data["role"], data["content"], data.get("weight") != 0)


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of one row; `row` is its 1-based number in the file it came from."""

    messages: tuple[Message, ...]
    row: int = 0

    @property
    def system(self) -> str:
        return "\n".join(m.content for m in self.messages if m.role == "system")

    @property
    def prompt(self) -> str:
        """All that the user says, in order."""
        return "\n".join(m.content for m in self.messages if m.role == "user")

    @property
    def response(self) -> str:
        """The last assistant message, or an empty string."""
        return next((m.content for m in reversed(self.messages) if m.role == "assistant"), "")

    @property
    def responses(self) -> tuple[str, ...]:
        return tuple(m.content for m in self.messages if m.role == "assistant")

    def before_response(self) -> tuple[Message, ...]:
        """The messages up to, and without, the last assistant message: what a model is asked."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index].role == "assistant":
                return self.messages[:index]
        return self.messages

    def with_contents(self, contents: list[str]) -> Conversation:
        """The same turns with other contents, one a message."""
        pairs = zip(self.messages, contents, strict=True)
        return replace(self, messages=tuple(replace(message, content=content) for message, content in pairs))

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        return {"messages": [message.to_json() for message in self.messages]}
