"""One tree of exceptions; every message says what is wrong, where, and what to do.

Every class derives from `HierjaxError`, so a program can catch all of ours at once. Those about bad
input also derive from `ValueError`, so code written for other libraries keeps working.
"""


class HierjaxError(Exception):
    """Root of every exception that hierjax raises on purpose."""


class ModelError(HierjaxError, ValueError):
    """The model function cannot be fitted (site, plate or shape named in the message)."""


class DataError(HierjaxError, ValueError):
    """The data cannot be used as they are (column, row or argument named in the message)."""


class EmptyDataError(DataError):
    """There are no rows."""


class MissingValueError(DataError):
    """A column or array has missing values."""


class NonFiniteError(DataError):
    """A column or array has infinite values."""


class UnknownColumnError(DataError):
    """A formula or an argument names a column that the data do not have."""


class ColumnTypeError(DataError):
    """A column has a type that its place in the model cannot use."""


class SupportError(DataError):
    """A response lies outside what its distribution can produce."""


class LengthError(DataError):
    """Arrays that must have one length have several."""


class GroupIndexError(DataError):
    """A group index is negative, too large or not an integer."""


class GroupCountError(DataError):
    """A grouping factor has too few groups, or as many as rows, to be learnt from."""


class RankError(DataError):
    """Columns of a design matrix are linearly dependent."""


class FormulaError(HierjaxError, ValueError):
    """A formula cannot be read; the message shows the text with the place marked.

    Parameters
    ----------
    message
        What is wrong and what to do.
    text
        The whole formula.
    start, end
        Half-open range of characters of `text` that the message is about.
    """

    def __init__(self, message: str, text: str = "", start: int = 0, end: int = 0) -> None:
        if text:
            width = max(end - start, 1)
            message = f"{message}\n    {text}\n    {' ' * start}{'^' * width}"
        super().__init__(message)
        self.text, self.start, self.end = text, start, end


class PriorError(HierjaxError, ValueError):
    """A prior names no slot of the model, or cannot serve the slot it names."""


class SettingsError(HierjaxError, ValueError):
    """An option of a method, or a combination of options, cannot be used."""


class FitError(HierjaxError, RuntimeError):
    """A fit could not start or could not finish; nothing already computed is discarded silently."""


class FileError(HierjaxError, RuntimeError):
    """A file cannot be read, is damaged, or does not belong to this model."""


class UnknownDatasetError(DataError):
    """No packaged data set has this name; the message lists those there are."""


class UnknownLevelError(DataError):
    """New data hold a value of a categorical column that the model was not built with."""
