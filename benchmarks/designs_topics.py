"""Order of topics: the posterior is the same whatever it is, so two fits may differ in it."""

import itertools

import numpy as np

Draw = dict[str, np.ndarray]


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


def in_one_order(draws: Draw) -> Draw:
    """Give topics of every chain the numbers that they have in the first one."""
    first = draws["topic_words"][0].mean(0)
    chains = [
        in_order({site: values[chain] for site, values in draws.items()}, first)
        for chain in range(len(draws["topic_words"]))
    ]
    return {site: np.stack([chain[site] for chain in chains]) for site in draws}
