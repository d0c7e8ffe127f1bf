"""The NumPyro text of a formula model: a module that needs jax and numpyro, and not this package.

The structure is that of `FormulaFunction`; tests hold the two together over all families and kinds
of terms. Likelihoods are not written twice: their text is taken from `hierjax.formula.likelihoods`.
"""

import dataclasses
import keyword
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hierjax.formula.families import FAMILIES
from hierjax.formula.function import Effects, Group, Scale
from hierjax.formula.source_text import (
    IMPORTS,
    expression,
    helpers_of,
    names_in,
    own_names,
    prior_text,
)

if TYPE_CHECKING:
    from hierjax.formula.layout_groups import Block, GroupPlan
    from hierjax.formula.origin import FormulaOrigin

SHOWN = 3  # labels of groups in a comment
LONGEST = 80  # characters of a statement without its indentation
RESERVED = (*IMPORTS, *keyword.kwlist, "model", "predictor", "row_sigma")


def source_of(origin: "FormulaOrigin") -> str:
    """Write the model of a formula as a standalone module.

    Raises
    ------
    PriorError
        A prior is not one of NumPyro's own distributions.
    """
    return _Writer(origin).module()


@dataclasses.dataclass(frozen=True)
class _Argument:
    """A data argument: its word in the text, its name in `Model.data`, and what it is."""

    word: str
    name: str
    meaning: str


