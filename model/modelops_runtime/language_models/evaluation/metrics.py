"""How good an answer is.

Exact match and F1 are those of SQuAD: Rajpurkar et al., 2016, https://arxiv.org/abs/1606.05250, section 6.1, with the
normalization of its official evaluation script: lower case, without punctuation, articles and additional spaces. Each
is the best over a row's references. ROUGE is Google's `rouge-score`, the F-measure: Lin, 2004,
https://aclanthology.org/W04-1013.
"""

import json
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from modelops_runtime.language_models.evaluation.rows import Row

ROUGE = ("rouge1", "rouge2", "rougeL")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Letters of Japanese and Chinese, which have no spaces between words."""
_WORDS = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")

Scores = dict[str, float]


class Scorer:
    """Scores answers by the metrics asked for."""

    def __init__(self, metrics: Collection[str]) -> None:
        self._metrics = metrics
        self._rouge = _rouge([name for name in ROUGE if name in metrics])

    def scores(self, row: Row, answer: str) -> Scores:
        """The metrics that the row gives cause for, from 0 to 1; `forbidden` is 1 where a pattern is found."""
        found: Scores = {}
        if row.references:
            found["exact_match"] = max(exact_match(answer, reference) for reference in row.references)
            found["f1"] = max(f1(answer, reference) for reference in row.references)
            found |= self._rouge(row.references, answer)
        if row.schema is not None:
            found["valid_json"] = float(valid_json(answer, row.schema))
        if row.required:
            found["required"] = float(all(re.search(pattern, answer) for pattern in row.required))
        if row.forbidden:
            found["forbidden"] = float(any(re.search(pattern, answer) for pattern in row.forbidden))
        return {name: value for name, value in found.items() if name in self._metrics}


def means(rows: Sequence[Scores]) -> Scores:
    """Of each metric over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: sum(each) / len(each) for name, each in values.items()}


def exact_match(answer: str, reference: str) -> float:
    return float(normalized(answer) == normalized(reference))


def f1(answer: str, reference: str) -> float:
    """Harmonic mean of the shares of words in common; 1 where neither has any."""
    ours, theirs = Counter(normalized(answer).split()), Counter(normalized(reference).split())
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def normalized(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def valid_json(answer: str, schema: Any) -> bool:
    """Whether the answer is JSON, of standard JSON's numbers, that keeps to the schema. Nothing is fetched for it."""
    import jsonschema
    import referencing

    try:
        content = json.loads(answer, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return False
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    return bool(kind(schema, registry=referencing.Registry()).is_valid(content))


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def words(text: str) -> list[str]:
    """ROUGE's words, of any alphabet: `rouge-score` itself knows those of English alone."""
    return _WORDS.findall(unicodedata.normalize("NFC", text.lower()))


def _rouge(names: list[str]) -> Callable[[Sequence[str], str], Scores]:
    if not names:
        return lambda references, answer: {}
    from rouge_score.rouge_scorer import RougeScorer

    class Words:
        def tokenize(self, text: str) -> list[str]:
            return words(text)

    scorer = RougeScorer(names, tokenizer=Words())

    def scores(references: Sequence[str], answer: str) -> Scores:
        found = [scorer.score(reference, answer) for reference in references]
        return {name: max(float(each[name].fmeasure) for each in found) for name in names}

    return scores
