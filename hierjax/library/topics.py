"""Topics of documents: latent Dirichlet allocation with the topic of each word summed out."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax import checks
from hierjax.errors import DataError, LengthError, SupportError
from hierjax.library.columns import rows_text
from hierjax.library.factors import label_list
from hierjax.library.priors import hyper
from hierjax.model import Model


def topics_model(
    y: ArrayLike | None,
    words: ArrayLike,
    num_topics: int,
    num_vocabulary: int,
    num_longest: int,
    mixing: ArrayLike,
    spread: ArrayLike,
) -> None:
    r"""Words of documents, each document a mixture of topics and each topic of words.

    .. math::

        y_d \sim \text{Multinomial}\bigl(n_d, \textstyle\sum_k \theta_{dk} \phi_k\bigr), \qquad
        \theta_d \sim \text{Dirichlet}(\alpha, \ldots, \alpha), \qquad
        \phi_k \sim \text{Dirichlet}(\eta, \ldots, \eta)

    which is latent Dirichlet allocation with the topic of every word summed out.

    Parameters
    ----------
    y
        Counts of words, shape (documents, vocabulary); `None` draws them from the prior.
    words
        Words of each document, shape (documents,).
    num_topics, num_vocabulary
        Numbers of topics and of different words.
    num_longest
        Words of the longest document.
    mixing, spread
        Concentrations :math:`\alpha` of topics in documents and :math:`\eta` of words in topics.
    """
    with numpyro.plate("topic", num_topics):
        topic: Any = numpyro.sample(
            "topic_words", dist.Dirichlet(spread * jnp.ones(num_vocabulary))
        )
    with numpyro.plate("document", np.shape(words)[0]):
        share: Any = numpyro.sample("shares", dist.Dirichlet(mixing * jnp.ones(num_topics)))
        count = dist.Multinomial(words, share @ topic, total_count_max=num_longest)
        numpyro.sample("y", count, obs=y)


def topics(
    y: Any,
    num_topics: int,
    *,
    vocabulary: Sequence[Any] | None = None,
    labels: Sequence[Any] | None = None,
    mixing: float = 0.5,
    spread: float = 0.5,
) -> Model:
    """Model of counts of words in documents as mixtures of `num_topics` topics.

    Fit it with `hj.SVI(starts=4)`: the posterior has a mode for every order of the topics, and
    others. Chains end in different ones, unless they start from that fit (`init=`).

    Parameters
    ----------
    y
        Counts of words, shape (documents, vocabulary).
    num_topics
        Number of topics, 2 or more.
    vocabulary
        The words; numbers from 0 without.
    labels
        Names of the documents; numbers from 0 without.
    mixing
        Concentration of topics in documents: the smaller, the fewer topics has a document.
    spread
        Concentration of words in topics: the smaller, the fewer words has a topic.

    Returns
    -------
    Model
        Sites `topic_words` (a distribution over words for each topic), `shares` (a distribution
        over topics for each document) and the observed `y`.

    Raises
    ------
    DataError
        `y` is no table of counts, or a document or word has none; the message names it.
    PriorError
        A concentration is not a finite number above zero.

    References
    ----------
    Blei, Ng and Jordan (2003), Journal of Machine Learning Research 3, 993-1022; Griffiths and
    Steyvers (2004), PNAS 101, 5228-5235.
    """
    y, data, names = word_counts(y, num_topics, vocabulary)
    data |= {"mixing": hyper("mixing", mixing), "spread": hyper("spread", spread)}
    return Model(
        topics_model,
        {"y": y, **data},
        labels={
            "topic": list(range(num_topics)),
            "document": label_list("labels", labels, len(y)),
            "word": names,
            "share_topic": list(range(num_topics)),
        },
        dims={"topic_words": ("word",), "shares": ("share_topic",), "y": ("word",)},
        blocks={"topic_words": "other", "shares": "effect"},
        name="topics",
    )


def word_counts(
    y: Any, num_topics: int, vocabulary: Sequence[Any] | None
) -> tuple[np.ndarray, dict[str, Any], list[Any]]:
    """Check a table of counts and return it, the sizes that go with it, and the words.

    Raises
    ------
    LengthError, SupportError, DataError
        It is no table, holds other things than counts, or a document or a word has none.
    """
    table = np.asarray(y)
    if table.ndim != 2 or not table.size:
        raise LengthError(f"`y` must have shape (documents, vocabulary); got {table.shape}.")
    table = table.astype(float)
    wrong = ~np.isfinite(table) | (table < 0) | (table != np.floor(table))
    if wrong.any():
        raise SupportError(
            f"`y` holds counts, so whole numbers from 0; it does not in {rows_text(wrong.any(-1))}."
        )
    for axis, what in ((1, "document"), (0, "word")):
        empty = table.sum(axis) == 0
        if empty.any():
            raise DataError(f"a {what} has no counts, see {rows_text(empty)}; leave it out.")
    checks.positive_int("num_topics", num_topics, minimum=2)
    words = table.sum(-1).astype(np.int64)
    data = {
        "words": words,
        "num_topics": num_topics,
        "num_vocabulary": table.shape[1],
        "num_longest": int(words.max()),
    }
    if vocabulary is not None and len(vocabulary) != table.shape[1]:
        raise LengthError(
            f"`vocabulary` has {len(vocabulary)} words, but `y` has {table.shape[1]} columns."
        )
    names = list(range(table.shape[1])) if vocabulary is None else list(vocabulary)
    return table.astype(np.int64), data, names


def example() -> Model:
    """Return a small model: 12 simulated documents of 40 words, 9 different ones, 3 topics."""
    generator = np.random.default_rng(14)
    topic_words = np.kron(np.eye(3), np.full((1, 3), 0.3)) + 0.1 / 9
    shares = generator.dirichlet([0.5] * 3, size=12)
    return topics([generator.multinomial(40, share @ topic_words) for share in shares], 3)
