import dataclasses

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from hierjax.errors import GroupCountError, GroupIndexError, ModelError
from hierjax.level_graph import Edge
from hierjax.levels import check_indexes, read_levels
from hierjax.relations import Relation, Spread, relate
from tests import level_models as models
from tests.level_models import COUNTY, ITEM, X, Y

DISTRICT = np.array([0, 0, 1, 1, 1])
RADON = {"county": COUNTY, "floor": X, "uranium": X[:5], "y": Y, "num_counties": 5}


def links_of(graph):
    return {(link.site, link.plate, link.index, link.rows, link.length) for link in graph.links}


# Model, data, links (site, level, index, rows, length) and relations of groupings.
CASES = [
    (models.eight_schools, {"y": Y[:8], "sigma": np.ones(8)}, set(), {}),
    (models.radon, RADON, {("alpha", "county", "county", "rows", 10)}, {}),
    (
        models.correlated_slopes,
        {"county": COUNTY, "floor": X, "y": Y, "num_counties": 5},
        {("r", "county", "county", "rows", 10)},
        {},
    ),
    (
        models.taken,
        {"county": COUNTY, "x": X, "y": Y, "num_counties": 5},
        {("r", "county", "county", "rows", 10)},
        {},
    ),
    (
        models.two_factors,
        {"first": COUNTY, "second": DISTRICT[COUNTY], "y": Y, "num_first": 5, "num_second": 2},
        {("effect_a", "a", "first", "rows", 10), ("effect_b", "b", "second", "rows", 10)},
        {("a", "b"): "nested"},
    ),
    (
        models.two_factors,
        {"first": DISTRICT[COUNTY], "second": COUNTY, "y": Y, "num_first": 2, "num_second": 5},
        {("effect_a", "a", "first", "rows", 10), ("effect_b", "b", "second", "rows", 10)},
        {("b", "a"): "nested"},
    ),
    (
        models.two_factors,
        {"first": COUNTY, "second": ITEM, "y": Y, "num_first": 5, "num_second": 3},
        {("effect_a", "a", "first", "rows", 10), ("effect_b", "b", "second", "rows", 10)},
        {("a", "b"): "partially crossed"},
    ),
    (
        models.two_factors,
        {
            "first": np.repeat(np.arange(5), 2),
            "second": np.tile(np.arange(2), 5),
            "y": Y,
            "num_first": 5,
            "num_second": 2,
        },
        {("effect_a", "a", "first", "rows", 10), ("effect_b", "b", "second", "rows", 10)},
        {("a", "b"): "crossed"},
    ),
    (
        models.two_factors,
        {"first": COUNTY, "second": 4 - COUNTY, "y": Y, "num_first": 5, "num_second": 5},
        {("effect_a", "a", "first", "rows", 10), ("effect_b", "b", "second", "rows", 10)},
        {("a", "b"): "same"},
    ),
    (
        models.chain,
        {"district_of_school": DISTRICT, "school": COUNTY, "y": Y},
        {
            ("u_district", "district", "district_of_school", "school", 5),
            ("u_school", "school", "school", "pupil", 10),
        },
        {("school", "district"): "nested"},
    ),
    (
        models.composed,
        {"district_of_school": DISTRICT, "school": COUNTY, "y": Y},
        {
            ("u_district", "district", "district_of_school[school]", "rows", 10),
            ("u_school", "school", "school", "rows", 10),
        },
        {("school", "district"): "nested"},
    ),
    (models.one_hot, {"membership": np.eye(5)[COUNTY], "y": Y}, set(), {}),
    (models.computed_index, {"county": COUNTY, "y": Y}, {("r", "group", "", "rows", 10)}, {}),
    (
        models.counted_from_one,
        {"county": COUNTY + 1, "y": Y},
        {("r", "group", "county - 1", "rows", 10)},
        {},
    ),
    (
        models.index_by_value,
        {"county": COUNTY, "y": Y},
        {("r", "county", "county", "rows", 10)},
        {},
    ),
    (models.nested_axes, {"y": np.zeros((2, 3, 4))}, set(), {("school", "district"): "nested"}),
    (models.crossed_axes, {"y": np.zeros((3, 4))}, set(), {("subject", "item"): "crossed"}),
    (
        models.no_plates,
        {"county": COUNTY, "y": Y},
        {("alpha", "county", "county", "", 10), ("slope", "county", "county", "", 10)},
        {},
    ),
    (
        models.duels,
        {"winner": COUNTY, "loser": COUNTY[::-1].copy(), "y": Y},
        {("ability", "player", "winner", "duel", 10), ("ability", "player", "loser", "duel", 10)},
        {},
    ),
    (models.subsampled, {"county": COUNTY, "y": Y}, {("alpha", "county", "county", "rows", 4)}, {}),
    (
        models.reparameterised,
        {"county": COUNTY, "y": Y},
        {("alpha", "county", "county", "rows", 10)},
        {},
    ),
    (models.random_walk, {"y": Y}, set(), {}),
    (models.mixture, {"y": Y}, {("mean", "component", "", "rows", 10)}, {}),
    (models.factored, {"county": COUNTY, "y": Y}, {("alpha", "county", "county", "", 10)}, {}),
]


