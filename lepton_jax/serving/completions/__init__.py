"""Texts that go on: many at once by slots of one cache, asked for as OpenAI's clients ask."""
