"""The page that people look at after a training: curves, confusions, samples, attention."""
