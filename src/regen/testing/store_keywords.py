"""Store cases for :class:`~regen.ports.keywords.KeywordStore`: points found by the words of their texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from regen.core.documents import UNRESTRICTED
from regen.errors import CollectionMissing
from regen.ports import MaintainedStore, PayloadStore, Points, Store
from regen.ports.keywords import KeywordStore
from regen.testing.store_cases import (
    COLLECTION,
    HOSTILE_TEXTS,
    StoreHooks,
    ids_of,
    make_collection,
    make_points,
    numbered,
    where,
)

_SYNTAX: Final = (
    *("+zebra", "-zebra", '"zebra', "zebra*", "zebra~2", "zebra^9", "text:zebra", "(zebra", "zebra)", "zebra AND"),
    *("NOT zebra", "zebra OR", "zebra & ", "!zebra", "zebra | | ", "zebra <-> ", "zebra:*", "[zebra TO", "{zebra}"),
    *("zebra\\", "zebra\\:", "/zebra/", "zebra'", "zebra''); DROP TABLE g1; --", "zebra ?", "zebra %s $1", "\0zebra"),
    *("zebra && ||", "zebra\n\r\t", "zebra \u202e", "*:zebra", "zebra >=< =", "`zebra`", "#zebra @x", "zebra \ud800"),
)
"""Queries that mean something in one vendor's query language or another, and here are the word zebra."""
_LANGUAGES: Final = {
    "german": ("Die Straße wird gesperrt, Umleitung über Köln", "umleitung köln"),
    "french": ("Le café déjà fermé à Besançon", "besançon fermé"),
    "russian": ("Пароль забыт, восстановите доступ", "пароль доступ"),
    "greek": ("Ξέχασα τον κωδικό πρόσβασης", "κωδικό πρόσβασης"),
    "arabic": ("نسيت كلمة المرور الخاصة", "كلمة المرور"),
    "hebrew": ("שכחתי את הסיסמה שלי", "הסיסמה"),
    "numbers": ("invoice 20481 of 2024", "20481"),
}


