"""From a trained model to a SavedModel that any TensorFlow Serving loads and warms up."""
