import re
import tomllib

import pytest

import workload.overrides
from workload.lengths import Lognormal, Mixture, ShiftedGamma
from workload.profile import ProfileError
from workload.profiles import PROFILES, SEED, SMALL, load_profile, scaled


@pytest.fixture
def toml_profile(tmp_path):
    def load(text):
        path = tmp_path / "our-team.toml"
        path.write_text(text, encoding="utf-8")
        return load_profile(str(path))

    return load


def test_the_four_profiles_load_by_name():
    assert list(PROFILES) == ["seed", "agentic", "wild", "small"]
    for name, profile in PROFILES.items():
        assert load_profile(name) is profile and profile.name == name


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ProfileError, match="'sead' is not known: accepted are seed, agentic, wild"):
        load_profile("sead")


def test_a_missing_file_names_the_file():
    with pytest.raises(ProfileError, match=r"nowhere\.toml"):
        load_profile("nowhere.toml")


def test_broken_toml_names_the_file_and_the_place(toml_profile):
    with pytest.raises(ProfileError, match=r"our-team\.toml: .*line 1"):
        toml_profile("base = seed")


def test_a_byte_order_mark_before_the_first_key_is_no_part_of_it(tmp_path):
    path = tmp_path / "ours.toml"
    path.write_text('base = "small"\nend_hazard = 0.5\n', encoding="utf-8-sig")
    assert load_profile(str(path)).end_hazard == 0.5


def test_a_file_replaces_only_what_it_names(toml_profile):
    profile = toml_profile(
        'base = "seed"\nmax_prompt_tokens = 128_000\nstart_tokens.at_most = 90_000\n'
        "growth_tokens = {mean = 3_000, sigma = 1.2}\ninterrupt_share = 0.07\n"
    )
    assert profile.name == "our-team"
    assert profile.max_prompt_tokens == 128_000
    assert profile.start_tokens == ShiftedGamma(45_000, 2, 3_000, at_most=90_000)
    assert profile.growth_tokens == Lognormal.from_mean(3_000, 1.2, at_most=60_000, beyond="clip")
    assert profile.output_tokens == SEED.output_tokens
    assert profile.targets == ()  # nothing was published about it


def test_the_output_mixture_is_replaced_as_a_whole(toml_profile):
    profile = toml_profile(
        'base = "agentic"\noutput_tokens = [{weight = 1, median = 300, sigma = 0.9}]\n'
    )
    assert profile.output_tokens == Mixture((1.0,), (Lognormal(300.0, 0.9),))


def test_a_lognormal_start_replaces_a_gamma_one(toml_profile):
    profile = toml_profile('base = "seed"\n[start_tokens]\nmedian = 50_000\nsigma = 0.1\n')
    assert profile.start_tokens == Lognormal(50_000.0, 0.1, at_least=45_000, at_most=100_000)


def test_options_are_switched_on_and_off_or_given_in_part(toml_profile):
    assert toml_profile('base = "wild"\ncompaction = false\n').compaction is None
    assert toml_profile('base = "seed"\nsubagents = true\n').subagents.session_share == 0.29
    partly = toml_profile('base = "seed"\nsubagents = {session_share = 0.5}\n').subagents
    assert (partly.session_share, partly.requests) == (0.5, 10.7)


