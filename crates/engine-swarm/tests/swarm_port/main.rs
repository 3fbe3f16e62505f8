//! The behaviour of a Swarm that the Director relies on: one suite that runs on the fake and on Docker, so that tests
//! on the fake are meaningful. The part on Docker needs a running Engine in a Swarm, and the image `atq-testload:dev`
//! (or `ATQ_TEST_IMAGE`) with a `/bin/sh`; it runs when `ATQ_TEST_SWARM` is 1.
#![allow(clippy::unwrap_used)]

mod cluster;
mod fixture;
mod logs;
mod networks;
mod services;

use atq_engine_swarm::LogQuery;
use atq_engine_swarm::plan::{Mount, MountSource};
use fixture::{Fixture, Program};

/// Runs each scenario on both.
macro_rules! on_both {
    ($($part:ident: { $($scenario:ident),* $(,)? })*) => {
        mod on_the_fake {
            $($(#[tokio::test(start_paused = true)]
            async fn $scenario() {
                crate::fixture::on_the_fake(crate::$part::$scenario).await;
            })*)*
        }
        mod on_docker {
            $($(#[tokio::test]
            async fn $scenario() {
                crate::fixture::on_docker(crate::$part::$scenario).await;
            })*)*
        }
    };
}

on_both!(
    cluster: {
        the_manager_is_a_node,
        unknown_objects_are_not_found,
        an_image_is_pulled_only_when_it_is_missing,
        an_unreachable_registry_is_named,
    }
    networks: {
        a_network_is_created_once_listed_and_removed,
        an_unknown_network_is_refused,
        a_network_is_in_use_while_a_service_is_on_it,
        an_overlapping_subnet_is_accepted_and_assigns_no_addresses,
        each_port_of_the_node_is_listed_once,
    }
    services: {
        a_service_is_created_once_listed_by_label_and_removed,
        containers_run_with_an_address_each,
        exit_codes_are_kept,
        a_missing_image_is_rejected_with_dockers_text,
        a_missing_program_fails_and_its_log_shows_why,
        an_unsatisfiable_constraint_leaves_it_pending_with_a_reason,
        an_invalid_constraint_is_refused,
        stopped_containers_keep_exit_codes_and_final_output,
        a_killed_container_ends_at_once_whatever_its_grace_period,
        an_ended_container_is_unchanged_by_a_stop,
        results_can_be_read_after_the_end_and_their_volume_is_removed_by_its_labels,
        the_resource_usage_of_a_container_is_counted,
        a_creation_completes_although_the_caller_is_cancelled,
    }
    logs: {
        logs_have_separate_streams,
        a_terminal_has_one_stream_and_clean_lines,
        a_long_line_stays_one_line,
        the_last_lines_can_be_requested,
        logs_go_with_the_swarm_task,
    }
);

/// Only a real container shows that every option of the plan takes effect.
#[tokio::test]
async fn a_plan_reaches_its_container() {
    fixture::on_docker(async |fixture: &Fixture| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plan.jmx"), "<plan/>\n").unwrap();
        let network = fixture.network("net").await;
        let mut plan = fixture.service("worker", Program::Sleep, Some(&network));
        let script = r#"echo "$1 $VALUE $SLOT"; cat /atq/data/plan.jmx; touch /atq/data/x 2>&1; cat /proc/1/comm"#;
        plan.entrypoint = Some(vec!["/bin/sh".into(), "-c".into(), script.into(), "sh".into()]);
        plan.args = vec!["argument".into()];
        plan.environment = vec!["VALUE=a b=c".into(), "SLOT={{.Task.Slot}}".into()];
        plan.mounts = vec![Mount {
            source: MountSource::Path(dir.path().to_owned()),
            target: "/atq/data".into(),
            read_only: true,
        }];
        let task = fixture.create_and_end(&plan).await;
        let lines = fixture.log(&task, false, LogQuery::default()).await;
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts[..2], ["argument a b=c 1", "<plan/>"]);
        assert!(texts[2].contains("Read-only file system"), "{texts:?}");
        // The init process forwards signals.
        assert!(texts[3].contains("init"), "{texts:?}");
    })
    .await;
}
