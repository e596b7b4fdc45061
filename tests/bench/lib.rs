//! Nothing: this package exists for its benches, `cargo bench -p certwright-bench`.