@pytest.mark.parametrize(
    ("fn", "data", "links", "relations"), CASES, ids=lambda value: getattr(value, "__name__", "")
)
def test_links_and_relations(fn, data, links, relations):
    graph = read_levels(fn, data)
    assert links_of(graph) == links
    assert {(r.first, r.second): r.kind for r in graph.relations} == relations
    assert str(graph).startswith("population\n")


def test_swapped_index_arrays_show():
    data = {"first": COUNTY, "second": ITEM, "y": Y, "num_first": 5, "num_second": 5}

    def swapped(first, second, **others):
        return models.two_factors(second, first, **others)

    right, wrong = read_levels(models.two_factors, data), read_levels(swapped, data)
    assert ("effect_a", "a", "first", "rows", 10) in links_of(right)
    assert ("effect_a", "a", "second", "rows", 10) in links_of(wrong)
    assert ("effect_b", "b", "first", "rows", 10) in links_of(wrong)


def test_edges_say_how_a_site_depends_on_another():
    edges = read_levels(models.radon, RADON).edges
    assert set(edges) == {
        Edge("gamma", "alpha", "shared"),
        Edge("tau", "alpha", "shared"),
        Edge("alpha", "y", "index", ("county",)),
        Edge("beta", "y", "shared"),
        Edge("sigma", "y", "shared"),
    }
    schools = read_levels(models.eight_schools, {"y": Y, "sigma": abs(Y)}).edges
    assert Edge("theta", "y", "same units") in schools


def test_sizes_of_groups_along_a_chain():
    graph = read_levels(models.chain, {"district_of_school": DISTRICT, "school": COUNTY, "y": Y})
    assert graph.levels["district"].spreads == {
        "school": Spread(2, 2.5, 3, 0),
        "pupil": Spread(5, 5.0, 5, 0),
    }
    assert graph.levels["school"].spreads == {"pupil": Spread(1, 2.0, 3, 0)}
    assert graph.parents == {
        ("district",): (),
        ("school",): (("district",),),
        ("pupil",): (("school",),),
    }


