"""Seal a model, and tell whether and how it has changed.

- `signing.sign` and `verifying.verify`: a signature in the format of OpenSSF model signing,
  which anybody's tools can check.
- `locking.lock`: everything that tells one model from another, in a file that diffs well.
- `comparing.compare_sealed`: what is different between two models or locks, in words.

All of them take digests from one pass over the bytes (`digesting`).
"""
