//! Random steps against a model.

use std::fmt::Debug;

use proptest::{
    strategy::Strategy,
    test_runner::{Config, TestRunner},
};

use super::run;

/// Checks so many sequences of 1 to 23 steps. A failed one is shortened.
pub(crate) fn random_steps<S: Debug>(cases: u32, step: impl Strategy<Value = S>, check: impl AsyncFn(&[S])) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&proptest::collection::vec(step, 1..24), |steps| {
        run(async { check(&steps).await });
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}
