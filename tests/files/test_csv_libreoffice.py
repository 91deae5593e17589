"""The CSV as a spreadsheet sees it: LibreOffice opens it with every separator and finds nothing to run."""

import re
import shutil
import subprocess

import pytest

from chalicelib.base.table import Column
from tests.files.hostile import HOSTILE, SPLIT
from tests.files.results import rendered

pytestmark = pytest.mark.judge

OFFICE = shutil.which("soffice")
COLUMNS = [Column("First", "", "text"), Column("Row", "", "integer"), Column("Text", "", "text")]
FORMULA = re.compile('table:formula="([^"]*)"')
# LibreOffice's filter options: the separator's code (all of them at once: with slashes), quotation mark, UTF-8, from
# line 1, no formats, English, quoted cells are not taken for text, numbers are found, ..., whether spaces around cells
# are dropped, all sheets, and formulas are run.
FILTER = "Text - txt - csv (StarCalc):{},34,76,1,,1033,false,true,false,false,{},0,true"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same hostile cells as guarded files, one a separator, and one that is not guarded."""
    if OFFICE is None:
        pytest.skip("needs LibreOffice (libreoffice-calc)")
    folder, scratch = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("scratch")
    rows = [[text, number, text] for number, text in enumerate([*SPLIT, *HOSTILE])]
    for name, delimiter, guard in (
        ("comma", ",", True),
        ("semicolon", ";", True),
        ("tab", "\t", True),
        ("bare", ",", False),
    ):
        content, _ = rendered(scratch, COLUMNS, rows, delimiter=delimiter, formula_guard=guard)
        (folder / f"{name}.csv").write_bytes(content)
    return folder


def formulas(files, out, separators, spaces):
    """The formulas that LibreOffice finds in each file."""
    options = FILTER.format("/".join(str(ord(one)) for one in separators), "true" if spaces else "false")
    command = [OFFICE, f"-env:UserInstallation=file://{files}/profile", "--headless", f"--infilter={options}",
               "--convert-to", "fods", "--outdir", str(out), *map(str, sorted(files.glob("*.csv")))]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    found = {path.stem: path.read_text() for path in out.glob("*.fods")}
    assert all(text.count("<table:table-row") > len(HOSTILE) for text in found.values())
    return {name: FORMULA.findall(text) for name, text in found.items()}


@pytest.mark.parametrize("spaces", [False, True], ids=["", "spaces dropped"])
@pytest.mark.parametrize("separators", [",", ";", "\t", "|", ",;\t|"], ids=["comma", "semicolon", "tab", "bar", "all"])
def test_libreoffice_finds_no_formula_whatever_separator_it_is_told(files, tmp_path, separators, spaces):
    found = formulas(files, tmp_path, separators, spaces)
    assert found.pop("bare"), "the cells are as hostile as they look"
    assert found == {"comma": [], "semicolon": [], "tab": []}
