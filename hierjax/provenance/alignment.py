"""Which axes run over the same units: the classes of labels that a program lines up."""

from collections.abc import Iterable

from hierjax.provenance.values import Label


class Alignment:
    """Classes of axis labels; labels that meet on one axis belong together (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[Label, Label] = {}

    def root(self, label: Label) -> Label:
        """Return the representative of the class of `label`."""
        while (parent := self._parent.get(label, label)) != label:
            label = parent
        return label

    def join(self, labels: Iterable[Label]) -> None:
        """Put `labels` into one class; a plate, where there is one, represents it."""
        roots = sorted({self.root(label) for label in labels}, key=lambda r: (r[0] != "plate", r))
        for other in roots[1:]:
            self._parent[other] = roots[0]

    def plate(self, labels: Iterable[Label]) -> str:
        """Return the plate along which axes with `labels` run, "" if none."""
        plates = sorted(root[1] for label in labels if (root := self.root(label))[0] == "plate")
        return plates[0] if plates else ""
