"""Many data sets of one model: padded into few shapes, fitted in blocks by vmapped programs.

`hierjax.fit_many` strings the parts together: read the data sets, find out what can be padded and
prove it, run the chunks, judge and retry, hand back a `Batch`.
"""
