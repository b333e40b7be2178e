"""The built-in profiles, each number with its source, and how further ones are loaded.

"study" is the published study of coding agents that the benchmark reproduces; WEKA, TraceLab,
AgentX and AIPerf are described in docs/workload.md 1.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

from workload.lengths import Lognormal, Mixture, ShiftedGamma
from workload.overrides import derived
from workload.profile import Compaction, Profile, ProfileError, ProfileTarget, Subagents

__all__ = [
    "PROFILES",
    "Compaction",
    "Profile",
    "ProfileError",
    "Subagents",
    "ProfileTarget",
    "load_profile",
    "scaled",
]


def scaled(
    profile: Profile, name: str, *, prompts: float = 1.0, outputs: float = 1.0, gaps: float = 1.0
) -> Profile:
    """The same shapes with prompts, outputs and gaps multiplied by these factors.

    Prompts: limits, shared prefix, start, growth, compaction and sub-agents' prompts. Shares,
    sigmas and the end hazard stay, so sessions end alike. Where outputs shrink
    less than prompts, replies are a larger part of the growth than in the original.
    """
    compaction, subagents = profile.compaction, profile.subagents
    return replace(
        profile,
        name=name,
        min_prompt_tokens=round(profile.min_prompt_tokens * prompts),
        max_prompt_tokens=round(profile.max_prompt_tokens * prompts),
        shared_prefix_tokens=round(profile.shared_prefix_tokens * prompts),
        start_tokens=profile.start_tokens.scaled(prompts),
        growth_tokens=profile.growth_tokens.scaled(prompts),
        output_tokens=profile.output_tokens.scaled(outputs),
        max_output_tokens=round(profile.max_output_tokens * outputs),
        tool_gap_s=profile.tool_gap_s.scaled(gaps),
        human_gap_s=profile.human_gap_s.scaled(gaps),
        compaction=compaction
        and replace(
            compaction,
            at_tokens=round(compaction.at_tokens * prompts),
            to_tokens=compaction.to_tokens.scaled(prompts),
        ),
        subagents=subagents
        and replace(
            subagents,
            start_tokens=subagents.start_tokens.scaled(prompts),
            shared_prefix_tokens=round(subagents.shared_prefix_tokens * prompts),
            growth_tokens=subagents.growth_tokens.scaled(prompts),
        ),
        targets=(),
    )


# Output lengths: weights and first sigma from an EM fit to 44k real Claude Code requests (WEKA);
# both medians and the second sigma solved for mean 450, p50 293, p99 2,230 (docs/workload.md 3.5).
OUTPUT_TOKENS = Mixture((0.48, 0.52), (Lognormal(207.6, 0.40), Lognormal(510.4, 0.712)))
MAX_OUTPUT_TOKENS = 8_192  # docs/workload.md 3.5: leaves 449.8 / 293 / 2,227
OUTPUT_TARGETS = (
    ProfileTarget("output mean", 450, "published: study"),
    ProfileTarget("output p50", 293, "published: study"),
    ProfileTarget("output p99", 2_230, "published: study"),
)


def _targets(source: str, **values: float) -> tuple[ProfileTarget, ...]:
    return tuple(
        ProfileTarget(key.replace("_", " "), value, source) for key, value in values.items()
    )


SEED = Profile(
    name="seed",  # all: docs/workload.md 3.1, unless said
    min_prompt_tokens=45_000,  # study: prompts of 45k to 200k
    max_prompt_tokens=200_000,
    shared_prefix_tokens=20_000,
    start_tokens=ShiftedGamma(45_000, 2, 3_000, at_most=100_000),
    # "At most 60k" read as clipped: redrawn gives a mean prompt of 87.45k, p90 144k, 6.57 turns
    # against the published 88.0k, 146k, 6.5; clipped gives 87.9k, 146k, 6.53.
    growth_tokens=Lognormal.from_mean(7_500, 1.0, at_most=60_000, beyond="clip"),
    end_hazard=0.1444,
    end_hazard_slope=0.0,
    output_tokens=OUTPUT_TOKENS,
    max_output_tokens=MAX_OUTPUT_TOKENS,
    tool_share=0.88,
    tool_gap_s=Lognormal(6.0, 0.9),
    human_gap_s=Lognormal(200.0, 0.9),
    targets=OUTPUT_TARGETS
    + _targets("published: study", prompt_mean=88_000)
    + _targets(
        "design: docs/workload.md 3.1",
        prompt_p10=50_500,
        prompt_p50=76_500,
        prompt_p90=146_000,
        prompt_p99=191_000,
        gap_mean=44,
        turns_per_session=6.5,
        ideal_hit=0.87,
    ),
)

AGENTIC = Profile(
    name="agentic",  # all: docs/workload.md 3.2, after WEKA and TraceLab
    min_prompt_tokens=45_000,
    max_prompt_tokens=200_000,
    shared_prefix_tokens=20_000,  # WEKA 15k median, AIPerf 32k
    start_tokens=ShiftedGamma(45_000, 2, 6_000, at_most=100_000),
    growth_tokens=Lognormal(300, 1.755, at_most=40_000),
    end_hazard=0.0205,
    end_hazard_slope=3.0,  # 2.1% at 45k to 8.2% at 200k: the form of AIPerf's reset rule
    output_tokens=OUTPUT_TOKENS,
    max_output_tokens=MAX_OUTPUT_TOKENS,
    tool_share=0.87,  # TraceLab 0.89, WEKA 0.84
    tool_gap_s=Lognormal(0.285, 3.0, at_most=600),  # TraceLab
    human_gap_s=Lognormal(84, 2.1, at_most=3_600),  # TraceLab
    targets=OUTPUT_TARGETS
    + _targets("published: study", prompt_mean=88_000)
    + _targets(
        "design: docs/workload.md 3.2",
        prompt_p10=56_600,
        prompt_p50=81_100,
        prompt_p90=130_000,
        prompt_p99=177_000,
        turns_per_session=26.3,
        ideal_hit=0.971,
    ),
)

WILD = replace(
    AGENTIC,
    name="wild",  # docs/workload.md 3.3: as the real traces, with compaction
    min_prompt_tokens=15_000,
    shared_prefix_tokens=15_000,  # WEKA: tool schemas 12.3k + system prompt 2.8k
    start_tokens=Lognormal(21_200, 0.13, at_least=15_000, at_most=40_000),
    end_hazard=0.0105,  # 95 turns
    end_hazard_slope=0.0,
    compaction=Compaction(),
    targets=OUTPUT_TARGETS
    + _targets(
        "design: docs/workload.md 3.3",
        prompt_mean=80_000,
        prompt_p10=31_000,
        prompt_p50=77_000,
        prompt_p90=136_000,
        prompt_p99=159_000,
        turns_per_session=95,
        compactions_per_session=0.85,
    ),
)

# For engines too small for 200k-token prompts, and for tests: 900 to 4,000 tokens.
SMALL = scaled(SEED, "small", prompts=1 / 50, outputs=1 / 10, gaps=1 / 10)

PROFILES: dict[str, Profile] = {p.name: p for p in (SEED, AGENTIC, WILD, SMALL)}


def load_profile(name_or_toml_path: str) -> Profile:
    """A built-in profile by name, or one derived by a TOML file. Raises ProfileError."""
    if name_or_toml_path in PROFILES:
        return PROFILES[name_or_toml_path]
    path = Path(name_or_toml_path)
    if path.suffix != ".toml":
        raise ProfileError(
            f"profile {name_or_toml_path!r} is not known: accepted are {', '.join(PROFILES)} "
            "or the path of a .toml file"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProfileError(f"profile file {path}: {error}") from error
    try:
        return derived(table, PROFILES, name=path.stem)
    except ProfileError as error:
        raise ProfileError(f"profile file {path}: {error}") from error
