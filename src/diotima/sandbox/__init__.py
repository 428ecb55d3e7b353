"""The embedded default: a small world of word problems and a tiny tutor, so that everything runs without a download.

What is learned here proves that the loop works; it is not a curriculum and not a tutor for children.
"""
