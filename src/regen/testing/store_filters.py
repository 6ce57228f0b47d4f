"""Store cases: filters, with :func:`regen.core.filters.matches` as the judge.

A store may let more points through than a filter asks for, never fewer; where it can evaluate a clause exactly it must,
so that a narrow filter still fills k.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regen.core.documents import UNRESTRICTED
from regen.core.fields import conforms
from regen.core.filters import Clause, Filter, kind_of, matches
from regen.ports import CollectionSpec, FieldKind, Store
from regen.testing.store_cases import (
    COLLECTION,
    DIMENSIONS,
    HOSTILE_KEYS,
    HOSTILE_TEXTS,
    StoreHooks,
    ids_of,
    make_collection,
    make_points,
    numbered,
    random_vectors,
    where,
)

_QUERY = random_vectors(1, seed=3)[0]
_NUMBERS = (
    0,
    1,
    -1,
    1.0,
    -0.0,
    0.1,
    2.5,
    -1e300,
    1e16,
    5e-324,
    2**53,
    2**53 + 1,
    2**53 + 3,
    2**53 + 4,
    -(2**53) - 1,
    10**30,
    10**400,
)
_SCALARS = (*HOSTILE_TEXTS[:12], "a", "b", "B", "1", *_NUMBERS, True, False)
_NARROW: dict[str, Filter] = {
    "equals a string": where(lang="rare"),
    "equals a number": where(year=1999),
    "equals a boolean": where(draft=True),
    "is in a list field": where(tags="rare"),
    "is one of several strings": where(lang=["rare", "rarer"]),
    "is one of several numbers": where(year=[1999, 1998]),
    "has one of several in a list field": where(tags=["rare", "rarer"]),
    "is below a number": where(year={"lt": 2000}),
    "is at most a number": where(year={"lte": 1999}),
    "lies between numbers": where(year={"gt": 1998.5, "lt": 1999.5}),
    "is at least a string": where(lang={"gte": "rare"}),
    "lies between strings": where(lang={"gt": "r", "lt": "s"}),
    "is present": where(extra={"exists": True}),
    "is absent": where(common={"exists": False}),
    "satisfies several clauses": where(lang="rare", year=1999, draft=True, tags=["rare"]),
}


class FilterCases(StoreHooks):
    """Filters narrow, and never leave out a point that satisfies them."""

    @pytest.mark.parametrize("case", _NARROW)
    def test_a_narrow_filter_still_fills_k(self, store: Store, case: str) -> None:
        """Filters are applied before the best are chosen: five matches among five hundred are all found."""
        self._needs_order(_NARROW[case])
        rare = {"lang": "rare", "year": 1999, "draft": True, "tags": ["rare", "t"], "extra": 0, "common": None}
        usual = {"lang": "en", "year": 2020.5, "draft": False, "tags": ["t"], "common": "x"}
        metadata = [rare if at % 100 == 42 else usual for at in range(500)]
        fields: dict[str, FieldKind] = {"lang": "string", "year": "number", "draft": "boolean", "tags": "strings"}
        fields |= {"extra": "number", "common": "string"}
        make_collection(store, make_points(numbered(500), metadata=metadata), fields=fields)
        hits = store.search(COLLECTION, _QUERY, 5, where=_NARROW[case])
        assert sorted(int(point_id, 16) for point_id in ids_of(hits)) == [42, 142, 242, 342, 442]

    def test_values_of_another_kind_are_not_left_out(self, store: Store) -> None:
        """Values that are not of their field's kind match in the catalog, so the store must deliver them."""
        metadata: list[dict[str, Any]] = [
            {"year": "n/a", "lang": ["en", "de"], "tags": "solo", "draft": "yes"},
            {"year": [2019, 2020], "lang": 5, "tags": ["a", 7], "draft": [True]},
            {"year": 2**53 + 1, "lang": True, "tags": {"x": 1}, "draft": 0},
        ]
        make_collection(store, make_points(["p0", "p1", "p2"], metadata=metadata))
        asked = [
            *(where(year="n/a"), where(year=2020), where(year=2**53 + 1), where(year={"gt": 2**53}), where(lang="de")),
            *(
                where(lang=5),
                where(tags="solo"),
                where(tags={"gt": "s"}),
                where(tags=7),
                where(draft="yes"),
                where(draft=True),
            ),
            *(where(**{key: {"exists": True}}) for key in ("year", "lang", "tags", "draft")),
            *(where(lang=["x", 5]), where(year=["n/a", 1]), where(draft=0), where(lang={"gte": "de"})),
        ]
        for clauses in asked:
            wanted = {f"p{at}" for at, one in enumerate(metadata) if matches(clauses, one)}
            assert wanted, clauses
            assert wanted <= set(ids_of(store.search(COLLECTION, _QUERY, 10, where=clauses))), clauses

    def test_absence_is_exact(self, store: Store) -> None:
        """A value of another kind is present, null and a missing key are absent, an empty list or string is present."""
        values: list[dict[str, Any]] = [
            {"lang": 5},
            {"lang": None},
            {},
            {"lang": ""},
            {"tags": []},
            {"tags": None},
            {"tags": 3},
        ]
        make_collection(store, make_points(numbered(len(values)), metadata=values))
        for key in ("lang", "tags"):
            for wanted in (True, False):
                clauses = where(**{key: {"exists": wanted}})
                found = ids_of(store.search(COLLECTION, _QUERY, 99, where=clauses))
                expected = [numbered(len(values))[at] for at, one in enumerate(values) if matches(clauses, one)]
                assert sorted(found) == expected

    def test_numbers_are_compared_exactly(self, store: Store) -> None:
        """Numbers that a 64-bit float cannot hold, minus zero and infinity, on either side, lose no match."""
        values = [
            0.0,
            -0.0,
            0,
            2**53,
            2**53 + 1,
            2**53 + 3,
            2**53 + 4,
            -(2**53) - 3,
            10**400,
            1e308,
            5e-324,
            float("inf"),
        ]
        metadata = [{"year": value} for value in values]
        make_collection(store, make_points(numbered(len(values)), metadata=metadata))
        for asked in values:
            for condition in (*({op: asked} for op in ("eq", "gt", "gte", "lt", "lte")), [asked, 1, 2, 3, 4, 5]):
                clauses = where(year=condition)
                found = {int(one, 16) for one in ids_of(store.search(COLLECTION, _QUERY, 99, where=clauses))}
                assert {at for at, one in enumerate(metadata) if matches(clauses, one)} <= found, clauses

    def test_keys_of_any_spelling(self, store: Store) -> None:
        """Each of many hostile keys filters its own values, and a scan gives the keys back."""
        fields: dict[str, FieldKind] = dict.fromkeys(HOSTILE_KEYS, "string")
        metadata = [{key: "hit" if key == mine else "miss" for key in HOSTILE_KEYS} for mine in HOSTILE_KEYS]
        make_collection(store, make_points(numbered(len(HOSTILE_KEYS)), metadata=metadata), fields=fields)
        for at, key in enumerate(HOSTILE_KEYS):
            found = ids_of(store.search(COLLECTION, _QUERY, 99, where=where(**{key: "hit"})))
            assert found == [numbered(len(HOSTILE_KEYS))[at]], key
        page = next(iter(store.scan(COLLECTION)))
        assert {tuple(sorted(one)) for one in page.payload.metadata} == {tuple(sorted(HOSTILE_KEYS))}

    @pytest.mark.parametrize("operator", ["eq", "in", "gte"])
    def test_strings_of_any_content(self, store: Store, operator: str) -> None:
        """Each of many hostile strings is compared as it is, in a string field and in a list field."""
        metadata = [{"lang": text, "tags": [text, "t"]} for text in HOSTILE_TEXTS]
        make_collection(store, make_points(numbered(len(HOSTILE_TEXTS)), metadata=metadata))
        for text in HOSTILE_TEXTS:
            for key in ("lang", "tags"):
                clauses = where(**{key: {operator: [text] if operator == "in" else text}})
                found = set(ids_of(store.search(COLLECTION, _QUERY, 99, where=clauses)))
                wanted = {numbered(99)[at] for at, one in enumerate(metadata) if matches(clauses, one)}
                assert wanted
                assert wanted <= found, clauses
                left = operator == "gte" and (key == "tags" or not self.orders_strings)
                assert wanted == found or left, clauses

    def test_clauses_on_other_keys_are_left_out(self, store: Store) -> None:
        """A key that is not a field cannot be judged here: the fence does it, and nothing is lost before."""
        make_collection(
            store, make_points(["a", "b"], metadata=[{"lang": "en", "other": 1}, {"lang": "de", "other": 2}])
        )
        assert ids_of(store.search(COLLECTION, _QUERY, 9, where=where(other=1, lang="en"))) == ["a"]

    def test_an_empty_choice_matches_nothing(self, store: Store) -> None:
        """No value is one of none."""
        make_collection(store, make_points(["a"], metadata=[{"lang": "en"}]))
        assert store.search(COLLECTION, _QUERY, 9, where=where(lang={"in": []})) == []

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_any_filter_on_any_metadata(self, store: Store, data: st.DataObject) -> None:
        """No match is left out, whatever documents hold and filters ask; of conforming values nothing else passes."""
        fields = data.draw(_fields)
        metadata = data.draw(st.lists(_metadata(fields), min_size=1, max_size=8))
        collection = f"any_{next(_numbers)}"
        store.create(collection, CollectionSpec(dimensions=DIMENSIONS, fields=fields))
        store.upsert(collection, make_points(numbered(len(metadata)), metadata=metadata))
        for clauses in data.draw(st.lists(_filters(fields), min_size=1, max_size=12)):
            hits = store.search(collection, _QUERY, len(metadata), where=clauses, principals=UNRESTRICTED)
            found = {int(point_id, 16) for point_id in ids_of(hits)}
            wanted = {at for at, one in enumerate(metadata) if matches(clauses, one)}
            assert wanted <= found, f"left out: {[metadata[at] for at in wanted - found]}"
            extra = [metadata[at] for at in found - wanted]
            judged = clauses if self.orders_strings else tuple(one for one in clauses if not _orders_strings(one))
            assert not any(_must_be_narrowed(judged, fields, one) for one in extra), f"let through: {extra}"
        store.drop(collection)

    def _needs_order(self, clauses: Filter) -> None:
        if not self.orders_strings and any(map(_orders_strings, clauses)):
            pytest.skip(f"{type(self).__name__}: the store compares no texts by order")


