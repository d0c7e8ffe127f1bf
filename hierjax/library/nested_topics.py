"""Topics of items within collections: a collection is a sample of items, an item one of topics."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.groups import take
from hierjax.library.factors import group_index, label_list
from hierjax.library.priors import hyper, prior_of
from hierjax.library.topics import word_counts
from hierjax.model import Model


def nested_topics_model(
    y: ArrayLike | None,
    words: ArrayLike,
    collection: ArrayLike,
    num_collections: int,
    num_topics: int,
    num_vocabulary: int,
    num_longest: int,
    mixing: ArrayLike,
    novelty: ArrayLike,
    spread: ArrayLike,
    closeness_prior: dist.Distribution,
) -> None:
    r"""Words of items in collections; the topics of an item scatter around its collection's.

    .. math::

        y_i \sim \text{Multinomial}\bigl(n_i, \textstyle\sum_k \theta_{ik} \phi_k\bigr), \qquad
        \theta_i \sim \text{Dirichlet}(\kappa \psi_{c(i)} + \epsilon), \qquad
        \psi_c \sim \text{Dirichlet}(\alpha, \ldots, \alpha), \qquad
        \phi_k \sim \text{Dirichlet}(\eta, \ldots, \eta)

    The topic of every word is summed out.

    Parameters
    ----------
    y
        Counts of words, shape (items, vocabulary); `None` draws them from the prior.
    words
        Words of each item, shape (items,).
    collection
        Index of the collection of each item, shape (items,).
    num_collections, num_topics, num_vocabulary
        Numbers of collections, topics and different words.
    num_longest
        Words of the longest item.
    mixing, novelty, spread
        Concentrations :math:`\alpha` of topics in collections, :math:`\epsilon` of topics in items
        that their collection lacks, and :math:`\eta` of words in topics.
    closeness_prior
        Prior of :math:`\kappa`: the larger, the closer are items to their collection.
    """
    closeness: Any = numpyro.sample("closeness", closeness_prior)
    with numpyro.plate("topic", num_topics):
        topic: Any = numpyro.sample(
            "topic_words", dist.Dirichlet(spread * jnp.ones(num_vocabulary))
        )
    with numpyro.plate("collection", num_collections):
        whole: Any = numpyro.sample(
            "collection_shares", dist.Dirichlet(mixing * jnp.ones(num_topics))
        )
    with numpyro.plate("item", np.shape(words)[0]):
        share: Any = numpyro.sample(
            "shares", dist.Dirichlet(closeness * take(whole, collection) + novelty)
        )
        count = dist.Multinomial(words, share @ topic, total_count_max=num_longest)
        numpyro.sample("y", count, obs=y)


def nested_topics(
    y: Any,
    collection: Any,
    num_topics: int,
    *,
    vocabulary: Sequence[Any] | None = None,
    labels: Sequence[Any] | None = None,
    mixing: float = 1.0,
    novelty: float = 0.2,
    spread: float = 0.5,
    closeness_prior: dist.Distribution | None = None,
) -> Model:
    """Model of counts of words in items of collections, for example chapters of books.

    Fit it with `hj.SVI(guide="normal", starts=4)`: the posterior has a mode for every order of the
    topics, and others. Chains end in different ones, unless they start from that fit (`init=`).

    Parameters
    ----------
    y
        Counts of words, shape (items, vocabulary).
    collection
        Label of the collection of each item, shape (items,).
    num_topics
        Number of topics, 2 or more.
    vocabulary
        The words; numbers from 0 without.
    labels
        Names of the items; numbers from 0 without.
    mixing
        Concentration of topics in collections.
    novelty
        Concentration of topics in items that their collection lacks; with none, an item could have
        no topic that its collection has not, and shares would underflow.
    spread
        Concentration of words in topics: the smaller, the fewer words has a topic.
    closeness_prior
        Prior of `closeness`, the concentration of items around their collection; by default
        LogNormal(2, 1).

    Returns
    -------
    Model
        Sites `closeness`, `topic_words` (a distribution over words for each topic),
        `collection_shares` and `shares` (distributions over topics) and the observed `y`.

    Raises
    ------
    DataError
        `y` is no table of counts, an item or word has none, lengths differ, or there is one
        collection only or one for every item; the message names it.
    PriorError
        A prior is no distribution of one positive number.

    References
    ----------
    Blei, Ng and Jordan (2003), Journal of Machine Learning Research 3, 993-1022; Teh, Jordan, Beal
    and Blei (2006), Journal of the American Statistical Association 101, 1566-1581 (with a fixed
    number of topics here).
    """
    y, data, names = word_counts(y, num_topics, vocabulary)
    index, collections = group_index(collection, len(y), "collection")
    default = dist.LogNormal(2.0, 1.0)
    data |= {
        "collection": index,
        "num_collections": len(collections),
        "mixing": hyper("mixing", mixing),
        "novelty": hyper("novelty", novelty),
        "spread": hyper("spread", spread),
        "closeness_prior": prior_of("closeness_prior", closeness_prior, default, above_zero=True),
    }
    return Model(
        nested_topics_model,
        {"y": y, **data},
        labels={
            "topic": list(range(num_topics)),
            "collection": collections,
            "item": label_list("labels", labels, len(y)),
            "word": names,
            "share_topic": list(range(num_topics)),
        },
        dims={
            "topic_words": ("word",),
            "collection_shares": ("share_topic",),
            "shares": ("share_topic",),
            "y": ("word",),
        },
        blocks={
            "closeness": "level",
            "topic_words": "other",
            "collection_shares": "effect",
            "shares": "effect",
        },
        name="nested_topics",
    )


def example() -> Model:
    """Return a small model: 12 simulated items in 3 collections, 40 words of 9 different ones."""
    generator = np.random.default_rng(15)
    topic_words = np.kron(np.eye(3), np.full((1, 3), 0.3)) + 0.1 / 9
    collection = np.repeat(np.arange(3), 4)
    whole = generator.dirichlet([1.0] * 3, size=3)
    shares = [generator.dirichlet(8.0 * whole[each] + 0.05) for each in collection]
    counted = [generator.multinomial(40, share @ topic_words) for share in shares]
    return nested_topics(counted, collection, 3)
