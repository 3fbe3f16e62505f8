#![allow(clippy::unwrap_used)]
use super::*;
use crate::fake::FakeSwarm;
use crate::plan::{
    CarrierPlan, LABEL_DIRECTOR, LABEL_PLACE, LABEL_RUN, Labels, Role, Scale, ServicePlan, carrier,
};
use atq_node_protocol::order::{Order, Remove};

const IMAGE: &str = "atq-carrier:test";

fn three_nodes() -> FakeSwarm {
    let fake = FakeSwarm::new();
    fake.add_node("node-2");
    fake.add_node("node-3");
    fake.image(IMAGE).exits(0);
    fake
}

fn plan() -> ServicePlan {
    let labels: Labels = [(LABEL_RUN, "abc123"), (LABEL_DIRECTOR, "director-1")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let plan = CarrierPlan {
        role: Role::Delivery,
        number: 1,
        image: IMAGE,
        order: Order::Remove(Remove::default()),
        errand: None,
        mounts: Vec::new(),
        scale: Scale::EveryNode,
        constraints: Vec::new(),
    };
    carrier("load-abc123-delivery".into(), labels, plan, Some("token"))
}

async fn outcomes(fake: &FakeSwarm) -> Vec<NodeOutcome> {
    let deadline = Deadline::after(Duration::from_secs(60));
    let outcomes = run(fake, &plan(), deadline).await.unwrap();
    assert!(fake.plans().is_empty(), "the service is still there");
    outcomes
}

fn problems(outcomes: &[NodeOutcome]) -> Vec<String> {
    let described = outcomes.iter().map(NodeOutcome::describe_problem);
    described.flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn every_node_reports() {
    let fake = three_nodes();
    let outcomes = outcomes(&fake).await;
    assert_eq!(problems(&outcomes), Vec::<String>::new());
    let nodes: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.node.as_str())
        .collect();
    assert_eq!(nodes, ["node-1", "node-2", "node-3"]);
    assert_eq!(outcomes[1].report.as_ref().unwrap().node, "node-2");
}

#[tokio::test(start_paused = true)]
async fn an_existing_service_is_reused() {
    let fake = three_nodes();
    fake.create_service(&plan()).await.unwrap();
    assert_eq!(outcomes(&fake).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_existing_service_of_another_place_is_reused() {
    let fake = three_nodes();
    let mut earlier = plan();
    earlier
        .labels
        .insert(LABEL_PLACE.into(), "port 8080".into());
    fake.create_service(&earlier).await.unwrap();
    assert_eq!(problems(&outcomes(&fake).await), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn failed_carriers_of_an_existing_service_are_created_again() {
    let fake = three_nodes();
    fake.image(IMAGE).exits_in_turn(&[1, 0]);
    fake.create_service(&plan()).await.unwrap();
    assert_eq!(problems(&outcomes(&fake).await), Vec::<String>::new());

    fake.image(IMAGE).exits_in_turn(&[1, 1]);
    assert_eq!(problems(&outcomes(&fake).await).len(), 3, "only once");
}

#[tokio::test(start_paused = true)]
async fn a_failed_node_is_named_with_the_reported_problem() {
    let fake = three_nodes();
    fake.image(IMAGE).fails_on("node-2", "no space left");
    let expected = "node `host-node-2` (node-2): no space left";
    assert_eq!(problems(&outcomes(&fake).await), [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_reported_with_the_reason_of_the_registry() {
    let fake = FakeSwarm::new();
    let found = problems(&outcomes(&fake).await);
    assert!(
        found[0].contains("No such image: atq-carrier:test"),
        "{found:?}"
    );
    assert!(found[0].contains("connection refused"), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_report_and_a_passed_deadline_are_problems() {
    let fake = FakeSwarm::new();
    fake.image(IMAGE).exits(2).prints_to_stderr(&["panicked"]);
    let found = problems(&outcomes(&fake).await);
    assert!(
        found[0].ends_with("ended with exit code 2; it wrote nothing"),
        "{found:?}"
    );
    let fake = FakeSwarm::new();
    fake.image(IMAGE);
    let found = problems(&outcomes(&fake).await);
    assert!(
        found[0].ends_with("not done after 60 s; state in Docker: `running`"),
        "{found:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_becomes_unavailable_is_not_waited_for() {
    let fake = three_nodes();
    fake.image(IMAGE).after(Duration::from_secs(30));
    fake.lose_node("node-3");
    fake.set_active("node-2", false);
    let outcomes = outcomes(&fake).await;
    let unavailable: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.is_unavailable())
        .collect();
    assert_eq!(unavailable.len(), 1, "{outcomes:?}");
    assert_eq!(unavailable[0].node, "node-3");
    assert_eq!(
        outcomes.len(),
        2,
        "a node that is drained at the start is not waited for"
    );
}