def _orders_strings(clause: Clause) -> bool:
    return clause.operator in {"gt", "gte", "lt", "lte"} and isinstance(clause.value, str)


_numbers = count()
_values = st.one_of(
    st.none(),
    st.sampled_from(_SCALARS),
    st.text(max_size=4),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.sampled_from(HOSTILE_TEXTS[:10]), max_size=3),
    st.lists(st.sampled_from(_SCALARS), max_size=3),
    st.just({"nested": 1}),
)
_kinds: st.SearchStrategy[FieldKind] = st.sampled_from(["string", "number", "boolean", "strings"])
_fields = st.dictionaries(st.sampled_from(HOSTILE_KEYS), _kinds, min_size=1, max_size=3)


def _fitting(kind: FieldKind) -> st.SearchStrategy[Any]:
    """Values of a kind, often, so that clauses meet values that they can match."""
    scalars = [value for value in _SCALARS if conforms(value, "string" if kind == "strings" else kind)]
    return st.lists(st.sampled_from(scalars), max_size=3) if kind == "strings" else st.sampled_from(scalars)


@st.composite
def _metadata(draw: st.DrawFn, fields: dict[str, FieldKind]) -> dict[str, Any]:
    return {key: draw(st.one_of(_fitting(kind), _values)) for key, kind in fields.items() if draw(st.booleans())}


