# Short names for what the scripts do; `just --list` shows them.

# Every check and test; writes nothing in the repository.
verify:
    tests/run fmt clippy docs deny guests build test doctest

# Formats, and takes clippy's suggestions.
fix:
    cargo clippy --fix --allow-dirty --allow-staged --release --workspace --all-targets
    cargo fmt --all

# Builds the example guests from source, over the committed modules.
guests *names:
    examples/build {{ names }}

# The tests alone; `just test --quick` leaves out those that start servers.
test *options:
    tests/run {{ options }} build test

# Seeds 0 to N - 1 of both scenarios of the simulation; one with its trace: `cargo run --release -p refrain-sim -- node 7`.
sim seeds='100':
    cargo run --release --package refrain-sim -- order 0..{{ seeds }}
    cargo run --release --package refrain-sim -- node 0..{{ seeds }}

# Side-by-side benchmarks against other systems.
bench *options:
    cargo run --release --package refrain-bench -- {{ options }}
