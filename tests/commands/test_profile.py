import matplotlib.image
import pytest

from tokenswarm.commands.profile import main


def test_the_table_names_the_profile_and_every_verdict(capsys):
    assert main(["--profile", "seed", "--sessions", "500", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("profile seed (d73b9a81e532): 500 sessions, ")
    assert "prompt mean        tokens    88,000  published: study" in out


@pytest.mark.parametrize("name", ["seed", "wild", "small"])
def test_the_picture_is_written(tmp_path, capsys, name):
    path = tmp_path / "picture.png"
    assert main(["--profile", name, "--sessions", "60", "--plot", str(path)]) == 0
    assert matplotlib.image.imread(path).shape[:2] == (1040, 1560)
    assert f"picture: {path}" in capsys.readouterr().out


def test_a_single_session_has_a_table_and_a_picture(tmp_path):
    picture = str(tmp_path / "one.svg")
    # With seed 4 it has one turn: nothing grew, nobody paused.
    assert main(["--sessions", "1", "--seed", "4", "--plot", picture]) in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--profile", "sead"], "'sead' is not known: accepted are seed, agentic, agent-32k"),
        (["--profile", "none.toml"], "none.toml"),
        (["--sessions", "0"], "'0' is not a whole number of 1 or more"),
        (["--sessions", "many"], "'many' is not a whole number"),
        (["--seed", "-1"], "'-1' is not a whole number of 0 or more"),
        (["--plot", "x.txt"], "'x.txt' does not end in .png, .svg, .pdf"),
        (["--plot", "nowhere/x.png"], "there is no folder nowhere"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_a_bad_option_is_an_error_and_exit_code_two(capsys, arguments, says):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err
