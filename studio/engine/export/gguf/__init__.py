"""A run's result as one GGUF file, as llama.cpp, Ollama and LM Studio read it."""