class KeywordStoreCases(StoreHooks):
    """Searching by words: what is found, in which order, by whom, and how soon."""

    ranks_rare_words = True
    """Whether a rare word counts for more than a common one."""
    word_settings: ClassVar[Mapping[str, Any]] = {}
    """The index settings that a collection needs to be searched by words."""

    def searchable(self, store: Store, points: Points | None = None) -> None:
        """Make the usual collection, so that it can be searched by words, and fill it."""
        make_collection(store, points, index=dict(self.word_settings))

    def by_words(self, store: Store) -> KeywordStore:
        """Give back the store as one with this power, or skip the case."""
        return store if isinstance(store, KeywordStore) else self.lacks(store, "KeywordStore")

    def test_more_words_come_first(self, store: Store) -> None:
        """A text with all words of a query comes before one with some; one with none is not found; scores fall."""
        power = self.by_words(store)
        texts = ["a red door", "a green window", "a red window with a red frame", "blue roofs and chimneys"]
        self.searchable(store, make_points(["door", "green", "both", "none"], texts=texts))
        hits = power.search_words(COLLECTION, "red window", 10)
        assert ids_of(hits)[0] == "both"
        assert sorted(ids_of(hits)) == ["both", "door", "green"]
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    def test_rare_words_come_first(self, store: Store) -> None:
        """Of two texts that hold one word of a query each, the one with the rarer word comes first."""
        power = self.by_words(store)
        if not self.ranks_rare_words:
            pytest.skip(f"{type(self).__name__}: the store does not weigh words by how rare they are")
        texts = [f"printer manual number {at}" for at in range(20)] + ["xylophone manual number 20"]
        texts += [f"garden manual number {at}" for at in range(20)]
        self.searchable(store, make_points(numbered(41), texts=texts))
        assert ids_of(power.search_words(COLLECTION, "printer xylophone", 5))[0] == numbered(41)[20]

    def test_a_hit_of_words_carries_what_the_fence_needs(self, store: Store) -> None:
        """A hit names its point, chunk, token, document and text."""
        power = self.by_words(store)
        self.searchable(store, make_points(["a", "b"], texts=["zebra crossing", "something else"]))
        (hit,) = power.search_words(COLLECTION, "zebra", 5)
        assert (hit.point_id, hit.chunk_id, hit.token) == ("a", "chunk a", 2**40)
        assert (hit.doc_id, hit.text) == ("doc a", "zebra crossing")

    def test_case_makes_no_difference(self, store: Store) -> None:
        """Words are found in whatever case they are written or asked for."""
        power = self.by_words(store)
        self.searchable(store, make_points(["a", "b", "c"], texts=["Zebra", "ZEBRA", "a zebra"]))
        for query in ("zebra", "ZEBRA", "Zebra"):
            assert sorted(ids_of(power.search_words(COLLECTION, query, 9))) == ["a", "b", "c"]

    def test_no_more_than_were_asked_for(self, store: Store) -> None:
        """At most k are found, the best of all; a k below one finds none, an empty collection neither."""
        power = self.by_words(store)
        self.searchable(store)
        assert power.search_words(COLLECTION, "zebra", 5) == []
        store.upsert(COLLECTION, make_points(numbered(50), texts=["zebra"] * 49 + ["zebra zebra crossing crossing"]))
        assert ids_of(power.search_words(COLLECTION, "zebra crossing", 1)) == [numbered(50)[49]]
        assert len(power.search_words(COLLECTION, "zebra", 7)) == 7
        assert len(power.search_words(COLLECTION, "zebra", 99)) == 50
        assert power.search_words(COLLECTION, "zebra", 0) == []

    def test_a_query_without_words_finds_nothing(self, store: Store) -> None:
        """Nothing, blanks and signs are valid queries that no text has to do with."""
        power = self.by_words(store)
        self.searchable(store, make_points(["a", "b"], texts=["zebra ?!", ""]))
        for query in ("", " ", "\n\t", "?!", "…", "-- ,;.", "\ud800", "()", "* ?"):
            assert power.search_words(COLLECTION, query, 5) == [], repr(query)

    @pytest.mark.parametrize("query", _SYNTAX, ids=ascii)
    def test_no_character_of_a_query_has_a_meaning(self, store: Store, query: str) -> None:
        """What is syntax to a query language finds the word that it contains, as if it stood alone."""
        power = self.by_words(store)
        self.searchable(store, make_points(["a", "b"], texts=["the zebra stands", "nothing of the kind"]))
        assert ids_of(power.search_words(COLLECTION, query, 5))[:1] == ["a"]

    def test_hostile_queries_do_no_harm(self, store: Store) -> None:
        """Any string may be asked for, also one of many thousand words, and the collection is as it was."""
        power = self.by_words(store)
        self.searchable(store, make_points(["a", "b"], texts=["the zebra stands", "nothing of the kind"]))
        for text in HOSTILE_TEXTS:
            power.search_words(COLLECTION, text, 5)
            assert ids_of(power.search_words(COLLECTION, f"{text} zebra", 5))[:1] == ["a"], repr(text)
        long = " ".join(f"word{at}" for at in range(3000))
        assert ids_of(power.search_words(COLLECTION, f"zebra {long}", 5)) == ["a"]
        assert power.search_words(COLLECTION, "x" * 100_000, 5) == []
        assert store.count(COLLECTION) == 2

    @pytest.mark.parametrize("language", _LANGUAGES)
    def test_words_of_many_languages(self, store: Store, language: str) -> None:
        """Words in any script that parts them by blanks are found, and in no other language's text."""
        power = self.by_words(store)
        self.searchable(store, make_points(list(_LANGUAGES), texts=[text for text, _ in _LANGUAGES.values()]))
        assert ids_of(power.search_words(COLLECTION, _LANGUAGES[language][1], 5)) == [language]

    def test_filters_narrow_what_words_find(self, store: Store) -> None:
        """Five texts of three hundred that satisfy a filter are all found, though others have more of the words."""
        power = self.by_words(store)
        metadata: list[dict[str, Any]] = [
            {"lang": "rare", "year": 1999, "tags": ["rare"]} if at % 60 == 42 else {"lang": "en", "year": 2020}
            for at in range(300)
        ]
        texts = ["a zebra" if at % 60 == 42 else "zebra zebra zebra" for at in range(300)]
        self.searchable(store, make_points(numbered(300), metadata=metadata, texts=texts))
        for narrow in (where(lang="rare"), where(year={"lt": 2000}), where(tags="rare"), where(lang=["rare", "x"])):
            found = ids_of(power.search_words(COLLECTION, "zebra", 5, where=narrow))
            assert sorted(int(point_id, 16) for point_id in found) == [42, 102, 162, 222, 282], narrow

    def test_a_filter_leaves_out_nothing_that_satisfies_it(self, store: Store) -> None:
        """A value that is not of its field's kind, and a key that is no field, are the fence's to judge."""
        power = self.by_words(store)
        points = make_points(["odd", "de"], metadata=[{"lang": 5}, {"lang": "de"}], texts=["zebra", "zebra"])
        self.searchable(store, points)
        assert "odd" in ids_of(power.search_words(COLLECTION, "zebra", 5, where=where(lang=5)))
        assert "de" in ids_of(power.search_words(COLLECTION, "zebra", 5, where=where(lang="de")))
        assert set(ids_of(power.search_words(COLLECTION, "zebra", 5, where=where(unheard="of")))) == {"odd", "de"}
        assert power.search_words(COLLECTION, "zebra", 5, where=where(lang=[])) == []

    def test_principals_find_by_words_what_they_may_see(self, store: Store) -> None:
        """Words of a text that a caller may not see do not betray it; rare access still fills k."""
        power = self.by_words(store)
        access: list[list[str] | None] = [None, [], ["x"], ["y"], ["x", "y"], *([["other"]] * 200)]
        ids = ["public", "nobody", "x", "y", "xy", *numbered(200)]
        self.searchable(store, make_points(ids, access=access, texts=["zebra"] * 5 + ["zebra zebra"] * 200))

        def seen(principals: Any) -> list[str]:
            return sorted(ids_of(power.search_words(COLLECTION, "zebra", 4, principals=principals)))

        assert seen(None) == seen(frozenset()) == ["public"]
        assert seen(frozenset({"x"})) == ["public", "x", "xy"]
        assert seen(frozenset({"x", "y"})) == ["public", "x", "xy", "y"]
        assert len(power.search_words(COLLECTION, "zebra", 999, principals=UNRESTRICTED)) == 205

    def test_words_of_what_was_just_written_are_found(self, store: Store) -> None:
        """A point is found by its words when the call that wrote it returns, also when others were indexed before."""
        power = self.by_words(store)
        self.searchable(store, make_points(numbered(20), texts=["a zebra"] * 20))
        assert len(power.search_words(COLLECTION, "zebra", 99)) == 20
        for at in range(5):
            store.upsert(COLLECTION, make_points([f"n{at}"], texts=[f"okapi number{at} zebra"]))
            assert ids_of(power.search_words(COLLECTION, f"number{at}", 5)) == [f"n{at}"]
        assert sorted(ids_of(power.search_words(COLLECTION, "okapi", 9))) == ["n0", "n1", "n2", "n3", "n4"]

    def test_words_of_what_is_gone_are_not_found(self, store: Store) -> None:
        """A deleted point is not found any more, and one written anew by its new words only."""
        power = self.by_words(store)
        self.searchable(store, make_points(["a", "b", "c"], texts=["zebra one", "zebra two", "zebra three"]))
        assert sorted(ids_of(power.search_words(COLLECTION, "zebra", 9))) == ["a", "b", "c"]
        store.delete(COLLECTION, ["a"])
        store.upsert(COLLECTION, make_points(["b"], texts=["okapi two"]))
        assert ids_of(power.search_words(COLLECTION, "zebra", 9)) == ["c"]
        assert ids_of(power.search_words(COLLECTION, "okapi", 9)) == ["b"]
        store.drop(COLLECTION)
        self.searchable(store, make_points(["d"], texts=["okapi"]))
        assert power.search_words(COLLECTION, "zebra", 9) == []
        assert ids_of(power.search_words(COLLECTION, "okapi", 9)) == ["d"]

    def test_a_payload_update_is_seen_by_words(self, store: Store) -> None:
        """Access and metadata that were updated decide at once, and the words stay."""
        power = self.by_words(store)
        if not isinstance(store, PayloadStore):
            self.lacks(store, "PayloadStore")
        self.searchable(store, make_points(["a", "b"], metadata=[{"lang": "en"}] * 2, texts=["zebra", "zebra"]))
        assert len(power.search_words(COLLECTION, "zebra", 9)) == 2
        changed = make_points(["a"], metadata=[{"lang": "de"}], access=[["x"]]).payload
        store.update_payload(COLLECTION, ["a"], changed)
        assert ids_of(power.search_words(COLLECTION, "zebra", 9)) == ["b"]
        hits = power.search_words(COLLECTION, "zebra", 9, where=where(lang="de"), principals=frozenset({"x"}))
        assert ids_of(hits) == ["a"]

    def test_upkeep_changes_nothing_that_words_find(self, store: Store) -> None:
        """What is found by words before upkeep, in whatever part of an index it lies, is found after it."""
        power = self.by_words(store)
        self.searchable(store, make_points(numbered(100), texts=[f"zebra word{at}" for at in range(100)]))
        assert ids_of(power.search_words(COLLECTION, "word7", 9)) == [numbered(100)[7]]
        more = [f"{at:032x}" for at in range(100, 150)]
        store.upsert(COLLECTION, make_points(more, texts=[f"okapi word{at}" for at in range(100, 150)]))
        store.delete(COLLECTION, numbered(100)[:50])
        if isinstance(store, MaintainedStore):
            store.maintain(COLLECTION, force=True)
        assert len(power.search_words(COLLECTION, "zebra", 999)) == 50
        assert len(power.search_words(COLLECTION, "okapi", 999)) == 50
        assert ids_of(power.search_words(COLLECTION, "word120", 9)) == [f"{120:032x}"]
        assert power.search_words(COLLECTION, "word7", 9) == []

    def test_another_handle_finds_by_words(self, store: Store, tmp_path: Path) -> None:
        """A handle that was opened elsewhere finds what this one wrote, and this one what that one did."""
        power = self.by_words(store)
        self.searchable(store, make_points(["a"], texts=["zebra"]))
        assert ids_of(power.search_words(COLLECTION, "zebra", 9)) == ["a"]
        second = self.second(tmp_path)
        other = self.by_words(second)
        assert ids_of(other.search_words(COLLECTION, "zebra", 9)) == ["a"]
        second.upsert(COLLECTION, make_points(["b"], texts=["zebra"]))
        assert sorted(ids_of(power.search_words(COLLECTION, "zebra", 9))) == ["a", "b"]

    def test_words_of_a_missing_collection(self, store: Store) -> None:
        """A search of a collection that is not there names it."""
        power = self.by_words(store)
        with pytest.raises(CollectionMissing, match="never_made"):
            power.search_words("never_made", "zebra", 5)
