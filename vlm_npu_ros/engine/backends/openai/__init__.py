"""Chat completions of a server that speaks the OpenAI protocol."""