def test_one_unknown_use_makes_the_dependence_unknown():
    def fn(county, y):
        with numpyro.plate("g", 5):
            r = numpyro.sample("r", dist.Normal(0, 1))
        models.respond(r[county] + r[county // 2], y)

    graph = read_levels(fn, {"county": COUNTY, "y": Y})
    assert {link.index for link in graph.links} == {"county", ""}
    assert [edge.how for edge in graph.edges if edge.parent == "r"] == ["unknown"]


def test_unknown_where_a_row_belongs_to_two_groups():
    def fn(first, second, item, y):
        with numpyro.plate("player", 5):
            a = numpyro.sample("a", dist.Normal(0, 1))
        with numpyro.plate("item", 3):
            b = numpyro.sample("b", dist.Normal(0, 1))
        models.respond(a[first] - a[second] + b[item], y)

    data = {"first": COUNTY, "second": COUNTY[::-1].copy(), "item": ITEM, "y": Y}
    graph = read_levels(fn, data)
    assert graph.relation("player", "item") == "unknown"
    assert graph.levels["player"].spreads == {}
    assert "Whether player and item are nested or crossed is unknown." in str(graph)


def test_an_invalid_index_gives_no_relation_and_no_crash():
    data = {"first": COUNTY + 7, "second": ITEM, "y": Y, "num_first": 5, "num_second": 3}
    graph = read_levels(models.two_factors, data)
    assert graph.relation("a", "b") == "unknown"
    assert "first" in str(graph)


def test_graph_is_frozen():
    graph = read_levels(models.radon, RADON)
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.links = ()


TREES = [
    (
        models.radon,
        RADON,
        """\
population
│  gamma (2), tau, beta, sigma
└─ county: 5 groups of 1 to 3 rows (median 2); index: county
   │  alpha given gamma, tau
   └─ rows: 10
         y observed, given beta, alpha[county], sigma""",
    ),
    (
        models.two_factors,
        {"first": COUNTY, "second": ITEM, "y": Y, "num_first": 5, "num_second": 3},
        """\
population
│  tau_a, tau_b, sigma
├─ a: 5 groups of 1 to 3 rows (median 2); index: first
│     effect_a given tau_a
├─ b: 3 groups of 3 to 4 rows (median 3); index: second
│     effect_b given tau_b
└─ rows: 10, each in one a and one b
      y observed, given effect_a[first], effect_b[second], sigma

a and b are partially crossed: 10 of 15 combinations occur.""",
    ),
    (
        models.one_hot,
        {"membership": np.eye(5)[COUNTY], "y": Y},
        """\
population
│  tau, sigma
├─ group: 5 groups
│     r given tau
└─ rows: 10
      y observed, given r, sigma

Which group of r each y uses is unknown: no index array of the data says so.""",
    ),
    (
        models.nested_axes,
        {"y": np.zeros((2, 3, 4))},
        """\
population
│  tau_u, tau_v
└─ district: 2 groups
   │  u given tau_u
   └─ district x school: 2 x 3 = 6
      │  v given tau_v, u
      └─ district x school x pupil: 2 x 3 x 4 = 24
            y observed, given v""",
    ),
]


@pytest.mark.parametrize(("fn", "data", "tree"), TREES, ids=lambda v: getattr(v, "__name__", ""))
def test_tree(fn, data, tree):
    assert str(read_levels(fn, data)) == tree


def altered(index, value):
    changed = np.array(index)
    changed[[2, 4]] = value
    return changed


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            altered(COUNTY, 5),
            r"data\['county'\].*has 5 groups: allowed are 0 to 4, but rows 2, 4 hold 5, 5",
        ),
        (altered(COUNTY, -1), "rows 2, 4 hold -1, -1"),
        (COUNTY + 1, r"rows 8, 9 hold 5, 5.*counted from 1: use `county - 1`"),
        (COUNTY.astype(float), r"holds float64 values.*`\.astype\(int\)`"),
        (COUNTY % 2 == 0, "holds bool values"),
    ],
)
def test_bad_index_is_named(index, message):
    # The index goes through `astype`, so that a float array gets as far as the check.
    def fn(county, y):
        with numpyro.plate("county", 5):
            alpha = numpyro.sample("alpha", dist.Normal(0, 1))
        models.respond(alpha[county.astype(int)], y)

    data = {"county": index, "y": Y}
    with pytest.raises(GroupIndexError, match=f"(?s){message}"):
        check_indexes(read_levels(fn, data), data)


def test_bad_index_between_levels_is_named():
    data = {"district_of_school": np.array([0, 0, 1, 1, 2]), "school": COUNTY, "y": Y}
    with pytest.raises(GroupIndexError, match=r"data\['district_of_school'\].*rows 4 hold 2"):
        check_indexes(read_levels(models.composed, data), data)
    data = {"district_of_school": DISTRICT, "school": altered(COUNTY, 9), "y": Y}
    with pytest.raises(GroupIndexError, match=r"data\['school'\].*rows 2, 4 hold 9, 9"):
        check_indexes(read_levels(models.composed, data), data)


@pytest.mark.parametrize(("fn", "data", "links", "relations"), CASES)
def test_good_models_pass_the_checks(fn, data, links, relations):
    check_indexes(read_levels(fn, data), data)


def test_one_group_is_an_error_only_if_its_spread_is_learnt():
    def fn(county, y, scale):
        tau = models.scale() if scale is None else scale
        with numpyro.plate("county", 1):
            alpha = numpyro.sample("alpha", dist.Normal(0, tau))
        models.respond(alpha[county], y)

    data = {"county": np.zeros(10, int), "y": Y, "scale": None}
    with pytest.raises(GroupCountError, match="level 'county' has one group, so 'tau'"):
        check_indexes(read_levels(fn, data), data)
    data["scale"] = 1.0
    check_indexes(read_levels(fn, data), data)


def test_unused_plate_is_an_error():
    def fn(y):
        with numpyro.plate("county", 5):
            pass
        models.respond(0.0, y)

    graph = read_levels(fn, {"y": Y})
    assert "Plate county is used by no site." in str(graph)
    with pytest.raises(ModelError, match="no site uses plate 'county'"):
        check_indexes(graph, {"y": Y})


def test_relate_ignores_groups_without_rows():
    inner, outer = np.array([0, 0, 2, 2]), np.array([1, 1, 3, 3])
    assert relate("in", "out", inner, outer, (5, 5)).kind == "same"
    assert relate("in", "out", np.arange(4), outer, (4, 5)) == Relation(
        "in", "out", "nested", 4, (1, 1), 20
    )