@st.composite
def _filters(draw: st.DrawFn, fields: dict[str, FieldKind]) -> Filter:
    return tuple(draw(_clauses(fields)) for _ in range(draw(st.integers(1, 2))))


@st.composite
def _clauses(draw: st.DrawFn, fields: dict[str, FieldKind]) -> Clause:
    key = draw(st.sampled_from(sorted(fields)))
    operator = draw(st.sampled_from(["eq", "in", "gt", "gte", "lt", "lte", "exists"]))
    if operator == "exists":
        return Clause(key, "exists", draw(st.booleans()))
    kind: FieldKind = "string" if fields[key] == "strings" else fields[key]
    scalars: st.SearchStrategy[Any] = st.one_of(_fitting(kind), st.sampled_from(_SCALARS))
    if operator == "in":
        return Clause(key, "in", tuple(draw(st.lists(scalars, max_size=3))))
    return Clause(key, operator, draw(scalars))  # type: ignore[arg-type]


def _must_be_narrowed(clauses: Filter, fields: dict[str, FieldKind], metadata: dict[str, Any]) -> bool:
    """Whether one clause that a store can evaluate exactly does not hold for a value that it keeps."""
    return any(
        _exact(clause, fields[clause.key])
        and (metadata.get(clause.key) is None or conforms(metadata[clause.key], fields[clause.key]))
        and not matches((clause,), metadata)
        for clause in clauses
    )


def _exact(clause: Clause, kind: FieldKind) -> bool:
    if clause.operator == "exists":
        return True
    element: FieldKind = "string" if kind == "strings" else kind
    wanted = clause.value if isinstance(clause.value, tuple) else (clause.value,)
    if not all(conforms(value, element) for value in wanted):
        return False
    return clause.operator in {"eq", "in"} or (kind != "strings" and kind_of(clause.value) == kind)
