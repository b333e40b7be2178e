"""Agents: how coding agents write their requests, as values: dialect, headers, body, identity.

Sources, told apart for each agent in docs/agents.md: codex 0.169.0 and opencode 1.18.33 were run
against the embedded engine and recorded (scripts/real/agent.py); claude-code is as public proxies
and routers that read its headers describe it, and was not run here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# What an identity header says: the developer's session, whoever of it asks; who asks, a sub-agent
# or not; who asks, where it is a sub-agent; who called it; who called it, a sub-agent itself.
Role = Literal["session", "asker", "subagent", "parent", "parent subagent"]


@dataclass(frozen=True, slots=True)
class Lineage:
    """Who asks, by ids as headers carry them. ancestors: of a sub-agent, the developer's session
    first and its caller last; none of a developer's session."""

    asker: str
    ancestors: tuple[str, ...] = ()

    @property
    def session(self) -> str:
        return self.ancestors[0] if self.ancestors else self.asker

    def child(self, asker: str) -> Lineage:
        return Lineage(asker, (*self.ancestors, self.asker))

    def id(self, role: Role) -> str | None:
        """None where nobody has the role."""
        if role == "session":
            return self.session
        if role == "asker":
            return self.asker
        if role == "subagent":
            return self.asker if self.ancestors else None
        if role == "parent":
            return self.ancestors[-1] if self.ancestors else None
        return self.ancestors[-1] if len(self.ancestors) > 1 else None


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent's manners. The defaults are those of tokenswarm itself, "plain".

    api: the only dialect that it speaks; None: any. query: behind each call. headers: of every
    request; subagent_headers: of a sub-agent's beside them. identity: the headers that say whose
    turn it is. fields: of every body; tool_fields: of one with tools. named_in_user_id,
    first_line_apart: Messages name the session in metadata, and the first line of the system text
    is a block of its own. system_in_input, strict_said: Responses carry the system text as the
    first item of the input, and tools say that they are not strict.
    """

    name: str = "plain"
    api: str | None = None
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    subagent_headers: tuple[tuple[str, str], ...] = ()
    identity: tuple[tuple[str, Role], ...] = ()
    fields: tuple[tuple[str, object], ...] = ()
    tool_fields: tuple[tuple[str, object], ...] = ()
    named_in_user_id: bool = False
    first_line_apart: bool = False
    system_in_input: bool = False
    strict_said: bool = False

    def identify(self, lineage: Lineage) -> dict[str, str]:
        """The headers that say whose turn it is, by name."""
        ids = {name: lineage.id(role) for name, role in self.identity}
        said = {name: who for name, who in ids.items() if who is not None}
        return {**said, **(dict(self.subagent_headers) if lineage.ancestors else {})}

    def body_fields(self, extra: Mapping[str, object], *, tools: bool) -> dict[str, object]:
        """Its own fields, which extra ones of the same name replace."""
        return dict((*self.fields, *(self.tool_fields if tools else ()), *extra.items()))


PLAIN = Agent()
CLAUDE_CODE = Agent(
    name="claude-code",
    api="messages",
    query="beta=true",
    headers=(
        ("User-Agent", "claude-cli/2.1.12 (external, cli)"),
        ("Accept", "application/json"),
        ("x-app", "cli"),
        ("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14"),
        ("anthropic-dangerous-direct-browser-access", "true"),
    ),
    identity=(
        ("x-claude-code-session-id", "session"),
        ("x-claude-code-agent-id", "subagent"),
        ("x-claude-code-parent-agent-id", "parent subagent"),
    ),
    named_in_user_id=True,
    first_line_apart=True,
)
CODEX = Agent(
    name="codex",
    api="responses",
    headers=(
        ("User-Agent", "codex_exec/0.169.0 (Debian 12.0.0; x86_64) xterm (codex_exec; 0.169.0)"),
        ("originator", "codex_exec"),
        ("x-codex-beta-features", "remote_compaction_v2"),
    ),
    subagent_headers=(("x-openai-subagent", "collab_spawn"),),
    identity=(
        ("session-id", "session"),
        ("thread-id", "asker"),
        ("x-client-request-id", "asker"),
        ("x-codex-parent-thread-id", "parent"),
    ),
    fields=(("reasoning", {"summary": "auto"}), ("include", ["reasoning.encrypted_content"])),
    tool_fields=(("tool_choice", "auto"), ("parallel_tool_calls", True)),
    system_in_input=True,
    strict_said=True,
)
OPENCODE = Agent(
    name="opencode",
    api="chat",
    headers=(
        ("User-Agent", "opencode/1.18.33 ai-sdk/provider-utils/4.0.23 runtime/bun/1.3.14"),
        ("Accept", "*/*"),
    ),
    identity=(
        ("x-session-affinity", "asker"),
        ("x-session-id", "asker"),
        ("x-parent-session-id", "parent"),
    ),
    tool_fields=(("tool_choice", "auto"),),
)
AGENTS = {agent.name: agent for agent in (PLAIN, CLAUDE_CODE, CODEX, OPENCODE)}
