//! What the Director relies on of a Swarm, told once and played on the fake and on Docker, so that
//! tests on the fake mean something. The half on Docker needs a running Engine in a Swarm, and the
//! image `atq-testload:dev` (or `ATQ_TEST_IMAGE`) with a `/bin/sh`; it runs when `ATQ_TEST_SWARM` is 1.
#![allow(clippy::unwrap_used)]

mod cluster;
mod logs;
mod networks;
mod services;
mod stage;

use atq_engine_swarm::LogQuery;
use atq_engine_swarm::plan::{Mount, MountSource};
use stage::{Does, Stage};

/// Plays each story on both.
macro_rules! on_both {
    ($($part:ident: { $($story:ident),* $(,)? })*) => {
        mod on_the_fake {
            $($(#[tokio::test(start_paused = true)]
            async fn $story() {
                crate::stage::on_the_fake(crate::$part::$story).await;
            })*)*
        }
        mod on_docker {
            $($(#[tokio::test]
            async fn $story() {
                crate::stage::on_docker(crate::$part::$story).await;
            })*)*
        }
    };
}

on_both!(
    cluster: {
        the_manager_is_a_node,
        what_nobody_has_does_not_exist,
        an_image_is_pulled_only_when_it_is_missing,
        a_registry_that_is_not_reached_is_named,
    }
    networks: {
        a_network_is_made_once_listed_and_removed,
        an_unknown_network_is_refused,
        a_network_is_in_use_while_a_service_is_on_it,
        an_overlapping_subnet_is_accepted_and_gives_no_addresses,
        each_port_of_the_node_is_given_once,
    }
    services: {
        a_service_is_made_once_listed_by_label_and_removed,
        containers_run_with_an_address_each,
        exit_codes_are_kept,
        a_missing_image_is_rejected_with_dockers_text,
        a_missing_program_fails_and_its_log_says_so,
        an_unsatisfiable_constraint_leaves_it_pending_with_a_reason,
        a_constraint_that_makes_no_sense_is_refused,
        containers_told_to_end_keep_their_exit_codes_and_last_words,
        a_killed_container_ends_at_once_whatever_its_grace_period,
        who_has_ended_stays_as_it_is_when_told_to_end,
        results_can_be_read_after_the_end_and_leave_no_volume,
        what_a_container_uses_is_counted,
        a_creation_happens_although_the_caller_went_away,
    }
    logs: {
        logs_tell_the_streams_apart,
        a_terminal_has_one_stream_and_clean_lines,
        a_long_line_stays_one_line,
        the_last_lines_can_be_asked_for,
        logs_go_with_the_swarm_task,
    }
);

/// What only a real container can show: that the whole plan reaches it.
#[tokio::test]
async fn a_plan_reaches_its_container() {
    stage::on_docker(async |stage: &Stage| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plan.jmx"), "<plan/>\n").unwrap();
        let network = stage.network("net").await;
        let mut plan = stage.service("worker", Does::Sleep, Some(&network));
        let script = r#"echo "$1 $VALUE $SLOT"; cat /atq/data/plan.jmx; touch /atq/data/x 2>&1; cat /proc/1/comm"#;
        plan.entrypoint = Some(vec!["/bin/sh".into(), "-c".into(), script.into(), "sh".into()]);
        plan.args = vec!["argument".into()];
        plan.environment = vec!["VALUE=a b=c".into(), "SLOT={{.Task.Slot}}".into()];
        plan.mounts = vec![Mount {
            source: MountSource::Path(dir.path().to_owned()),
            target: "/atq/data".into(),
            read_only: true,
        }];
        let task = stage.create_and_end(&plan).await;
        let lines = stage.log(&task, false, LogQuery::default()).await;
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts[..2], ["argument a b=c 1", "<plan/>"]);
        assert!(texts[2].contains("Read-only file system"), "{texts:?}");
        // An init process that passes signals on.
        assert!(texts[3].contains("init"), "{texts:?}");
    })
    .await;
}
