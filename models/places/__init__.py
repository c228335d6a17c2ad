"""Places and things in pictures: hierarchical segmentation, learned from data sets with different labels."""
