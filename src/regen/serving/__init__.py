"""Answering: route, embed the query, ask the store, fence, refill."""
