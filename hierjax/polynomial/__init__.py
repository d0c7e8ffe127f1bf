"""Polynomial degree of a traced program, and where it stops being affine.

A Gaussian can be integrated out of a density whose logarithm is quadratic in it. Whether it is
cannot be seen from a few values, but it can be read off the traced program: sums keep degrees,
products add them, anything else that touches a variable is not polynomial. The last affine values
of the program are its linear predictors; a program cut there is an affine map and a function of the
predictors alone.
"""

from hierjax.polynomial.degree import NOT_POLYNOMIAL, Degree
from hierjax.polynomial.program import FlatProgram, flatten
from hierjax.polynomial.separable import Product, Separable, separable
from hierjax.polynomial.split import Split, split
