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
        order: Order::Remove(Remove {
            volumes: Vec::new(),
        }),
        mounts: Vec::new(),
        scale: Scale::EveryNode,
        constraints: Vec::new(),
    };
    carrier("load-abc123-delivery".into(), labels, plan, "secret")
}

async fn carried(fake: &FakeSwarm) -> Vec<Carried> {
    let deadline = Deadline::after(Duration::from_secs(60));
    let carried = carry(fake, &plan(), deadline).await.unwrap();
    assert!(fake.plans().is_empty(), "the service is still there");
    carried
}

fn told(carried: &[Carried]) -> Vec<String> {
    carried.iter().filter_map(Carried::told).collect()
}

#[tokio::test(start_paused = true)]
async fn every_node_is_heard() {
    let fake = three_nodes();
    let carried = carried(&fake).await;
    assert_eq!(told(&carried), Vec::<String>::new());
    let nodes: Vec<_> = carried
        .iter()
        .map(|carried| carried.node.as_str())
        .collect();
    assert_eq!(nodes, ["node-1", "node-2", "node-3"]);
    assert_eq!(carried[1].words.as_ref().unwrap().node, "node-2");
}

#[tokio::test(start_paused = true)]
async fn a_service_of_before_is_followed_on() {
    let fake = three_nodes();
    fake.create_service(&plan()).await.unwrap();
    assert_eq!(carried(&fake).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_service_of_before_is_followed_on_from_another_place() {
    let fake = three_nodes();
    let mut earlier = plan();
    earlier
        .labels
        .insert(LABEL_PLACE.into(), "port 8080".into());
    fake.create_service(&earlier).await.unwrap();
    assert_eq!(told(&carried(&fake).await), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn carriers_of_before_that_have_failed_are_sent_again() {
    let fake = three_nodes();
    fake.image(IMAGE).exits_in_turn(&[1, 0]);
    fake.create_service(&plan()).await.unwrap();
    assert_eq!(told(&carried(&fake).await), Vec::<String>::new());

    fake.image(IMAGE).exits_in_turn(&[1, 1]);
    assert_eq!(told(&carried(&fake).await).len(), 3, "but not for ever");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fails_is_named_with_its_own_words() {
    let fake = three_nodes();
    fake.image(IMAGE).fails_on("node-2", "no space left");
    let expected = "node `host-node-2` (node-2): no space left";
    assert_eq!(told(&carried(&fake).await), [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_told_with_what_the_registry_says() {
    let fake = FakeSwarm::new();
    let problems = told(&carried(&fake).await);
    assert!(
        problems[0].contains("No such image: atq-carrier:test"),
        "{problems:?}"
    );
    assert!(problems[0].contains("connection refused"), "{problems:?}");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_none_and_the_deadline_are_told() {
    let fake = FakeSwarm::new();
    fake.image(IMAGE).exits(2).complains(&["panicked"]);
    let problems = told(&carried(&fake).await);
    assert!(
        problems[0].ends_with("ended with exit code 2; it wrote nothing"),
        "{problems:?}"
    );
    let fake = FakeSwarm::new();
    fake.image(IMAGE);
    let problems = told(&carried(&fake).await);
    assert!(
        problems[0].ends_with("not done after 60 s; Docker says `running`"),
        "{problems:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_away_is_not_waited_for() {
    let fake = three_nodes();
    fake.image(IMAGE).after(Duration::from_secs(30));
    fake.lose_node("node-3");
    fake.set_active("node-2", false);
    let carried = carried(&fake).await;
    let away: Vec<_> = carried.iter().filter(|c| c.is_away()).collect();
    assert_eq!(away.len(), 1, "{carried:?}");
    assert_eq!(away[0].node, "node-3");
    assert_eq!(
        carried.len(),
        2,
        "one that is drained at the start is not waited for"
    );
}
