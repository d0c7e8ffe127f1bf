"""What responses of a family can be, and where their middle lies on the scale of the predictor."""

from typing import Any

import numpy as np


def nowhere(response: np.ndarray, _: Any) -> np.ndarray:
    """Mark nothing: every number is possible."""
    return np.zeros(response.shape, dtype=bool)


def not_positive(response: np.ndarray, _: Any) -> np.ndarray:
    """Mark what is zero or less."""
    return response <= 0


def not_share(response: np.ndarray, _: Any) -> np.ndarray:
    """Mark what does not lie strictly between 0 and 1."""
    return (response <= 0) | (response >= 1)


def not_binary(response: np.ndarray, _: Any) -> np.ndarray:
    """Mark what is neither 0 nor 1."""
    return (response != 0) & (response != 1)


def not_count(response: np.ndarray, _: Any) -> np.ndarray:
    """Mark what is negative or not whole."""
    return (response < 0) | (response != np.floor(response))


def not_successes(response: np.ndarray, trials: Any) -> np.ndarray:
    """Mark what cannot be a number of successes in `trials`."""
    return not_count(response, None) | (response > trials)


def mean(response: np.ndarray, offset: np.ndarray) -> float:
    """Mean of what the offset leaves."""
    return float(np.mean(response - offset))


def zero(response: np.ndarray, offset: np.ndarray) -> float:
    """Zero, even odds."""
    del response, offset
    return 0.0


def log_ratio(response: np.ndarray, offset: np.ndarray) -> float:
    """Log of the sum of the responses per unit of exposure."""
    exposure = offset - np.max(offset)
    total = np.log(np.sum(response)) - np.log(np.sum(np.exp(exposure)))
    return float(total - np.max(offset))


def log_event_rate(response: np.ndarray, offset: np.ndarray) -> float:
    """Log of events per unit of exposure; half an event where there was none."""
    return log_ratio(response if np.sum(response) >= 0.5 else np.array([0.5]), offset)
