"""What executes a program: the numpy reference, which defines every op, and native kernels."""
