"""Conditions such as ``error_rate < 1% and preference > 0.45``, judged on intervals: yes, no, or cannot tell yet.

    condition := both ("or" both)*             also ||
    both      := term ("and" term)*            also &&
    term      := "(" condition ")" | operand (< | <= | > | >= | == | !=) operand
    operand   := name | number | number "%"

A comparison holds only when it holds for every value that the interval allows, and fails only when it fails for every
one; in between nobody knows (Kleene's three-valued logic). With always-valid intervals that makes every look honest.
Nothing is ever evaluated as Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import inf
from typing import Final, TypeAlias

from regen.errors import EvaluationError

Interval: TypeAlias = tuple[float, float]
Truth: TypeAlias = bool | None
"""True, False, or None: cannot tell yet."""
Claim: TypeAlias = tuple[str, float]
"""A sign (``< <= > >=``) and the number that a name is said to be less or more than."""

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>-?(?:\d+(?:\.\d*)?|\.\d+)%?)|(?P<name>[A-Za-z_]\w*)|(?P<sign><=|>=|==|!=|&&|\|\||[<>()]))"
)
_WORDS: Final = {"&&": "and", "||": "or"}
_COMPARISONS: Final = ("<", "<=", ">", ">=", "==", "!=")
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_CONTRARY: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_EITHER: Final = {"==": ("<=", ">="), "!=": ("<", ">")}
_DEEPEST: Final = 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two operands, each a name or a number, and a sign between them."""

    left: str | float
    sign: str
    right: str | float

    def judge(self, values: Mapping[str, Interval]) -> Truth:
        """Whether it holds for all, none or some of what the intervals allow."""
        left, right = _bounds(self.left, values), _bounds(self.right, values)
        return None if left is None or right is None else _SIGNS[self.sign](left, right)

    def names(self) -> Iterator[str]:
        """What must be measured."""
        return (side for side in (self.left, self.right) if isinstance(side, str))

    def claims(self, name: str, *, holds: bool) -> Iterator[Claim]:
        """What is said of a name when this holds, or fails."""
        if name not in self.names():
            return
        sign = self.sign if holds else _CONTRARY[self.sign]
        if isinstance(self.left, str) and isinstance(self.right, str):
            yield from (("<", -inf), (">", inf))  # of a value that is not known beforehand: anything may be said
            return
        value = self.right if isinstance(self.right, float) else self.left
        if sign in _EITHER:
            yield from ((one, float(value)) for one in _EITHER[sign])
        else:
            yield (sign if isinstance(self.left, str) else _MIRRORED[sign]), float(value)


@dataclass(frozen=True, slots=True)
class Joined:
    """Terms joined by one word: ``and`` or ``or``."""

    word: str
    terms: tuple[Term, ...]

    def judge(self, values: Mapping[str, Interval]) -> Truth:
        """Decided as soon as one term decides it; unknown when it hangs on an unknown term."""
        found = [term.judge(values) for term in self.terms]
        decisive = self.word == "or"
        if decisive in found:
            return decisive
        return None if None in found else not decisive

    def names(self) -> Iterator[str]:
        """What must be measured."""
        return (name for term in self.terms for name in term.names())

    def claims(self, name: str, *, holds: bool) -> Iterator[Claim]:
        """What is said of a name, by any term, when this holds, or fails."""
        return (claim for term in self.terms for claim in term.claims(name, holds=holds))


