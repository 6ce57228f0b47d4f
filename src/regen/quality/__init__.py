"""Quality measured on live data: judged collections, checks, latency, judges and starter collections."""
