"""Files to write: what is refused before anything is done, and that the check leaves no trace."""

import pytest

from vae_jax.errors import ConfigError, OutputError
from vae_jax.outputs import output_file, picture_with_json


def test_an_output_file_may_exist_and_is_not_touched_by_the_check(tmp_path):
    out = tmp_path / "out.PNG"
    assert output_file(out, ".png") == out and not out.exists()
    out.write_text("old")
    assert output_file(out, ".png").read_text() == "old"


def test_what_cannot_be_written_is_refused(tmp_path):
    folder = tmp_path / "folder.png"
    folder.mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        output_file(folder, ".png")
    with pytest.raises(OutputError, match="No such file or directory"):
        output_file(tmp_path / "none" / "x.png", ".png")
    with pytest.raises(ConfigError, match=r"must end in \.png"):
        output_file(tmp_path / "x", ".png")


def test_a_json_file_does_not_lie_among_those_of_a_run(tmp_path):
    (tmp_path / "pictures").mkdir()
    assert picture_with_json(tmp_path / "pictures" / "a.png", tmp_path) == tmp_path / "pictures" / "a.png"
    with pytest.raises(ConfigError, match=r"results\.png lies among the files of the run"):
        picture_with_json(tmp_path / "results.png", tmp_path)
