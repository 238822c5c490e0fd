"""What only a machine with a CUDA device can show: `make on-gpu`, no part of `make test`."""
