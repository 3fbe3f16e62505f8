//! Runs the contract suite on the engine in memory: `cargo run -p atq-engine --example contract`.
//!
//! To test a new engine, replace the model with it and provide two images that behave as described at [`Fixture`].

use atq_definition::examples::TestSurroundings;
use atq_engine::contract::{Fixture, run_suite};
use atq_engine::model::{Model, Script};
use std::sync::Arc;
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let model = Model::default();
    let worker = Script {
        lines: vec!["worker ready".to_owned()],
        ..Script::default()
    };
    let master = Script {
        lines: vec!["master done".to_owned()],
        ends: Some((Duration::from_secs(3), 0)),
        results: b"a tar".to_vec(),
    };
    model.image("tool:1", worker);
    model.image("boss:1", master);

    let surroundings = TestSurroundings { max_replicas: 10 };
    match Fixture::new(Arc::new(model), "tool:1", "boss:1", &surroundings) {
        Ok(fixture) => {
            run_suite(&fixture).await;
            println!("the engine passes the contract suite");
        }
        Err(faults) => eprintln!("the definitions are invalid: {faults:?}"),
    }
}
