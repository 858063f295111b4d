"""What a build says that has nothing to put in."""

import pytest
from click.testing import CliRunner

from cellzoo.cli import main


@pytest.mark.parametrize("command", ["store build", "census export"])
def test_filters_that_no_data_set_matches_make_nothing(command, tmp_path):
    done = CliRunner().invoke(main, [*command.split(), "--tissue", "kidney", "-o", str(tmp_path / "x")])
    assert done.exit_code == 1
    assert "no verified data set matches every filter" in done.output
    assert list(tmp_path.iterdir()) == []
