"""Pictures to learn from: a data set in memory or in a file, and one adapter for each layout."""
