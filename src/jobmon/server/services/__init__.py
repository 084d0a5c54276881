"""Services beside the routes; each has ``run_once(now)``, which decides by values and returns what it did."""
