"""Inference methods: each a settings object that binds itself to a model as a Program."""
