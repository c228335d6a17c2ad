"""Pictures and clips that are alike: SimCLR's embedding, SCAN's clusters and the nearest neighbours between them."""
