"""Deliver: a trained tutor as a GGUF file, to Ollama, to the Hugging Face hub, and the proof that it is the same there.

Weights that are served elsewhere are another program's business; what is ours is that nothing is lost on the way.
"""