def test_the_example_in_the_docstring_is_a_profile():
    example = re.search(r"( {4}base = .*?)\n\n", workload.overrides.__doc__ or "", re.S)
    assert example is not None
    table = tomllib.loads(re.sub(r"^ {4}", "", example[1], flags=re.M))
    assert workload.overrides.derived(table, PROFILES, name="x").name == "our-team"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("max_tokens = 5", "unknown key max_tokens: accepted are base, compaction, end_hazard"),
        ("growth_tokens.medain = 5", r"unknown key growth_tokens\.medain: accepted are .*median"),
        ("targets = []", "unknown key targets"),
        ("max_prompt_tokens = '9'", "max_prompt_tokens = '9' is not accepted: a whole number"),
        ("max_prompt_tokens = 9.5", "max_prompt_tokens = 9.5 is not accepted: a whole number"),
        ("max_prompt_tokens = true", "max_prompt_tokens = True is not accepted"),
        ("max_prompt_tokens = 1_000", r"max_prompt_tokens = 1000 .*min_prompt_tokens \(45000\)"),
        ("max_prompt_tokens = 90_000", r"start_tokens.at_most = 100000.*max_prompt_tokens \(90000"),
        ("min_prompt_tokens = 46_000", r"start_tokens\.shift = 45000"),
        ("min_prompt_tokens = -5", "min_prompt_tokens = -5"),
        ("shared_prefix_tokens = 50_000", r"start_tokens\.shift = 45000.*\(50000\)"),
        ("shared_prefix_tokens = -1", "shared_prefix_tokens = -1 is not accepted: 0 or more"),
        (f"max_prompt_tokens = {10**400}", "max_prompt_tokens = 1000.* at most"),
        ("max_output_tokens = 0", "max_output_tokens = 0"),
        ("tool_share = 1.1", "tool_share = 1.1 is not accepted: from 0 to 1"),
        ("tool_share = nan", "tool_share = nan"),
        ("end_hazard = -0.1", "end_hazard = -0.1"),
        ("end_hazard_slope = inf", "end_hazard_slope = inf"),
        ("interrupt_share = nan", "interrupt_share = nan"),
        ("growth_tokens = 5", "growth_tokens = 5 is not accepted: a table"),
        ("growth_tokens.median = -5", r"growth_tokens\.median = -5.0"),
        ("growth_tokens.median = nan", r"growth_tokens\.median = nan"),
        ("growth_tokens.mean = -5", r"growth_tokens\.mean = -5.0"),
        ("growth_tokens = {mean = 5, sigma = 1e9}", r"growth_tokens\.sigma = 1000000000.0"),
        ("growth_tokens = {mean = 5, median = 5}", "growth_tokens.mean and growth_tokens.median"),
        ("growth_tokens.beyond = 'bend'", r"growth_tokens\.beyond = 'bend'.*redraw"),
        ("tool_gap_s = {at_most = 9, beyond = 'clip'}", r"tool_gap_s\.beyond = 'clip'"),
        ("output_tokens = 450", "output_tokens = 450 is not accepted: a list of tables"),
        ("output_tokens = [{median = 3, sigma = 1}]", "a part without weight"),
        ("output_tokens = [{weight = 1, sigma = 1}]", "a part without median"),
        (
            "output_tokens = [{weight = 0.4, median = 3, sigma = 1}]",
            r"output_tokens\.weights = \(0.4,\)",
        ),
        ("compaction = 5", "compaction = 5 is not accepted: a table or true or false"),
        ("compaction = true", r"compaction\.to_tokens\.at_least = 15000.* \(45000\)"),
        ("compaction.at_tokens = 190_000", r"compaction\.at_tokens = 190000.*200000"),
        ("subagents.group_weights = [0, 0]", r"subagents\.group_weights"),
        ("subagents.group_weights = 3", r"subagents\.group_weights = 3 .*list of numbers"),
        ("subagents.requests = 0.5", r"subagents\.requests = 0.5"),
        ("subagents.shared_prefix_tokens = 9_000", r"subagents\.start_tokens\.at_least"),
        ("name = ' '", "name = ' '"),
        ("name = 5", "name = 5 is not accepted: a string"),
    ],
)
def test_a_wrong_value_names_key_value_and_what_is_accepted(toml_profile, line, says):
    with pytest.raises(ProfileError, match=says) as caught:
        toml_profile(f'base = "seed"\n{line}\n')
    assert "our-team.toml" in str(caught.value)


@pytest.mark.parametrize("text", ["", 'base = "sead"', "base = 5", "base = ['seed']"])
def test_a_file_without_a_known_base_is_refused(toml_profile, text):
    with pytest.raises(ProfileError, match="base = .*seed, agentic, wild, small"):
        toml_profile(text)


def test_a_fingerprint_depends_on_values_only(toml_profile):
    assert len({profile.fingerprint() for profile in PROFILES.values()}) == 4
    renamed = toml_profile('base = "seed"\nname = "other"\nmin_prompt_tokens = 45000.0\n')
    assert renamed.fingerprint() == SEED.fingerprint()
    assert toml_profile('base = "seed"\ntool_share = 0.5').fingerprint() != SEED.fingerprint()


def test_fingerprints_are_stable_between_versions():
    """Recorded runs are compared by it: a change here must be meant."""
    assert SEED.fingerprint() == "d73b9a81e532"


def test_small_is_seed_with_prompts_over_fifty_outputs_and_gaps_over_ten():
    assert (SMALL.min_prompt_tokens, SMALL.max_prompt_tokens) == (900, 4_000)
    assert SMALL.shared_prefix_tokens == 400
    assert SMALL.start_tokens.mean == pytest.approx(SEED.start_tokens.mean / 50)
    assert SMALL.growth_tokens.mean == pytest.approx(SEED.growth_tokens.mean / 50)
    assert SMALL.output_tokens.mean == pytest.approx(45, rel=0.01)
    assert SMALL.tool_gap_s.mean == pytest.approx(SEED.tool_gap_s.mean / 10)
    assert SMALL.human_gap_s.median == 20
    assert SMALL.expected_turns() == pytest.approx(SEED.expected_turns(), rel=0.1)


def test_scaling_keeps_a_profile_with_every_option_possible(toml_profile):
    tenth = scaled(toml_profile('base = "wild"\nsubagents = true'), "tenth", prompts=0.1)
    assert tenth.compaction is not None and tenth.compaction.at_tokens == 15_500
    assert tenth.subagent().max_prompt_tokens == 20_000


def test_the_end_hazard_rises_from_two_to_eight_percent():
    agentic = PROFILES["agentic"]
    assert agentic.hazard(45_000) == pytest.approx(0.0205)
    assert agentic.hazard(200_000) == pytest.approx(0.082)


def test_the_targets_are_the_published_numbers():
    assert SEED.target("prompt mean").value == 88_000
    assert SEED.target("turns per session").value == 6.5
    assert SEED.target("output p99").value == 2_230
    assert PROFILES["agentic"].target("turns per session").value == 26.3
    assert SMALL.target("prompt mean") is None