class _Writer:
    """Collects the lines of the model function."""

    def __init__(self, origin: "FormulaOrigin") -> None:
        self.origin, self.fn = origin, origin.fn
        self.priors = {prior.slot.site: prior for prior in origin.chosen}
        self.words: dict[str, str] = {}
        self.lines: list[str] = []

    def module(self) -> str:
        """Return the whole text."""
        arguments = self._arguments()
        if self.fn.predictors:
            self._predictors()
        else:
            self._predictor("predictor", 0)
        self._response()
        body = "\n".join(f"    {line}" if line else "" for line in self.lines)
        signature = ", ".join(argument.word for argument in arguments)
        model = f"def model({signature}=None):\n{body}"
        helpers = helpers_of(names_in(model))
        used = set.union(*(names_in(text) for text in (model, *helpers.values())))
        imports = "\n".join(line for name, line in IMPORTS.items() if name in used)
        head = f"{_docstring(self.origin, arguments)}\n\n{imports}"
        return "\n\n\n".join([head, *helpers.values(), model]) + "\n"

    def word(self, name: str) -> str:
        """Return the identifier that stands for a site or a data argument."""
        if name not in self.words:
            kept = "".join(each if f"a{each}".isidentifier() else " " for each in name)
            found = "_".join(kept.split()) or "value"
            found = f"_{found}" if found[0].isdigit() else found
            while found in RESERVED or found in own_names() or found in self.words.values():
                found += "_"
            self.words[name] = found
        return self.words[name]

    def write(self, line: str) -> None:
        """Add a line of code."""
        self.lines.append(line)

    def sample(self, site: str, prior: str, indent: str = "") -> None:
        """Add the statement that samples a latent site, in several lines if it is long."""
        start, name = f"{indent}{self.word(site)} = numpyro.sample(", repr(site)
        if len(start) + len(name) + len(prior) <= LONGEST:
            self.write(f"{start}{name}, {prior})")
            return
        for line in (start, f"{indent}    {name},", f"{indent}    {prior},", f"{indent})"):
            self.write(line)

    def comment(self, text: str) -> None:
        """Add a comment; labels in it are the user's text, which may hold line ends."""
        self.lines.append(f"# {' '.join(text.split())}")

    def _arguments(self) -> list[_Argument]:
        """List the data arguments, the response last."""
        names, rows = self.fn.arguments, len(self.origin.table)
        found = [(names.num_rows, f"number of rows, {rows} in the data of the model")]
        if self.fn.coefficients:
            labels = ", ".join(self.origin.coefficient_labels)
            found.append((names.design, f"columns {labels}"))
        if self.origin.offsets:
            found.append((names.offset, "added to the linear predictor"))
        for group, plan, pairs in self.origin.group_parts():
            count = plan.grouping.count
            found.append((group.plate, f"group of each row, 0 to {count - 1}"))
            found.append((group.size, f"number of groups, {count} in the data of the model"))
            for part, block in pairs:
                if part.design is not None and part.design not in dict(found):
                    columns = ", ".join(block.labels)
                    found.append((part.design, f"what varies by {group.plate}: {columns}"))
        meanings = {
            "weights": (names.weights, "weight of each row"),
            "known_sd": (names.known_sd, "known standard error of each response"),
            "trials": (names.trials, "trials of each row"),
            "censored": (names.censored, "0 known, 1 censored on the right, -1 on the left"),
        }
        found += [meanings[role] for role in meanings if role in self.origin.columns]
        response = "response; None to draw it"
        if self.origin.categories:
            listed = ", ".join(map(str, self.origin.categories))
            response = f"number of the category: 0, 1, ... for {listed}; None to draw it"
        found.append((self.fn.response, response))
        return [_Argument(self.word(name), name, meaning) for name, meaning in found]

    def _predictors(self) -> None:
        """Write the predictors of all categories but the first, side by side."""
        found = []
        for number, label in enumerate(self.origin.categories[1:]):
            self.comment(f"Predictor of {label} against {self.origin.categories[0]}.")
            found.append(self.word(f"predictor of {label}"))
            self._predictor(found[-1], number)
            self.write("")
        self.write(f"predictor = jnp.stack([{', '.join(found)}], axis=-1)")

    def _predictor(self, predictor: str, number: int) -> None:
        names = self.fn.arguments
        parts: list[str] = []
        if self.origin.offsets:
            parts.append(self.word(names.offset))
        own = [part for part in self.fn.coefficients if part.predictor == number]
        if own:
            self.comment("Population effects.")
            for part in own:
                self._sample(part.site, vector=part.width is not None)
            vector = ", ".join(self.word(part.site) for part in own)
            parts.append(f"{self.word(names.design)} @ jnp.hstack([{vector}])")
        nothing = f"jnp.zeros({self.word(names.num_rows)})"
        self.write(f"{predictor} = {' + '.join(parts) or nothing}")
        for group, plan, pairs in self.origin.group_parts():
            self.write("")
            self.comment(_level(plan))
            for part, block in pairs:
                if part.predictor == number:
                    self._effects(group, part, block, predictor)

    def _effects(self, group: Group, part: Effects, block: "Block", predictor: str) -> None:
        self.comment(f"{', '.join(block.labels)} by {group.plate}.")
        self._scale(part.scale, vector=part.width is not None)
        scale, effect = self.word(part.scale.site), self.word(part.site)
        if part.width is None:
            prior = f"dist.Normal(0.0, {scale})"
        elif part.correlation is None:
            prior = f"dist.Normal(jnp.zeros({part.width}), {scale}).to_event(1)"
        else:
            cholesky = part.correlation.cholesky
            self._sample(cholesky, vector=False)
            root = self.word(cholesky)
            self.write(f"numpyro.deterministic({part.correlation.matrix!r}, {root} @ {root}.T)")
            prior = (
                f"dist.MultivariateNormal(jnp.zeros({part.width}), "
                f"scale_tril={scale}[:, None] * {root})"
            )
        self.write(f"with numpyro.plate({group.plate!r}, {self.word(group.size)}):")
        self.sample(part.site, prior, indent="    ")
        each = f"{effect}[{self.word(group.plate)}]"
        if part.design is not None:
            each = f"{each} * {self.word(part.design)}"
            each = each if part.width is None else f"jnp.sum({each}, axis=-1)"
        self.write(f"{predictor} = {predictor} + {each}")

    def _sample(self, site: str, *, vector: bool, slot: str = "") -> None:
        text = prior_text(self.priors[slot or site].distribution)
        event = ".to_event(1)" if vector else ""
        self.sample(site, f"{text}{event}")

    def _scale(self, scale: Scale, *, vector: bool) -> None:
        """Sample a standard deviation, or the variance that it is the root of."""
        if scale.variance is None:
            self._sample(scale.site, vector=vector)
            return
        self._sample(scale.variance, vector=vector, slot=scale.site)
        root = f"jnp.sqrt({self.word(scale.variance)})"
        self.write(f"{self.word(scale.site)} = numpyro.deterministic({scale.site!r}, {root})")

    def _response(self) -> None:
        names, columns, row = self.fn.arguments, self.origin.columns, FAMILIES[self.fn.family]
        self.write("")
        self.comment(f"Response: family {row.name}, link {row.link}.")
        for _, scale in self.fn.parameters:
            self._scale(scale, vector=False)
        words = {name: self.word(scale.site) for name, scale in self.fn.parameters}
        words |= {role: self.word(getattr(names, role)) for role in ("trials", "censored")}
        weighted = "weights" in columns
        if "known_sd" in columns:
            words["sigma"] = self.word(names.known_sd)
        elif weighted and not self.fn.replicates:
            self.write(f"row_sigma = {words['sigma']} / jnp.sqrt({self.word(names.weights)})")
            words["sigma"] = "row_sigma"
        likelihood = row.censored if "censored" in columns else row.likelihood
        assert likelihood is not None
        text = expression(likelihood, words)
        plate = f"numpyro.plate({self.fn.rows!r}, {self.word(names.num_rows)})"
        if weighted and self.fn.replicates:
            plate += f", numpyro.handlers.scale(scale={self.word(names.weights)})"
        self.write(f"with {plate}:")
        response = self.fn.response
        self.write(f"    numpyro.sample({response!r}, {text}, obs={self.word(response)})")


def _level(plan: "GroupPlan") -> str:
    """Describe a grouping factor: its name, how many groups, the first of them."""
    labels = plan.grouping.labels
    shown = ", ".join(str(label) for label in labels[:SHOWN])
    more = ", ..." if len(labels) > SHOWN else ""
    return f"Level {plan.grouping.name}: {len(labels)} groups, in the order {shown}{more}"


def _docstring(origin: "FormulaOrigin", arguments: Sequence[_Argument]) -> str:
    """Return the docstring of the module: the formula, and the data that the model takes."""
    width = max(len(argument.word) for argument in arguments)
    lines = [
        f"    {argument.word:{width}}  {argument.meaning}{_elsewhere(argument)}"
        for argument in arguments
    ]
    text = "\n".join(
        [
            f"NumPyro model of the formula {origin.formula.text.strip()}",
            "",
            "`model` takes these arguments, arrays with one value or row of columns for each row:",
            "",
            *lines,
            "",
        ]
    )
    # Labels and formulas are the user's text, which must not end the docstring.
    return '"""' + text.replace("\\", "\\\\").replace('"', "'") + '"""'


def _elsewhere(argument: _Argument) -> str:
    return "" if argument.word == argument.name else f" (`{argument.name}` in the data of hierjax)"
