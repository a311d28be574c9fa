"""The diagram of a state machine is drawn from its edges alone."""

from consumers.operating.machine import Edge, draw, final

LIGHT = [
    Edge("red", "green", "go"),
    Edge("green", "yellow", "soon: over"),
    Edge("green", "off", 'a "fuse"'),
    Edge("yellow", "red", "stop"),
]


def test_the_statuses_that_nothing_leaves_are_final() -> None:
    assert final(LIGHT) == ["off"]
    assert final([]) == []


def test_each_status_has_its_ways_below_each_other() -> None:
    assert draw(LIGHT, "text") == (
        "red    ───► green   go\n"
        "green  ─┬─► yellow  soon: over\n"
        '        └─► off     a "fuse"\n'
        "yellow ───► red     stop\n"
        "off     ■\n"
    )


def test_mermaid_has_no_character_that_ends_a_label() -> None:
    assert draw(LIGHT, "mermaid").splitlines()[1:] == [
        "    red --> green: go",
        "    green --> yellow: soon, over",
        '    green --> off: a "fuse"',
        "    yellow --> red: stop",
        "    off --> [*]",
    ]


def test_dot_has_its_quotes_escaped() -> None:
    assert '    "green" -> "off" [label="a \\"fuse\\""];' in draw(LIGHT, "dot").splitlines()


def test_a_database_without_edges_is_drawn_too() -> None:
    assert draw([], "text") == "\n"
