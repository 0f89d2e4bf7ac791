"""Text generation in process: GGUF models through llama.cpp, one thread per loaded model."""
