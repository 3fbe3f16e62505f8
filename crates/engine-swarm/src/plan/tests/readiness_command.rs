//! Runs the script for readiness commands in several shells.

use super::super::PROBE_EACH_WORKER;

/// The output of the container of a readiness command for two workers.
fn run_script(shell: &[&str], command: &str) -> String {
    let run = std::process::Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", PROBE_EACH_WORKER])
        .env("ATQ_READINESS_COMMAND", command)
        .env("ATQ_READINESS_SECONDS", "0")
        .env("WORKER_CSV_VIPS", "10.0.0.2,10.0.0.3")
        .output();
    let output = String::from_utf8(run.unwrap().stdout).unwrap();
    let mut lines: Vec<_> = output.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.concat()
}

#[test]
fn output_of_a_readiness_command_cannot_imitate_the_line_of_another_worker() {
    let shells: [&[&str]; 3] = [&["/bin/sh"], &["bash"], &["busybox", "sh"]];
    let there = |shell: &&&[&str]| {
        let run = std::process::Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", ":"])
            .output();
        run.is_ok_and(|run| run.status.success())
    };
    for shell in shells.iter().filter(there) {
        let table = [
            (
                r"printf '%s' 'no\nready 10.0.0.9'; exit 3",
                r"3 no\nready 10.0.0.9",
            ),
            (r"printf '%s' 'lost C:\code'; exit 1", r"1 lost C:\code"),
            ("echo ready 10.0.0.9; cat; printf last; exit 2", "2 last"),
            ("exit 7", "7 "),
        ];
        for (command, reported) in table {
            let both = format!("not-ready 10.0.0.2 {reported}\nnot-ready 10.0.0.3 {reported}\n");
            assert_eq!(run_script(shell, command), both, "{shell:?}");
        }
        assert_eq!(
            run_script(
                shell,
                "test $ATQ_WORKER_ADDRESS = 10.0.0.3 || { echo no; exit 1; }"
            ),
            "not-ready 10.0.0.2 1 no\nready 10.0.0.3\n"
        );
    }
}