Term: TypeAlias = Comparison | Joined


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition; ``str`` gives back what was written."""

    text: str
    names: tuple[str, ...]
    _term: Term = field(repr=False)

    def judge(self, values: Mapping[str, Interval]) -> Truth:
        """True or False where the intervals leave no doubt, else None; a name without a value is unknown."""
        return self._term.judge(values)

    def claims(self, name: str, *, holds: bool) -> Iterator[Claim]:
        """What is said of a name when the condition holds, or fails."""
        return self._term.claims(name, holds=holds)

    def __str__(self) -> str:
        return self.text


def may_err_both_ways(claims: Iterable[Claim]) -> bool:
    """Whether there is a truth for which a claim "it is less" and a claim "it is more" would both be wrong."""
    said = list(claims)
    less = [(value, sign == "<") for sign, value in said if sign in {"<", "<="}]
    more = [(value, sign == ">") for sign, value in said if sign in {">", ">="}]
    return any(
        high > low or (high == low and strictly and strict) for low, strict in less for high, strictly in more
    )  # fmt: skip


def parse(text: str, known: Collection[str]) -> Condition:
    """Parse a condition over the ``known`` names.

    Raises EvaluationError for anything that the grammar does not have, and for an unknown name.
    """
    parser = _Parser(text, list(_tokens(text)))
    term = parser.condition()
    parser.expect_end()
    names = tuple(dict.fromkeys(term.names()))
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise EvaluationError(
                f"the condition {text!r} names {name!r}; known are {', '.join(sorted(known))}",
                hint=f"did you mean {near[0]}?" if near else "compare one of these with a number",
            )
    return Condition(text, names, term)


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None:
            raise EvaluationError(
                f"the condition {text!r} cannot be read at {text[position:].strip()!r}",
                hint="conditions look like error_rate < 1% and preference > 0.45",
            )
        yield found.group().strip()
        position = found.end()


class _Parser:
    """Recursive descent over the tokens; ``position`` is the next one."""

    def __init__(self, text: str, tokens: list[str]) -> None:
        self.text, self.tokens, self.position, self.depth = text, tokens, 0, 0

    def condition(self) -> Term:
        return self._joined("or", lambda: self._joined("and", self._term))

    def expect_end(self) -> None:
        if self.position < len(self.tokens):
            raise self._unexpected("and, or, or the end")

    def _joined(self, word: str, part: Callable[[], Term]) -> Term:
        terms = [part()]
        while self._peek() == word:
            self.position += 1
            terms.append(part())
        return terms[0] if len(terms) == 1 else Joined(word, tuple(terms))

    def _term(self) -> Term:
        if self._peek() == "(":
            return self._parenthesis()
        left = self._operand()
        if self._peek() not in _COMPARISONS:
            raise self._unexpected(f"one of {' '.join(_COMPARISONS)}")
        sign, right = self._next(), self._operand()
        if isinstance(left, float) and isinstance(right, float):
            raise EvaluationError(
                f"the condition {self.text!r} compares two numbers", hint="one side must be a name, such as error_rate"
            )
        return Comparison(left, sign, right)

    def _parenthesis(self) -> Term:
        self.position += 1
        self.depth += 1
        if self.depth > _DEEPEST:
            raise EvaluationError(f"the condition nests deeper than {_DEEPEST}", hint="write it flatter")
        inner = self.condition()
        if self._peek() != ")":
            raise self._unexpected("a closing parenthesis")
        self.position += 1
        self.depth -= 1
        return inner

    def _operand(self) -> str | float:
        token = self._peek()
        if token[:1].isdigit() or token[:1] in {".", "-"}:
            self.position += 1
            return float(token.removesuffix("%")) / (100 if token.endswith("%") else 1)
        if token.isidentifier() and token not in ("and", "or"):
            return self._next()
        raise self._unexpected("a name or a number")

    def _peek(self) -> str:
        token = self.tokens[self.position] if self.position < len(self.tokens) else ""
        return _WORDS.get(token, token)

    def _next(self) -> str:
        token = self._peek()
        self.position += 1
        return token

    def _unexpected(self, wanted: str) -> EvaluationError:
        found = repr(self._peek()) if self._peek() else "the end"
        return EvaluationError(
            f"the condition {self.text!r} has {found} where {wanted} must be",
            hint="conditions look like error_rate < 1% and preference > 0.45",
        )


def _bounds(side: str | float, values: Mapping[str, Interval]) -> Interval | None:
    return values.get(side) if isinstance(side, str) else (side, side)


def _less(left: Interval, right: Interval) -> Truth:
    return True if left[1] < right[0] else False if left[0] >= right[1] else None


def _at_most(left: Interval, right: Interval) -> Truth:
    return True if left[1] <= right[0] else False if left[0] > right[1] else None


def _equal(left: Interval, right: Interval) -> Truth:
    if left[1] < right[0] or left[0] > right[1]:
        return False
    return True if left[0] == left[1] == right[0] == right[1] else None


def _unequal(left: Interval, right: Interval) -> Truth:
    equal = _equal(left, right)
    return None if equal is None else not equal


_SIGNS: Final[Mapping[str, Callable[[Interval, Interval], Truth]]] = {
    "<": _less,
    "<=": _at_most,
    ">": lambda left, right: _less(right, left),
    ">=": lambda left, right: _at_most(right, left),
    "==": _equal,
    "!=": _unequal,
}
