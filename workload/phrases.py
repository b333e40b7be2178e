"""Fixed sentences of a conversation: what stands around the code and the tool output."""

from __future__ import annotations

SYSTEM = """\
You are a coding agent that works in a developer's repository through tools.
Read the code before you change it, and change as little as the task needs.
Keep the style of the file you edit: names, spacing, comments, error handling.
Run the tests that cover your change, read their output, and repair what you broke.
Say what you did in a few plain sentences; do not praise, do not speculate.
Never print secrets, never run destructive commands, never push without being asked.
Prefer the project's own helpers to new ones; remove code that your change leaves unused.
When a request is unclear, look for the answer in the repository before you ask.
The workspace's rules and the documentation of its libraries follow.
"""

REQUESTS = """\
The nightly run fails in this module since yesterday. Find out why and fix it.
Please add a timeout to every call here that can block, and a test for each.
Can you split this file? It does parsing and I/O, I want them apart.
Review this change as if you had to maintain it, then apply what you find.
This is too slow on large inputs. Profile it, then make the hot part faster.
Add type hints to the public functions and fix whatever the checker reports.
Write the missing tests for the error paths, no mocks please.
Why does this raise only on Windows? Make it work there as well.
Rename this option everywhere, keep the old name working with a warning.
The documentation says something else than the code does. Correct the wrong one.
Port this helper to the async version without changing its callers.
Look at the log below and tell me which request was lost, and where.
There is a race between close and read. Reproduce it in a test first.
Remove the deprecated path and everything that only it used.
Make this configurable through the environment, with a sensible default.
The retry logic sends twice when the first answer is late. Fix that.
Continue where you left off, the last run was interrupted.
That is not what I meant: keep the interface, change only the inside.
Looks good. Now do the same for the other two backends.
Update the changelog and the examples, then run the whole suite once more.
"""

LEADS = """\
I'll look at the code first.
The failing assertion points at the caller, so I'll check how it is used.
That explains the output: the value is read before it is set.
Let me see where else this is used before I change it.
The tests pass now; one more case is not covered yet.
I'll make the edit and run the tests again.
This is the relevant part:
The two code paths differ only in how they close the file.
Next I'll check the configuration that the command loads.
The change below keeps the interface as it was.
"""

SUMMARIES = """\
This session continues an earlier one that grew too long. Its summary and open files follow.
Below is the condensed state of our work so far; go on with the next open step.
"""
