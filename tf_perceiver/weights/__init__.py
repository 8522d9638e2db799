"""Published checkpoints of DeepMind and Hugging Face, under the names of our own variables."""
