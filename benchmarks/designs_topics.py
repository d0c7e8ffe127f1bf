"""Gibbs sampling of topics in NumPy, for references: nothing of hierjax, and no topic summed out.

The topic of every word is drawn as well, as counts of a document and a word that are divided among
topics. Given these, words of topics and shares of documents are Dirichlet. Shares of collections
and the closeness of items to them take Metropolis steps.

Whatever the order of the topics, the posterior is the same; so the topics of all draws are brought
into the order of the first chain's.
"""

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

if TYPE_CHECKING:
    import hierjax as hj

CHAINS = 4
MOVES = 5  # of the collections in each sweep
Draw = dict[str, np.ndarray]


def sample_topics(
    model: "hj.Model", warmup: int, draws: int, seed: int, thin: int = 10
) -> tuple[dict[str, np.ndarray], str]:
    """Draws (chain, draw, ...) of the sites of `topics` or `nested_topics`, and what was done."""
    keys = np.random.SeedSequence(seed).spawn(CHAINS)
    chains = [_chain(model.data, warmup, draws, thin, key) for key in keys]
    order = chains[0]["topic_words"].mean(0)
    chains = [in_order(chain, order) for chain in chains]
    joined = {site: np.stack([chain[site] for chain in chains]) for site in chains[0]}
    return joined, f"Gibbs in NumPy, {CHAINS} chains, {warmup} + {draws} of {thin} sweeps"


def in_order(draws: Draw, words: np.ndarray) -> Draw:
    """Give topics the numbers under which their words are most like `words` (topic, word)."""
    found = draws["topic_words"].reshape(-1, *words.shape).mean(0)
    distance = np.abs(found[:, None] - words[None]).sum(-1)
    topics = np.arange(len(words))
    orders = itertools.permutations(topics.tolist())
    places = list(min(orders, key=lambda order: distance[list(order), topics].sum()))
    return {
        site: values
        if site == "closeness"
        else np.take(values, places, axis=-2 if site == "topic_words" else -1)
        for site, values in draws.items()
    }


def _chain(data: Any, warmup: int, draws: int, thin: int, key: Any) -> Draw:
    generator = np.random.default_rng(key)
    state = _start(data, generator)
    kept: dict[str, list[np.ndarray]] = {}
    scale = np.array([0.3, 0.3])
    for sweep in range((warmup + draws) * thin):
        _sweep(data, state, generator)
        if "collection" in data:
            accepted = np.mean([_move(data, state, scale, generator) for _ in range(MOVES)], axis=0)
            if sweep < warmup * thin:
                scale *= np.exp((accepted - 0.3) / (1.0 + sweep) ** 0.5)
        if sweep >= warmup * thin and sweep % thin == 0:
            for site, value in state.items():
                kept.setdefault(site, []).append(value)
    return {site: np.array(values) for site, values in kept.items()}


def _start(data: Any, generator: np.random.Generator) -> Draw:
    topics, vocabulary = data["num_topics"], data["num_vocabulary"]
    even = data["y"].sum(0) / data["y"].sum()
    state = {
        "topic_words": generator.dirichlet(20.0 * even * vocabulary, topics),
        "shares": generator.dirichlet(np.ones(topics), len(data["y"])),
    }
    if "collection" in data:
        collections = data["num_collections"]
        state["collection_shares"] = np.full((collections, topics), 1.0 / topics)
        state["closeness"] = np.array(5.0)
    return state


def _sweep(data: Any, state: Draw, generator: np.random.Generator) -> None:
    """Draw the topics of all words, then the words of topics and the shares of documents."""
    document, word = np.nonzero(data["y"])
    weight = state["shares"][document] * state["topic_words"][:, word].T
    split = np.zeros((*data["y"].shape, data["num_topics"]))
    split[document, word] = generator.multinomial(
        data["y"][document, word], weight / weight.sum(1, keepdims=True)
    )
    state["topic_words"] = _dirichlet(split.sum(0).T + data["spread"], generator)
    state["shares"] = _dirichlet(split.sum(1) + _concentration(data, state), generator)


def _dirichlet(concentration: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One draw a row."""
    gamma = generator.gamma(concentration)
    return gamma / gamma.sum(-1, keepdims=True)


def _concentration(data: Any, state: Draw) -> Any:
    """Of the shares of documents."""
    if "collection" not in data:
        return data["mixing"]
    whole = state["collection_shares"][data["collection"]]
    return state["closeness"] * whole + data["novelty"]


def _log_shares(data: Any, state: Draw) -> np.ndarray:
    """Log density of the shares of each item, given its collection's."""
    concentration = _concentration(data, state)
    return (
        special.gammaln(concentration.sum(-1))
        - special.gammaln(concentration).sum(-1)
        + ((concentration - 1.0) * np.log(state["shares"])).sum(-1)
    )


def _move(
    data: Any, state: Draw, scale: np.ndarray, generator: np.random.Generator
) -> tuple[float, float]:
    """Metropolis steps of the shares of collections, on their log ratios, and of the closeness.

    The density of log ratios is that of the shares times their product.
    """
    index, number = data["collection"], data["num_collections"]

    def of_collections(state: Draw) -> np.ndarray:
        items = np.bincount(index, _log_shares(data, state), number)
        return items + data["mixing"] * np.log(state["collection_shares"]).sum(-1)

    step = scale[0] * generator.normal(size=state["collection_shares"].shape)
    step[:, -1] = 0.0
    moved = special.softmax(np.log(state["collection_shares"]) + step, axis=-1)
    gain = of_collections({**state, "collection_shares": moved}) - of_collections(state)
    taken = np.log(generator.uniform(size=number)) < gain
    state["collection_shares"] = np.where(taken[:, None], moved, state["collection_shares"])

    def of_closeness(state: Draw) -> float:
        prior = data["closeness_prior"]  # log-normal
        place = (np.log(state["closeness"]) - float(prior.loc)) / float(prior.scale)
        return float(_log_shares(data, state).sum() - 0.5 * place**2)

    closer = state["closeness"] * np.exp(scale[1] * generator.normal())
    gain = of_closeness({**state, "closeness": closer}) - of_closeness(state)
    close = np.log(generator.uniform()) < gain
    state["closeness"] = closer if close else state["closeness"]
    return float(taken.mean()), float(close)
