"""Quality measured on live data: judged collections run through search, checks, latency, judges, starter collections."""
