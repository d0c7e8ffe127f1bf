"""The conditional-Gaussian core: arrays in, arrays out.

`Structure` says what is grouped in what; `summarise` sums the rows once; `log_likelihood`
integrates all effects out; `factorise` keeps what `conditional_mean` and `conditional_draw` need to
bring them back, and `conditional_map` is the affine map between standard normals and effects.
`hierjax.linalg.dense` states the same functions slowly and plainly; tests hold them equal.
"""

from hierjax.linalg.conditional import (
    Effects,
    Noise,
    conditional_draw,
    conditional_map,
    conditional_mean,
    draw_noise,
    zero_noise,
)
from hierjax.linalg.eliminate import Factorisation, factorise, log_likelihood, log_likelihood_of
from hierjax.linalg.prior import Prior
from hierjax.linalg.statistics import Statistics, shift_response
from hierjax.linalg.structure import Factor, Structure
from hierjax.linalg.summarise import Term, least_squares, summarise, summarise_stream
