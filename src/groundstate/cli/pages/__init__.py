"""What the verbs leave for people: one page each, a result in one sentence first, provenance last."""
