"""Generated languages: what a stream of their words costs the best predictor is known exactly."""

from recurlab.tasks.grammar.agreement import AGREEMENT
from recurlab.tasks.grammar.automaton import Grammar, grammar
from recurlab.tasks.grammar.probes import Probes, intervening, probes, spans

GRAMMARS: dict[str, Grammar] = {each.name: each for each in (AGREEMENT,)}

__all__ = ["AGREEMENT", "GRAMMARS", "Grammar", "Probes", "grammar", "intervening", "probes", "spans"]
