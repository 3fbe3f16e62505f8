//! The manager, images, and unknown objects.

use crate::fixture::{Fixture, Program};
use atq_engine_swarm::{ApiVersion, LogQuery, SwarmError};

pub async fn the_manager_is_a_node(fixture: &Fixture) {
    let manager = fixture.swarm.manager().await.unwrap();
    let nodes = fixture.swarm.nodes().await.unwrap();
    let node = nodes.iter().find(|n| n.id == manager.node_id).unwrap();
    assert!(
        node.ready && node.active && node.address == manager.node_address,
        "{node:?}"
    );
    assert!(!manager.engine_version.is_empty());
    let version = fixture.swarm.api_version().await.unwrap();
    let oldest = ApiVersion {
        major: 1,
        minor: 41,
    };
    assert!(version >= oldest, "{version}");
    let tokens = fixture.swarm.join_tokens().await.unwrap();
    assert!(tokens.manager.starts_with("SWMTKN-") && tokens.worker != tokens.manager);
}

pub async fn unknown_objects_are_not_found(fixture: &Fixture) {
    let name = format!("{}-nobody", fixture.run);
    let is_missing = |result: Result<(), SwarmError>| match result {
        Err(SwarmError::NotFound { what }) => assert!(what.contains(&name), "{what}"),
        other => panic!("{other:?}"),
    };
    is_missing(fixture.swarm.remove_service(&name).await);
    is_missing(fixture.swarm.remove_network(&name).await);
    is_missing(fixture.swarm.remove_volume(&name).await);
    let log = fixture
        .swarm
        .task_logs(&name, false, LogQuery::default())
        .await;
    is_missing(log.map(|_| ()));
    assert_eq!(
        fixture.swarm.volumes(&fixture.labels).await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(fixture.swarm.containers(&fixture.labels).await.unwrap(), []);
    assert_eq!(fixture.tasks().await, []);
}

pub async fn an_image_is_pulled_only_when_it_is_missing(fixture: &Fixture) {
    let plan = fixture.service("worker", Program::Sleep, None);
    fixture.swarm.pull_image(&plan.image).await.unwrap();
    // Nothing listens there, on any machine.
    let error = fixture
        .swarm
        .pull_image("127.0.0.1:1/atq-nobody:1")
        .await
        .unwrap_err();
    assert!(matches!(error, SwarmError::Rejected { .. }), "{error:?}");
}

pub async fn an_unreachable_registry_is_named(fixture: &Fixture) {
    // Nothing listens there, on any machine.
    let image = "127.0.0.1:1/atq-nobody:1";
    let problem = fixture.swarm.image_problem(image).await.unwrap();
    let registry = "cannot reach a registry at `127.0.0.1:1`: ";
    assert!(problem.starts_with(registry), "{problem}");
    assert!(problem.contains("connection refused"), "{problem}");
    assert!(problem.ends_with("; no credentials were sent"), "{problem}");
    // Whether Docker Hub is reachable depends on the machine.
    let problem = fixture.swarm.image_problem("atq-no-such-image:1").await;
    let problem = problem.unwrap();
    assert!(problem.contains("`docker.io`"), "{problem}");
}
