"""What a participant may write to make a spreadsheet run it, and what only looks like that."""

STARTERS = ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"]
HOSTILE = [
    lead + starter + rest
    for lead in ("", " ", "   ")
    for starter in STARTERS
    for rest in ("", "1+1", "cmd|' /C calc'!A0", 'HYPERLINK("http://x")', "SUM(1,2)\nx", "'", "é😀")
] + ["'", "''", "'=1", " '", "-5-5", "+1 604", "--5", "-.5", "5-", "-5.", "+", "-1e5", "１", "\0=1", "-5\n", "-５"]
# What is to stay as it is.
HARMLESS = [
    "-5",
    "+16045550100",
    "-0.5",
    "+1.25",
    "5",
    "a=1",
    "Ann-Marie",
    "a'b",
    "",
    " a",
    "1;2",
    "a, b; c | d",
    "a;b=c",
    "a,x-1",
    "é",
    "Ω",
    "_=",
    "0-1",
]

SEPARATORS = [",", ";", "\t", "|"]
LINE_BREAKS = ["\r", "\n", "\r\n"]
# What a participant may write so that another separator than the file's makes a formula of the rest.
SPLIT = [
    before + separator + space + quotes + marks + starter + rest
    for before, rest in (("x", "1+1"), ("", "cmd|' /C calc'!A0"), ("-5", '"'))
    for separator in SEPARATORS + LINE_BREAKS
    for space, quotes, marks in (("", "", ""), (" ", '"', ""), ("", "", "'"), ("  ", '" "', "''"))
    for starter in ("=", "+", "-", "@", "＝", "＠")
]
