//! The contract suite on the model.
#![allow(clippy::unwrap_used)]

use atq_definition::examples::TestSurroundings;
use atq_engine::contract::{Fixture, run_suite};
use atq_engine::model::{Model, Script};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn the_model_passes_the_contract() {
    let model = Model::default();
    model.image(
        "tool:1",
        Script {
            lines: vec!["worker ready".to_owned()],
            ..Script::default()
        },
    );
    model.image(
        "boss:1",
        Script {
            lines: vec!["master done".to_owned()],
            ends: Some((Duration::from_secs(3), 0)),
            results: b"a tar".to_vec(),
        },
    );
    let surroundings = TestSurroundings { max_replicas: 10 };
    run_suite(&Fixture::new(Arc::new(model), "tool:1", "boss:1", &surroundings).unwrap()).await;
}
