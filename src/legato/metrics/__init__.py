"""What is measured and how, defined once for server, bench client and planner. No I/O."""
