//! The manager, images, and objects that are nobody's.

use crate::stage::{Does, Stage};
use atq_engine_swarm::{LogQuery, SwarmError};

pub async fn the_manager_is_a_node(stage: &Stage) {
    let manager = stage.swarm.manager().await.unwrap();
    let nodes = stage.swarm.nodes().await.unwrap();
    let node = nodes.iter().find(|n| n.id == manager.node_id).unwrap();
    assert!(
        node.ready && node.active && node.address == manager.node_address,
        "{node:?}"
    );
    assert!(!manager.engine_version.is_empty());
    let tokens = stage.swarm.join_tokens().await.unwrap();
    assert!(tokens.manager.starts_with("SWMTKN-") && tokens.worker != tokens.manager);
}

pub async fn what_nobody_has_does_not_exist(stage: &Stage) {
    let name = format!("{}-nobody", stage.run);
    let is_missing = |result: Result<(), SwarmError>| match result {
        Err(SwarmError::NotFound { what }) => assert!(what.contains(&name), "{what}"),
        other => panic!("{other:?}"),
    };
    is_missing(stage.swarm.remove_service(&name).await);
    is_missing(stage.swarm.remove_network(&name).await);
    is_missing(stage.swarm.remove_volume(&name).await);
    let log = stage
        .swarm
        .task_logs(&name, false, LogQuery::default())
        .await;
    is_missing(log.map(|_| ()));
    assert_eq!(
        stage.swarm.volumes(&stage.labels).await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(stage.swarm.containers(&stage.labels).await.unwrap(), []);
    assert_eq!(stage.tasks().await, []);
}

pub async fn an_image_is_pulled_only_when_it_is_missing(stage: &Stage) {
    let plan = stage.service("worker", Does::Sleep, None);
    stage.swarm.pull_image(&plan.image).await.unwrap();
    // Nothing listens there, on any machine.
    let error = stage
        .swarm
        .pull_image("127.0.0.1:1/atq-nobody:1")
        .await
        .unwrap_err();
    assert!(matches!(error, SwarmError::Rejected { .. }), "{error:?}");
}

pub async fn a_registry_that_is_not_reached_is_named(stage: &Stage) {
    // Nothing listens there, on any machine.
    let image = "127.0.0.1:1/atq-nobody:1";
    let problem = stage.swarm.image_problem(image).await.unwrap();
    let registry = "no registry at `127.0.0.1:1` could be asked: ";
    assert!(problem.starts_with(registry), "{problem}");
    assert!(problem.contains("connection refused"), "{problem}");
    assert!(problem.ends_with("; no credentials were sent"), "{problem}");
    // Whether Docker Hub is reached is the machine's own affair.
    let problem = stage.swarm.image_problem("atq-no-such-image:1").await;
    let problem = problem.unwrap();
    assert!(problem.contains("`docker.io`"), "{problem}");
}
