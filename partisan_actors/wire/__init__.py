"""Terms to bytes and back: codec, frames, signals, handshake. No I/O."""
