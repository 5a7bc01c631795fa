"""The embedded language: verbs agree with a subject that lies any number of words before them.

A sentence is a determiner, perhaps an adjective, a noun (the subject), units that intervene, a verb and an ending.
Units are words of place or prepositions with a noun of their own, whose number and class have nothing to do with the
subject's. The verb has the number of the subject and is one of its class, as an adjective is one of its noun's. So a
predictor that does not see the subject loses up to ln 2 at the verb for its number, and what the class tells.
"""

from recurlab.tasks.grammar.automaton import Grammar, grammar, zipf
from recurlab.text import END

NUMBERS = ("singular", "plural")
CLASSES = {  # adjectives; nouns and verbs, singular and plural
    "person": (
        ("clever", "polite", "famous"),
        ("farmer farmers", "doctor doctors", "singer singers", "teacher teachers", "sailor sailors"),
        ("speaks speak", "laughs laugh", "writes write", "argues argue"),
    ),
    "animal": (
        ("hungry", "wild", "tame"),
        ("dog dogs", "cat cats", "horse horses", "bird birds", "wolf wolves"),
        ("sleeps sleep", "hunts hunt", "bites bite", "howls howl"),
    ),
    "machine": (
        ("rusty", "broken", "electric"),
        ("engine engines", "clock clocks", "lamp lamps", "pump pumps", "printer printers"),
        ("hums hum", "rattles rattle", "stalls stall", "ticks tick"),
    ),
    "plant": (
        ("green", "tall", "thorny"),
        ("tree trees", "rose roses", "fern ferns", "vine vines", "oak oaks"),
        ("grows grow", "blooms bloom", "withers wither", "sprouts sprout"),
    ),
}
CLASS_SHARES = dict(zip(CLASSES, zipf(len(CLASSES)), strict=True))
ADJECTIVE = 0.3  # P(a noun has an adjective)
DETERMINER = 0.5  # P(a noun after a preposition has a determiner)
MORE = 0.6  # P(one more unit before the verb)
PLACE = 0.2  # P(a unit is a word of place)
ENDINGS = {"end": (0.5, "start"), "adverb": (0.3, "last"), "without": (0.2, "without")}
BUTTER = {"peanut": (0.7, "peanut"), "butter": (0.3, "last")}


def _words() -> dict[str, tuple[str, ...]]:
    """Category -> its words."""
    words = {
        "end": (END,),
        "determiner": ("the", "my", "our"),
        "preposition": ("near", "behind", "beside", "beyond"),
        "place": ("outside", "here"),
        "adverb": ("often", "again", "slowly"),
        **{word: (word,) for word in ("without", "peanut", "butter")},
    }
    for kind, (adjectives, nouns, verbs) in CLASSES.items():
        words[f"adjective {kind}"] = adjectives
        for i, number in enumerate(NUMBERS):
            words[f"{number} noun {kind}"] = tuple(noun.split()[i] for noun in nouns)
            words[f"{number} verb {kind}"] = tuple(verb.split()[i] for verb in verbs)
    return words


def _nouns(then, shares: dict[str, float], chance: float) -> dict:
    """Edges of a noun: either number is as likely."""
    return {
        f"{number} noun {kind}": (chance * share / 2, then(number, kind))
        for kind, share in shares.items()
        for number in NUMBERS
    }


def _phrase(state: str, then) -> dict:
    """Rules of a noun that may have an adjective, from a state to then(number, class)."""
    adjectives = {f"adjective {kind}": (ADJECTIVE * share, f"{state}, {kind}") for kind, share in CLASS_SHARES.items()}
    rules = {state: adjectives | _nouns(then, CLASS_SHARES, 1 - ADJECTIVE)}
    return rules | {f"{state}, {kind}": _nouns(then, {kind: 1.0}, 1.0) for kind in CLASSES}


def _after(number: str, kind: str) -> str:
    """The state in which a verb may come for a subject of this number and class."""
    return f"after {number} {kind}"


def _intervening(number: str, kind: str) -> dict:
    """Rules from the subject to the verb: units, each of which leads back to where it began."""
    after, inside, behind = _after(number, kind), f"inside {number} {kind}", f"preposition {number} {kind}"
    rules = _phrase(inside, lambda *_: after)
    bare = {word: ((1 - DETERMINER) * chance, then) for word, (chance, then) in rules[inside].items()}
    verb = {f"{number} verb {kind}": (1 - MORE, "verb")}
    units = {"place": (MORE * PLACE, after), "preposition": (MORE * (1 - PLACE), behind)}
    return {after: verb | units, behind: {"determiner": (DETERMINER, inside)} | bare} | rules


def _rules() -> dict:
    """State -> {category: (chance, next state)}."""
    rules = {"start": {"determiner": (1.0, "subject")}} | _phrase("subject", _after)
    for number in NUMBERS:
        for kind in CLASSES:
            rules |= _intervening(number, kind)
    last = {"end": (1.0, "start")}
    return rules | {"verb": ENDINGS, "without": BUTTER, "peanut": {"butter": (1.0, "last")}, "last": last}


AGREEMENT: Grammar = grammar(
    "agreement",
    "after Linzen, Dupoux & Goldberg 2016 (agreement across attractors)",
    "sentences whose verb agrees in number and class with a subject that lies 0, 1, 2, … words before it; 100 words",
    _rules(),
    _words(),
)
