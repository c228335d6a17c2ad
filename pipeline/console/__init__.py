"""The operator's console: a server of pages and of an HTTP API over the topics and the evidence of a site."""
