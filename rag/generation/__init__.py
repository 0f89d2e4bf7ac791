"""From passages to a grounded answer: packing, prompts, sentences, attribution."""
