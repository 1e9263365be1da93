"""One module or package per way to run the two models."""
