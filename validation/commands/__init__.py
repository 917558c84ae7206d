"""Commands that need a judge. Each parses, calls one function and prints; heavy imports wait until then."""
